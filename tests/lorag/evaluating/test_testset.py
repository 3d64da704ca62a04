"""The held-out split of a data folder as a test set: what is drawn, by what it is grouped, and how rows become items."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lorag.evaluating.testset import Sizes, read_tests
from lorag.pipeline.errors import DataError
from lorag.pipeline.evaluation.ablation import TestSet
from lorag.pipeline.evaluation.answers import GoldAnswer
from lorag.pipeline.evaluation.rewrites import GoldRewrite
from lorag.pipeline.records import Query, Role, Speaker, Turn
from lorag.training.dataset import DataFolder

Rows = Sequence[Mapping[str, Any]]
INTENTS = {"ask": "wants to know", "thank": "is pleased"}


def question(number: int, **more: Any) -> Mapping[str, Any]:
    row = {"id": f"q{number}", "question": f"Question {number}?", "answers": [f"answer {number}"], "answerable": True}
    return {**row, "passage_ids": [f"d{number}.md#1"], **more}


def unanswerable(number: int) -> Mapping[str, Any]:
    return question(number, id=f"u{number}", answers=[], answerable=False, passage_ids=[], near_ids=[f"d{number}.md#2"])


def turn(number: int, **more: Any) -> Mapping[str, Any]:
    row = {"id": f"t{number}", "history": ["User: Who?", "Assistant: Ann."], "question": "When?"}
    return {**row, "rewrite": f"When was {number}?", "conversation": f"c{number}", **more}


def without_conversation(row: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: value for name, value in row.items() if name != "conversation"}


def judgment(number: int, task: str, label: str, **more: Any) -> Mapping[str, Any]:
    return {"id": f"j-{task}-{number}", "task": task, "inputs": {"message": f"m{number}"}, "label": label, **more}


ROWS: Mapping[str, Rows] = {
    "synthesizer": [*(question(n) for n in range(12)), *(unanswerable(n) for n in range(6))],
    "rewriter": [
        *(turn(n, passage_ids=[f"d{n}.md#1"], answers=["Soon."], quotes=["soon"]) for n in range(4)),
        *(turn(n) for n in range(4, 8)),
        turn(8, history=[]),
    ],
    "judge": [
        *(judgment(n, "intent", "ask", group="g1") for n in range(9)),
        *(judgment(n, "support", "partly", passage_ids=[f"d{n}.md#1", "x.md#1"]) for n in range(3)),
    ],
    "embedder": [{"query_id": "e", "query": "Where?", "positive_ids": ["d1.md#1"]}],
}


def lay(folder: Path, rows: Mapping[str, Rows] = ROWS, split: str = "test") -> DataFolder:
    (folder / split).mkdir(parents=True, exist_ok=True)
    for name, content in rows.items():
        (folder / split / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in content), encoding="utf-8")
    return DataFolder(folder, INTENTS)


@pytest.fixture
def data(tmp_path: Path) -> DataFolder:
    return lay(tmp_path)


def kinds(tests: TestSet) -> tuple[int, int, int]:
    """Answerable and unanswerable questions that are answered, and those that count for retrieval alone."""
    asked = [item for item in tests.chain if item.answered]
    answerable = sum(item.gold.answerable for item in asked)
    return answerable, len(asked) - answerable, len(tests.chain) - len(asked)


def test_without_limits_all_rows_are_there_in_file_order(data: DataFolder) -> None:
    tests = read_tests(data, Sizes())
    assert kinds(tests) == (12, 6, 4)
    assert [item.gold.id for item in tests.chain] == [row["id"] for row in ROWS["synthesizer"]] + ["t0", "t1", "t2", "t3"]
    assert [item.gold.id for item in tests.rewrites] == [f"t{n}" for n in range(8)]  # the turn without history is no work
    assert [item.id for item in tests.judgments] == [row["id"] for row in ROWS["judge"]]


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        # Answered: so many of each kind. Retrieval alone: every other answerable question, and the turns with passages.
        (Sizes(questions=6, unanswerable=2), (4, 2, 8 + 4)),
        (Sizes(questions=2, unanswerable=2), (0, 2, 12 + 4)),
        (Sizes(questions=0, unanswerable=0), (0, 0, 12 + 4)),
        (replace(Sizes.at_most(4, 0), turns=None), (3, 1, 9 + 4)),
        (replace(Sizes.at_most(3, 0), turns=None), (3, 0, 9 + 4)),
        (Sizes.at_most(None, 0), (12, 6, 4)),
        (Sizes(questions=50, unanswerable=50), (12, 6, 4)),
        (Sizes(unanswerable=1), (12, 1, 4)),
    ],
)
def test_questions_and_unanswerable_ones_are_drawn_apart(sizes: Sizes, expected: tuple[int, int, int], data: DataFolder) -> None:
    assert kinds(read_tests(data, sizes)) == expected


def test_judgments_are_drawn_for_each_task(data: DataFolder) -> None:
    tests = read_tests(data, Sizes(judgments=4))
    assert Counter(item.schema.task for item in tests.judgments) == {"intent": 4, "support": 3}
    assert len(read_tests(data, Sizes(turns=5)).rewrites) == 5


def test_the_same_seed_draws_the_same_items_and_another_does_not(data: DataFolder) -> None:
    def drawn(seed: int) -> TestSet:
        return read_tests(data, Sizes(questions=5, unanswerable=2, turns=3, judgments=3, seed=seed))

    assert drawn(0) == drawn(0)
    assert len({tuple(item.gold.id for item in drawn(seed).rewrites) for seed in range(8)}) > 1
    for part in ("chain", "rewrites", "judgments"):
        order = [item.gold.id if part != "judgments" else item.id for item in getattr(read_tests(data, Sizes()), part)]
        found = [item.gold.id if part != "judgments" else item.id for item in getattr(drawn(3), part)]
        assert found == [each for each in order if each in found]


def test_how_rows_become_items(tmp_path: Path) -> None:
    rows = {
        **ROWS,
        "synthesizer": [
            question(1, standalone="Question one of Ann?", quotes=["said"], history=["User: Hm."]),
            unanswerable(2),
            question(3, history=["User: Hm."]),
        ],
        "rewriter": [turn(1, rewrites=["When was one?", "Which year?"], passage_ids=["d1.md#1"], answers=["Soon."])],
    }
    tests = read_tests(lay(tmp_path, rows), Sizes())
    asked, refused, followed, turned = tests.chain
    assert asked.query == Query("Question one of Ann?")  # the synthesizer is measured on a question that stands alone
    assert asked.gold == GoldAnswer("q1", ("answer 1",), True, ("d1.md#1",), ("said",), "d1.md")
    assert refused.gold == GoldAnswer("u2", (), False, (), (), "d2.md")  # grouped by the document it was asked beside
    assert followed.query == Query("Question 3?", (Turn(Speaker.USER, "Hm."),))  # nothing stands alone: the rewriter is asked
    history = (Turn(Speaker.USER, "Who?"), Turn(Speaker.ASSISTANT, "Ann."))
    assert (turned.query, turned.answered, turned.gold_rewrite) == (Query("When?", history), False, "When was 1?")
    assert turned.gold.group == "d1.md"  # as the question about the same document
    assert tests.rewrites[0].gold == GoldRewrite("t1", "When?", ("When was 1?", "When was one?", "Which year?"), "c1")
    intent, support = tests.judgments[0], tests.judgments[-1]
    assert dict(intent.schema.labels) == INTENTS
    assert (intent.label, intent.group, support.group) == ("ask", "g1", "d2.md")


def test_questions_and_turns_that_share_a_source_are_one_cluster(tmp_path: Path) -> None:
    """By document, by conversation, by group, and by what stands between; a row of a .jsonl file is a document of its own."""
    rows = {
        "synthesizer": [
            question(1),
            question(2, group="g"),
            question(3, passage_ids=["d3.md#1", "d4.md#1"]),
            question(4),
            question(5, passage_ids=["rows.jsonl#a#1"]),
            question(6, passage_ids=["rows.jsonl#b#1"]),
            question(7, passage_ids=[]),
        ],
        "rewriter": [
            turn(1, conversation="c", passage_ids=["d1.md#2"]),
            turn(2, conversation="c", passage_ids=["d2.md#2"]),
            without_conversation(turn(8, group="g", passage_ids=["d8.md#1"])),
            turn(9, passage_ids=["d9.md#1"]),
        ],
    }
    tests = read_tests(lay(tmp_path, rows), Sizes(), roles=(Role.SYNTHESIZER, Role.REWRITER))
    together: dict[str, set[str]] = {}
    for item in tests.chain:
        together.setdefault(item.gold.group, set()).add(item.gold.id)
    found = sorted(" ".join(sorted(ids)) for ids in together.values())
    assert found == ["q1 q2 t1 t2 t8", "q3 q4", "q5", "q6", "q7", "t9"]
    assert [item.gold.group for item in tests.rewrites] == ["c", "c", "g", "c9"]


def test_a_question_and_a_turn_of_one_id_are_refused(tmp_path: Path) -> None:
    """What is measured is kept by id, so the one would stand in the other's place."""
    same = [turn(1, id="q1", passage_ids=["d1.md#1"])]
    data = lay(tmp_path, {"synthesizer": [question(1)], "rewriter": same})
    with pytest.raises(DataError, match="id 'q1' is that of a question and of a conversation turn in the test rows"):
        read_tests(data, Sizes(), roles=(Role.SYNTHESIZER, Role.REWRITER))
    assert len(read_tests(data, Sizes(), roles=(Role.REWRITER,)).chain) == 1


