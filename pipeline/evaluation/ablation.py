"""The chain with adapters on and off, over one test set: test items, configurations and figures.

"Off" means the bare base with the contract's plain prompt, or the frozen encoder. `Bench` does the measuring.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from lorag.pipeline.adapters.evidence import Against, Evidence, EvidenceData, EvidenceKind
from lorag.pipeline.contracts.judge import JudgeInputs, LabelSchema
from lorag.pipeline.errors import InputError
from lorag.pipeline.evaluation import answers as answer_metrics
from lorag.pipeline.evaluation import rewrites as rewrite_metrics
from lorag.pipeline.evaluation.answers import GoldAnswer
from lorag.pipeline.evaluation.judge_metrics import (
    TASKS_F1,
    figure,
    figure_interval,
    is_judge_metric,
    items_of,
    label_pairs,
)
from lorag.pipeline.evaluation.judgments import Judged
from lorag.pipeline.evaluation.rewrites import GoldRewrite
from lorag.pipeline.evaluation.scores import ScoreTable, pair
from lorag.pipeline.evaluation.sign_flips import SignFlips
from lorag.pipeline.evaluation.significance import Interval, difference_test, mean_interval
from lorag.pipeline.records import Hit, Query, Response, Rewrite, Role
from lorag.pipeline.stages.retriever import DEPTH

NDCG, RECALL = f"nDCG@{DEPTH}", "Recall@5"
OWN_METRIC: Mapping[Role, str] = {
    Role.REWRITER: rewrite_metrics.ROUGE_1,
    Role.EMBEDDER: NDCG,
    Role.SYNTHESIZER: answer_metrics.F1,
    Role.JUDGE: TASKS_F1,
}
"""The metric an adapter is promoted by."""

LOWER_IS_BETTER = (answer_metrics.WRONG_REFUSALS, rewrite_metrics.HARM, rewrite_metrics.INVENTED, answer_metrics.INVENTED)


@dataclass(frozen=True, slots=True)
class ChainItem:
    """A test question. `gold.passage_ids` also score retrieval; `answered` says whether the synthesizer runs too.

    `conversation` is that of a turn, empty for a question of its own.
    """

    query: Query
    gold: GoldAnswer
    gold_rewrite: str = ""
    answered: bool = True
    conversation: str = ""


@dataclass(frozen=True, slots=True)
class RewriteItem:
    """A test turn with history."""

    query: Query
    gold: GoldRewrite


@dataclass(frozen=True, slots=True)
class JudgeItem:
    """A test judgment; items of one `group` are not independent."""

    id: str
    schema: LabelSchema
    inputs: JudgeInputs
    label: str
    group: str


@dataclass(frozen=True, slots=True)
class TestSet:
    """All test items; any part may be empty."""

    __test__ = False

    chain: tuple[ChainItem, ...]
    rewrites: tuple[RewriteItem, ...]
    judgments: tuple[JudgeItem, ...]


@dataclass(frozen=True, slots=True)
class Configuration:
    """Which adapters are on."""

    name: str
    on: frozenset[Role]


@dataclass(frozen=True, slots=True)
class Measured:
    """One configuration's per-item results, by item id. `responses` are of the answered items. `searches` are of all searched
    items: the rewrite and the passages for an answer; `rewritten` are of the turns. A part that a system lacks is empty."""

    configuration: Configuration
    rewrites: ScoreTable
    retrieval: ScoreTable
    answers: ScoreTable
    judgments: tuple[Judged, ...]
    responses: Mapping[str, Response]
    searches: Mapping[str, Search] = field(default_factory=dict)
    rewritten: Mapping[str, Rewrite] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Search:
    """The search question, and the passages for an answer, best first. `ranking` is all that was found, which retrieval is
    measured on."""

    rewrite: Rewrite
    hits: tuple[Hit, ...]
    ranking: tuple[Hit, ...] = ()


BASE_CHAIN, ALL_ADAPTERS = "base chain", "all adapters"


def one_at_a_time(roles: Sequence[Role]) -> tuple[Configuration, ...]:
    """The base chain, each adapter alone, and all of them."""
    alone = [Configuration(f"+ {role.value}", frozenset({role})) for role in roles]
    return (Configuration(BASE_CHAIN, frozenset()), *alone, Configuration(ALL_ADAPTERS, frozenset(roles)))


def full_factorial(roles: Sequence[Role]) -> tuple[Configuration, ...]:
    """Every set of adapters, smaller sets first: 16 configurations of four roles, including those of `one_at_a_time`."""
    base, *alone, together = one_at_a_time(roles)
    between = [
        Configuration("".join(f"+ {role.value} " for role in chosen).rstrip(), frozenset(chosen))
        for size in range(2, len(roles))
        for chosen in combinations(roles, size)
    ]
    return (base, *alone, *between, together)


def mean(measured: Measured, metric: str) -> float | None:
    """A configuration's figure; None if nothing was measured."""
    if is_judge_metric(metric):
        return figure(metric, measured.judgments)
    table, name = _table(measured, metric)
    values = table.values(name).values()
    return sum(values) / len(values) if values else None


