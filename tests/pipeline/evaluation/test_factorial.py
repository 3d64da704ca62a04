"""Main effects and interactions by hand and against a least-squares fit of the ±½ coded design."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from lorag.pipeline.chain import ChainOptions
from lorag.pipeline.engine.scripted import ScriptedEngine
from lorag.pipeline.errors import InputError
from lorag.pipeline.evaluation.ablation import (
    ALL_ADAPTERS,
    NDCG,
    ChainItem,
    Configuration,
    Measured,
    RewriteItem,
    TestSet,
    full_factorial,
)
from lorag.pipeline.evaluation.answers import EM, F1, GoldAnswer
from lorag.pipeline.evaluation.bench import Parts
from lorag.pipeline.evaluation.effects import effect_of
from lorag.pipeline.evaluation.factorial import contrast, factorial_effects, touches
from lorag.pipeline.evaluation.judge_metrics import MACRO_F1
from lorag.pipeline.evaluation.judgments import Judged
from lorag.pipeline.evaluation.rewrites import ROUGE_1, GoldRewrite
from lorag.pipeline.evaluation.scores import ItemScores, ScoreTable
from lorag.pipeline.evaluation.significance import holm
from lorag.pipeline.records import Hit, Outcome, Query, Role, Speaker, Turn
from lorag.pipeline.stages import Retriever

R, E, S, J = ROLES = (Role.REWRITER, Role.EMBEDDER, Role.SYNTHESIZER, Role.JUDGE)


class Nowhere:
    def search_many(self, questions: Sequence[str], k: int, **options: Any) -> list[list[Hit]]:
        return [[] for _ in questions]


REACH = Parts(ScriptedEngine(), {}, Retriever(Nowhere())).reach
HISTORY = (Turn(Speaker.USER, "Who keeps the key?"),)


def chain_item(id_: str, history: tuple[Turn, ...] = (), answered: bool = True) -> ChainItem:
    return ChainItem(Query("q?", history), GoldAnswer(id_, ("a",)), answered=answered)


TURN = RewriteItem(Query("q?", HISTORY), GoldRewrite("t", "q?", ("whole q?",)))
TESTS = TestSet((chain_item("a", HISTORY), chain_item("b")), (TURN,), ())
ONLY_SEARCHED_TURNS = TestSet((chain_item("a"), chain_item("t", HISTORY, answered=False)), (), ())

Values = Callable[[str, frozenset[Role]], float]


def measured(
    configuration: Configuration, answers: Values, items: Mapping[str, str], labels: Mapping[str, tuple[str, str]] | None = None
) -> Measured:
    """`answers` gives an item's F1 for a set of adapters; `items` are id → group; `labels` are id → (base, tuned) for gold a."""
    rows = tuple(ItemScores(i, group, Outcome.OK, {F1: answers(i, configuration.on)}) for i, group in items.items())
    judged = tuple(Judged(i, "a", each[J in configuration.on], group=i) for i, each in (labels or {}).items())
    return Measured(configuration, ScoreTable(()), ScoreTable(()), ScoreTable(rows), judged, {})


def test_the_sixteen_configurations() -> None:
    found = full_factorial(ROLES)
    assert len(found) == len({each.on for each in found}) == len({each.name for each in found}) == 16
    assert [each.name for each in found[:7]] == [
        "base chain",
        "+ rewriter",
        "+ embedder",
        "+ synthesizer",
        "+ judge",
        "+ rewriter + embedder",
        "+ rewriter + synthesizer",
    ]
    assert found[-1] == Configuration(ALL_ADAPTERS, frozenset(ROLES))
    assert [each.name for each in full_factorial((R,))] == ["base chain", "+ rewriter", ALL_ADAPTERS]


def test_two_factors_by_hand() -> None:
    values = {frozenset[Role](): 1.0, frozenset({R}): 2.0, frozenset({E}): 4.0, frozenset({R, E}): 9.0}
    assert contrast(values, (R, E), (R,)) == ((2 - 1) + (9 - 4)) / 2
    assert contrast(values, (R, E), (E,)) == ((4 - 1) + (9 - 2)) / 2
    assert contrast(values, (R, E), (R, E)) == (9 - 4) - (2 - 1)


def test_three_factors_agree_with_least_squares() -> None:
    """In ±½ coding the coefficients are the main effects and the differences of differences themselves."""
    rng, roles = np.random.default_rng(0), (R, E, S)
    sets = [frozenset(chosen) for size in range(4) for chosen in combinations(roles, size)]
    values = {on: float(rng.normal()) for on in sets}
    coded = np.array([[0.5 if role in on else -0.5 for role in roles] for on in sets])
    pairs = list(combinations(range(3), 2))
    design = np.column_stack(
        [np.ones(8), coded, *(coded[:, a] * coded[:, b] for a, b in pairs), coded[:, 0] * coded[:, 1] * coded[:, 2]]
    )
    coefficients, *_ = np.linalg.lstsq(design, np.array([values[on] for on in sets]), rcond=None)
    for at, role in enumerate(roles):
        assert contrast(values, roles, (role,)) == pytest.approx(coefficients[1 + at])
    for at, (a, b) in enumerate(pairs):
        assert contrast(values, roles, (roles[a], roles[b])) == pytest.approx(coefficients[4 + at])


