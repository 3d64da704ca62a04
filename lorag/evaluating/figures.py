"""Measured configurations → the metrics, the table and the paired comparisons of an evaluation. Measures nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lorag.evaluating.measuring import ROLES, STARTERS
from lorag.pipeline.evaluation import answers as answer_metrics
from lorag.pipeline.evaluation import rewrites as rewrite_metrics
from lorag.pipeline.evaluation.ablation import (
    ALL_ADAPTERS,
    BASE_CHAIN,
    NDCG,
    OWN_METRIC,
    RECALL,
    REWRITE_EM,
    Measured,
    TestSet,
    TooFew,
    interval,
    paired_test,
)
from lorag.pipeline.evaluation.factorial import part_of, touches
from lorag.pipeline.evaluation.groups import Interval
from lorag.pipeline.evaluation.judge_metrics import TASKS_F1, task_accuracy, task_f1
from lorag.pipeline.evaluation.latency import LATENCY
from lorag.pipeline.evaluation.report.records import STARTER, Ablation, AblationRow, Cell, Comparison
from lorag.pipeline.evaluation.sign_flips import SignFlips
from lorag.pipeline.evaluation.significance import corrected_tests
from lorag.pipeline.records import Role

METRICS = (
    NDCG,
    RECALL,
    rewrite_metrics.ROUGE_1,
    REWRITE_EM,
    answer_metrics.EM,
    answer_metrics.F1,
    answer_metrics.CITATION_PRECISION,
    answer_metrics.CITATION_RECALL,
    answer_metrics.RIGHT_REFUSALS,
    answer_metrics.WRONG_REFUSALS,
    TASKS_F1,
)
"""The metrics that adapters are compared by, beside the macro-F1 of each judge task (`metrics_of`)."""

FURTHER = (
    answer_metrics.RIGHT,
    answer_metrics.TRUTHFULNESS,
    answer_metrics.SQUAD_EM,
    answer_metrics.SQUAD_F1,
    answer_metrics.VITAL_NUGGETS,
    answer_metrics.NUGGET_F,
    answer_metrics.ROUGE_L,
    answer_metrics.QUOTE_PRECISION,
    answer_metrics.QUOTE_RECALL,
    answer_metrics.SUPPORTED,
    answer_metrics.WORDS,
    LATENCY,
    rewrite_metrics.ENTITY_RECALL,
    rewrite_metrics.HARM,
)
"""Further metrics of the table, beside the accuracy of each judge task (`shown_metrics`). They are not tested, because more tests
would cost the others their power. Word order is a guard alone: what is copied keeps it."""


def metrics_of(tests: TestSet) -> tuple[str, ...]:
    """`METRICS`, and the macro-F1 of each judge task of the test set."""
    return (*METRICS, *map(task_f1, _tasks(tests)))


def shown_metrics(tests: TestSet) -> tuple[str, ...]:
    """All metrics of the table."""
    return (*metrics_of(tests), *FURTHER, *map(task_accuracy, _tasks(tests)))


def _tasks(tests: TestSet) -> tuple[str, ...]:
    return tuple(dict.fromkeys(item.schema.task for item in tests.judgments))


def compare(measured: Sequence[Measured], roles: Sequence[Role]) -> tuple[tuple[Comparison, ...], tuple[str, ...]]:
    """Each adapter alone against the base chain on its own metric, and all together (role `chain`) on answers and retrieval.

    Both are corrected apart, the adapters as those asked first. The second value has a note for each comparison with too few
    items.
    """
    by_name = {each.configuration.name: each for each in measured}
    base = by_name[BASE_CHAIN]
    alone = [(role.value, OWN_METRIC[role], by_name[f"+ {role.value}"]) for role in roles]
    together = [("chain", metric, by_name[ALL_ADAPTERS]) for metric in (answer_metrics.F1, answer_metrics.CITATION_RECALL, NDCG)]
    found, too_few = list[Comparison](), list[str]()
    for family in (alone, together):
        comparisons, notes = _compared(base, family)
        found += comparisons
        too_few += notes
    return tuple(found), tuple(too_few)


def _compared(base: Measured, family: Sequence[tuple[str, str, Measured]]) -> tuple[list[Comparison], list[str]]:
    """Each (role, metric, system) against the base, corrected over all of them, and notes on those with too few items."""
    figures, tests, notes = dict[tuple[str, str], tuple[float, float]](), dict[str, SignFlips](), list[str]()
    for role, metric, tuned in family:
        try:
            before, after, test = paired_test(base, tuned, metric)
        except TooFew as error:
            notes.append(f"Not compared: {role} by {metric}: {error}.")
            continue
        figures[role, metric] = before, after
        tests[f"{role} {metric}"] = test
    corrected = corrected_tests(tests)
    comparisons = []
    for (role, metric), (before, after) in figures.items():
        found = corrected[f"{role} {metric}"].interval
        comparisons.append(
            Comparison(
                role,
                metric,
                before,
                after,
                found.value,
                found.low,
                found.high,
                found.n,
                groups=found.groups,
                level=found.level,
            )
        )
    return comparisons, notes


def table(measured: Sequence[Measured], tests: TestSet, reach: Mapping[str, frozenset[Role]]) -> Ablation:
    """A row a configuration: all metrics with their intervals, and the adapters that can change each (`reach`)."""
    wanted = shown_metrics(tests)
    rows, known = [], dict[tuple[int, str], Interval | None]()  # configurations share the parts that their adapters do not change
    for each in measured:
        keys = {metric: (id(getattr(each, part_of(metric))), metric) for metric in wanted}
        for metric, key in keys.items():
            if key not in known:
                known[key] = interval(each, metric)
        cells = {metric: found for metric, key in keys.items() if (found := known[key]) is not None}
        shown = {metric: Cell(found.value, found.low, found.high, found.n, found.groups) for metric, found in cells.items()}
        kind = STARTER if each.configuration.name == STARTERS else ""
        on = tuple(f"{kind}{role.value}" for role in ROLES if role in each.configuration.on)
        rows.append(AblationRow(each.configuration.name, shown, on))
    metrics = tuple(metric for metric in wanted if any(metric in row.cells for row in rows))
    kinds = ("", STARTER) if any(each.configuration.name == STARTERS for each in measured) else ("",)
    touched = {
        metric: tuple(f"{kind}{role.value}" for role in ROLES if role in touches(metric, tests, reach) for kind in kinds)
        for metric in metrics
    }
    return Ablation(metrics, tuple(rows), touched)
