"""How the time to cut a text into passages grows with its length. `python -m benchmarks.splitting` prints the table.

Each text is one kind of trouble repeated: a paragraph without end, short lines, a script without blanks, runs of signs. A kind is
linear if the time for each million characters does not grow from row to row.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from lorag.pipeline.records import Document
from lorag.pipeline.retrieval.chunking import TokenBound, chunk
from lorag.pipeline.retrieval.encoder_tokens import EncoderTokens

SENTENCE = "The harbour master, e.g. J. Smith, keeps the key of the crane in room No. 5 and asks for 24.0 marks a day. "
KINDS: Mapping[str, str] = {
    "one paragraph": SENTENCE,
    "short lines": "short line\n",
    "list items": "- an item\n",
    "table rows": "| pier 1 | 2.00 |\n",
    "Chinese without stops": "港口费用每天五十元",
    "hashes": "# ",
    "backticks": "`",
    "angle brackets": "<",
    "dots": ".",
}
LENGTHS = (10_000, 100_000, 1_000_000)
LARGE = 10_000_000
"""Characters of the paragraph alone: about 10 MB."""


def seconds(text: str, tokens: TokenBound | None = None) -> tuple[float, int]:
    """Process time to cut `text`, and the number of characters of the longest passage."""
    document = Document("d.md", "T", text, "d.md", "0" * 64)
    started = time.process_time()
    passages = chunk(document, tokens=tokens)
    return time.process_time() - started, max((len(passage.text) for passage in passages), default=0)


def main() -> None:
    """Print the table; with a path, write the figures there as JSON."""
    rows = []
    cases: list[tuple[str, int, str | None]] = [(kind, length, None) for kind in KINDS for length in LENGTHS]
    cases += [("one paragraph", LARGE, None), ("one paragraph", 1_000_000, "minilm"), ("one paragraph", LARGE, "minilm")]
    print(f"{'kind':24} {'characters':>11} {'seconds':>8} {'s per million':>14} {'longest':>8}")
    for kind, length, encoder in cases:
        text = KINDS[kind] * (length // len(KINDS[kind]))
        taken, longest = seconds(text, EncoderTokens(encoder) if encoder else None)
        name = f"{kind}, {encoder}" if encoder else kind
        rows.append({"kind": name, "characters": len(text), "seconds": round(taken, 3), "longest": longest})
        print(f"{name:24} {len(text):11,} {taken:8.2f} {taken / len(text) * 1e6:14.2f} {longest:8}", flush=True)
    for path in sys.argv[1:2]:
        Path(path).write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
