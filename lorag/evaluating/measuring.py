"""Runs the configurations of an evaluation: opens indexes and engine, saves the replies, and closes both.

Evaluation has indexes of its own, next to the project's, which it never changes.
"""

from __future__ import annotations

import contextlib
import time
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
from lorag.evaluating.reader_figures import prices_of
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
from lorag.pipeline.evaluation.ablation import Configuration, JudgeItem, Measured, TestSet
from lorag.pipeline.evaluation.bench import Bench, Parts, System
from lorag.pipeline.evaluation.floors.diagnostics import diagnostic_systems
from lorag.pipeline.evaluation.floors.stages import NO_MODEL
from lorag.pipeline.evaluation.floors.systems import floor_systems, raw_search_systems
from lorag.pipeline.evaluation.journal import Journal, Usage
from lorag.pipeline.records import Passage, Role
from lorag.pipeline.retrieval.embedder import Embedder
from lorag.pipeline.retrieval.index import Index
from lorag.pipeline.stages import Retriever

Progress = Callable[[str, int, int], None]
"""Called with the name of the current step, the requests answered and their total."""

Documents = Callable[[int, int], None]
"""Called with the documents indexed and their total."""

ROLES = (Role.REWRITER, Role.EMBEDDER, Role.SYNTHESIZER, Role.JUDGE)
DETAILS = "details"
DIAGNOSTICS = "diagnostics"
STARTERS = "starter adapters"
NO_VERSIONS: Mapping[Role, Version] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Measurements:
    """Measurements and usage, with the details and the starters if they were asked for. `reach` is that of `Parts`.

    `serving` are the versions that serve, each alone on the base chain. `floors` are the systems without training, `diagnostics`
    those that show where answers are lost. `raw_searches` are the searches of the turns without a rewriter, by the frozen
    encoder.
    """

    measured: tuple[Measured, ...]
    usage: tuple[Usage, ...]
    reach: Mapping[str, frozenset[Role]]
    details: Details | None = None
    starters: Measured | None = None
    serving: Mapping[Role, Measured] = field(default_factory=dict)
    floors: tuple[Measured, ...] = ()
    raw_searches: tuple[Measured, ...] = ()
    diagnostics: tuple[Measured, ...] = ()


def run_configurations(
    settings: Settings,
    tests: TestSet,
    versions: Mapping[Role, Version],
    configurations: Sequence[Configuration],
    on_progress: Progress | None = None,
    *,
    run_folder: RunFolder | None = None,
    with_details: bool = False,
    on_documents: Documents | None = None,
    starters: Mapping[Role, Version] = NO_VERSIONS,
    serving: Mapping[Role, Version] = NO_VERSIONS,
    examples: Sequence[JudgeItem] = (),
    diagnose: bool = False,
) -> Measurements:
    """Measure each configuration, and `with_details` the details. Requests that `run_folder` has replies to are not sent again.

    `starters` are measured together, as one more configuration, and each version of `serving` alone. Items of both are not saved.
    `examples` are the judge's training rows, from which its floors choose. With `diagnose` the last configuration is measured
    with the gold passages shown, and the bare base without passages. `on_documents` is called while the indexes of evaluation are
    filled. The first time this takes as long as an ingest.

    Raises DataError if a question's gold passage is in no document.
    """
    name, done, total = configurations[0].name, 0, 0
    starter_configuration = Configuration(STARTERS, frozenset(starters))
    serving_configurations = [Configuration(f"{role.value} that serves", frozenset({role})) for role in serving]

    def count(requests: int) -> None:
        nonlocal done
        done = min(total, done + requests)  # a batch that is halved around a bad item repeats requests
        if on_progress is not None:
            on_progress(name, done, total)

    generation: dict[Role, Version] = {r: v for r, v in versions.items() if r is not Role.EMBEDDER}
    generates = any(item.answered or item.query.history for item in tests.chain)
    needs_base = bool(tests.rewrites or tests.judgments or generates)
    measured = []
    encoders = (versions.get(Role.EMBEDDER), serving.get(Role.EMBEDDER))
    with _retrievers(settings, encoders, tests, on_documents) as searches:
        base = open_base(with_adapters(settings, generation)) if needs_base else None
        if base is not None:
            _load_further(base, settings, (*starters.values(), *serving.values()))
        journal = Journal(run_folder.requests if run_folder else None)
        model = base.engine if base else ScriptedEngine(_no_model, scorer=_no_model)
        adapters: dict[Role, str] = {role: version_name(version) for role, version in generation.items()}
        engine = Layer(Layer(model, journal), Memo(count))
        parts = Parts(engine, adapters, searches.frozen, searches.tuned, chain_options(settings), prices_of(settings))
        bench = Bench(parts, tests)
        starter_bench = Bench(replace(parts, adapters=_resident(starters), tuned=None), tests)
        serving_bench = Bench(replace(parts, adapters=_resident(serving), tuned=searches.production), tests)
        total = bench.planned(configurations) + serving_bench.planned(serving_configurations)
        total += starter_bench.planned([starter_configuration]) if starters else 0
        total += planned_details(tests, tuple(versions)) if with_details else 0
        systems = diagnostic_systems(parts, tests, configurations[-1].on, searches.passages) if diagnose else ()
        total += len(systems) * sum(item.answered for item in tests.chain)
        for configuration in configurations:
            name = configuration.name
            measured.append(bench.measure(configuration))
            if run_folder is not None:
                run_folder.add(measured[-1], tests)
        floors = _measure_floors(bench, floor_systems(tests, searches.passages, examples, searches.encoder), journal)
        if run_folder is not None:
            for each in floors:
                run_folder.add(each, tests)
        raw_searches = _raw_searches(bench, tests, searches.frozen) if Role.REWRITER in versions else ()
        name = DIAGNOSTICS
        diagnostics = tuple(bench.run(system) for system in systems)
        name = STARTERS
        starters_measured = starter_bench.measure(starter_configuration) if starters else None
        serving_measured = {}
        for role, configuration in zip(serving, serving_configurations, strict=True):
            name = configuration.name
            serving_measured[role] = serving_bench.measure(configuration)
        name = DETAILS
        details = measure_details(parts, tests, measured, floors) if with_details else None
    return Measurements(
        tuple(measured),
        journal.usage(),
        parts.reach,
        details,
        starters_measured,
        serving_measured,
        floors,
        raw_searches,
        diagnostics,
    )


