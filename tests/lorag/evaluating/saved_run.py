"""A small run folder as `lorag eval chain --out` writes it, by hand: ten questions of ten documents, a turn, two judgments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

QUESTIONS = tuple(f"q{n}" for n in range(10))
CONFIGURATION = "all adapters"


def lay_run(folder: Path) -> Path:
    """Question n has its gold passage `d{n}#g` in place 1 (n even) or 2; q9 failed; q8 has no answer in the documents."""
    folder.mkdir()
    header = {
        "base": {"id": "tiny", "digest": "0"},
        "adapters": {"rewriter": "rewriter-1 abc"},
        "data": {"synthesizer.jsonl": "0123456789abcdef0123"},
        "libraries": {"lorag": "0.1.0"},
    }
    lines = [{"header": header}, *map(_question, range(10)), _rewrite(), *map(_judgment, range(2))]
    tests = [*map(_asked, range(10)), _turn(), *map(_judged, range(2))]
    for name, rows in (("items.jsonl", lines), ("tests.jsonl", tests)):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    usage = [
        {"stage": "synthesize", "adapter": "base", "requests": 10, "prompt_tokens": 900, "completion_tokens": 80, "timed": 10}
    ]
    (folder / "usage.json").write_text(json.dumps(usage), encoding="utf-8")
    return folder


def _question(n: int) -> dict[str, Any]:
    gold, other = f"d{n}#g", f"d{(n + 1) % 10}#o"
    ranking = [[gold, 0.5], [other, 0.5]] if n % 2 == 0 else [[other, 0.9], [gold, 0.25]]
    ndcg = 1.0 if n % 2 == 0 else 0.6309297535714575
    failed = n == 9
    scores = {"nDCG@10": ndcg, "Recall@5": 1.0} if n != 8 else {}
    return {
        "configuration": CONFIGURATION,
        "kind": "question",
        "id": f"q{n}",
        "group": f"d{n}",
        "question": f"Question {n}?",
        "rewrite": f"Question {n}?",
        "rewrite_outcome": "ok",
        "hits": [id_ for id_, _ in ranking],
        "ranking": ranking,
        "answer": {
            "text": "" if failed else f"Answer {n}.",
            "reply": "" if failed else f"Answer {n}. [1]",
            "refused": False,
            "outcome": "failed" if failed else "ok",
            "citations": [] if failed else [{"passage_id": gold, "quote": ""}],
            "error": "the engine took more than 5 s" if failed else None,
        },
        "scores": scores if failed else {**scores, "F1": n / 10} if n != 8 else {"right refusals": 0.0},
    }


def _asked(n: int) -> dict[str, Any]:
    return {
        "kind": "question",
        "id": f"q{n}",
        "group": f"d{n}",
        "history": [["topic", "Keys"], ["user", "Who?"], ["assistant", "She."]] if n == 0 else [],
        "input": f"Question {n}?",
        "target": [f"Gold {n}", "or this"] if n != 8 else [],
        "passages": [f"d{n}#g"] if n != 8 else [],
        "answerable": n != 8,
    }


def _rewrite() -> dict[str, Any]:
    named = {"configuration": CONFIGURATION, "kind": "rewrite", "id": "t0", "group": "c0"}
    return {**named, "outcome": "ok", "scores": {"ROUGE-1": 0.5}, "rewrite": "Who keeps the key?"}


def _turn() -> dict[str, Any]:
    asked = {"history": [["user", "The key?"]], "input": "Who?", "target": ["Who keeps the key?"]}
    return {"kind": "rewrite", "id": "t0", "group": "c0", **asked}


def _judgment(n: int) -> dict[str, Any]:
    label = None if n else "support: supported"
    named = {"configuration": CONFIGURATION, "kind": "judgment", "id": f"j{n}", "gold": "support: supported", "label": label}
    return {**named, "probabilities": {}, "group": f"d{n}", "outcome": "unparsed" if n else "ok"}


def _judged(n: int) -> dict[str, Any]:
    asked = {"history": [], "input": "Answer: It is so.", "target": ["support: supported"]}
    return {"kind": "judgment", "id": f"j{n}", "group": f"d{n}", **asked}
