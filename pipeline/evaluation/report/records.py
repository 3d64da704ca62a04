"""What a report is made of: frozen records, all plain values. Nothing here measures or draws."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.errors import InputError
from pipeline.evaluation.losses import Loss
from pipeline.records import Outcome, Response, Turn, Verdict


@dataclass(frozen=True, slots=True)
class Comparison:
    """One line of the headline: the paired difference tuned − base with its 95 % interval over `n` items.

    `role` is rewriter, embedder, synthesizer, judge or chain (everything on).
    """

    role: str
    metric: str
    base: float
    tuned: float
    difference: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure with its 95 % interval over `n` items; `low` and `high` are None where there are too few items for one."""

    value: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True, slots=True)
class AblationRow:
    """A configuration ("base chain", "+ rewriter", …) and its figures by metric; a metric not measured is absent."""

    configuration: str
    cells: Mapping[str, Cell]


@dataclass(frozen=True, slots=True)
class Ablation:
    """The table of configurations (rows) by metrics (columns)."""

    metrics: tuple[str, ...]
    rows: tuple[AblationRow, ...]


@dataclass(frozen=True, slots=True)
class Floor:
    """What the metric gives without any model: e.g. ROUGE-1 of the raw question unchanged."""

    metric: str
    name: str
    value: float


@dataclass(frozen=True, slots=True)
class HitView:
    """A retrieved passage as shown; `gold` says whether it holds the answer."""

    passage_id: str
    title: str
    text: str
    score: float
    gold: bool


@dataclass(frozen=True, slots=True)
class CitationView:
    """A citation as shown; `gold` says whether it names a gold passage."""

    number: int
    passage_id: str
    source: str
    quote: str
    gold: bool


@dataclass(frozen=True, slots=True)
class ChainView:
    """What one system made of a question. `lost_at` is None where the loss was not analysed."""

    rewrite: str
    answer: str
    refused: bool
    outcome: Outcome
    hits: tuple[HitView, ...] = ()
    citations: tuple[CitationView, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    scores: Mapping[str, float] = field(default_factory=dict)
    lost_at: Loss | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class QuestionView:
    """A test question with what both systems made of it."""

    id: str
    question: str
    gold_answers: tuple[str, ...]
    base: ChainView
    tuned: ChainView
    history: tuple[Turn, ...] = ()
    gold_rewrite: str = ""
    answerable: bool = True


@dataclass(frozen=True, slots=True)
class Showcase:
    """A question and the tuned chain's answer, shown in full near the top."""

    question: str
    chain: ChainView
    history: tuple[Turn, ...] = ()


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
class Provenance:
    """Where the figures come from, enough to make them again. `seconds` are wall time by stage of the run."""

    created: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    seeds: Mapping[str, int] = field(default_factory=dict)
    machine: Mapping[str, str] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Report:
    """The whole report. Empty parts are left out of the page; `lower_is_better` names the metrics that should fall."""

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


def chain_view(
    response: Response,
    gold_passage_ids: Collection[str] = (),
    scores: Mapping[str, float] | None = None,
    lost_at: Loss | None = None,
) -> ChainView:
    """What a report shows of a chain's response: without prompts and timings of single stages."""
    return ChainView(
        rewrite=response.rewrite.question,
        answer=response.answer.reply if response.answer.outcome is Outcome.UNPARSED else response.answer.text,
        refused=response.answer.refused,
        outcome=response.answer.outcome,
        hits=tuple(
            HitView(hit.passage.id, hit.passage.title, hit.passage.text, hit.score, hit.passage.id in gold_passage_ids)
            for hit in response.trace.hits
        ),
        citations=tuple(
            CitationView(each.number, each.passage_id, each.source, each.quote, each.passage_id in gold_passage_ids)
            for each in response.answer.citations
        ),
        verdicts=response.verdicts,
        scores=dict(scores or {}),
        lost_at=lost_at,
        seconds=sum(stage.seconds for stage in response.trace.stages),
    )


def check(report: Report) -> None:
    """Raises InputError for what would mislead: an interval upside down, a column that no row has, a question id twice."""
    for comparison in report.comparisons:
        if not comparison.low <= comparison.high:
            raise InputError(f"comparison {comparison.role}: interval {comparison.low} to {comparison.high} is upside down")
    for metric in report.ablation.metrics:
        if not any(metric in row.cells for row in report.ablation.rows):
            raise InputError(f"ablation: no configuration has a figure for {metric!r}; leave the column out")
    ids = [question.id for question in report.questions]
    if len(set(ids)) != len(ids):
        raise InputError("a question id stands twice in the report; ids must be unique")