@pytest.mark.parametrize(
    ("roles", "parts"),
    [
        ((Role.EMBEDDER,), (0, 0, 12, 0, 0)),  # retrieval alone: no model is asked
        ((Role.SYNTHESIZER,), (12, 6, 0, 0, 0)),
        ((Role.REWRITER,), (0, 0, 4, 8, 0)),
        ((Role.JUDGE,), (0, 0, 0, 0, 12)),
    ],
)
def test_a_role_is_measured_on_its_own_items(roles: Sequence[Role], parts: tuple[int, ...], data: DataFolder) -> None:
    tests = read_tests(data, Sizes(), roles=roles)
    answered, refused, retrieved = kinds(tests)
    unanswerable_retrieved = sum(not item.answered and not item.gold.answerable for item in tests.chain)
    assert (answered, refused, retrieved - unanswerable_retrieved, len(tests.rewrites), len(tests.judgments)) == parts


def test_another_split_is_read_where_it_is_asked_for(data: DataFolder) -> None:
    with pytest.raises(DataError, match=r"no dev/judge\.jsonl in"):
        read_tests(data, Sizes(), split="dev", roles=(Role.JUDGE,))
    lay(data.folder, {"judge": ROWS["judge"][:1]}, "dev")
    assert len(read_tests(data, Sizes(), split="dev", roles=(Role.JUDGE,)).judgments) == 1


