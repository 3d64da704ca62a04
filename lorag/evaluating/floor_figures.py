"""Measured floors → the report's figures: the best floor of each metric, and each adapter and the chain against it.

Measures nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from lorag.pipeline.evaluation.ablation import ALL_ADAPTERS, OWN_METRIC, Measured, TooFew, difference, mean, paired_test
from lorag.pipeline.evaluation.answers import F1, RIGHT
from lorag.pipeline.evaluation.floors.best import WITHOUT_FLOOR, against_floor, best_floors, floor_of
from lorag.pipeline.evaluation.floors.diagnostics import CLOSED_BOOK, ORACLE
from lorag.pipeline.evaluation.judge_metrics import is_judge_metric
from lorag.pipeline.evaluation.report.records import STARTER, Ablation, AblationRow, Cell, Floor, FloorComparison
from lorag.pipeline.evaluation.sign_flips import SignFlips
from lorag.pipeline.evaluation.significance import corrected_tests
from lorag.pipeline.records import Role

CHAIN = "chain"


@dataclass(frozen=True, slots=True)
class FloorFigures:
    """`best` has the best floor of each metric, `systems` every floor, and `comparisons` pair with the best floor: each adapter
    alone on its own metric, the judge on each task too, all adapters together (role `chain`) on every other metric, corrected
    over these, and each starter (role `starter …`) on its own metric."""

    best: tuple[Floor, ...] = ()
    comparisons: tuple[FloorComparison, ...] = ()
    systems: Ablation = field(default_factory=lambda: Ablation((), ()))
    wins: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def winners(self) -> tuple[FloorComparison, ...]:
        """The comparisons in which what was trained here is not shown to be better than the floor."""
        return tuple(each for each in self.comparisons if not each.beaten and not each.of_starter)


def floor_figures(
    floors: Sequence[Measured],
    measured: Sequence[Measured],
    roles: Sequence[Role],
    metrics: Sequence[str],
    lower_is_better: Collection[str],
    starters: Measured | None = None,
) -> FloorFigures:
    """The floors' figures by `metrics`, and those of `measured` and of `starters` against them."""
    best = best_floors(floors, metrics, lower_is_better)
    by_name = {each.configuration.name: each for each in measured}
    pairs = [(role.value, OWN_METRIC[role], by_name[f"+ {role.value}"]) for role in roles]
    judged = [metric for metric in best if is_judge_metric(metric) and metric != OWN_METRIC[Role.JUDGE]]
    if Role.JUDGE in roles:
        pairs += [(Role.JUDGE.value, metric, by_name[f"+ {Role.JUDGE.value}"]) for metric in judged]
    pairs += [(CHAIN, metric, by_name[ALL_ADAPTERS]) for metric in best if not is_judge_metric(metric)]
    if starters is not None:
        pairs += [(f"{STARTER}{role.value}", OWN_METRIC[role], starters) for role in roles if role in starters.configuration.on]
    comparisons, too_few, levels = list[FloorComparison](), list[str](), _chain_levels(best, by_name[ALL_ADAPTERS])
    for role, metric, tuned in pairs:
        if metric not in best:
            continue
        try:
            level = levels.get(metric, 0.95) if role == CHAIN else 0.95
            comparisons.append(against_floor(role, metric, best[metric][0], tuned, lower_is_better, level))
        except TooFew as error:
            too_few.append(f"Not compared: {error}.")
    figures = FloorFigures(
        best=tuple(floor for _, floor in best.values()),
        comparisons=tuple(comparisons),
        systems=floor_table(floors, metrics),
        notes=tuple(too_few),
    )
    return replace(figures, wins=tuple(map(win, figures.winners)))


def _chain_levels(best: Mapping[str, tuple[Measured, Floor]], chain: Measured) -> dict[str, float]:
    """Metric → the level of its interval, by Holm's correction over all comparisons of the chain with a floor."""
    tests: dict[str, SignFlips] = {}
    for metric, (floor, _) in best.items():
        with suppress(TooFew):
            if not is_judge_metric(metric):
                tests[metric] = paired_test(floor, chain, metric)[2]
    return {metric: found.interval.level for metric, found in corrected_tests(tests).items()}


def why_without_floor(metrics: Sequence[str]) -> dict[str, str]:
    """Metric → why no floor is worth a comparison in it."""
    return {metric: WITHOUT_FLOOR[metric] for metric in metrics if metric in WITHOUT_FLOOR}


def win(each: FloorComparison) -> str:
    """A comparison that a floor wins, in a line: it says first what training has not bought."""
    return (
        f"A floor wins: {each.role} by {each.metric}. {each.floor} has {each.reference:.3f} without training, "
        f"{'all adapters' if each.role == CHAIN else 'the adapter'} {each.tuned:.3f}; the paired difference "
        f"{each.difference:+.3f} ({each.low:+.3f} to {each.high:+.3f}, {each.n} items in {each.groups} groups) "
        "does not show it to be better."
    )


def lost_notes(diagnostics: Sequence[Measured], measured: Sequence[Measured]) -> tuple[str, ...]:
    """What the gold passages would gain for all adapters, and what the bare base answers without any, in right answers and F1."""
    by_name = {each.configuration.name: each for each in (*measured, *diagnostics)}
    if ORACLE not in by_name:
        return ()
    notes = []
    for metric in (RIGHT, F1):
        with suppress(TooFew):
            before, after, found = difference(by_name[ALL_ADAPTERS], by_name[ORACLE], metric)
            notes.append(
                f"Lost to retrieval: with the gold passages shown, all adapters have {metric} {after:.3f}, not {before:.3f} "
                f"({found.value:+.3f}, {found.low:+.3f} to {found.high:+.3f}, {found.n} items in {found.groups} groups)."
            )
        if (known := mean(by_name[CLOSED_BOOK], metric)) is not None:
            notes.append(f"Known without passages: the bare base alone has {metric} {known:.3f}.")
    return tuple(notes)


def floor_table(floors: Sequence[Measured], metrics: Sequence[str]) -> Ablation:
    """The figures of systems beside the configurations, a row each."""
    rows = []
    for each in floors:
        found = [floor for metric in metrics if (floor := floor_of(each, metric)) is not None]
        cells = {floor.metric: Cell(floor.value, floor.low, floor.high, floor.n, floor.groups) for floor in found}
        rows.append(AblationRow(each.configuration.name, cells))
    return Ablation(tuple(metric for metric in metrics if any(metric in row.cells for row in rows)), tuple(rows))
