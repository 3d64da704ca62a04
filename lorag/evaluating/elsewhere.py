"""What tuning an embedder cost where it was not tuned: retrieval on a set of another domain, before and after.

The composition root of that check: settings and a folder in, one comparison out, which goes on the card behind the evidence
that decides a promotion.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lorag.assembly import open_embedder, open_registry
from lorag.evaluating.measuring import with_adapters
from lorag.pipeline.adapters.card import Evidence
from lorag.pipeline.adapters.registry import Version
from lorag.pipeline.config import Settings
from lorag.pipeline.contracts import embed
from lorag.pipeline.errors import InputError
from lorag.pipeline.evaluation.beir import BeirCollection, read_beir
from lorag.pipeline.evaluation.retrieval import score_run
from lorag.pipeline.evaluation.searching import embed_collection, search
from lorag.pipeline.evaluation.significance import paired_difference
from lorag.pipeline.records import Role
from lorag.training.dataset import PASSAGES, DataFolder

NDCG = "nDCG@10"
GENERAL = ", a general set"
"""Ends the name of the data of such a comparison."""

K = 10


@dataclass(frozen=True, slots=True)
class GeneralSet:
    """A test collection, and the group of each query that belongs with others; the rest stand alone."""

    name: str
    collection: BeirCollection
    groups: Mapping[str, str]


def read_general(folder: Path) -> GeneralSet:
    """A BEIR folder, or a data folder with `test/embedder.jsonl`. Raises DataError, InputError where it is neither."""
    if (folder / "corpus.jsonl").is_file():
        return GeneralSet(folder.name, read_beir(folder), {})
    if not (folder / PASSAGES).is_file():
        raise InputError(
            f"{folder}: no general set; it needs corpus.jsonl (a BEIR folder), or {PASSAGES} and test/embedder.jsonl"
        )
    data = DataFolder(folder, {})
    rows = data.embed_rows("test")
    passages = {row.id: embed.passage_text(row.title, "", row.text) for row in data.passages().values()}
    qrels = {row.query_id: dict.fromkeys(row.positive_ids, 1) for row in rows}
    queries = {row.query_id: embed.query_text(row.query) for row in rows}
    return GeneralSet(
        folder.name, BeirCollection(passages, queries, qrels), {row.query_id: row.group for row in rows if row.group}
    )


def measure_elsewhere(
    settings: Settings, name: str, tests: GeneralSet, on_texts: Callable[[int, int], None] | None = None
) -> tuple[Version, Evidence]:
    """nDCG@10 of the embedder version or alias `name` against the bare encoder on `tests`, query by query, put on its card.

    An earlier comparison on the same set is replaced. Raises InputError where the card has no evidence on the adapter's own
    domain yet: the first comparison on a card decides a promotion, and this one must not.
    """
    registry = open_registry(settings)
    version = registry.resolve(Role.EMBEDDER, name)
    card = registry.show(Role.EMBEDDER, version.id)
    if not card.evidence:
        raise InputError(f"embedder {version.id} was not measured on its own domain yet; run `lorag eval adapter embedder` first")
    base, tuned = (_ndcg(with_adapters(settings, {Role.EMBEDDER: v}), tests, on_texts) for v in (None, version))
    groups = [tests.groups.get(query, query) for query in base]
    found = paired_difference(list(base.values()), [tuned[query] for query in base], groups=groups)
    evidence = Evidence(
        metric=NDCG,
        base=sum(base.values()) / len(base),
        tuned=sum(tuned.values()) / len(tuned),
        difference=found.value,
        low=found.low,
        high=found.high,
        n=found.n,
        data=tests.name + GENERAL,
    )
    kept = tuple(each for each in card.evidence if each.data != evidence.data)
    return registry.attach_evidence(Role.EMBEDDER, version.id, (*kept, evidence)), evidence


def _ndcg(settings: Settings, tests: GeneralSet, on_texts: Callable[[int, int], None] | None) -> Mapping[str, float]:
    """Query id → nDCG@10 by exhaustive search of the encoder that the settings name."""
    embedded = embed_collection(tests.collection, open_embedder(settings), on_texts)
    return score_run(tests.collection.qrels, search(embedded, K), (NDCG,)).per_query[NDCG]
