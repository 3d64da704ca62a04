"""The records of a report: frozen, with plain values. Nothing here measures or draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lorag.pipeline.errors import InputError
from lorag.pipeline.evaluation.effects import WORTH, Effect
from lorag.pipeline.evaluation.error_analysis import LostPair
from lorag.pipeline.evaluation.groups import MIN_GROUPS
from lorag.pipeline.evaluation.judgments import Judged, ReliabilityBin
from lorag.pipeline.evaluation.pricing import Prices
from lorag.pipeline.evaluation.refusal_scores import RefusalScores
from lorag.pipeline.evaluation.report.decision import DecisionCard
from lorag.pipeline.evaluation.report.views import QuestionView, Showcase
from lorag.pipeline.evaluation.risk_coverage import RiskCoverage
from lorag.pipeline.evaluation.scores import ItemScores


@dataclass(frozen=True, slots=True)
class Comparison:
    """One line of the headline: the paired difference tuned − base with its interval over `n` items in `groups` independent
    groups (0: not known). `level` is that of the correction for the lines tested together.

    `role` is rewriter, embedder, synthesizer, judge or chain (everything on). `starter` is the figure of the bundled adapters,
    if they were measured too.
    """

    role: str
    metric: str
    base: float
    tuned: float
    difference: float
    low: float
    high: float
    n: int
    starter: float | None = None
    groups: int = 0
    level: float = 0.95

    @property
    def shown(self) -> bool:
        """Whether the interval excludes zero, on the groups that decide."""
        return self.groups >= MIN_GROUPS and (self.low > 0 or self.high < 0)


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure with its 95 % interval over `n` items in `groups` independent groups (0: not known); `low` and `high` are None
    if there are too few items."""

    value: float
    low: float | None
    high: float | None
    n: int
    groups: int = 0


@dataclass(frozen=True, slots=True)
class AblationRow:
    """A configuration ("base chain", "+ rewriter", …), the adapters that are on, and its figures by metric; a metric not
    measured is absent."""

    configuration: str
    cells: Mapping[str, Cell]
    on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ablation:
    """The table of configurations (rows) by metrics (columns). `touched_by` names the adapters that can change a metric."""

    metrics: tuple[str, ...]
    rows: tuple[AblationRow, ...]
    touched_by: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EffectRow:
    """One line of a forest plot: a difference in `metric` called `name`, with its statistics.

    The interval is at the `level` of the correction. `detectable` is the smallest true difference that shows with 80 % power,
    `needed` the items that would show the report's `worth`, and `power` the probability that these items show it, all of the test
    at its strictest corrected level. These and `standardised` are None if all differences are equal. `least_p` is the smallest p
    that so many groups can give. `interaction` marks an interaction of two adapters, `primary` one of the few primary effects,
    which are corrected separately.
    """

    metric: str
    name: str
    value: float
    low: float
    high: float
    n: int
    groups: int
    p: float
    adjusted: float
    standardised: float | None
    detectable: float | None
    needed: int | None
    rose: int
    fell: int
    shown: bool
    interaction: bool = False
    primary: bool = False
    level: float = 0.95
    least_p: float = 0.0
    power: float | None = None

    @classmethod
    def of(
        cls,
        metric: str,
        name: str,
        effect: Effect,
        worth: float = WORTH,
        *,
        interaction: bool = False,
        primary: bool = False,
    ) -> EffectRow:
        return cls(
            metric,
            name,
            effect.value,
            effect.low,
            effect.high,
            effect.n,
            effect.groups,
            effect.p,
            effect.adjusted,
            effect.standardised,
            effect.detectable,
            effect.needed(worth),
            effect.rose,
            effect.fell,
            effect.shown,
            interaction,
            primary,
            effect.level,
            effect.least_p,
            effect.power(worth),
        )


