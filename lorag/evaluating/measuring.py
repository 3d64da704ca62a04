"""Runs the configurations of an evaluation: opens indexes and engine, keeps what is answered, and lets go of both.

Indexes of evaluation lie beside the project's own, which is never touched.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
NO_VERSIONS: Mapping[Role, Version] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Measurements:
    """What was measured, what it took, and, if asked for, the details and the starters. `reach` is as `Parts` has it.

    `serving` are the versions that serve, each alone on the base chain.
    """

    measured: tuple[Measured, ...]
    usage: tuple[Usage, ...]
    reach: Mapping[str, frozenset[Role]]
    details: Details | None = None
    starters: Measured | None = None
    serving: Mapping[Role, Measured] = field(default_factory=dict)


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
    starters: Mapping[Role, Version] = NO_VERSIONS,
    serving: Mapping[Role, Version] = NO_VERSIONS,
) -> Measurements:
    """Measure each configuration; with `closer` the details too. With `keep`, what is answered there is not asked again.

    `starters` are measured together, as one more configuration, and each version of `serving` alone; neither is kept.

    `on_documents` is told how the indexes of evaluation are filled, which the first time takes as long as an ingest.

    Raises DataError where a question's gold passage is in no document.
    """
    name, done, total = configurations[0].name, 0, 0
    begun_with = Configuration(STARTERS, frozenset(starters))
    in_place = [Configuration(f"{role.value} that serves", frozenset({role})) for role in serving]

    def count(requests: int) -> None:
        nonlocal done
        done = min(total, done + requests)  # a batch that is halved around a bad item asks again for what is known
        if on_progress is not None:
            on_progress(name, done, total)

    generation: dict[Role, Version] = {r: v for r, v in versions.items() if r is not Role.EMBEDDER}
    asked = any(item.answered or item.query.history for item in tests.chain)
    needs_base = bool(tests.rewrites or tests.judgments or asked)
    measured = []
    encoders = (versions.get(Role.EMBEDDER), serving.get(Role.EMBEDDER))
    with _retrievers(settings, encoders, tests, on_documents) as (frozen, tuned, now):
        base = open_base(with_adapters(settings, generation)) if needs_base else None
        if base is not None:
            _load_too(base, settings, (*starters.values(), *serving.values()))
        journal = Journal(keep.requests if keep else None)
        beneath = base.engine if base else ScriptedEngine(_no_model, weigher=_no_model)
        adapters: dict[Role, str] = {role: version_name(version) for role, version in generation.items()}
        engine = Layer(Layer(beneath, journal), Memo(count))
        parts = Parts(engine, adapters, frozen, tuned, chain_options(settings))
        bench = Bench(parts, tests)
        theirs = Bench(replace(parts, adapters=_resident(starters), tuned=None), tests)
        today = Bench(replace(parts, adapters=_resident(serving), tuned=now), tests)
        total = bench.planned(configurations) + (theirs.planned([begun_with]) if starters else 0) + today.planned(in_place)
        total += planned_details(tests, tuple(versions)) if closer else 0
        for configuration in configurations:
            name = configuration.name
            measured.append(bench.measure(configuration))
            if keep is not None:
                keep.add(measured[-1], tests)
        name = STARTERS
        alone = theirs.measure(begun_with) if starters else None
        served = {}
        for role, configuration in zip(serving, in_place, strict=True):
            name = configuration.name
            served[role] = today.measure(configuration)
        name = CLOSER
        details = measure_details(parts, tests, measured) if closer else None
    return Measurements(tuple(measured), journal.usage(), parts.reach, details, alone, served)


def _resident(versions: Mapping[Role, Version]) -> dict[Role, str]:
    """The names under which the versions of generation roles are on the base."""
    return {role: version_name(version) for role, version in versions.items() if role is not Role.EMBEDDER}


def _load_too(base: SharedBase, settings: Settings, versions: Sequence[Version]) -> None:
    """Make versions resident beside the adapters that are measured, each proven."""
    wanted = {version_name(version): version for version in versions if version.role is not Role.EMBEDDER}
    new = {name: version for name, version in wanted.items() if name not in base.engine.adapters}
    if not new:
        return
    if not isinstance(base.engine, LocalEngine):
        raise InputError(
            f"{', '.join(new)}: versions of one role are measured on a base in this process; set generation.engine to local"
        )
    place = resolve_base(settings.base.model)
    for name, version in new.items():
        load_proven(base.engine, name, version.folder, place, role=version.role)


def with_adapters(settings: Settings, versions: Mapping[Role, Version] | Mapping[Role, Version | None]) -> Settings:
    """The settings with exactly these adapter versions, and none for the other roles."""
    chosen = {role.value: (v.id if (v := versions.get(role)) else "none") for role in ROLES}
    return settings.model_copy(update={"adapters": settings.adapters.model_copy(update=chosen)})


def _no_model(request: Any) -> Any:
    """What an engine answers when no model is needed, as when retrieval alone is measured."""
    raise InputError("retrieval alone is measured here; no model is loaded")


@contextlib.contextmanager
def _retrievers(
    settings: Settings, encoders: tuple[Version | None, Version | None], tests: TestSet, on_documents: Documents | None
) -> Iterator[tuple[Retriever, Retriever | None, Retriever | None]]:
    """Retrievers as the settings have them, on indexes of the project's documents that are brought up to date: one filled by the
    frozen encoder, and one by each of `encoders`."""
    if not tests.chain:
        yield Retriever(_NoSearch()), None, None
        return
    reranker = open_reranker(settings)
    with contextlib.ExitStack() as opened:
        known: dict[str, Retriever] = {}
        for encoder in (None, *filter(None, encoders)):
            index = opened.enter_context(contextlib.closing(_index(settings, encoder)))
            _bring_up_to_date(index, settings.documents, on_documents)
            known[encoder.id if encoder else ""] = retriever_of(
                settings, index, version_name(encoder) if encoder else "", reranker
            )
            if encoder is None:
                _require_gold(tests, index, settings.documents)
        tuned, now = encoders
        yield known[""], known[tuned.id] if tuned else None, known[now.id] if now else None


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
