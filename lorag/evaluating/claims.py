"""Measured configurations → claims for an adapter's card, and a line in the ledger of looks. Measures nothing."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from lorag.evaluating.testset import rows_of
from lorag.pipeline.adapters.card import now_utc
from lorag.pipeline.adapters.evidence import (
    NO_OPS,
    Against,
    DataOrigin,
    Evidence,
    EvidenceData,
    EvidenceKind,
    floor_reference,
)
from lorag.pipeline.adapters.guards import GUARD_LEVEL, GUARDS, Reference
from lorag.pipeline.adapters.looks import Look, Result, confidence
from lorag.pipeline.adapters.registry import Registry
from lorag.pipeline.evaluation.ablation import OWN_METRIC, Measured, TooFew, difference, evidence_of, paired_test
from lorag.pipeline.evaluation.failures import failures_as_wrong
from lorag.pipeline.evaluation.floors.best import best_floors
from lorag.pipeline.evaluation.judge_metrics import task_f1, tasks_of
from lorag.pipeline.records import Role
from lorag.pipeline.storage.digests import file_digest, text_digest
from lorag.training.dataset import DataFolder

SPLIT = "test"


def held_out_data(data: DataFolder, role: Role, together: Collection[Role], split: str = SPLIT) -> EvidenceData:
    """The rows of `split` that `role` is measured on in an evaluation of the roles `together`.

    Raises DataError if there are none.
    """
    # The embedder is measured on every question that is searched for, which includes the conversation turns.
    turns = {Role.REWRITER} if role is Role.EMBEDDER and Role.REWRITER in together else set[Role]()
    read = [each for each in Role if each in {rows_of(role), *turns} and data.has(split, each)] or [rows_of(role)]
    digest = text_digest("".join(f"{each.value}\0{file_digest(data.file(split, each))}\n" for each in read))
    origin = DataOrigin.of(data.origin(split, each) for each in read)
    return EvidenceData(f"{data.folder.name}/{split}", digest, origin)


@dataclass(frozen=True, slots=True)
class Comparator:
    """A reference of a claim, and its measurement on the same items."""

    against: Against
    measured: Measured


@dataclass(frozen=True, slots=True)
class Candidate:
    """The adapter that is measured: its version, the SHA-256 of its weights, its measurement, and the items' kind."""

    role: Role
    version: str
    weights: str
    measured: Measured
    kind: EvidenceKind = EvidenceKind.HELD_OUT


def comparators(role: Role, floors: Sequence[Measured], others: Sequence[Comparator]) -> tuple[Comparator, ...]:
    """What the leading metric is compared with: the `others` first, then the no-ops of the role and the best floor."""
    by_name = {each.configuration.name: each for each in floors}
    chosen = [Comparator(floor_reference(name), by_name[name]) for name in NO_OPS[role] if name in by_name]
    metric = OWN_METRIC[role]
    chosen += [Comparator(floor_reference(floor.name), each) for each, floor in best_floors(floors, (metric,), ()).values()]
    return tuple({each.against.key: each for each in (*others, *chosen)}.values())


def leading_claims(
    registry: Registry, candidate: Candidate, data: EvidenceData, compared: Sequence[Comparator]
) -> tuple[Evidence, ...]:
    """The claims on the role's own metric. The look at the data is recorded first: its number says at which level they decide.

    Raises TooFew if there are too few items for an interval, AdapterError if the ledger cannot be written.
    """
    role, metric = candidate.role, OWN_METRIC[candidate.role]
    tests = []
    for each in compared:
        try:
            tests.append(paired_test(each.measured, failures_as_wrong(each.measured, candidate.measured, metric), metric)[2])
        except TooFew as error:
            raise TooFew(f"{role.value} by {metric}: {error}") from error
    named = zip(compared, tests, strict=True)
    results = [Result(each.against.key, str(each.against), test.of.value, test.p) for each, test in named]
    look = Look(
        number=0,
        time=now_utc(),
        role=role.value,
        version=candidate.version,
        weights=candidate.weights,
        metric=metric,
        data=data,
        n=tests[0].of.n,
        groups=tests[0].of.count,
        results=tuple(results),
        alpha=0.0,
    )
    number = registry.record_look(look).number
    level, kind = confidence(number), candidate.kind
    at = partial(held_out_claim, role, data, tuned=candidate.measured, level=level, look=number, kind=kind)
    return tuple(at(against=each.against, reference=each.measured) for each in compared)


def further_claims(
    candidate: Candidate,
    data: EvidenceData,
    serves: Comparator,
    floors: Sequence[Measured],
    raw_searches: Sequence[Measured],
    look: int,
) -> tuple[Evidence, ...]:
    """The claims of the role's guards against what serves or the best floor, or for a rewriter's searches against those without
    it, and the judge's of each task against its best floor. What has too few items is left out."""
    role, tuned = candidate.role, candidate.measured
    asked: list[tuple[str, Comparator, Measured]] = []
    for guard in GUARDS[role]:
        if guard.reference is Reference.SERVING:
            asked += [(metric, serves, tuned) for metric in _metrics_of(guard.metric, tuned)]
        elif guard.reference is Reference.FLOORS:
            raw = [
                (Comparator(floor_reference(each.configuration.name), each), _searches_of(each, tuned)) for each in raw_searches
            ]
            asked += [(guard.metric, *pair) for pair in raw]
    with_floor = [task_f1(task) for task in tasks_of(tuned.judgments)] if role is Role.JUDGE else []
    if role is not Role.REWRITER:
        with_floor += [guard.metric for guard in GUARDS[role] if guard.reference is Reference.FLOORS]
    best = best_floors(floors, with_floor, ())
    asked += [(metric, Comparator(floor_reference(floor.name), each), tuned) for metric, (each, floor) in best.items()]
    at = partial(held_out_claim, role, data, level=GUARD_LEVEL, look=look, kind=candidate.kind)
    found = []
    for metric, reference, of in asked:
        with suppress(TooFew):
            found.append(at(against=reference.against, reference=reference.measured, tuned=of, metric=metric))
    return tuple(found)


def _searches_of(few: Measured, many: Measured) -> Measured:
    """`many` with the searches of the items that `few` searched for alone."""
    ids = {item.id for item in few.retrieval.items}
    return replace(many, retrieval=many.retrieval.only(ids))


def _metrics_of(metric: str, tuned: Measured) -> tuple[str, ...]:
    """The metrics of a guard: its own, or that of each judge task."""
    return tuple(map(task_f1, tasks_of(tuned.judgments))) if metric.endswith(" ") else (metric,)


def held_out_claim(
    role: Role,
    data: EvidenceData,
    against: Against,
    reference: Measured,
    tuned: Measured,
    metric: str = "",
    *,
    level: float = 0.95,
    look: int | None = None,
    kind: EvidenceKind = EvidenceKind.HELD_OUT,
) -> Evidence:
    """The claim of `tuned` on `metric`, or else the role's own, against `reference`, which measured `against`, item by item.

    What `tuned` failed to answer counts as wrong.

    Raises TooFew if there are too few items for an interval.
    """
    metric = metric or OWN_METRIC[role]
    try:
        figures = difference(reference, failures_as_wrong(reference, tuned, metric), metric, level)
    except TooFew as error:
        raise TooFew(f"{role.value} by {metric}: {error}") from error
    return evidence_of(figures, metric, data, against, kind, look)
