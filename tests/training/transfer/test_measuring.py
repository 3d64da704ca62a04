"""The tasks of a role: the test rows of a data folder, if one is given, then the invented items."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from lorag.pipeline.adapters.evidence import DataOrigin
from lorag.pipeline.errors import DataError
from lorag.pipeline.records import Role
from lorag.training.dataset import DataFolder
from lorag.training.transfer.measuring import tasks

INVENTED = {
    Role.REWRITER: ["invented conversations"],
    Role.SYNTHESIZER: ["invented documents"],
    Role.JUDGE: ["answerability, invented documents", "support, invented documents"],
}
PASSAGES = [{"id": f"{name}.md#1", "title": name, "text": f"The {name} is red."} for name in "abcdefgh"]
QUESTIONS = [
    {"id": "q1", "question": "Is a red?", "answers": ["yes"], "passage_ids": ["a.md#1"], "group": "one"},
    {"id": "q2", "question": "Is z red?", "answers": [], "answerable": False, "near_ids": ["b.md#1"]},
    {"id": "q3", "question": "And it?", "answers": ["yes"], "passage_ids": ["c.md#1"], "history": ["User: Is b red?"]},
]

Write = Callable[[Role, Sequence[Mapping[str, Any]]], DataFolder]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def rows(path: Path, found: Sequence[Mapping[str, Any]]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")

    def folder(role: Role, test: Sequence[Mapping[str, Any]]) -> DataFolder:
        rows(tmp_path / "harbour" / "passages.jsonl", PASSAGES)
        rows(tmp_path / "harbour" / "test" / f"{role.value}.jsonl", test)
        return DataFolder(tmp_path / "harbour", {})

    return folder


@pytest.mark.parametrize("role", INVENTED)
def test_without_a_folder_all_items_are_invented(role: Role) -> None:
    found = tasks(role, 3)
    assert [(task.name, task.items, task.origin) for task in found] == [(name, 3, DataOrigin.MADE) for name in INVENTED[role]]


def test_questions_are_shown_with_their_gold_passages_among_others(write: Write) -> None:
    task, invented = tasks(Role.SYNTHESIZER, 9, write(Role.SYNTHESIZER, QUESTIONS))
    assert (task.name, task.origin, invented.name) == ("harbour", DataOrigin.HUMAN, "invented documents")
    shown = {item.gold.id: {hit.passage.id for hit in item.hits} for item in task.answered}
    assert shown.keys() == {"q1", "q2"}  # the third leans on its history and has no standalone form
    assert all(len(passages) == 4 for passages in shown.values())
    assert "a.md#1" in shown["q1"] and "b.md#1" in shown["q2"]
    golds = {item.gold.id: item.gold for item in task.answered}
    assert (golds["q1"].passage_ids, golds["q1"].group, golds["q2"].answerable) == (("a.md#1",), "one", False)


def test_turns_without_a_history_are_left_out(write: Write) -> None:
    turn = {"id": "t1", "history": ["User: Is a red?"], "question": "And b?", "rewrite": "Is b red?", "origin": "made"}
    alone = {"id": "t2", "history": [], "question": "Is c red?", "rewrite": "Is c red?"}
    task, _ = tasks(Role.REWRITER, 9, write(Role.REWRITER, [turn, alone]))
    assert [(item.query.question, item.gold.rewrites) for item in task.rewritten] == [("And b?", ("Is b red?",))]
    assert task.origin is DataOrigin.MADE


def test_judgments_are_a_task_each(write: Write) -> None:
    passages = [{"title": "a", "text": "The a is red."}]
    inputs = {"question": "Is a red?", "passages": passages}
    rows = [
        {"id": "j1", "task": "answerability", "inputs": inputs, "label": "answerable"},
        {"id": "j2", "task": "support", "inputs": {**inputs, "answer": "yes"}, "label": "supported"},
    ]
    found = tasks(Role.JUDGE, 9, write(Role.JUDGE, rows))
    assert [(task.name, task.items) for task in found[:2]] == [("answerability, harbour", 1), ("support, harbour", 1)]


def test_a_folder_without_rows_of_the_role_or_without_a_passage_is_refused(write: Write) -> None:
    folder = write(Role.SYNTHESIZER, [{**QUESTIONS[0], "passage_ids": ["z.md#1"]}])
    with pytest.raises(DataError, match=r"no test/judge\.jsonl in .*harbour"):
        tasks(Role.JUDGE, 3, folder)
    with pytest.raises(DataError, match=r"row 'q1' names passage 'z\.md#1', which the passages file does not hold"):
        tasks(Role.SYNTHESIZER, 3, folder)