def interval(measured: Measured, metric: str) -> Interval | None:
    """A configuration's figure with its 95 % interval, clustered by group; None if nothing was measured."""
    if is_judge_metric(metric):
        groups_of = {item.group for item in items_of(metric, measured.judgments)}
        return figure_interval(metric, measured.judgments) if len(groups_of) > 1 else None
    table, name = _table(measured, metric)
    values = table.values(name)
    groups = table.groups(name)
    return mean_interval(list(values.values()), groups=groups, within=table.range_of(name)) if len(set(groups)) > 1 else None


class TooFew(InputError):
    """Fewer than two independent groups of items have a value."""


def require_two(groups: Sequence[str]) -> None:
    """Raises TooFew if these groups of items are too few for an interval."""
    if (count := len(set(groups))) < 2:
        raise TooFew(f"an interval needs at least two independent groups of items, found {count}; add test items")


def difference(base: Measured, tuned: Measured, metric: str, level: float = 0.95) -> tuple[float, float, Interval]:
    """Both figures over the items that both have a value for, and the interval of tuned − base, over groups.

    Raises TooFew if there are too few items for an interval.
    """
    before, after, test = paired_test(base, tuned, metric)
    return before, after, test.interval(level)


def evidence_of(
    figures: tuple[float, float, Interval],
    metric: str,
    data: EvidenceData,
    against: Against,
    kind: EvidenceKind,
    look: int | None = None,
) -> Evidence:
    """The claim that `figures` make, which are those of `difference`: the reference's, the tuned one's, and the interval."""
    reference, tuned, found = figures
    return Evidence(
        metric=metric,
        data=data,
        against=against,
        kind=kind,
        reference=reference,
        tuned=tuned,
        difference=found.value,
        low=found.low,
        high=found.high,
        level=found.level,
        n=found.n,
        groups=found.groups,
        look=look,
    )


def paired_test(base: Measured, tuned: Measured, metric: str) -> tuple[float, float, SignFlips]:
    """As `difference`, with the test of tuned − base, which has a p and an interval at every level."""
    if is_judge_metric(metric):
        pairs = label_pairs(metric, base.judgments, tuned.judgments)
        require_two(pairs.groups)
        before, after = (figure(metric, side) or 0.0 for side in (pairs.base, pairs.tuned))
        return before, after, pairs.test()
    (left, name), (right, _) = _table(base, metric), _table(tuned, metric)
    paired = pair(left, right, name)
    require_two(paired.groups)
    test = difference_test(paired.base, paired.tuned, groups=paired.groups, within=right.range_of(name))
    return sum(paired.base) / len(paired.base), sum(paired.tuned) / len(paired.tuned), test


REWRITE_EM = "rewrite EM"
"""The name of the rewrites' exact match in tables, to distinguish it from the answers'."""


_OF_REWRITES = frozenset(
    (
        *(rewrite_metrics.ROUGE_1, rewrite_metrics.ENTITY_RECALL, rewrite_metrics.WORD_ORDER, rewrite_metrics.HARM),
        *(rewrite_metrics.KEPT, rewrite_metrics.KEPT_OF_QUESTION, rewrite_metrics.INVENTED),
    )
)


def table_of(metric: str) -> tuple[str, str]:
    """The part of `Measured` that holds a per-item metric, and the metric's name there."""
    if metric == REWRITE_EM:
        return "rewrites", rewrite_metrics.EM
    if metric in _OF_REWRITES:
        return "rewrites", metric
    return ("retrieval" if metric in (NDCG, RECALL) else "answers"), metric


def _table(measured: Measured, metric: str) -> tuple[ScoreTable, str]:
    part, name = table_of(metric)
    table: ScoreTable = getattr(measured, part)
    return table, name
