"""Runs the configurations of an evaluation: opens indexes and engine, keeps what is answered, and lets go of both.

Indexes of evaluation lie beside the project's own, which is never touched.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lorag.assembly import (
    SharedBase,
    chain_options,
    open_base,
    open_embedder,
    open_index,
    open_reranker,
    retriever_of,
    version_name,
)
from lorag.evaluating.details import Details, measure_details, planned_details
from lorag.evaluating.run_folder import RunFolder
from lorag.pipeline.adapters.proof import load_proven
from lorag.pipeline.adapters.registry import Version
from lorag.pipeline.config import Settings
from lorag.pipeline.engine.bases import resolve_base
from lorag.pipeline.engine.layer import Layer
from lorag.pipeline.engine.local import LocalEngine
from lorag.pipeline.engine.memo import Memo
from lorag.pipeline.engine.scripted import ScriptedEngine
from lorag.pipeline.errors import DataError, IndexMismatch, InputError
from lorag.pipeline.evaluation.ablation import Configuration, Measured, TestSet
from lorag.pipeline.evaluation.bench import Bench, Parts
from lorag.pipeline.evaluation.journal import Journal, Usage
from lorag.pipeline.records import Role
from lorag.pipeline.retrieval.index import Index
from lorag.pipeline.stages import Retriever

Progress = Callable[[str, int, int], None]
"""Called with what is going on, requests answered and requests in all."""

Documents = Callable[[int, int], None]
"""Called with documents indexed and documents to index."""

ROLES = (Role.REWRITER, Role.EMBEDDER, Role.SYNTHESIZER, Role.JUDGE)
CLOSER = "details"
STARTERS = "starter adapters"
NO_STARTERS: Mapping[Role, Version] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Measurements:
    """What was measured, what it took, and, if asked for, the details and the starters. `reach` is as `Parts` has it."""

    measured: tuple[Measured, ...]
    usage: tuple[Usage, ...]
    reach: Mapping[str, frozenset[Role]]
    details: Details | None = None
    starters: Measured | None = None


def run_configurations(
    settings: Settings,
    tests: TestSet,
    versions: Mapping[Role, Version],
    configurations: Sequence[Configuration],
    on_progress: Progress | None = None,
    *,
    keep: RunFolder | None = None,
    closer: bool = False,
    on_documents: Documents | None = None,
    starters: Mapping[Role, Version] = NO_STARTERS,
) -> Measurements:
    """Measure each configuration; with `closer` the details too. With `keep`, what is answered there is not asked again.

    `starters` are measured together, as one more configuration, which is not kept.

    `on_documents` is told how the indexes of evaluation are filled, which the first time takes as long as an ingest.

    Raises DataError where a question's gold passage is in no document.
    """
    name, done, total = configurations[0].name, 0, 0
    begun_with = Configuration(STARTERS, frozenset(starters))

    def count(requests: int) -> None:
        nonlocal done
        done = min(total, done + requests)  # a batch that is halved around a bad item asks again for what is known
        if on_progress is not None:
            on_progress(name, done, total)

    generation: dict[Role, Version] = {r: v for r, v in versions.items() if r is not Role.EMBEDDER}
    asked = any(item.answered or item.query.history for item in tests.chain)
    needs_base = bool(tests.rewrites or tests.judgments or asked)
    measured = []
    with _retrievers(settings, versions.get(Role.EMBEDDER), tests, on_documents) as (frozen, tuned):
        base = open_base(with_adapters(settings, generation)) if needs_base else None
        if base is not None:
            _load_too(base, settings, starters)
        journal = Journal(keep.requests if keep else None)
        beneath = base.engine if base else ScriptedEngine(_no_model, weigher=_no_model)
        adapters: dict[Role, str] = {role: version_name(version) for role, version in generation.items()}
        engine = Layer(Layer(beneath, journal), Memo(count))
        parts = Parts(engine, adapters, frozen, tuned, chain_options(settings))
        bench, theirs = Bench(parts, tests), Bench(_with_starters(parts, starters), tests)
        total = bench.planned(configurations) + (theirs.planned([begun_with]) if starters else 0)
        total += planned_details(tests, tuple(versions)) if closer else 0
        for configuration in configurations:
            name = configuration.name
            measured.append(bench.measure(configuration))
            if keep is not None:
                keep.add(measured[-1], tests)
        name = STARTERS
        alone = theirs.measure(begun_with) if starters else None
        name = CLOSER
        details = measure_details(parts, tests, measured) if closer else None
    return Measurements(tuple(measured), journal.usage(), parts.reach, details, alone)


def _with_starters(parts: Parts, starters: Mapping[Role, Version]) -> Parts:
    """The same chain with the starters for adapters, on the frozen index."""
    return replace(parts, adapters={role: version_name(version) for role, version in starters.items()}, tuned=None)


def _load_too(base: SharedBase, settings: Settings, starters: Mapping[Role, Version]) -> None:
    """Make the starters resident beside the adapters that are measured, each proven."""
    if not starters:
        return
    if not isinstance(base.engine, LocalEngine):
        raise InputError("starters are measured on a base in this process; set generation.engine to local")
    place = resolve_base(settings.base.model)
    for role, version in starters.items():
        load_proven(base.engine, version_name(version), version.folder, place, role=role)


def with_adapters(settings: Settings, versions: Mapping[Role, Version] | Mapping[Role, Version | None]) -> Settings:
    """The settings with exactly these adapter versions, and none for the other roles."""
    chosen = {role.value: (v.id if (v := versions.get(role)) else "none") for role in ROLES}
    return settings.model_copy(update={"adapters": settings.adapters.model_copy(update=chosen)})


def _no_model(request: Any) -> Any:
    """What an engine answers when no model is needed, as when retrieval alone is measured."""
    raise InputError("retrieval alone is measured here; no model is loaded")


@contextlib.contextmanager
def _retrievers(
    settings: Settings, embedder: Version | None, tests: TestSet, on_documents: Documents | None
) -> Iterator[tuple[Retriever, Retriever | None]]:
    """Retrievers as the settings have them, on indexes of the project's documents that are brought up to date: one filled by the
    frozen encoder, one by that with the adapter."""
    if not tests.chain:
        yield Retriever(_NoSearch()), None
        return
    reranker = open_reranker(settings)
    with contextlib.ExitStack() as opened:
        frozen = opened.enter_context(contextlib.closing(_index(settings, None)))
        tuned = opened.enter_context(contextlib.closing(_index(settings, embedder))) if embedder else None
        for index in (frozen, tuned) if tuned else (frozen,):
            _bring_up_to_date(index, settings.documents, on_documents)
        _require_gold(tests, frozen, settings.documents)
        after = retriever_of(settings, tuned, version_name(embedder), reranker) if tuned and embedder else None
        yield retriever_of(settings, frozen, "", reranker), after


class _NoSearch:
    def search_many(self, questions: Sequence[str], k: int, **options: Any) -> list[Any]:
        if questions:
            raise InputError("no question is measured here; no index is open")
        return []


def _index(settings: Settings, embedder: Version | None) -> Index:
    apart = with_adapters(settings, {Role.EMBEDDER: embedder})
    folder = settings.store.path.with_name("evaluation") / (embedder.id if embedder else "frozen")
    store = settings.store.model_copy(update={"kind": "edge", "path": folder, "url": None, "api_key_env": None})
    apart = apart.model_copy(update={"store": store})
    return open_index(apart, open_embedder(apart))


def _bring_up_to_date(index: Index, documents: Path, on_documents: Documents | None) -> None:
    """Ingest; an index that another encoder filled, before the settings named this one, is made anew."""

    def told(done: int, total: int, _: str) -> None:
        if on_documents is not None:
            on_documents(done, total)

    try:
        index.ingest(documents, on_progress=told)
    except IndexMismatch:
        index.ingest(documents, rebuild=True, on_progress=told)


def _require_gold(tests: TestSet, index: Index, documents: Path) -> None:
    """A gold passage that no document holds can never be found: every figure would be too low, and none would say so."""
    known = {passage.id for passage in index.passages()}
    lacking = [(item.gold.id, each) for item in tests.chain for each in item.gold.passage_ids if each not in known]
    if lacking:
        row, passage = lacking[0]
        raise DataError(
            f"{len(lacking)} gold passages of the test rows are in no document of {documents}, such as {passage!r} of {row!r}; "
            "make rows and index from the same documents with the same chunking"
        )
