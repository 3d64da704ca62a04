"""Measures a candidate on the sealed part of a data folder: rows and documents that nothing but a promotion opens.

The project's documents and those of the sealed part are searched together, in indexes of their own.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lorag.assembly import open_registry
from lorag.evaluating.claims import held_out_data
from lorag.evaluating.decisions import decision_card
from lorag.evaluating.evaluation import Progress, evaluate_adapter
from lorag.evaluating.measuring import Documents
from lorag.evaluating.testset import rows_of
from lorag.pipeline.adapters.evidence import EvidenceKind
from lorag.pipeline.config import Settings
from lorag.pipeline.errors import DataError
from lorag.pipeline.evaluation.report.decision import DecisionCard
from lorag.pipeline.records import Role
from lorag.training.dataset import SEALED, DataFolder


def has_sealed(settings: Settings, role: Role, data: Path) -> bool:
    """Whether the data folder has sealed rows that the role is measured on. Reads none of them."""
    return DataFolder(data, settings.judge.intents).has(SEALED, rows_of(role))


def measure_sealed(
    settings: Settings,
    role: Role,
    version: str,
    data: Path,
    on_progress: Progress | None = None,
    on_documents: Documents | None = None,
) -> DecisionCard:
    """Measure the version on `data`/sealed and put the claims on its card, unless it has them against what serves now.

    Returns the card of the decision by these claims; one that was not measured anew says nothing of requests.

    Raises DataError for sealed rows or documents that cannot be used, and as `evaluate_adapter`.
    """
    registry, folder = open_registry(settings), DataFolder(data, settings.judge.intents)
    serves = registry.as_reference(registry.serving(role))
    sealed = held_out_data(folder, role, (role,), SEALED)
    known = [each for each in registry.show(role, version).evidence if each.kind is EvidenceKind.SEALED]
    same = [each for each in known if each.data.digest == sealed.digest]
    if any(each.against.key == serves.key for each in same):
        look = same[0].look
        return decision_card(registry, registry.resolve(role, version), [each for each in same if each.look == look])
    with _with_documents(settings, data / SEALED / "documents") as own:
        found = evaluate_adapter(own, role, version, data, on_progress, on_documents=on_documents, split=SEALED)
    return decision_card(registry, found.version, found.claims, found.usage)


@contextlib.contextmanager
def _with_documents(settings: Settings, documents: Path) -> Iterator[Settings]:
    """The settings of a project that has these documents too. Copies of both lie in one folder meanwhile.

    The indexes stay, beside those of other evaluations, so that only what changed is embedded anew.
    """
    with tempfile.TemporaryDirectory(prefix="lorag-sealed-") as place:
        together = Path(place) / "documents"
        shutil.copytree(settings.documents, together)
        for path in sorted(each for each in documents.rglob("*") if each.is_file()):
            target = together / path.relative_to(documents)
            if target.exists():
                raise DataError(f"{path}: the project's documents hold this file already; sealed documents are of their own")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)
        store = settings.store.model_copy(update={"path": settings.store.path.with_name("sealed") / "index"})
        own = settings.model_copy(update={"documents": together, "store": store})
        yield own
