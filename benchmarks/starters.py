"""The base in its best plain prompt against the bundled starters, on held-out public rows, with 95 % intervals.

    python -m benchmarks.starters --data DIR [--role ROLE …] [--items 100] [--precision nf4] [--cards] [--write FILE]

Grounded questions (gold among four passages), exact copying of codes and numbers, refusals; rewriting on CANARD, CAsT and
iKAT, with the raw question for comparison; the judge's tasks and a schema it never saw; perplexity of plain text. With another
precision the same weights serve on a base that is not 4-bit. An adapter that is not bundled is measured with
`--adapter ROLE=FOLDER`. With `--cards` the paired differences become the evidence on the cards of the bundled starters.
"""

from __future__ import annotations

import argparse
import json
import lzma
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks.provenance import provenance
from benchmarks.starter_training.build import BASE
from benchmarks.starter_training.bundle import record_evidence
from benchmarks.starter_training.held_out import READING, REWRITING, public_tasks
from lorag.pipeline.adapters.evidence import Evidence
from lorag.pipeline.adapters.starters import bundled_starters
from lorag.pipeline.engine.bases import resolve_base, tokenizer_place
from lorag.pipeline.engine.batch import BASE_ROW
from lorag.pipeline.engine.decoding import ChoiceRow
from lorag.pipeline.engine.local import LocalEngine, open_engine
from lorag.pipeline.engine.weights import Precision, load_weights
from lorag.pipeline.evaluation import rewrites
from lorag.pipeline.evaluation.ablation import Measured, interval
from lorag.pipeline.records import Outcome, Rewrite, Role
from lorag.pipeline.storage.digests import file_digest
from lorag.training.transfer.measuring import METRICS, Task, differences, measure, tasks

ROLES = (Role.SYNTHESIZER, Role.REWRITER, Role.JUDGE)
TEXTS = ("encyclopedic", "textbooks_openstax")
WINDOWS = 24
"""Number of pieces of each plain text for perplexity, evenly spaced."""

WINDOW = 512
"""Tokens of a piece; perplexity is over all but the first."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One metric of one system on one set; no interval if there is only one group."""

    task: str
    metric: str
    system: str
    value: float
    low: float | None
    high: float | None
    n: int


def of_role(
    engine: LocalEngine, role: Role, adapter: str, chosen: Sequence[Task], paired: Callable[[Evidence], None]
) -> Iterator[Figure]:
    """Base and adapter on each task, and for the rewriter also the raw question; `paired` gets each difference."""
    for task in chosen:
        base, measured = measure(engine, None, task), measure(engine, adapter, task)
        yield from figures(role, task, "base", base)
        yield from figures(role, task, "starter", measured)
        for difference in differences(role, task, base, measured):
            paired(difference)
        if role is Role.REWRITER:
            golds = [item.gold for item in task.rewritten]
            raw = {gold.id: Rewrite(gold.question, Outcome.OK, gold.question) for gold in golds}
            yield from figures(role, task, "raw question", replace(measured, rewrites=rewrites.score_rewrites(golds, raw)))


def figures(role: Role, task: Task, system: str, measured: Measured) -> Iterator[Figure]:
    for metric in METRICS[role]:
        if (found := interval(measured, metric)) is not None:
            yield Figure(task.name, metric, system, found.value, found.low, found.high, found.n)


def perplexities(engine: LocalEngine, adapters: Sequence[str], data: Path) -> Iterator[Figure]:
    """Perplexity of plain text by the base and by each adapter: the cost of a precision, and the gain of an adapter."""
    for text in TEXTS:
        windows = plain_windows(data / "text" / f"{text}.jsonl.xz")
        for adapter in (BASE_ROW, *adapters):
            rows = [ChoiceRow(ids[:1], adapter, (ids[1:],)) for ids in windows]
            logprobs = [value for row in rows for value in engine.token_logprobs(row)[0]]
            name = "base" if adapter == BASE_ROW else f"starter {adapter}"
            yield Figure(
                f"{text}, plain text", "perplexity", name, math.exp(-math.fsum(logprobs) / len(logprobs)), None, None, len(rows)
            )