def test_intents_that_the_project_does_not_name_are_told_with_what_to_do(data: DataFolder) -> None:
    """Only the judge needs them: whether rows leak can be said without."""
    bare = DataFolder(data.folder, {})
    with pytest.raises(DataError) as caught:
        read_tests(bare, Sizes())
    assert str(caught.value) == (
        f"{data.folder}/test/judge.jsonl:1: judge task 'intent' has no label schema; "
        "its labels are the project's own: set `judge.intents` in lorag.yaml"
    )
    lay(data.folder, {"judge": [judgment(0, "intent", "ask", group="g9")]}, "train")
    bare.check_leaks(Role.JUDGE)
    lay(data.folder, {"judge": [judgment(0, "intent", "ask", group="g1")]}, "train")
    with pytest.raises(DataError, match="1 items of test/judge.jsonl are in train/judge.jsonl too, such as group g1"):
        bare.check_leaks(Role.JUDGE)


def test_the_turns_of_whole_conversations_are_answered_if_asked_for(tmp_path: Path) -> None:
    """Each of three has a first turn without history; one lacks a gold answer, and one ends with a question that has none."""
    gold = {"passage_ids": ["d1.md#1"], "answers": ["Soon."], "quotes": ["soon"]}
    rows = {
        **ROWS,
        "rewriter": [
            turn(1, id="a1", conversation="a", history=[], **gold),
            turn(2, id="a2", conversation="a", **gold),
            turn(3, id="b1", conversation="b", history=[], **gold),
            turn(4, id="b2", conversation="b", answerable=False),
            turn(5, id="c1", conversation="c", history=[], **gold),
            turn(6, id="c2", conversation="c"),
        ],
    }
    data = lay(tmp_path, rows)
    turns = [item for item in read_tests(data, Sizes(conversations=None)).chain if item.gold.sentence]
    assert [(item.gold.id, item.answered, item.gold.answerable) for item in turns] == [
        ("a1", True, True),
        ("a2", True, True),
        ("b1", True, True),
        ("b2", True, False),
    ]
    assert {item.conversation for item in turns} == {"a", "b"}
    one = [item for item in read_tests(data, Sizes(conversations=1)).chain if item.gold.sentence and item.answered]
    assert len(one) == 2 and len({item.conversation for item in one}) == 1
    assert not any(item.answered for item in read_tests(data, Sizes()).chain if item.gold.sentence)
    assert not any(item.answered for item in read_tests(data, Sizes(conversations=None), roles=(Role.REWRITER,)).chain)
