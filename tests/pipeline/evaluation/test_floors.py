"""The honest floors, worked by hand: what each metric gives without any model."""

from __future__ import annotations

import pytest

from lorag.pipeline.contracts.judge import JudgeInputs, LabelSchema
from lorag.pipeline.evaluation.ablation import (
    MACRO_F1,
    REWRITE_EM,
    ChainItem,
    Configuration,
    JudgeItem,
    Measured,
    RewriteItem,
    TestSet,
)
from lorag.pipeline.evaluation.answers import (
    CITATION_PRECISION,
    CITATION_RECALL,
    EM,
    F1,
    RIGHT_REFUSALS,
    WRONG_REFUSALS,
    GoldAnswer,
)
from lorag.pipeline.evaluation.floors import floors
from lorag.pipeline.evaluation.rewrites import ROUGE_1, GoldRewrite
from lorag.pipeline.evaluation.scores import ScoreTable
from lorag.pipeline.records import Answer, Hit, Outcome, Passage, Query, Response, Rewrite, Speaker, Trace, Turn

HISTORY = (Turn(Speaker.USER, "Who keeps the key?"),)
COLOUR = LabelSchema("colour", "Is it red?", {"yes": "red", "no": "not red"})
SIZE = LabelSchema("size", "Is it large?", {"yes": "large", "no": "small"})


def hit(passage_id: str, text: str) -> Hit:
    return Hit(Passage(passage_id, "d.md", "docs/d.md", "D", "", text, 0, len(text)), 0.5)


def response(*hits: Hit, outcome: Outcome = Outcome.OK) -> Response:
    """What the base chain found; what it answered must not matter."""
    answer = Answer("something else", False, (), outcome)
    return Response("?", Rewrite("?", outcome), answer, trace=Trace(hits=hits))


def base(**responses: Response) -> Measured:
    nothing = ScoreTable(())
    return Measured(Configuration("base", frozenset()), nothing, nothing, nothing, (), responses)


def question(id_: str, answer: str, *gold: str, answered: bool = True) -> ChainItem:
    return ChainItem(Query(f"{id_}?"), GoldAnswer(id_, (answer,) if gold else (), bool(gold), gold, group=id_), answered=answered)


def as_dict(tests: TestSet, measured: Measured) -> dict[str, float]:
    return {floor.metric: pytest.approx(floor.value) for floor in floors(tests, measured)}


def test_a_rewriter_must_beat_the_raw_question() -> None:
    """`and then` against `and then where`: precision 1, recall 2/3, F 0.8; the second turn stands alone."""
    turns = (("t1", "and then?", "and then where?"), ("t2", "who was it?", "who was it?"))
    rewrites = tuple(RewriteItem(Query(raw, HISTORY), GoldRewrite(id_, raw, (gold,))) for id_, raw, gold in turns)
    assert as_dict(TestSet((), rewrites, ()), base()) == {ROUGE_1: 0.9, REWRITE_EM: 0.5}


def test_a_synthesizer_must_beat_the_first_sentence() -> None:
    """The first passage of `p` opens with the answer. That of `q` is not gold, and one of its three words is the answer."""
    tests = TestSet((question("p", "in room four", "p#1"), question("q", "here", "q#1"), question("u", "")), (), ())
    measured = base(
        p=response(hit("p#1", "In room four. By the door."), hit("x#1", "No.")),
        q=response(hit("x#1", "Here it lies."), hit("q#1", "Here.")),
        u=response(hit("x#1", "Nothing.")),
    )
    assert as_dict(tests, measured) == {
        EM: 0.5,
        F1: 0.75,  # 1 and 2·1/(3+1)
        CITATION_PRECISION: 0.5,
        CITATION_RECALL: 0.5,
        RIGHT_REFUSALS: 0.0,
        WRONG_REFUSALS: 0.0,
    }


def test_where_nothing_was_found_the_floor_is_an_empty_answer() -> None:
    found = as_dict(TestSet((question("p", "here", "p#1"),), (), ()), base(p=response()))
    assert (found[F1], found[CITATION_RECALL]) == (0, 0)


def test_an_item_whose_rewrite_failed_is_left_out() -> None:
    tests = TestSet((question("p", "here", "p#1"), question("q", "here", "q#1")), (), ())
    measured = base(p=response(hit("p#1", "Here.")), q=response(outcome=Outcome.FAILED))
    assert as_dict(tests, measured)[F1] == 1


def test_a_judge_must_beat_the_most_frequent_label_of_each_task() -> None:
    """Always `colour: yes` (F1 2·2/(2+3)), never `colour: no` (0), always `size: no` (1): (0.8 + 0 + 1) / 3."""
    labels = (("j1", COLOUR, "yes"), ("j2", SIZE, "no"), ("j3", COLOUR, "yes"), ("j4", COLOUR, "no"))
    judgments = tuple(JudgeItem(id_, schema, JudgeInputs(message="m"), label, id_) for id_, schema, label in labels)
    assert as_dict(TestSet((), (), judgments), base()) == {MACRO_F1: 0.6}


def test_what_is_not_measured_has_no_floor() -> None:
    assert floors(TestSet((), (), ()), base()) == ()
    assert floors(TestSet((question("p", "here", "p#1", answered=False),), (), ()), base()) == ()
