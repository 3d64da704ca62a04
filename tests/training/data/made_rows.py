"""A small folder of rows as `lorag data make` leaves it, for the tests of reviewing."""

from __future__ import annotations

import json
from pathlib import Path

COUNT = 12


def lines(path: Path, rows: list[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def source(n: int) -> dict[str, object]:
    start = len(f"Key {n} is behind ")
    place = {"passage": f"d{n}#0", "start": start, "end": start + len(f"door {n}"), "span": f"door {n}"}
    return {"question": f"Where is key {n}?", **place, "kind": "name"}


def lay_rows(rows: Path) -> Path:
    """Twelve made questions with their queries, one more that nothing answers, and ten that filters dropped."""
    lines(
        rows / "passages.jsonl",
        [{"id": f"d{n}#0", "title": f"Key {n}", "text": f"Key {n} is behind door {n}."} for n in range(COUNT)],
    )
    asked = [
        {
            "id": f"s-{n}",
            "question": f"Where is key {n}?",
            "answers": [f"door {n}"],
            "passage_ids": [f"d{n}#0"],
            "answerable": True,
        }
        for n in range(COUNT)
    ]
    missing = {"id": "s-u", "question": "Who made key 1?", "answers": [], "answerable": False, "near_ids": ["d1#0"]}
    queries = [{"query_id": f"s-{n}", "query": f"Where is key {n}?", "positive_ids": [f"d{n}#0"]} for n in range(COUNT)]
    for name, held in (("synthesizer", [*asked, missing]), ("embedder", queries)):
        lines(rows / "test" / f"{name}.jsonl", [{**row, "origin": "made"} for row in held])
    origin = [
        {"id": f"s-{n}", "role": role, "split": "test", "how": "", "writer": "x", "of": [source(n)]}
        for n in range(COUNT)
        for role in ("synthesizer", "embedder")
    ]
    lines(rows / "origin.jsonl", origin)
    dropped = [{"filter": "copy" if n % 2 else "quota", "reason": "", "id": f"r-{n}", **source(n)} for n in range(10)]
    lines(rows / "rejected.jsonl", dropped)
    return rows