@dataclass(frozen=True, slots=True)
class LossTable:
    """The losses of one kind of questions, in both systems.

    `base` and `tuned` have `Loss` value → count, which add up to all questions. `end` is the name of the right ones.
    """

    name: str
    end: str
    base: Mapping[str, int]
    tuned: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class PricedAnswers:
    """A system's right answers, refusals and wrong answers, and the mean of their `prices`; failed answers count nowhere."""

    configuration: str
    right: int
    silent: int
    wrong: int
    prices: Prices
    score: Cell


@dataclass(frozen=True, slots=True)
class Calibration:
    """The calibration of the judge of a configuration in one task: the reliability plot's bins over `n` judgments in `groups`
    groups. `floor` is the Brier score of who always gives the labels' frequencies; a judge that is not below it knows no more."""

    configuration: str
    task: str
    n: int
    groups: int
    ece: float
    brier: float
    floor: float
    bins: tuple[ReliabilityBin, ...]

    @property
    def name(self) -> str:
        return f"{self.task or 'all judgments'}, {self.configuration}"


@dataclass(frozen=True, slots=True)
class ItemTable:
    """Every item's scores, shared by all `configurations`; `part` is rewrites, retrieval or answers."""

    part: str
    configurations: tuple[str, ...]
    items: tuple[ItemScores, ...]


@dataclass(frozen=True, slots=True)
class LabelTable:
    """Every judgment, shared by all `configurations`."""

    configurations: tuple[str, ...]
    items: tuple[Judged, ...]


@dataclass(frozen=True, slots=True)
class Results:
    """The items behind the figures, for comparison with another run. `lost` has every question of the two sides."""

    scores: tuple[ItemTable, ...] = ()
    labels: tuple[LabelTable, ...] = ()
    lost: tuple[LostPair, ...] = ()


@dataclass(frozen=True, slots=True)
class Floor:
    """The best system without training on a metric, e.g. the unchanged question on ROUGE-1, with its 95 % interval.

    Without an interval (`low` and `high` None) it was measured as a mean alone.
    """

    metric: str
    name: str
    value: float
    low: float | None = None
    high: float | None = None
    n: int = 0
    groups: int = 0


STARTER = "starter "
"""Begins the name of a starter's role, in comparisons and in the table: its adapters are not those of the other rows."""


@dataclass(frozen=True, slots=True)
class FloorComparison:
    """A system against the best floor of a metric: the paired difference tuned − floor with its interval at `level`.

    `role` is as in `Comparison`. `beaten`: the interval shows that the system is better. If not, the floor wins.
    """

    role: str
    metric: str
    floor: str
    reference: float
    tuned: float
    difference: float
    low: float
    high: float
    n: int
    groups: int
    beaten: bool
    level: float = 0.95

    @property
    def shown(self) -> bool:
        """Whether the interval excludes zero, on the groups that decide."""
        return self.groups >= MIN_GROUPS and (self.low > 0 or self.high < 0)

    @property
    def of_starter(self) -> bool:
        """Whether the system was not trained here. Such a comparison is shown, but not counted."""
        return self.role.startswith(STARTER)


@dataclass(frozen=True, slots=True)
class LossCurve:
    """The training loss of one run: (step, loss), steps rising."""

    name: str
    points: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class OutcomeCount:
    """Counts of the outcomes of one stage in one configuration."""

    configuration: str
    stage: str
    ok: int
    unparsed: int
    failed: int


@dataclass(frozen=True, slots=True)
class UsageRow:
    """The cost of a stage with one adapter: requests, their tokens, and seconds a request, None if none was timed."""

    stage: str
    adapter: str
    requests: int
    prompt_tokens: int
    completion_tokens: int
    latency: float | None


@dataclass(frozen=True, slots=True)
class Provenance:
    """The provenance of the figures, enough to reproduce them. `tests` counts the items of each kind, `seconds` are wall time
    by stage of the run."""

    created: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    seeds: Mapping[str, int] = field(default_factory=dict)
    machine: Mapping[str, str] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    tests: Mapping[str, int] = field(default_factory=dict)


FORMAT = 2
"""Incremented when the fields that other programs read change."""


