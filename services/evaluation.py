"""Measures a project's adapters on held-out data: the table of configurations, the paired evidence, the honest floors.

The composition root of evaluation: settings and a data folder in, plain figures out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.adapters.card import Evidence
from pipeline.adapters.registry import Version
from pipeline.assembly import open_base, open_embedder, open_index, open_registry, version_name
from pipeline.config import Settings
from pipeline.engine.memo import MemoEngine
from pipeline.errors import IndexMismatch, InputError
from pipeline.evaluation import answers as answer_metrics
from pipeline.evaluation import rewrites as rewrite_metrics
from pipeline.evaluation.ablation import (
    ALL_ADAPTERS,
    BASE_CHAIN,
    MACRO_F1,
    NDCG,
    OWN_METRIC,
    RECALL,
    REWRITE_EM,
    Configuration,
    Measured,
    Parts,
    TestSet,
    difference,
    interval,
    measure,
    one_at_a_time,
    planned_requests,
)
from pipeline.evaluation.floors import floors
from pipeline.evaluation.report import Ablation, AblationRow, Cell, Comparison, Floor
from pipeline.records import Role
from pipeline.retrieval.index import Index
from services.testset import Sizes, read_tests
from training.dataset import DataFolder

Progress = Callable[[str, int, int], None]
"""Called with what is going on, requests answered and requests in all."""

ROLES = (Role.REWRITER, Role.EMBEDDER, Role.SYNTHESIZER, Role.JUDGE)
METRICS = (
    NDCG,
    RECALL,
    rewrite_metrics.ROUGE_1,
    REWRITE_EM,
    answer_metrics.EM,
    answer_metrics.F1,
    answer_metrics.CITATION_PRECISION,
    answer_metrics.CITATION_RECALL,
    answer_metrics.RIGHT_REFUSALS,
    answer_metrics.WRONG_REFUSALS,
    MACRO_F1,
)
"""The columns of the table."""

LOWER_IS_BETTER = (answer_metrics.WRONG_REFUSALS, rewrite_metrics.HARM)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was measured. `measured` holds every item; the rest is what tables show."""

    tests: TestSet
    measured: tuple[Measured, ...]
    ablation: Ablation
    comparisons: tuple[Comparison, ...]
    floors: tuple[Floor, ...]

    def to_json(self) -> dict[str, Any]:
        """The figures without the items."""
        rows = {row.configuration: {m: asdict(cell) for m, cell in row.cells.items()} for row in self.ablation.rows}
        return {
            "configurations": rows,
            "comparisons": [asdict(each) for each in self.comparisons],
            "floors": [asdict(each) for each in self.floors],
        }


