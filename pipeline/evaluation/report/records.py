"""What a report is made of: frozen records, all plain values. Nothing here measures or draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lorag.pipeline.errors import InputError
from lorag.pipeline.evaluation.effects import WORTH, Effect
from lorag.pipeline.evaluation.error_analysis import LostPair
from lorag.pipeline.evaluation.judgments import Judged, ReliabilityBin
from lorag.pipeline.evaluation.report.views import QuestionView, Showcase
from lorag.pipeline.evaluation.scores import ItemScores


@dataclass(frozen=True, slots=True)
class Comparison:
    """One line of the headline: the paired difference tuned − base with its 95 % interval over `n` items.

    `role` is rewriter, embedder, synthesizer, judge or chain (everything on). `starter` is the figure of the bundled adapters,
    where they were measured too.
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


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure with its 95 % interval over `n` items; `low` and `high` are None where there are too few items for one."""

    value: float
    low: float | None
    high: float | None
    n: int


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
    """One line of a forest plot: a difference in `metric` called `name`, with what tells it from noise.

    `standardised`, `detectable` (the smallest true difference that shows with 80 % power) and `needed` (items that would show
    the report's `worth`) are None where all items differ alike. `interaction` marks the effect of two adapters on each other,
    `primary` one of the few that were asked about first and are corrected apart.
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
        )


@dataclass(frozen=True, slots=True)
class LossTable:
    """Where the questions of one kind were lost, in both systems: `Loss` value → count, each adding up to all of them.

    `end` is what those that came through are called.
    """

    name: str
    end: str
    base: Mapping[str, int]
    tuned: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far a judge's probabilities can be believed: the reliability plot's bins over `n` judgments."""

    name: str
    n: int
    ece: float
    brier: float
    bins: tuple[ReliabilityBin, ...]


@dataclass(frozen=True, slots=True)
class ItemTable:
    """Every item's scores, the same in each of `configurations`; `part` is rewrites, retrieval or answers."""

    part: str
    configurations: tuple[str, ...]
    items: tuple[ItemScores, ...]


@dataclass(frozen=True, slots=True)
class LabelTable:
    """Every judgment, the same in each of `configurations`."""

    configurations: tuple[str, ...]
    items: tuple[Judged, ...]


@dataclass(frozen=True, slots=True)
class Results:
    """The items behind the figures: what another run is compared with. `lost` has every question of the two sides."""

    scores: tuple[ItemTable, ...] = ()
    labels: tuple[LabelTable, ...] = ()
    lost: tuple[LostPair, ...] = ()


@dataclass(frozen=True, slots=True)
class Floor:
    """What the metric gives without any model: e.g. ROUGE-1 of the raw question unchanged."""

    metric: str
    name: str
    value: float


@dataclass(frozen=True, slots=True)
class LossCurve:
    """The training loss of one run: (step, loss), steps rising."""

    name: str
    points: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class OutcomeCount:
    """How the items of one stage in one configuration ended."""

    configuration: str
    stage: str
    ok: int
    unparsed: int
    failed: int


@dataclass(frozen=True, slots=True)
class UsageRow:
    """What a stage took with one adapter: requests, their tokens, and seconds a request, None where none was timed."""

    stage: str
    adapter: str
    requests: int
    prompt_tokens: int
    completion_tokens: int
    latency: float | None


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where the figures come from, enough to make them again. `tests` counts the items of each kind, `seconds` are wall time by
    stage of the run."""

    created: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    seeds: Mapping[str, int] = field(default_factory=dict)
    machine: Mapping[str, str] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    tests: Mapping[str, int] = field(default_factory=dict)


FORMAT = 2
"""Raised when the fields that another program reads change."""


@dataclass(frozen=True, slots=True)
class Report:
    """The whole report. Empty parts are left out of the page; `lower_is_better` names the metrics that should fall.

    `sides` is what the two systems are called whose questions, losses and calibration stand side by side. `ablation` holds
    the few configurations that a reader asks for first, `runs` all of them. `effects` are corrected together; `worth` is the
    difference that `needed` is about. In a report `of_two_runs` each effect is the second minus the first.
    """

    title: str
    comparisons: tuple[Comparison, ...]
    ablation: Ablation = field(default_factory=lambda: Ablation((), ()))
    floors: tuple[Floor, ...] = ()
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
    calibration: tuple[Calibration, ...] = ()
    usage: tuple[UsageRow, ...] = ()
    results: Results = field(default_factory=Results)
    of_two_runs: bool = False
    format: int = FORMAT


def check(report: Report) -> None:
    """Raises InputError for what would mislead: an interval upside down, a column that no row has, a question id twice,
    losses that do not add up."""
    for effect in report.effects:
        if not effect.low <= effect.high:
            raise InputError(f"effect {effect.name} on {effect.metric}: interval {effect.low} to {effect.high} is upside down")
    for table in report.losses:
        if sum(table.base.values()) != sum(table.tuned.values()):
            raise InputError(f"losses of {table.name}: the two systems do not count the same questions")
    for comparison in report.comparisons:
        if not comparison.low <= comparison.high:
            raise InputError(f"comparison {comparison.role}: interval {comparison.low} to {comparison.high} is upside down")
    for ablation, metric in [(each, metric) for each in (report.ablation, report.runs) for metric in each.metrics]:
        if not any(metric in row.cells for row in ablation.rows):
            raise InputError(f"ablation: no configuration has a figure for {metric!r}; leave the column out")
    ids = [question.id for question in report.questions]
    if len(set(ids)) != len(ids):
        raise InputError("a question id stands twice in the report; ids must be unique")
