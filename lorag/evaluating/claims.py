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
from lorag.pipeline.adapters.guards import GUARD_LEVEL, GUARDS, NEVER, Reference
from lorag.pipeline.adapters.looks import Look, Result, confidence, item_key
from lorag.pipeline.adapters.registry import Registry
from lorag.pipeline.evaluation.ablation import (
    LOWER_IS_BETTER,
    OWN_METRIC,
    Configuration,
    Measured,
    TooFew,
    difference,
    evidence_of,
    paired_test,
    table_of,
)
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
    read = _files_of(data, role, together, split)
    digest = text_digest("".join(f"{each.value}\0{file_digest(data.file(split, each))}\n" for each in read))
    origin = DataOrigin.of(data.origin(split, each) for each in read)
    return EvidenceData(f"{data.folder.name}/{split}", digest, origin)


def _files_of(data: DataFolder, role: Role, together: Collection[Role], split: str) -> list[Role]:
    """The roles whose row files the items come from."""
    # The embedder is measured on every question that is searched for, which includes the conversation turns.
    turns = {Role.REWRITER} if role is Role.EMBEDDER and Role.REWRITER in together else set[Role]()
    return [each for each in Role if each in {rows_of(role), *turns} and data.has(split, each)] or [rows_of(role)]


def items_asked(data: DataFolder, role: Role, together: Collection[Role], split: str = SPLIT) -> tuple[str, ...]:
    """What the rows of `held_out_data` ask, for the ledger of looks, sorted. Raises DataError for a broken file."""
    keys: set[str] = set()
    for each in _files_of(data, role, together, split):
        if each is Role.JUDGE:
            for row in data.judgments(split):
                of = row.inputs
                texts = (row.task, of.message, of.question, of.answer, *map(str, of.history), *(p.text for p in of.passages))
                keys.add(item_key(*texts))
        else:
            rows = data.rewrites(split) if each is Role.REWRITER else data.questions(split)
            keys |= {item_key(*map(str, row.history), row.question) for row in rows}
    return tuple(sorted(keys))


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
    registry: Registry, candidate: Candidate, data: EvidenceData, items: tuple[str, ...], compared: Sequence[Comparator]
) -> tuple[Evidence, ...]:
    """The claims on the role's own metric. The look at the data's `items` is recorded first: its number says at which level they
    decide.

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
        items=items,
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
    with_floor = [task_f1(task) for task in tasks_of(tuned.judgments)] if role is Role.JUDGE else []
    asked: list[tuple[str, Comparator, Measured]] = []
    for guard in GUARDS[role]:
        if guard.reference is Reference.SERVING or (guard.reference is Reference.VERSION and serves.against.weights_digest):
            asked += [(metric, serves, tuned) for metric in _metrics_of(guard.metric, tuned)]
        elif guard.must_rise:
            asked.append((guard.metric, Comparator(NEVER, _never(guard.metric, tuned, serves.measured)), tuned))
        elif guard.reference is Reference.FLOORS and table_of(guard.metric)[0] == "retrieval":
            raw = [
                (Comparator(floor_reference(each.configuration.name), each), _searches_of(each, tuned)) for each in raw_searches
            ]
            asked += [(guard.metric, *pair) for pair in raw]
        elif guard.reference is Reference.FLOORS:
            with_floor.append(guard.metric)
    best = best_floors(floors, with_floor, LOWER_IS_BETTER)
    asked += [(metric, Comparator(floor_reference(floor.name), each), tuned) for metric, (each, floor) in best.items()]
    at = partial(held_out_claim, role, data, level=GUARD_LEVEL, look=look, kind=candidate.kind)
    found = []
    for metric, reference, of in asked:
        with suppress(TooFew):
            found.append(at(against=reference.against, reference=reference.measured, tuned=of, metric=metric))
    return tuple(found)


def _never(metric: str, tuned: Measured, serves: Measured) -> Measured:
    """The system that never does what `metric` is the share of, on the items of which `tuned` or what serves has a value: what
    `tuned` failed on is asked of it too."""
    known = tuned.answers.values(metric).keys() | serves.answers.values(metric).keys()
    items = tuple(replace(item, values=dict.fromkeys([metric] if item.id in known else [], 0.0)) for item in tuned.answers.items)
    return replace(tuned, configuration=Configuration(NEVER.version, frozenset()), answers=replace(tuned.answers, items=items))


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