def evaluate_chain(
    settings: Settings,
    data: Path,
    limit: int | None = None,
    on_progress: Progress | None = None,
    *,
    versions: Mapping[Role, str] | None = None,
) -> Evaluation:
    """Measure the base chain, each adapter alone and all of them on `data`/test.

    `limit` bounds the items of each kind that the model is asked about. `versions` names the adapters; by default those that
    the settings name, or else the candidates. Raises InputError where there is no adapter at all.
    """
    chosen = _versions(settings, versions)
    if not chosen:
        raise InputError("no adapter is published in this project; train one first with `lorag train`")
    sizes = Sizes() if not limit else Sizes(limit, limit // 4, limit, limit, settings.seed)
    return evaluate(settings, DataFolder(data, settings.judge.intents), chosen, sizes, on_progress)


def evaluate(
    settings: Settings, data: DataFolder, versions: Mapping[Role, Version], sizes: Sizes, on_progress: Progress | None = None
) -> Evaluation:
    """As `evaluate_chain`, with everything resolved."""
    for role in versions:
        data.check_leaks(role)
    tests = read_tests(data, sizes, roles=ROLES)
    roles = [role for role in ROLES if role in versions]
    measured = _measure(settings, tests, versions, one_at_a_time(roles), on_progress)
    return Evaluation(tests, measured, _table(measured), compare(measured, roles), floors(tests, measured[0]))


def evaluate_adapter(
    settings: Settings, role: Role, version: str, data: Path, on_progress: Progress | None = None, *, sizes: Sizes | None = None
) -> tuple[Version, Evidence]:
    """Measure one adapter against the base on its own metric, on `data`/test, and put the evidence on its card."""
    registry = open_registry(settings)
    found = registry.resolve(role, version)
    folder = DataFolder(data, settings.judge.intents)
    folder.check_leaks(role)
    tests = read_tests(folder, sizes or Sizes(), roles=(role,))
    both = (Configuration(BASE_CHAIN, frozenset()), Configuration(f"+ {role.value}", frozenset({role})))
    base, tuned = _measure(settings, tests, {role: found}, both, on_progress)
    evidence = to_evidence(_comparison(role.value, OWN_METRIC[role], base, tuned), folder.folder.name)
    return registry.attach_evidence(role, found.id, (evidence,)), evidence


def to_evidence(comparison: Comparison, data: str) -> Evidence:
    """A comparison as a card keeps it."""
    values = asdict(comparison)
    del values["role"]
    return Evidence(**values, data=f"{data}/test")


def compare(measured: Sequence[Measured], roles: Sequence[Role]) -> tuple[Comparison, ...]:
    """Each adapter alone against the base chain on its own metric, and all together (role `chain`) on the answers."""
    by_name = {each.configuration.name: each for each in measured}
    base = by_name[BASE_CHAIN]
    alone = [_comparison(role.value, OWN_METRIC[role], base, by_name[f"+ {role.value}"]) for role in roles]
    together = [
        _comparison("chain", metric, base, by_name[ALL_ADAPTERS])
        for metric in (answer_metrics.F1, answer_metrics.CITATION_RECALL, NDCG)
    ]
    return (*alone, *together)


def _comparison(role: str, metric: str, base: Measured, tuned: Measured) -> Comparison:
    try:
        before, after, found = difference(base, tuned, metric)
    except InputError as error:
        raise InputError(f"{role} by {metric}: {error}") from error
    return Comparison(role, metric, before, after, found.value, found.low, found.high, found.n)


def _table(measured: Sequence[Measured]) -> Ablation:
    rows = []
    for each in measured:
        cells = {metric: found for metric in METRICS if (found := interval(each, metric)) is not None}
        shown = {metric: Cell(found.value, found.low, found.high, found.n) for metric, found in cells.items()}
        rows.append(AblationRow(each.configuration.name, shown))
    return Ablation(tuple(metric for metric in METRICS if any(metric in row.cells for row in rows)), tuple(rows))


def _versions(settings: Settings, names: Mapping[Role, str] | None) -> dict[Role, Version]:
    registry = open_registry(settings)
    if names is not None:
        return {role: registry.resolve(role, name) for role, name in names.items()}
    found = {}
    for role in ROLES:
        choice = str(getattr(settings.adapters, role.value))
        aliases = registry.aliases(role)
        if choice == "production" and choice not in aliases:
            choice = "candidate" if "candidate" in aliases else "none"
        if choice != "none":
            found[role] = registry.resolve(role, choice)
    return found


def with_adapters(settings: Settings, versions: Mapping[Role, Version] | Mapping[Role, Version | None]) -> Settings:
    """The settings with exactly these adapter versions, and none for the other roles."""
    chosen = {role.value: (v.id if (v := versions.get(role)) else "none") for role in ROLES}
    return settings.model_copy(update={"adapters": settings.adapters.model_copy(update=chosen)})


def _measure(
    settings: Settings,
    tests: TestSet,
    versions: Mapping[Role, Version],
    configurations: Sequence[Configuration],
    on_progress: Progress | None,
) -> tuple[Measured, ...]:
    total, done = planned_requests(tests, configurations), 0
    name = configurations[0].name

    def count(requests: int) -> None:
        nonlocal done
        done = min(total, done + requests)  # a batch that is halved around a bad item asks again for what is known
        if on_progress is not None:
            on_progress(name, done, total)

    generation: dict[Role, Version] = {r: v for r, v in versions.items() if r is not Role.EMBEDDER}
    needs_base = bool(tests.rewrites or tests.judgments or any(item.answered for item in tests.chain))
    measured = []
    with _indexes(settings, versions.get(Role.EMBEDDER), bool(tests.chain)) as (frozen, tuned):
        base = open_base(with_adapters(settings, generation)) if needs_base else None
        engine = MemoEngine(base.engine, count) if base else MemoEngine(_NoEngine(), count)
        adapters: dict[Role, str] = {role: version_name(version) for role, version in generation.items()}
        parts = Parts(engine, adapters, frozen, tuned, settings.retrieval.k, settings.retrieval.hybrid)
        for configuration in configurations:
            name = configuration.name
            measured.append(measure(configuration, parts, tests))
    return tuple(measured)


class _NoEngine:
    """Stands where no model is needed, as when retrieval alone is measured; it refuses every request."""

    adapters: tuple[str, ...] = ()

    def generate(self, requests: Sequence[Any]) -> list[Any]:
        return self._none(requests)

    def weigh(self, requests: Sequence[Any]) -> list[Any]:
        return self._none(requests)

    def stream(self, request: Any) -> Iterator[str]:
        raise InputError("retrieval alone is measured here; no model is loaded")

    def _none(self, requests: Sequence[Any]) -> list[Any]:
        if requests:
            raise InputError("retrieval alone is measured here; no model is loaded")
        return []


@contextlib.contextmanager
def _indexes(settings: Settings, embedder: Version | None, needed: bool) -> Iterator[tuple[Index | _NoSearch, Index | None]]:
    """Indexes of the project's documents filled by the frozen encoder and by the one with the adapter.

    They lie beside the project's own, which evaluation never touches, and are brought up to date, not made anew.
    """
    if not needed:
        yield _NoSearch(), None
        return
    with contextlib.ExitStack() as opened:
        frozen = opened.enter_context(contextlib.closing(_index(settings, None)))
        tuned = opened.enter_context(contextlib.closing(_index(settings, embedder))) if embedder else None
        for index in (frozen, tuned) if tuned else (frozen,):
            _bring_up_to_date(index, settings.documents)
        yield frozen, tuned


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


def _bring_up_to_date(index: Index, documents: Path) -> None:
    """Ingest; an index that another encoder filled, before the settings named this one, is made anew."""
    try:
        index.ingest(documents)
    except IndexMismatch:
        index.ingest(documents, rebuild=True)
