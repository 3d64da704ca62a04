"""Which stage lost a question: one case for each rule."""

from __future__ import annotations

import pytest

from lorag.pipeline.evaluation.ablation import ChainItem, Configuration, Measured, Search
from lorag.pipeline.evaluation.answers import GoldAnswer
from lorag.pipeline.evaluation.error_analysis import (
    DEFINITIONS,
    Loss,
    LostPair,
    losses_of,
    lost_at,
    question_score,
    search_lost_at,
    waterfall,
    worst,
)
from lorag.pipeline.evaluation.scores import ItemScores, ScoreTable
from lorag.pipeline.records import Answer, Citation, Hit, Outcome, Passage, Query, Response, Rewrite, Speaker, Trace, Turn

GOLD = GoldAnswer("q", ("blue",), passage_ids=("gold",))
UNANSWERABLE = GoldAnswer("q", (), answerable=False)


def response(*, hits: str = "gold other", cited: str = "", refused: bool = False, failed: bool = False) -> Response:
    found = tuple(Hit(Passage(name, "d", "f.md", "T", "", "text", 0, 4), 1.0) for name in hits.split())
    citations = tuple(Citation(1, name, "f.md", "text", 0, 4) for name in cited.split())
    answer = Answer("", refused, citations, Outcome.FAILED if failed else Outcome.OK)
    return Response("q?", Rewrite("q?", Outcome.OK), answer, trace=Trace(hits=found))


@pytest.mark.parametrize(
    ("gold", "given", "right", "entities", "loss"),
    [
        (GOLD, response(failed=True), 0.0, None, Loss.FAILED),
        (GOLD, response(cited="gold"), 1.0, None, Loss.RIGHT),
        (GOLD, response(cited="other"), 1.0, None, Loss.UNSUPPORTED),
        (GOLD, response(hits="other"), 0.0, 0.5, Loss.REWRITE),
        (GOLD, response(hits="other"), 0.0, 1.0, Loss.RETRIEVAL),
        (GOLD, response(hits="other", refused=True), 0.0, None, Loss.RETRIEVAL),  # no passage to answer from
        (GOLD, response(refused=True), 0.0, 0.5, Loss.REFUSED),
        (GOLD, response(cited="other"), 0.0, None, Loss.UNUSED),
        (GOLD, response(cited="gold"), 0.0, None, Loss.MISREAD),
        (GoldAnswer("q", ("blue",)), response(hits=""), 1.0, None, Loss.RIGHT),  # gold passages not known
        (UNANSWERABLE, response(refused=True), 0.0, None, Loss.RIGHT),
        (UNANSWERABLE, response(), 0.0, None, Loss.UNREFUSED),
    ],
)
def test_the_first_stage_that_lost_it(
    gold: GoldAnswer, given: Response, right: float, entities: float | None, loss: Loss
) -> None:
    assert lost_at(gold, given, {"right answers": right}, entities) is loss


def test_the_waterfall_counts_every_loss_in_the_order_of_the_chain() -> None:
    counts = waterfall([Loss.RIGHT, Loss.REFUSED, Loss.RIGHT, Loss.REWRITE])
    assert list(counts) == list(Loss)
    assert {loss: count for loss, count in counts.items() if count} == {Loss.REWRITE: 1, Loss.REFUSED: 1, Loss.RIGHT: 2}


@pytest.mark.parametrize(
    ("hits", "outcome", "entities", "loss"),
    [
        ("other gold", Outcome.OK, 0.5, Loss.RIGHT),
        ("other", Outcome.OK, 0.5, Loss.REWRITE),
        ("other", Outcome.OK, None, Loss.RETRIEVAL),
        ("", Outcome.FAILED, None, Loss.FAILED),
    ],
)
def test_a_question_only_searched_for_ends_with_retrieval(
    hits: str, outcome: Outcome, entities: float | None, loss: Loss
) -> None:
    search = Search(Rewrite("q?", outcome), response(hits=hits).trace.hits)
    assert search_lost_at(GOLD, search, entities) is loss


def test_each_question_of_a_configuration_has_one_loss_and_they_add_up() -> None:
    """A turn whose rewrite lacks the ship that the gold rewrite names, a turn that found gold, and three answered questions."""
    history = (Turn(Speaker.USER, "Which ship?"),)

    def turn(id_: str) -> ChainItem:
        gold = GoldAnswer(id_, ("x",), passage_ids=("gold",))
        return ChainItem(Query("And her draft?", history), gold, "What is the draft of the Dunlin?", answered=False)

    def asked(id_: str, answerable: bool = True) -> ChainItem:
        return ChainItem(Query("q?"), GoldAnswer(id_, ("blue",), answerable, ("gold",) if answerable else ()))

    items = (turn("t1"), turn("t2"), asked("q1"), asked("q2"), asked("u", answerable=False))
    searches = {
        "t1": Search(Rewrite("What is her draft?", Outcome.OK), response(hits="other").trace.hits),
        "t2": Search(Rewrite("What is her draft?", Outcome.OK), response(hits="gold").trace.hits),
    } | {id_: Search(Rewrite("q?", Outcome.OK), response().trace.hits) for id_ in ("q1", "q2", "u")}
    responses = {"q1": response(cited="gold"), "q2": response(refused=True), "u": response()}
    scores = {"q1": {"right answers": 1.0}, "q2": {"right answers": 0.0}, "u": {"right refusals": 0.0}}
    answers = ScoreTable(tuple(ItemScores(id_, id_, Outcome.OK, values) for id_, values in scores.items()))
    base = Configuration("base chain", frozenset())
    found = losses_of(items, Measured(base, ScoreTable(()), ScoreTable(()), answers, (), responses, searches))
    assert found == {"t1": Loss.REWRITE, "t2": Loss.RIGHT, "q1": Loss.RIGHT, "q2": Loss.REFUSED, "u": Loss.UNREFUSED}
    assert sum(waterfall(found.values()).values()) == len(items)


def test_the_worst_come_first_and_what_is_right_never() -> None:
    pairs = [
        LostPair("right", Loss.RIGHT, Loss.RIGHT, 1.0, 1.0),
        LostPair("near", Loss.UNUSED, Loss.UNUSED, 0.4, 0.4),
        LostPair("zero", Loss.REFUSED, Loss.REFUSED, 0.0, 0.0),
        LostPair("earlier", Loss.RETRIEVAL, Loss.RETRIEVAL, 0.0, 0.0),
        LostPair("broken", Loss.RIGHT, Loss.REFUSED, 0.9, 0.0),
        LostPair("failed", Loss.REFUSED, Loss.FAILED, 0.0, 0.0),
        LostPair("fell", Loss.UNUSED, Loss.UNUSED, 0.3, 0.0),
    ]
    assert worst(pairs) == ("failed", "broken", "fell", "earlier", "zero", "near")
    assert worst(pairs, 2) == ("failed", "broken")


@pytest.mark.parametrize(
    ("values", "loss", "score"),
    [
        ({"F1": 0.25, "EM": 1.0}, Loss.MISREAD, 0.25),
        ({"right answers": 1.0, "right refusals": 0.0}, Loss.RIGHT, 1.0),
        ({"right refusals": 1.0}, Loss.RIGHT, 1.0),
        ({}, Loss.RIGHT, 1.0),
        ({}, Loss.REWRITE, 0.0),
    ],
)
def test_a_question_has_one_score(values: dict[str, float], loss: Loss, score: float) -> None:
    assert question_score(values, loss) == score


def test_every_loss_is_defined() -> None:
    assert list(DEFINITIONS) == list(Loss)