def plain_windows(path: Path) -> list[tuple[int, ...]]:
    """The first `WINDOW` tokens of long enough pieces of the file, evenly spaced."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tokenizer_place(BASE))
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        pieces = [text for text in (json.loads(line)["text"] for line in lines) if len(text) > 8 * WINDOW]
    chosen = pieces[:: max(1, len(pieces) // WINDOWS)][:WINDOWS]
    encoded = (tokenizer(text, add_special_tokens=False)["input_ids"][:WINDOW] for text in chosen)
    return [tuple(ids) for ids in encoded if len(ids) == WINDOW]


def show(figure: Figure) -> str:
    spread = f"({figure.low:.3f} to {figure.high:.3f})" if figure.low is not None else ""
    return f"{figure.task:34} {figure.metric:28} {figure.system:20} {figure.value:7.3f} {spread:18} n = {figure.n}"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the public sets (starter_training/README.md)")
    parser.add_argument("--role", action="append", choices=[role.value for role in ROLES], help="default: all that are bundled")
    parser.add_argument("--adapter", action="append", default=[], metavar="ROLE=FOLDER", help="in place of the bundled one")
    parser.add_argument("--items", type=int, default=100, help="items a task")
    parser.add_argument("--precision", default="nf4", choices=[precision.value for precision in Precision])
    parser.add_argument("--text-only", action="store_true", help="perplexity alone")
    parser.add_argument("--cards", action="store_true", help="the paired differences become the evidence on the bundled cards")
    parser.add_argument("--write", type=Path)
    return parser.parse_args()


def command(chosen: argparse.Namespace, wanted: Sequence[Role]) -> str:
    """The command that reproduces the stored figures."""
    words = ["python -m benchmarks.starters --data DIR", *(f"--role {role.value}" for role in wanted)]
    words += [f"--items {chosen.items}", f"--precision {chosen.precision}", *(["--text-only"] if chosen.text_only else [])]
    return " ".join(words)


def main() -> None:
    chosen = parse()
    if chosen.cards and (chosen.adapter or chosen.precision != "nf4" or chosen.text_only):
        sys.exit("--cards is for the bundled starters as they are served: leave out --adapter, --precision and --text-only")
    given: dict[Role, Path] = {Role(name): Path(folder) for name, _, folder in (text.partition("=") for text in chosen.adapter)}
    folders = {**bundled_starters(), **given}
    wanted = [role for role in ROLES if role in folders and (not chosen.role or role.value in chosen.role)]
    engine = open_engine(load_weights(resolve_base(BASE), precision=Precision(chosen.precision)))
    for role in wanted:
        engine.load_adapter(role.value, folders[role])
    found: list[Figure] = []

    def keep(made: Iterator[Figure]) -> None:
        for figure in made:
            found.append(figure)
            print(show(figure), flush=True)

    start = time.monotonic()
    keep(perplexities(engine, [role.value for role in wanted], chosen.data))
    compared: dict[str, list[Evidence]] = {}
    for role in [] if chosen.text_only else wanted:
        compared[role.value] = []
        measured = [*public_tasks(role, chosen.data, chosen.items), *tasks(role, chosen.items)]
        keep(of_role(engine, role, role.value, measured, compared[role.value].append))
        if chosen.cards:
            record_evidence(bundled_starters()[role], compared[role.value])
    if chosen.write:
        files = [folders[role] / "adapter_model.safetensors" for role in wanted]
        facts = {
            "command": command(chosen, wanted),
            "items": chosen.items,
            "precision": chosen.precision,
            "seconds": round(time.monotonic() - start),
        }
        adapters = {role.value: digest for role, digest in zip(wanted, map(file_digest, files), strict=True)}
        sets = [chosen.data / f"{name}.train.jsonl.gz" for name in (*READING, *REWRITING, "intent_hwu64")]
        stored = facts | provenance(sets) | {"adapters": adapters, "figures": [asdict(each) for each in found]}
        stored |= {"differences": {role: [asdict(each) for each in pairs] for role, pairs in compared.items()}}
        chosen.write.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