def test_the_effects_of_a_factorial_are_those_of_its_contrasts() -> None:
    rng = np.random.default_rng(1)
    items = {f"q{at}": f"d{at // 2}" for at in range(20)}
    noise = {(i, on): float(rng.normal(0, 0.05)) for i in items for on in {c.on - {J} for c in full_factorial(ROLES)}}

    def answers(item: str, on: frozenset[Role]) -> float:
        return 0.2 + 0.3 * (S in on) + 0.2 * (E in on and S in on) + noise[item, on - {J}]

    found = factorial_effects([measured(c, answers, items) for c in full_factorial(ROLES)], TESTS, ROLES, (F1,), REACH)
    effects = {each.roles: each.effect for each in found.effects}
    assert list(effects) == [(R,), (E,), (S,), (R, E), (R, S), (E, S)]
    assert [each.name for each in found.effects][-1] == "embedder × synthesizer"
    assert effects[(S,)].value == pytest.approx(0.3 + 0.1, abs=0.03)  # a half of the 0.2 that needs the embedder
    assert effects[(E, S)].value == pytest.approx(0.2, abs=0.06)
    assert effects[(S,)].shown and not effects[(R,)].shown
    values = [
        {frozenset(chosen): answers(i, frozenset(chosen)) for size in range(4) for chosen in combinations((R, E, S), size)}
        for i in items
    ]
    alone = effect_of([contrast(each, (R, E, S), (E, S)) for each in values], list(items.values()))
    assert (effects[(E, S)].value, effects[(E, S)].p) == (alone.value, alone.p)
    at_its_level = alone.test.interval(effects[(E, S)].level)
    assert (effects[(E, S)].low, effects[(E, S)].high) == (at_its_level.low, at_its_level.high)
    assert (alone.n, alone.groups) == (20, 10)
    assert [each.roles for each in found.effects if each.primary] == [(S,)]
    assert effects[(S,)].adjusted == effects[(S,)].p  # asked first, and alone in that: F1 is the synthesizer's own metric
    others = {str(roles): each for roles, each in effects.items() if roles != (S,)}
    assert {name: each.adjusted for name, each in others.items()} == holm({name: each.p for name, each in others.items()})


def test_an_item_counts_where_every_configuration_has_a_value() -> None:
    items = {f"q{at}": f"q{at}" for at in range(5)}
    runs = [measured(c, lambda i, on: float(S in on), items) for c in full_factorial((E, S))]
    rows = runs[1].answers.items
    lost = ScoreTable((ItemScores("q0", "q0", Outcome.FAILED, {}), *rows[1:]))
    runs[1] = Measured(runs[1].configuration, runs[1].rewrites, runs[1].retrieval, lost, (), {})
    found = factorial_effects(runs, TESTS, (E, S), (F1,), REACH)
    assert {each.effect.n for each in found.effects} == {4}
    assert {each.roles: each.effect.value for each in found.effects} == {(E,): 0, (S,): 1, (E, S): 0}


def test_the_judge_has_one_effect_and_it_is_macro_f1s_own() -> None:
    labels = {"1": ("b", "a"), "2": ("a", "a"), "3": ("b", "a"), "4": ("a", "b")}
    runs = [measured(c, lambda i, on: 0.0, {}, labels) for c in full_factorial(ROLES)]
    (found,) = factorial_effects(runs, TESTS, ROLES, (MACRO_F1,), REACH).effects
    # gold is always a. base: two right, F1 of a 2·2/(4+2) = 2/3, b 0; tuned: three, 2·3/(4+3) = 6/7, b 0
    assert (found.metric, found.roles) == (MACRO_F1, (J,))
    assert found.effect.value == pytest.approx((6 / 7 - 2 / 3) / 2)
    assert (found.effect.rose, found.effect.fell) == (2, 1)


@pytest.mark.parametrize(
    ("metric", "tests", "roles"),
    [
        (ROUGE_1, TESTS, {R}),
        (NDCG, TESTS, {R, E}),
        (F1, TESTS, {R, E, S}),
        (MACRO_F1, TESTS, {J}),
        (NDCG, ONLY_SEARCHED_TURNS, {R, E}),
        (F1, ONLY_SEARCHED_TURNS, {E, S}),  # no answered question has a history, so none is rewritten
        (EM, TestSet((), (), ()), {E, S}),
    ],
)
def test_only_adapters_that_can_change_a_metric_are_asked_about_it(metric: str, tests: TestSet, roles: set[Role]) -> None:
    assert touches(metric, tests, REACH) == roles


def test_a_gate_lets_the_judge_change_answers_and_nothing_else() -> None:
    gated = Parts(ScriptedEngine(), {}, Retriever(Nowhere()), options=ChainOptions(gate=0.5)).reach
    assert touches(F1, TESTS, gated) == {R, E, S, J}
    assert {part: roles for part, roles in gated.items() if part != "answers"} == {
        part: roles for part, roles in REACH.items() if part != "answers"
    }


def test_a_metric_with_too_few_groups_is_skipped_with_the_reason() -> None:
    runs = [measured(c, lambda i, on: float(S in on), {"a": "d", "b": "d"}) for c in full_factorial((E, S))]
    found = factorial_effects(runs, TESTS, (E, S), (F1, EM), REACH)
    assert found.effects == ()
    assert [(each.metric, each.reason.partition(", ")[2]) for each in found.skipped] == [
        (F1, "found 1; add test items"),
        (EM, "found 0; add test items"),
    ]


def test_a_missing_configuration_is_named() -> None:
    runs = [measured(c, lambda i, on: 0.0, {"a": "a", "b": "b"}) for c in full_factorial((E, S)) if c.on != {E, S}]
    with pytest.raises(InputError, match=r"F1: no configuration with embedder \+ synthesizer on was measured"):
        factorial_effects(runs, TESTS, (E, S), (F1,), REACH)
