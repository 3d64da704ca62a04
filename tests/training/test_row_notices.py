"""Oddities of rows that are told before training, and rows as usual, of which nothing is said."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from lorag.pipeline.errors import DataError
from lorag.pipeline.records import Role
from lorag.training.dataset import DataFolder
from lorag.training.row_notices import notices

Rows = Sequence[Mapping[str, Any]]


def lay(folder: Path, files: Mapping[str, Rows]) -> DataFolder:
    for name, rows in files.items():
        path = folder / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps({"id": f"{name}-{n}", **row}) + "\n" for n, row in enumerate(rows)))
    return DataFolder(folder, {})


def turn(question: str, *history: str) -> Mapping[str, Any]:
    return {"history": list(history), "question": question, "rewrite": f"{question} in full"}


def judged(answer: str, label: str, task: str = "support") -> Mapping[str, Any]:
    return {"task": task, "inputs": {"answer": answer}, "label": label}


FIRST = ("User: Who was Ann?", "Assistant: A keeper.")
SECOND = (*FIRST, "User: And Bob?", "Assistant: Her son.")


@pytest.mark.parametrize(
    ("trained", "tested"),
    [
        (turn("And Bob?", *FIRST), turn("When?", *SECOND)),  # the next turn
        (turn("When?", *SECOND), turn("And Bob?", *FIRST)),  # the one before
        (turn("And Eve?", *FIRST), turn("When?", *SECOND)),  # both begin alike
        (turn("Who was Ann?"), turn("And Bob?", *FIRST)),  # the first turn has no history
        (turn("And Bob?", "Topic: Lights", *FIRST), turn("When?", *[each.upper().replace("USER", "User") for each in FIRST])),
    ],
)
def test_turns_of_one_conversation_are_told(tmp_path: Path, trained: Any, tested: Any) -> None:
    tested = {**tested, "history": [each.replace("ASSISTANT", "Assistant") for each in tested["history"]]}
    data = lay(tmp_path, {"train/rewriter": [turn("Else?", "User: No."), trained], "test/rewriter": [tested]})
    (line,) = notices(data, Role.REWRITER)
    assert line.startswith("1 rows of test/rewriter.jsonl are turns of conversations in train/rewriter.jsonl, such as ")
    assert "test/rewriter.jsonl:1 and train/rewriter.jsonl:2" in line


def test_conversations_that_are_named_or_differ_are_not(tmp_path: Path) -> None:
    trained = [turn("And Bob?", *FIRST), {**turn("Where?", "User: Hm.", "Assistant: So."), "conversation": "a"}]
    other = turn("And Bob?", FIRST[0], "Assistant: A ship.")
    tested = [other, {**turn("When?", "User: Hm.", "Assistant: So."), "conversation": "b"}]
    assert notices(lay(tmp_path, {"train/rewriter": trained, "test/rewriter": tested}), Role.REWRITER) == ()


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKD"])
@pytest.mark.parametrize("change", ["{}", " {}\n", "{}\u200b", "\ufeff{}"])
def test_a_repeat_in_another_form_is_told(tmp_path: Path, form: Any, change: str) -> None:
    asked, other = "Où est la ﬁn du café?", unicodedata.normalize(form, "OÙ  EST LA ﬁN du\u00a0café?")
    rows = {"positive_ids": ["a#1"]}
    data = lay(tmp_path, {})
    for split, query in (("train", asked), ("test", change.format(other))):
        (tmp_path / split).mkdir()
        (tmp_path / split / "embedder.jsonl").write_text(json.dumps({"query_id": split, "query": query, **rows}) + "\n")
    (line,) = notices(data, Role.EMBEDDER)
    assert "1 rows of test/embedder.jsonl stand word for word in train/embedder.jsonl" in line


def test_labels_that_contradict_and_rows_given_often_are_told(tmp_path: Path) -> None:
    rows = [judged("Now.", "full"), judged("now. ", "none"), *[judged("Then.", "partly")] * 5]
    often, contradict = notices(lay(tmp_path, {"train/judge": rows}), Role.JUDGE)
    assert "1 rows of train/judge.jsonl are given 3 times or more, such as train/judge.jsonl:3, 5 times" in often
    assert contradict.startswith("1 rows of train/judge.jsonl have another label than an earlier row with the same input, ")
    assert "train/judge.jsonl:2 and train/judge.jsonl:1" in contradict


def test_a_judge_of_one_class_is_told_by_task(tmp_path: Path) -> None:
    rows = [judged("Now.", "full"), judged("Then.", "full"), judged("A.", "yes", "other"), judged("B.", "no", "other")]
    (line,) = notices(lay(tmp_path, {"train/judge": rows}), Role.JUDGE)
    assert line.startswith("all rows of task 'support' in train/judge.jsonl are 'full'")


def test_a_document_on_both_sides_is_told_as_what_it_is(tmp_path: Path) -> None:
    asked = {"question": "When?", "answers": ["now"], "answerable": True}
    files = {
        "train/synthesizer": [{**asked, "passage_ids": ["b.md#1"]}, {**asked, "passage_ids": ["a.md#1"]}],
        "test/synthesizer": [{**asked, "passage_ids": ["a.md#2"]}],
    }
    says = r"document a.md is on both sides: passage a.md#1 \(train/synthesizer.jsonl:2\) is trained on, and a.md#2 "
    with pytest.raises(DataError, match=says + r"\(test/synthesizer.jsonl:1\) is held out"):
        lay(tmp_path, files).check_documents(Role.SYNTHESIZER)
    files["test/synthesizer"] = [{**asked, "passage_ids": ["c.md#2"]}]
    lay(tmp_path, files).check_documents(Role.SYNTHESIZER)
