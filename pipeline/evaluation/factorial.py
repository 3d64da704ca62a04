"""Main effects and two-way interactions of adapters, from a full factorial of the chain (Box, Hunter and Hunter 2005).

The main effect of an adapter is the change of an item's value by turning it on, averaged over all settings of the others. The
interaction of two is the first one's effect with the second on minus that with it off, likewise averaged. Above zero they help
each other, below they have the same benefit twice. Both are one number per item, so the paired interval, the sign-flip test
and Holm's correction apply as to any difference. Only adapters that can change a metric are tested on it: an effect that is
zero by construction is no finding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product

from lorag.pipeline.errors import InputError
from lorag.pipeline.evaluation.ablation import OWN_METRIC, Measured, TestSet, TooFew, require_two, table_of
from lorag.pipeline.evaluation.effects import ROUNDING, Effect, corrected, effect_of
from lorag.pipeline.evaluation.judge_metrics import is_judge_metric, label_pairs
from lorag.pipeline.records import Role


@dataclass(frozen=True, slots=True)
class FactorialEffect:
    """The effect on `metric` of one adapter, or the interaction of two; `roles` are one or two.

    `primary` are the hypotheses fixed before the evaluation: each adapter on the metric that promotes it.
    """

    metric: str
    roles: tuple[Role, ...]
    effect: Effect
    primary: bool = False

    @property
    def name(self) -> str:
        return " × ".join(role.value for role in self.roles)


@dataclass(frozen=True, slots=True)
class Skipped:
    """A metric without effects, and the reason."""

    metric: str
    reason: str


@dataclass(frozen=True, slots=True)
class Factorial:
    """All effects; `skipped` are the metrics with too few items. p values of primary effects are corrected over those alone,
    the others' over the others. So many metrics in a table do not weaken the primary tests."""

    effects: tuple[FactorialEffect, ...]
    skipped: tuple[Skipped, ...] = ()


def factorial_effects(
    measured: Sequence[Measured],
    tests: TestSet,
    roles: Sequence[Role],
    metrics: Sequence[str],
    reach: Mapping[str, frozenset[Role]],
) -> Factorial:
    """Main effects and two-way interactions of `roles` on each of `metrics`; `measured` are all configurations of the roles,
    and `reach` is that of the bench's `Parts`.

    An item counts for a metric if every configuration has a value for it. Raises InputError if a configuration is missing.
    """
    found: dict[tuple[str, tuple[Role, ...]], Effect] = {}
    skipped = []
    for metric in metrics:
        touching = [role for role in roles if role in touches(metric, tests, reach)]
        try:
            found |= {(metric, names): effect for names, effect in _effects(measured, metric, touching).items()}
        except TooFew as error:
            skipped.append(Skipped(metric, str(error)))
    primary: set[tuple[str, tuple[Role, ...]]] = {(OWN_METRIC[role], (role,)) for role in roles}
    effects = corrected({key: each for key, each in found.items() if key in primary})
    effects |= corrected({key: each for key, each in found.items() if key not in primary})
    every = (FactorialEffect(*key, effects[key], key in primary) for key in found)
    return Factorial(tuple(every), tuple(skipped))


def touches(metric: str, tests: TestSet, reach: Mapping[str, frozenset[Role]]) -> frozenset[Role]:
    """The adapters that can change a metric on these tests. A rewriter cannot if no question has a history."""
    part = part_of(metric)
    queries = {
        "rewrites": [item.query for item in tests.rewrites],
        "retrieval": [item.query for item in tests.chain],
        "answers": [item.query for item in tests.chain if item.answered],
        "judgments": [],
    }[part]
    without_history = not any(query.history for query in queries)
    return reach[part] - ({Role.REWRITER} if without_history else set())


def part_of(metric: str) -> str:
    """The part of `Measured` that has a metric."""
    return "judgments" if is_judge_metric(metric) else table_of(metric)[0]


def contrast(values: Mapping[frozenset[Role], float], roles: Sequence[Role], about: Sequence[Role]) -> float:
    """The effect of `about`, one or two of `roles`, in one item's values, one for each set of roles that are on."""
    others = [role for role in roles if role not in about]
    total = 0.0
    for rest in product((False, True), repeat=len(others)):
        base = frozenset(role for role, on in zip(others, rest, strict=True) if on)
        for on in product((False, True), repeat=len(about)):
            sign = 1 if sum(on) % 2 == len(about) % 2 else -1
            total += sign * values[base | {role for role, is_on in zip(about, on, strict=True) if is_on}]
    mean = total / 2 ** len(others)
    return 0.0 if abs(mean) < ROUNDING else mean


def _effects(measured: Sequence[Measured], metric: str, roles: Sequence[Role]) -> dict[tuple[Role, ...], Effect]:
    cells = _cells(measured, metric, roles)
    if is_judge_metric(metric):
        return _judge_effects(cells, metric, roles)
    tables = {on: getattr(each, table_of(metric)[0]) for on, each in cells.items()}
    columns = {on: table.values(table_of(metric)[1]) for on, table in tables.items()}
    items = [item for item in tables[frozenset()].items if all(item.id in column for column in columns.values())]
    groups = [item.group for item in items]
    require_two(groups)
    values = [{on: column[item.id] for on, column in columns.items()} for item in items]
    tested = [(role,) for role in roles] + list(combinations(roles, 2))
    return {
        about: effect_of([contrast(each, roles, about) for each in values], groups, widest=float(len(about))) for about in tested
    }


def _judge_effects(
    cells: Mapping[frozenset[Role], Measured], metric: str, roles: Sequence[Role]
) -> dict[tuple[Role, ...], Effect]:
    """macro-F1 is no mean of items, and one adapter alone can change it: its main effect is the difference itself."""
    if not roles:
        return {}
    (role,) = roles
    pairs = label_pairs(metric, cells[frozenset()].judgments, cells[frozenset({role})].judgments)
    require_two(pairs.groups)
    return {(role,): pairs.effect()}


def _cells(measured: Sequence[Measured], metric: str, roles: Sequence[Role]) -> dict[frozenset[Role], Measured]:
    """One configuration for each set of `roles`; the other adapters cannot change the metric."""
    cells: dict[frozenset[Role], Measured] = {}
    for each in measured:
        cells.setdefault(each.configuration.on & frozenset(roles), each)
    expected = [frozenset(chosen) for size in range(len(roles) + 1) for chosen in combinations(roles, size)]
    if missing := [on for on in expected if on not in cells]:
        names = " + ".join(sorted(missing[0])) or "no adapter"
        raise InputError(f"{metric}: no configuration with {names} on was measured; effects need all of them")
    return cells