def _measure_floors(bench: Bench, systems: Sequence[System], journal: Journal) -> tuple[Measured, ...]:
    """Measure each floor, with its time among the costs."""
    found = []
    for system in systems:
        started = time.perf_counter()
        found.append(bench.run(system))
        parts = (found[-1].rewrites.items, found[-1].retrieval.items, found[-1].answers.items, found[-1].judgments)
        items = max(map(len, parts))
        journal.add(Usage(system.configuration.name, NO_MODEL, items, timed=items, seconds=time.perf_counter() - started))
    return tuple(found)


def _raw_searches(bench: Bench, tests: TestSet, retriever: Retriever) -> tuple[Measured, ...]:
    """The turns searched for without a rewriter; other questions are left out, which a rewriter does not change."""
    turns = {item.gold.id for item in tests.chain if item.query.history}
    if not turns:
        return ()
    found = [bench.run(system) for system in raw_search_systems(retriever)]
    return tuple(replace(each, retrieval=each.retrieval.only(turns)) for each in found)


def _resident(versions: Mapping[Role, Version]) -> dict[Role, str]:
    """The names on the base of the versions of generation roles."""
    return {role: version_name(version) for role, version in versions.items() if role is not Role.EMBEDDER}


def _load_further(base: SharedBase, settings: Settings, versions: Sequence[Version]) -> None:
    """Load versions onto the base in addition to the adapters that are measured, each proven."""
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
    """The script of an engine without a model, for when retrieval alone is measured."""
    raise InputError("retrieval alone is measured here; no model is loaded")


@dataclass(frozen=True, slots=True)
class _Searches:
    """The retrievers of an evaluation, the passages that they search, and the encoder without an adapter."""

    encoder: Embedder
    frozen: Retriever
    tuned: Retriever | None = None
    production: Retriever | None = None
    passages: tuple[Passage, ...] = ()


@contextlib.contextmanager
def _retrievers(
    settings: Settings, encoders: tuple[Version | None, Version | None], tests: TestSet, on_documents: Documents | None
) -> Iterator[_Searches]:
    """Retrievers by the settings, on updated indexes of the project's documents: one of the frozen encoder, one of each of
    `encoders`."""
    frozen = open_embedder(with_adapters(settings, NO_VERSIONS))
    if not tests.chain:
        yield _Searches(frozen, Retriever(_NoSearch()))
        return
    reranker = open_reranker(settings)
    with contextlib.ExitStack() as opened:
        known: dict[str, Retriever] = {}
        passages: tuple[Passage, ...] = ()
        for encoder in (None, *filter(None, encoders)):
            index = opened.enter_context(contextlib.closing(_index(settings, encoder, frozen)))
            _update(index, settings.documents, on_documents)
            known[encoder.id if encoder else ""] = retriever_of(
                settings, index, version_name(encoder) if encoder else "", reranker
            )
            if encoder is None:
                passages = tuple(index.passages())
                _require_gold(tests, passages, settings.documents)
        tuned, production = (known[each.id] if each else None for each in encoders)
        yield _Searches(frozen, known[""], tuned, production, passages)


class _NoSearch:
    def search_many(self, questions: Sequence[str], k: int, **options: Any) -> list[Any]:
        if questions:
            raise InputError("no question is measured here; no index is open")
        return []


def _index(settings: Settings, embedder: Version | None, frozen: Embedder) -> Index:
    own = with_adapters(settings, {Role.EMBEDDER: embedder})
    folder = settings.store.path.with_name("evaluation") / (embedder.id if embedder else "frozen")
    store = settings.store.model_copy(update={"kind": "edge", "path": folder, "url": None, "api_key_env": None})
    own = own.model_copy(update={"store": store})
    return open_index(own, open_embedder(own) if embedder else frozen)


def _update(index: Index, documents: Path, on_documents: Documents | None) -> None:
    """Ingest the documents. An index that another encoder filled, before the settings named this one, is rebuilt."""

    def on_progress(done: int, total: int, _: str) -> None:
        if on_documents is not None:
            on_documents(done, total)

    try:
        index.ingest(documents, on_progress=on_progress)
    except IndexMismatch:
        index.ingest(documents, rebuild=True, on_progress=on_progress)


def _require_gold(tests: TestSet, passages: Sequence[Passage], documents: Path) -> None:
    """Raises DataError for a gold passage that no document holds: it can never be found, so every figure would be too low."""
    known = {passage.id for passage in passages}
    lacking = [(item.gold.id, each) for item in tests.chain for each in item.gold.passage_ids if each not in known]
    if lacking:
        row, passage = lacking[0]
        raise DataError(
            f"{len(lacking)} gold passages of the test rows are in no document of {documents}, such as {passage!r} of {row!r}; "
            "make rows and index from the same documents with the same chunking"
        )
