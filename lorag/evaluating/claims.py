"""Measured configurations → claims for an adapter's card. Measures nothing."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from lorag.evaluating.testset import rows_of
from lorag.pipeline.adapters.evidence import Against, DataOrigin, Evidence, EvidenceData, EvidenceKind, floor_reference
from lorag.pipeline.evaluation.ablation import OWN_METRIC, Measured, TooFew, difference
from lorag.pipeline.evaluation.floors.best import best_floors
from lorag.pipeline.evaluation.judge_metrics import task_f1, tasks_of
from lorag.pipeline.records import Role
from lorag.pipeline.storage.digests import file_digest, text_digest
from lorag.training.dataset import DataFolder

SPLIT = "test"


def held_out_data(data: DataFolder, role: Role, together: Collection[Role]) -> EvidenceData:
    """The test rows that `role` is measured on in an evaluation of the roles `together`. Raises DataError if there are none."""
    # The embedder is measured on every question that is searched for, which includes the conversation turns.
    turns = {Role.REWRITER} if role is Role.EMBEDDER and Role.REWRITER in together else set[Role]()
    read = [each for each in Role if each in {rows_of(role), *turns} and data.has(SPLIT, each)] or [rows_of(role)]
    digest = text_digest("".join(f"{each.value}\0{file_digest(data.file(SPLIT, each))}\n" for each in read))
    origin = DataOrigin.of(data.origin(SPLIT, each) for each in read)
    return EvidenceData(f"{data.folder.name}/{SPLIT}", digest, origin)


def floor_claims(role: Role, data: EvidenceData, floors: Sequence[Measured], tuned: Measured) -> tuple[Evidence, ...]:
    """The claims of `tuned` against the best floor: on the role's own metric, and for the judge on each task.

    Raises TooFew if there are too few items for an interval.
    """
    metrics = (OWN_METRIC[role], *(map(task_f1, tasks_of(tuned.judgments)) if role is Role.JUDGE else ()))
    best = best_floors(floors, metrics, ())
    return tuple(
        held_out_claim(role, data, floor_reference(floor.name), measured, tuned, metric)
        for metric, (measured, floor) in best.items()
    )


def held_out_claim(
    role: Role, data: EvidenceData, against: Against, reference: Measured, tuned: Measured, metric: str = ""
) -> Evidence:
    """The claim of `tuned` on `metric`, or else the role's own, against `reference`, which measured `against`, item by item.

    Raises TooFew if there are too few items for an interval.
    """
    metric = metric or OWN_METRIC[role]
    try:
        before, after, found = difference(reference, tuned, metric)
    except TooFew as error:
        raise TooFew(f"{role.value} by {metric}: {error}") from error
    return Evidence(
        metric=metric,
        data=data,
        against=against,
        kind=EvidenceKind.HELD_OUT,
        reference=before,
        tuned=after,
        difference=found.value,
        low=found.low,
        high=found.high,
        level=found.level,
        n=found.n,
        groups=found.groups,
    )
