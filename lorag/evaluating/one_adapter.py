"""Measures one adapter on held-out rows of its own domain and, for an embedder, on a general set, for its card."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lorag.assembly import open_registry
from lorag.evaluating.decisions import decision_card
from lorag.evaluating.evaluation import Progress, evaluate_adapter
from lorag.evaluating.general_set import measure_general, read_general
from lorag.evaluating.measuring import Documents
from lorag.pipeline.adapters.evidence import Evidence
from lorag.pipeline.adapters.registry import Version
from lorag.pipeline.config import Settings
from lorag.pipeline.errors import InputError
from lorag.pipeline.evaluation.report.decision import DecisionCard
from lorag.pipeline.records import Role
from lorag.promotion import promotion_refusal


@dataclass(frozen=True, slots=True)
class AdapterEvaluation:
    """A version with its claims on its own domain and, if there was one, on a general set.

    `claims` are on its own metric, against what serves, unless that is the version itself, the bare base and the floors, and then
    those of its guards. `refusal` is why a promotion would be refused now, empty if it would not. `decision` is the card of all.
    """

    version: Version
    claims: tuple[Evidence, ...]
    general: Evidence | None
    refusal: str
    decision: DecisionCard


def evaluate_version(
    settings: Settings,
    role: Role,
    version: str,
    data: Path,
    general: Path | None = None,
    *,
    on_progress: Progress | None = None,
    on_documents: Documents | None = None,
    on_texts: Callable[[int, int], None] | None = None,
) -> AdapterEvaluation:
    """Measure the adapter on `data`/test and on the general set in `general`, and write both to its card.

    `on_texts` gets the texts of the general set that are embedded, and their total. Raises as `evaluate_adapter`. Before any
    work, raises InputError for a general set with another role than the embedder, or one that cannot be read.
    """
    if general is not None and role is not Role.EMBEDDER:
        raise InputError(f"--general is for the embedder; the {role.value} answers no search")
    tests = None if general is None else read_general(general)
    measured = evaluate_adapter(settings, role, version, data, on_progress, on_documents=on_documents)
    found = measured.version
    general_claim = None if tests is None else measure_general(settings, found.id, tests, on_texts)[1]
    refusal, registry = promotion_refusal(settings, role, found.id), open_registry(settings)
    card = decision_card(registry, found, measured.claims, measured.usage, refusal or None)
    return AdapterEvaluation(found, measured.claims, general_claim, refusal, card)