@dataclass(frozen=True, slots=True)
class Report:
    """The whole report. Empty parts are left out of the page; `lower_is_better` names the metrics that should fall.

    `decisions` are the adapters' cards, which the page begins with, and `floor_notes` say beside them where a floor wins.

    `sides` are the names of the two systems whose questions, losses and calibration are shown side by side. `ablation` has the
    few main configurations, `runs` all of them, `floor_systems` all floors. `floors` are the best of each metric, and
    `without_floor` says why a metric has none. `effects` are corrected together; `worth` is the difference that `needed` is
    about. `refusals`, `priced` and `risks` are of the answers. In a report `of_two_runs` each effect is the second minus the
    first.
    """

    title: str
    comparisons: tuple[Comparison, ...]
    decisions: tuple[DecisionCard, ...] = ()
    floor_notes: tuple[str, ...] = ()
    ablation: Ablation = field(default_factory=lambda: Ablation((), ()))
    floors: tuple[Floor, ...] = ()
    against_floors: tuple[FloorComparison, ...] = ()
    floor_systems: Ablation = field(default_factory=lambda: Ablation((), ()))
    without_floor: Mapping[str, str] = field(default_factory=dict)
    diagnostics: Ablation = field(default_factory=lambda: Ablation((), ()))
    showcases: tuple[Showcase, ...] = ()
    questions: tuple[QuestionView, ...] = ()
    curves: tuple[LossCurve, ...] = ()
    outcomes: tuple[OutcomeCount, ...] = ()
    notes: tuple[str, ...] = ()
    provenance: Provenance = field(default_factory=Provenance)
    lower_is_better: tuple[str, ...] = ()
    summary: str = ""
    sides: tuple[str, ...] = ("base chain", "all adapters")
    runs: Ablation = field(default_factory=lambda: Ablation((), ()))
    effects: tuple[EffectRow, ...] = ()
    worth: float = WORTH
    losses: tuple[LossTable, ...] = ()
    refusals: tuple[RefusalScores, ...] = ()
    priced: tuple[PricedAnswers, ...] = ()
    risks: tuple[RiskCoverage, ...] = ()
    calibration: tuple[Calibration, ...] = ()
    usage: tuple[UsageRow, ...] = ()
    results: Results = field(default_factory=Results)
    of_two_runs: bool = False
    format: int = FORMAT


def check(report: Report) -> None:
    """Raises InputError for inconsistent data: an inverted interval, a column without rows, a repeated question id, losses that
    do not add up."""
    for effect in report.effects:
        if not effect.low <= effect.high:
            raise InputError(f"effect {effect.name} on {effect.metric}: interval {effect.low} to {effect.high} is upside down")
    for table in report.losses:
        if sum(table.base.values()) != sum(table.tuned.values()):
            raise InputError(f"losses of {table.name}: the two systems do not count the same questions")
    for comparison in report.comparisons:
        if not comparison.low <= comparison.high:
            raise InputError(f"comparison {comparison.role}: interval {comparison.low} to {comparison.high} is upside down")
    for each in report.against_floors:
        if not each.low <= each.high:
            raise InputError(f"{each.role} against its floor by {each.metric}: interval {each.low} to {each.high} is upside down")
    for ablation, metric in [(each, metric) for each in (report.ablation, report.runs) for metric in each.metrics]:
        if not any(metric in row.cells for row in ablation.rows):
            raise InputError(f"ablation: no configuration has a figure for {metric!r}; leave the column out")
    for card in report.decisions:
        if not card.comparators:
            raise InputError(f"card of {card.role} {card.version}: it was compared with nothing; leave it out")
        for low, high in [(each.low, each.high) for each in card.comparators] + [(each.low, each.high) for each in card.guards]:
            if not low <= high:
                raise InputError(f"card of {card.role} {card.version}: interval {low} to {high} is upside down")
    ids = [question.id for question in report.questions]
    if len(set(ids)) != len(ids):
        raise InputError("a question id stands twice in the report; ids must be unique")
