"""The figures on refusals and wrong answers, by hand."""

from __future__ import annotations

import math

import pytest
from scipy import stats

from lorag.evaluating.reader_figures import priced_answers, refusals_of, risk_curves
from lorag.pipeline.evaluation.ablation import ChainItem, Configuration, Measured, TestSet
from lorag.pipeline.evaluation.answers import GoldAnswer, score_answers
from lorag.pipeline.evaluation.judge_evaluation import SupportVerdicts
from lorag.pipeline.evaluation.pricing import Prices
from lorag.pipeline.evaluation.risk_coverage import risk_coverage
from lorag.pipeline.evaluation.scores import ScoreTable
from lorag.pipeline.records import Answer, Hit, Outcome, Passage, Query, Response, Rewrite, Trace

PRICES = Prices(right=1.0, silent=-0.25, wrong=-1.0)
NOTHING = ScoreTable(())


def item(name: str, *, answerable: bool = True) -> ChainItem:
    gold = GoldAnswer(name, ("1911",) if answerable else (), answerable, (f"{name}#g",) if answerable else (), group=name)
    return ChainItem(Query(f"{name}?"), gold)


def response(text: str, score: float, shown: str, *, refused: bool = False, outcome: Outcome = Outcome.OK) -> Response:
    hits = (Hit(Passage(shown, "d", "", "", "", "in 1911", 0, 7), score), Hit(Passage("x", "d", "", "", "", "x", 0, 1), 0.01))
    return Response("?", Rewrite("?", Outcome.OK), Answer(text, refused, (), outcome), trace=Trace(hits=hits))


ITEMS = (item("a"), item("b"), item("c"), item("d"), item("e", answerable=False), item("f"))
TESTS = TestSet(ITEMS, (), ())
RESPONSES = {
    "a": response("1911", 0.9, "a#g"),  # right
    "b": response("1920", 0.8, "b#g"),  # wrong
    "c": response("", 0.7, "c#g", refused=True),  # silent though gold was shown
    "d": response("", 0.6, "other", refused=True),  # silent, rightly
    "e": response("1911", 0.5, "other"),  # answered what no document answers
    "f": response("", 0.4, "f#g", outcome=Outcome.FAILED),
}


def system(name: str, responses: dict[str, Response]) -> Measured:
    golds = [each.gold for each in ITEMS if each.gold.id in responses]
    shown = {id_: [hit.passage for hit in each.trace.hits] for id_, each in responses.items()}
    answers = score_answers(golds, {id_: each.answer for id_, each in responses.items()}, shown, PRICES)
    return Measured(Configuration(name, frozenset()), NOTHING, NOTHING, answers if responses else NOTHING, (), responses)


def test_refusals_are_told_apart_by_what_was_shown() -> None:
    (found,) = refusals_of(TESTS, [system("all", RESPONSES), system("searches only", {})])
    assert [(row.kind, row.n, row.refused) for row in found.rows] == [
        ("gold shown", 3, 1),
        ("gold not shown", 1, 1),
        ("no document answers", 1, 0),
    ]
    assert (found.precision, found.recall, found.f1) == (0.5, 0.5, 0.5)
    assert found.floor == pytest.approx(2 * 0.4 / 1.4)  # refusing all five: precision 2/5, recall 1
    assert refusals_of(TestSet((), (), ()), [system("all", RESPONSES)]) == ()


def test_answers_are_priced_and_a_failed_one_counts_nowhere() -> None:
    (found,) = priced_answers([system("all", RESPONSES), system("searches only", {})], PRICES)
    assert (found.right, found.silent, found.wrong) == (1, 2, 2)
    assert found.score.value == pytest.approx((1 - 2 * 0.25 - 2) / 5)
    assert (found.score.n, found.score.groups) == (5, 5)
    (silent,) = priced_answers([system("silent", {"c": RESPONSES["c"], "d": RESPONSES["d"]})], PRICES)
    # the same price twice: Wilson's interval of .375 of the range with two items, by scipy's Student quantile of one degree
    t, middle = float(stats.t.ppf(0.975, 1)), 0.375
    half = t * math.sqrt(middle * (1 - middle) / 2 + t * t / 16) / (1 + t * t / 2)
    centre = (middle + t * t / 4) / (1 + t * t / 2)
    assert (silent.score.value, silent.score.groups) == (-0.25, 2)
    assert (silent.score.low, silent.score.high) == pytest.approx((2 * (centre - half) - 1, 2 * (centre + half) - 1))
    (alone,) = priced_answers([system("one", {"a": RESPONSES["a"]})], PRICES)
    assert (alone.score.value, alone.score.low, alone.score.high, alone.score.n) == (1, None, None, 1)


def test_the_surest_answers_first_by_the_score_of_the_best_passage() -> None:
    """Three answers of five questions: right, wrong, wrong. Risks 0, 1/2, 2/3; the best order is the same."""
    judged = risk_coverage("all", "the judge's P(supported)", [0.5], [True])
    support = SupportVerdicts("all", 1, None, None, (), None, risk=judged)
    silent = system("silent", {"c": RESPONSES["c"]})
    found = risk_curves([system("all", RESPONSES), silent], [support])
    assert [(each.configuration, each.confidence) for each in found] == [
        ("all", "the score of the best passage"),
        ("all", "the judge's P(supported)"),
    ]
    first = found[0]
    assert (first.questions, first.answered, first.risk) == (5, 3, pytest.approx(2 / 3))
    assert [(point.confidence, point.coverage) for point in first.points] == [(0.9, 0.2), (0.8, 0.4), (0.5, 0.6)]
    assert [point.risk for point in first.points] == pytest.approx([0, 1 / 2, 2 / 3])
    assert first.aurc == pytest.approx((0 + 1 / 2 + 2 / 3) / 3) and first.excess == pytest.approx(0)
    assert found[1] is judged
