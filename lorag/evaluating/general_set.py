"""Measures what tuning cost an embedder on a general set of another domain: retrieval before and after.

The composition root of that check: settings and a folder in, one claim out. The claim goes on the card and decides no promotion.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lorag.assembly import open_embedder, open_registry
from lorag.evaluating.measuring import with_adapters
from lorag.pipeline.adapters.evidence import BARE_BASE, DataOrigin, Evidence, EvidenceData, EvidenceKind
from lorag.pipeline.adapters.registry import Version
from lorag.pipeline.config import Settings
from lorag.pipeline.contracts import embed
from lorag.pipeline.errors import InputError
from lorag.pipeline.evaluation.ablation import evidence_of
from lorag.pipeline.evaluation.beir import BeirCollection, read_beir
from lorag.pipeline.evaluation.retrieval import score_run
from lorag.pipeline.evaluation.searching import embed_collection, search
from lorag.pipeline.evaluation.significance import paired_difference
from lorag.pipeline.records import Role
from lorag.pipeline.storage.digests import file_digest, text_digest
from lorag.training.dataset import PASSAGES, DataFolder

NDCG = "nDCG@10"
K = 10
_BEIR_FILES = ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv")


@dataclass(frozen=True, slots=True)
class GeneralSet:
    """A test collection, with the group of each query that depends on others. `digest` is the SHA-256 over its files."""

    name: str
    digest: str
    collection: BeirCollection
    groups: Mapping[str, str]


def read_general(folder: Path) -> GeneralSet:
    """Read a BEIR folder, or a data folder with `test/embedder.jsonl`. Raises DataError, and InputError if it is neither."""
    if (folder / "corpus.jsonl").is_file():
        return GeneralSet(folder.name, _digest(folder, _BEIR_FILES), read_beir(folder), {})
    if not (folder / PASSAGES).is_file():
        raise InputError(
            f"{folder}: no general set; it needs corpus.jsonl (a BEIR folder), or {PASSAGES} and test/embedder.jsonl"
        )
    data = DataFolder(folder, {})
    rows = data.embed_rows("test")
    passages = {row.id: embed.passage_text(row.title, "", row.text) for row in data.passages().values()}
    qrels = {row.query_id: dict.fromkeys(row.positive_ids, 1) for row in rows}
    queries = {row.query_id: embed.query_text(row.query) for row in rows}
    groups = {row.query_id: row.group for row in rows if row.group}
    digest = _digest(folder, (PASSAGES, str(data.file("test", Role.EMBEDDER).relative_to(folder))))
    return GeneralSet(folder.name, digest, BeirCollection(passages, queries, qrels), groups)


def _digest(folder: Path, names: Sequence[str]) -> str:
    """SHA-256 over the named files that exist, each with its name."""
    return text_digest("".join(f"{name}\0{file_digest(folder / name)}\n" for name in names if (folder / name).is_file()))


def measure_general(
    settings: Settings, name: str, tests: GeneralSet, on_texts: Callable[[int, int], None] | None = None
) -> tuple[Version, Evidence]:
    """Measure nDCG@10 of the embedder version or alias `name` against the bare encoder on `tests`, paired by query.

    The claim goes on its card and replaces an earlier one on the same set.
    """
    registry = open_registry(settings)
    version = registry.resolve(Role.EMBEDDER, name)
    base, tuned = (_ndcg(with_adapters(settings, {Role.EMBEDDER: v}), tests, on_texts) for v in (None, version))
    groups = [tests.groups.get(query, query) for query in base]
    found = paired_difference(list(base.values()), [tuned[query] for query in base], groups=groups)
    figures = sum(base.values()) / len(base), sum(tuned.values()) / len(tuned), found
    data = EvidenceData(tests.name, tests.digest, DataOrigin.HUMAN)
    evidence = evidence_of(figures, NDCG, data, BARE_BASE, EvidenceKind.GENERAL)
    return registry.attach_evidence(Role.EMBEDDER, version.id, (evidence,)), evidence


def _ndcg(settings: Settings, tests: GeneralSet, on_texts: Callable[[int, int], None] | None) -> Mapping[str, float]:
    """Query id → nDCG@10 by exhaustive search of the encoder that the settings name."""
    embedded = embed_collection(tests.collection, open_embedder(settings), on_texts)
    return score_run(tests.collection.qrels, search(embedded, K), (NDCG,)).per_query[NDCG]
