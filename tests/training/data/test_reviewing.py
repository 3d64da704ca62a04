"""Made rows that a person reads: what is shown, what becomes of it, and how far filters are agreed with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lorag.pipeline.adapters.evidence import DataOrigin
from lorag.pipeline.errors import DataError, InputError
from lorag.pipeline.records import Role
from lorag.services.cli import app
from lorag.training.data.reviewing import (
    Agreement,
    Reviewed,
    Verdict,
    add_reviewed,
    agreements,
    read_reviewed,
    review_items,
)
from lorag.training.dataset import DataFolder

COUNT = 12


def lines(path: Path, rows: list[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def source(n: int) -> dict[str, object]:
    return {"question": f"Where is key {n}?", "passage": f"d{n}#0", "start": 0, "end": 4, "span": f"door {n}", "kind": "name"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve made questions with their queries, one more that nothing answers, and ten that filters dropped."""
    rows = tmp_path / "rows"
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
    queries = [{"query_id": f"e-{n}", "query": f"Where is key {n}?", "positive_ids": [f"d{n}#0"]} for n in range(COUNT)]
    for name, held in (("synthesizer", [*asked, missing]), ("embedder", queries)):
        lines(rows / "test" / f"{name}.jsonl", [{**row, "origin": "made"} for row in held])
    origin = [
        {"id": f"{kind}-{n}", "role": role, "split": "test", "how": "", "writer": "x", "of": [source(n)]}
        for n in range(COUNT)
        for kind, role in (("s", "synthesizer"), ("e", "embedder"))
    ]
    lines(rows / "origin.jsonl", origin)
    dropped = [{"filter": "copy" if n % 2 else "quota", "reason": "", "id": f"r-{n}", **source(n)} for n in range(10)]
    lines(rows / "rejected.jsonl", dropped)
    return rows


def said(id_: str, verdict: Verdict, question: str = "Q?", answer: str = "door 1", filter: str = "") -> Reviewed:
    return Reviewed(id_, verdict, question, answer, filter)


def test_a_fifth_of_what_is_shown_was_dropped_by_filters_of_soundness(folder: Path) -> None:
    items = review_items(folder, 10)
    assert len(items) == 10 and [each.filter for each in items if each.filter] == ["copy", "copy"]
    assert items == review_items(folder, 10) != review_items(folder, 10, seed=1)
    assert all(each.passages and each.question for each in items)
    every = {each.id: each for each in review_items(folder, 100)}
    assert every["s-u"].answer == "" and every["s-3"].answer == "door 3"


def test_what_is_kept_becomes_a_human_row_and_its_query_too(folder: Path) -> None:
    add_reviewed(folder, said("s-1", Verdict.KEEP, "Where is key 1?"))
    add_reviewed(folder, said("s-2", Verdict.DROP))
    add_reviewed(folder, said("s-3", Verdict.CORRECT, "Behind which door is key 3?", "door three"))
    add_reviewed(folder, said("s-u", Verdict.KEEP, "Who made key 1?", ""))
    data = DataFolder(folder, {})
    kept = {row.id: row for row in data.questions("test")}
    assert {id_: row.origin for id_, row in kept.items()} == dict.fromkeys(("s-1", "s-3", "s-u"), DataOrigin.HUMAN)
    assert (kept["s-3"].question, kept["s-3"].answers) == ("Behind which door is key 3?", ("door three",))
    assert (kept["s-1"].answers, kept["s-u"].answerable) == (("door 1",), False)
    assert {row.query_id: row.query for row in data.embed_rows("test")} == {
        "e-1": "Where is key 1?",
        "e-3": "Behind which door is key 3?",
    }
    assert data.origin("test", Role.SYNTHESIZER) is DataOrigin.HUMAN
    unread = {row.id for row in data.questions("made-test")}
    assert unread == {f"s-{n}" for n in range(COUNT)} - {"s-1", "s-2", "s-3"}
    assert {each.id for each in review_items(folder, 100)} == unread | {f"r-{n}" for n in range(1, 10, 2)}


def test_the_last_verdict_counts(folder: Path) -> None:
    add_reviewed(folder, said("s-1", Verdict.KEEP, "Where is key 1?"))
    add_reviewed(folder, said("s-1", Verdict.DROP))
    assert [each.verdict for each in read_reviewed(folder)] == [Verdict.DROP]
    assert not (folder / "test" / "synthesizer.jsonl").exists()


def test_a_row_that_was_dropped_by_a_filter_becomes_no_row(folder: Path) -> None:
    add_reviewed(folder, said("r-1", Verdict.KEEP, filter="copy"))
    assert {row.origin for row in DataFolder(folder, {}).questions("made-test")} == {DataOrigin.MADE}


def test_agreement_with_each_filter() -> None:
    verdicts = [said(f"a{n}", Verdict.DROP if n < 3 else Verdict.KEEP) for n in range(10)]
    verdicts += [said(f"c{n}", Verdict.KEEP if n < 2 else Verdict.DROP, filter="copy") for n in range(5)]
    verdicts += [said("l", Verdict.KEEP, filter="leak")]
    assert agreements(verdicts) == (Agreement("", 7, 10), Agreement("copy", 3, 5), Agreement("leak", 0, 1))
    assert [each.is_weak for each in agreements(verdicts)] == [True, True, False]


def test_what_cannot_be_reviewed_is_said(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a corrected question must not be empty"):
        add_reviewed(folder, said("s-1", Verdict.CORRECT, "  "))
    (folder / "test" / "synthesizer.jsonl").unlink()
    with pytest.raises(DataError, match="no made test questions; name a folder that `lorag data make` wrote"):
        review_items(folder, 5)
    with pytest.raises(DataError, match="is no folder|no passages.jsonl"):
        review_items(tmp_path / "nowhere", 5)


def test_in_the_terminal_one_key_a_row(folder: Path) -> None:
    answer = CliRunner().invoke(app, ["data", "review", str(folder), "--rows", "4"], input="k\n?\nb\nd\nq\nWhere?\nk\nk\nx\n")
    assert answer.exit_code == 0, answer.output
    assert "1 of 4" in answer.output and "Answer:" in answer.output and "is no key" in answer.output
    found = read_reviewed(folder)
    assert {each.verdict for each in found} == {Verdict.DROP, Verdict.CORRECT, Verdict.KEEP} and len(found) == 4
    assert [each.question for each in found if each.verdict is Verdict.CORRECT] == ["Where?"]
    assert "that passed all filters, you keep" in answer.output
