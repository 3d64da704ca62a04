"""The adapters, the chain and the starters against the best floor of each metric."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from lorag.evaluating.floor_figures import floor_figures, lost_notes, why_without_floor
from lorag.pipeline.evaluation.ablation import ALL_ADAPTERS, BASE_CHAIN, Configuration, Measured
from lorag.pipeline.evaluation.answers import CITATION_RECALL, F1, RIGHT, WORDS
from lorag.pipeline.evaluation.floors.diagnostics import CLOSED_BOOK, ORACLE
from lorag.pipeline.evaluation.scores import ItemScores, ScoreTable
from lorag.pipeline.records import Outcome, Role

ON = frozenset({Role.SYNTHESIZER})


def system(name: str, values: Mapping[str, float], on: frozenset[Role] = frozenset()) -> Measured:
    """Twelve answers, each its own group, half a tenth above and half a tenth below `values`."""
    rows = [{metric: value + (0.1 if n % 2 else -0.1) for metric, value in values.items()} for n in range(12)]
    items = tuple(ItemScores(f"q{n}", f"g{n}", Outcome.OK, row) for n, row in enumerate(rows))
    nothing = ScoreTable(())
    return Measured(Configuration(name, on), nothing, nothing, ScoreTable(items), (), {})


FLOORS = [system("best sentence", {F1: 0.4, CITATION_RECALL: 0.2}), system("always refusing", {F1: 0.2})]
MEASURED = [
    system(BASE_CHAIN, {F1: 0.1, CITATION_RECALL: 0.5}),
    system("+ synthesizer", {F1: 0.6, CITATION_RECALL: 0.1}, ON),
    system(ALL_ADAPTERS, {F1: 0.7, CITATION_RECALL: 0.2}, ON),
]


def test_each_system_is_paired_with_the_best_floor() -> None:
    """The floor wins where it is equal; starters are compared too, but it is no news of training here that a floor beats them."""
    starters = system("starter adapters", {F1: 0.3}, ON)
    found = floor_figures(FLOORS, MEASURED, [Role.SYNTHESIZER], (F1, CITATION_RECALL, WORDS), (), starters)
    assert [(each.role, each.metric, each.floor, each.beaten) for each in found.comparisons] == [
        ("synthesizer", F1, "best sentence", True),
        ("chain", F1, "best sentence", True),
        ("chain", CITATION_RECALL, "best sentence", False),
        ("starter synthesizer", F1, "best sentence", False),
    ]
    assert [round(each.difference, 6) for each in found.comparisons] == [0.2, 0.3, 0.0, -0.1]
    # the chain's two by Holm: the smaller p at .05 / 2, the other one at .05
    assert [each.level for each in found.comparisons] == pytest.approx([0.95, 0.975, 0.95, 0.95])
    (line,) = found.wins
    assert line.startswith(
        "A floor wins: chain by citation recall. best sentence has 0.200 without training, all adapters 0.200;"
    )
    assert "12 items in 12 groups" in line
    assert [(each.metric, each.name, each.groups) for each in found.best] == [
        (F1, "best sentence", 12),
        (CITATION_RECALL, "best sentence", 12),
    ]
    assert [row.configuration for row in found.systems.rows] == ["best sentence", "always refusing"]
    assert why_without_floor((F1, WORDS)).keys() == {WORDS}


def test_what_is_lost_to_retrieval_is_the_difference_to_the_gold_passages() -> None:
    oracle, closed = system(ORACLE, {F1: 0.9, RIGHT: 0.8}), system(CLOSED_BOOK, {F1: 0.3, RIGHT: 0.1})
    found = lost_notes([oracle, closed], [system(ALL_ADAPTERS, {F1: 0.7, RIGHT: 0.5})])
    assert found[0].startswith(
        "Lost to retrieval: with the gold passages shown, all adapters have right answers 0.800, not 0.500"
    )
    assert [line for line in found if line.startswith("Known")] == [
        f"Known without passages: the bare base alone has {metric}." for metric in ("right answers 0.100", "F1 0.300")
    ]
    assert lost_notes([], MEASURED) == ()


def test_too_few_groups_are_said() -> None:
    def one_group(measured: Measured) -> Measured:
        items = tuple(ItemScores(each.id, "g", each.outcome, each.values) for each in measured.answers.items)
        return Measured(measured.configuration, ScoreTable(()), ScoreTable(()), ScoreTable(items), (), {})

    found = floor_figures(list(map(one_group, FLOORS)), list(map(one_group, MEASURED)), [Role.SYNTHESIZER], (F1,), ())
    assert found.comparisons == () and len(found.notes) == 2
    assert all(note.startswith("Not compared: ") for note in found.notes)
    assert found.best[0].low is None and found.best[0].value == pytest.approx(0.4)
