"""`Project`: settings, documents, registry, index and models of one folder, and everything that is done with them.

A project is opened with `lorag.open` or made with `lorag.init`. Opening it loads nothing: each part is opened once, when it is
first needed, and closed by `close` or at the end of `with`. The use cases are in the other modules of `lorag`. The command line,
the HTTP service and the page call them through this class.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from lorag.assembly import open_registry
from lorag.catalogue import CatalogueEntry, catalogue
from lorag.conversation import query_of
from lorag.corpus import current_passages
from lorag.feedback import ProjectFeedback
from lorag.parts import Parts
from lorag.pipeline.errors import InputError
from lorag.pipeline.records import Query, Response, Role, Turn
from lorag.promotion import SealedTest, Switch, promote_version, roll_back
from lorag.serving_lock import ingesting
from lorag.tuning import TrainingCallbacks, TrainingSpec, plan_adapter, run_folder_for, train_adapter
from lorag.watching import ProgressListener, SilentListener

if TYPE_CHECKING:
    from lorag.closed_loop.loop import LoopResult
    from lorag.closed_loop.plan import StagePlan
    from lorag.closed_loop.state import LoopSpec
    from lorag.evaluating.comparison import ComparedRuns
    from lorag.evaluating.evaluation import Evaluation
    from lorag.evaluating.exporting import Exported
    from lorag.evaluating.measuring import Documents, Progress
    from lorag.evaluating.one_adapter import AdapterEvaluation
    from lorag.merging import Notice
    from lorag.pipeline.adapters.merged_card import MergeRecord
    from lorag.pipeline.adapters.registry import Registry, Version
    from lorag.pipeline.chain import Event
    from lorag.pipeline.config import Settings
    from lorag.pipeline.engine.protocol import Engine
    from lorag.pipeline.engine.weights import Precision
    from lorag.pipeline.evaluation.report.decision import DecisionCard
    from lorag.pipeline.evaluation.report.records import Report
    from lorag.pipeline.evaluation.search_weights import ChosenWeights
    from lorag.pipeline.retrieval.embedder import Embedder
    from lorag.pipeline.retrieval.index import Index
    from lorag.pipeline.retrieval.ingest import IngestReport
    from lorag.pipeline.retrieval.ingest import Progress as IngestProgress
    from lorag.pipeline.retrieval.store import VectorStore
    from lorag.pipeline.runnables import ChainRunnable, LoragChatModel, LoragRetriever
    from lorag.training.estimate import Plan
    from lorag.training.progress import Progress as StepProgress

History = Sequence[Turn | str]
"""Earlier turns, oldest first. A turn may also be a line `User: …` or `Assistant: …`."""

SERVER = "lorag.services.api.server"
"""Services depend on this package, not the reverse, so only `serve` imports them: by name, when it is called."""


class Project:
    """An open project. Safe to use from several threads. After `close` every use raises ProjectClosed.

    A promotion or rollback through the project takes effect at its next question. Between questions another process may use an
    index on disk, and one that holds it is waited for. While `lorag serve` holds it, StoreError names the service.
    """

    def __init__(
        self, folder: Path, settings: Settings, *, engine: Engine | None = None, embedder: Embedder | None = None
    ) -> None:
        self.folder, self.settings = folder, settings
        self.parts = Parts(settings, engine=engine, embedder=embedder)
        self.feedback = ProjectFeedback(folder, partial(current_passages, settings, folder))

    def __enter__(self) -> Self:
        self.parts.require_open()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close index and models. Questions that other threads still answer fail."""
        self.parts.close()

    def load(self) -> Self:
        """Load the chain now rather than at the first question."""
        self.parts.chain()
        return self

    # --- parts ---

    @property
    def registry(self) -> Registry:
        """The adapter versions of the project."""
        self.parts.require_open()
        return open_registry(self.settings)

    def adapters(self, role: Role | str | None = None) -> tuple[CatalogueEntry, ...]:
        """The published versions of one role or of all, oldest first, each with its card or its problem."""
        return catalogue(self.registry, None if role is None else as_role(role))

    @property
    def index(self) -> Index:
        """The index of the documents, searched with the encoder that the settings name."""
        return self.parts.index()

    @property
    def chain(self) -> ChainRunnable:
        """The chain as a LangChain Runnable: a question in, the response as a dict out."""
        from lorag.pipeline.runnables import ChainRunnable

        return ChainRunnable(self.parts.chain())

    @property
    def retriever(self) -> LoragRetriever:
        """The retriever as a LangChain retriever. It loads no language model."""
        from lorag.pipeline.runnables import LoragRetriever

        return LoragRetriever(retriever=self.parts.retriever())

    @property
    def chat_model(self) -> LoragChatModel:
        """The base with the synthesizer's adapter, if it has one, as a LangChain chat model."""
        from lorag.pipeline.runnables import LoragChatModel

        base = self.parts.base()
        return LoragChatModel(engine=base.engine, adapter=base.adapters.get(Role.SYNTHESIZER))

    # --- answering ---

    def ingest(self, *, rebuild: bool = False, on_progress: IngestProgress | None = None) -> IngestReport:
        """Update the index from the documents folder. Only new, changed and removed documents cost work.

        With `rebuild`, as after a change of encoder, a new collection is filled and then replaces the old one. Raises ConfigError
        if another process serves or ingests the project, InputError without a usable document, IndexMismatch, StoreError.
        """
        from lorag.language_advice import index_advice

        self.parts.require_open()
        alone = ingesting(self.folder) if rebuild or self.settings.store.kind == "edge" else nullcontext()
        with alone, self._released():
            index = self.parts.index()
            report = index.ingest(self.settings.documents, rebuild=rebuild, on_progress=on_progress)
            if not (report.added or report.changed):
                return report
            return replace(report, advice=index_advice(index, self.settings))

    def ask(self, question: str | Query, history: History = ()) -> Response:
        """Answer one question. Raises InputError, and as `Chain.ask` does."""
        query = query_of(question, history)
        with self._released():
            return self.parts.chain().ask(query)

    def stream(self, question: str | Query, history: History = ()) -> Generator[Event]:
        """Answer one question: an event for each stage that ends and each piece of text, last the response as `Final`."""
        query = query_of(question, history)
        return self._stream(self.parts.chain().stream(query))

    def _stream(self, events: Generator[Event]) -> Generator[Event]:
        with self._released(), closing(events):
            yield from events

    def ask_many(
        self, questions: Sequence[str | Query], on_progress: Callable[[str, int, int], None] | None = None
    ) -> list[Response]:
        """Answer questions in batches: one response each, in order. A question that fails has a failed answer with its error.

        `on_progress` gets the stage, the questions done and the total. Raises InputError before any work if a question is not
        valid, and the first error if every question failed.
        """
        queries = [query_of(question) for question in questions]
        with self._released():
            return self.parts.chain().ask_many(queries, on_progress)

    @contextmanager
    def _released(self) -> Iterator[None]:
        """After: other processes may use the index until the next operation here."""
        try:
            yield
        finally:
            self.parts.release_store()

    # --- tuning ---

    def train(
        self,
        role: Role | str,
        data: str | Path,
        *,
        recipe: str | Path | None = None,
        begin: str | None = None,
        public: Path | None = None,
        max_memory: str | None = None,
        resume: bool = False,
        run: Path | None = None,
        on_progress: Callable[[StepProgress], None] | None = None,
        on_notice: Notice | None = None,
        on_measured: Callable[[int, int], None] | None = None,
    ) -> Version:
        """Train one adapter on `data`/train and publish it as `candidate`; it serves once it is promoted.

        `recipe` is a file or the name of a bundled recipe. `begin` names the adapter to continue from: `starter`, a version, an
        alias or a folder. `max_memory`, such as 6GiB, splits each step's rows into parts that fit. With `resume` the newest run,
        or the one in the folder `run`, continues from its newest checkpoint. The project's loaded models are released first.
        `on_progress` is called at each step. While a continued adapter is compared, `on_measured` gets items done and the total.

        Raises DataError, ConfigError, TrainingError, BaseError, AdapterError. A KeyboardInterrupt leaves the checkpoints.
        """
        self.parts.release_models()
        wanted = as_role(role)
        spec = TrainingSpec(wanted, Path(data), recipe, begin, public, max_memory)
        folder = run or self.run_folder(wanted, resume=resume)
        callbacks = TrainingCallbacks(on_progress, on_notice, on_measured)
        return train_adapter(self.settings, self.registry, spec, folder, resume=resume, callbacks=callbacks)

    def tune_search(self, data: str | Path, *, on_progress: Callable[[int, int], None] | None = None) -> ChosenWeights:
        """Choose how much words, vectors and token vectors count in a search, on `data`/dev/embedder.jsonl.

        The choice is stored for the encoder that serves and holds from the next question on. `on_progress` gets the questions
        searched for and their number. Raises DataError, ConfigError, NothingIngested.
        """
        from lorag.search_tuning import tune_search

        with self._released():
            chosen = tune_search(self.settings, Path(data), self.parts.index(), on_progress)
        self.parts.refresh(Role.EMBEDDER)
        return chosen

    def tune(self, spec: LoopSpec, progress: ProgressListener | None = None) -> LoopResult:
        """The whole loop in one call: train each role, measure, and promote what the gate allows. Goes on if it was stopped.

        Raises InputError and DataError before any work, and what its stages raise; a later call goes on from there.
        """
        from lorag.closed_loop.loop import tune

        return tune(self, spec, progress or SilentListener())

    def plan_tune(self, spec: LoopSpec) -> tuple[StagePlan, ...]:
        """What `tune` would do in its time: rows and seconds of each stage. Trains and writes nothing."""
        from lorag.closed_loop.plan import plan_loop

        return plan_loop(self.settings, self.registry, spec)

    def plan(
        self,
        role: Role | str,
        data: str | Path,
        *,
        recipe: str | Path | None = None,
        begin: str | None = None,
        public: Path | None = None,
        max_memory: str | None = None,
    ) -> Plan:
        """What `train` with the same arguments needs: parameters, steps, peak memory and time. Trains and writes nothing."""
        spec = TrainingSpec(as_role(role), Path(data), recipe, begin, public, max_memory)
        return plan_adapter(self.settings, self.registry, spec)

    def run_folder(self, role: Role | str, *, resume: bool = False) -> Path:
        """The folder for checkpoints and losses of the next run of `role`, or with `resume` of its newest run."""
        return run_folder_for(self.folder, as_role(role), resume=resume)

    def evaluate(
        self,
        data: str | Path,
        *,
        limit: int | None = None,
        conversations: int = 0,
        out: Path | None = None,
        on_progress: Progress | None = None,
        on_documents: Documents | None = None,
        diagnose: bool = False,
    ) -> Evaluation:
        """Measure the base chain, each adapter alone and all of them on `data`/test, each against the base item by item.

        `limit` bounds the items of each kind. The turns of `conversations` conversations are answered too. Replies are saved in
        the folder `out` as they come, and a run that was stopped continues from there. `diagnose` also answers with the gold
        passages shown, and without any, to show where answers are lost. Raises InputError without any adapter, DataError.
        """
        from lorag.evaluating.evaluation import evaluate_chain

        self.parts.release_models()
        return evaluate_chain(
            self.settings,
            Path(data),
            limit,
            on_progress,
            conversations=conversations,
            out=out,
            on_documents=on_documents,
            diagnose=diagnose,
        )

    def evaluate_adapter(
        self,
        role: Role | str,
        data: str | Path,
        version: str = "candidate",
        *,
        general: Path | None = None,
        on_progress: Progress | None = None,
        on_documents: Documents | None = None,
        on_texts: Callable[[int, int], None] | None = None,
    ) -> AdapterEvaluation:
        """Measure one adapter on `data`/test, item by item, and write the result to its card: the evidence for a promotion.

        `general` is a BEIR or data folder of another domain, to measure what an embedder lost there.
        """
        from lorag.evaluating.one_adapter import evaluate_version

        self.parts.release_models()
        return evaluate_version(
            self.settings,
            as_role(role),
            version,
            Path(data),
            general,
            on_progress=on_progress,
            on_documents=on_documents,
            on_texts=on_texts,
        )

    def ablate(self, data: str | Path, *, limit: int | None = None, on_progress: Progress | None = None) -> Report:
        """Measure every combination of the adapters on `data`/test: main effects, interactions, and what is noise.

        A run that was stopped continues. Raises as `evaluate`.
        """
        from lorag.evaluating.ablation import STATE, run_ablation

        self.parts.release_models()
        return run_ablation(self.settings, Path(data), self.folder / STATE, limit, on_progress)

    @staticmethod
    def compare(
        before: str | Path,
        after: str | Path,
        *,
        configuration: str = "all adapters",
        after_configuration: str = "",
        qrels: str | Path | None = None,
    ) -> ComparedRuns:
        """Compare two saved reports or run folders on the items that they share. One may be another system's run file or log.

        `configuration` names the configuration to compare, `after_configuration` another one for the second run. `qrels` are
        judgments for a run file, if the saved run holds none. Raises InputError for a report that cannot be read, DataError for
        a run file.
        """
        from lorag.evaluating.comparison import compare_saved

        judged = Path(qrels) if qrels is not None else None
        return compare_saved(Path(before), Path(after), configuration, after_configuration or configuration, judged)

    @staticmethod
    def export(
        run: str | Path,
        out: str | Path,
        form: str = "trec",
        *,
        qrels: str | Path | None = None,
        configuration: str = "all adapters",
    ) -> Exported:
        """Write a configuration of a run folder to `out` for another tool: `form` is trec, ranx or inspect.

        `qrels` is a file for the judgments, in the same form. Raises InputError for a folder that cannot be read or written.
        """
        from lorag.evaluating.exporting import ExportForm, export_run

        judged = Path(qrels) if qrels is not None else None
        return export_run(Path(run), Path(out), ExportForm(form), qrels=judged, configuration=configuration)

    def promote(
        self,
        role: Role | str,
        version: str = "candidate",
        *,
        not_worse: float | None = None,
        data: str | Path | None = None,
        accept_made: bool = False,
        on_progress: Progress | None = None,
        on_documents: Documents | None = None,
        on_card: Callable[[DecisionCard], None] | None = None,
    ) -> Switch:
        """Let a version serve if its evidence allows it. `not_worse` is the margin it may be worse than what serves by.

        If the folder `data` has a sealed part, the version is measured there once, with the callbacks of `evaluate_adapter`, and
        that decides; `on_card` gets the card of that decision, before a refusal is raised. With `accept_made` made rows will do.
        Raises AdapterError, DataError, and ConfigError if lorag.yaml names another version than `production`.
        """
        wanted, sealed = as_role(role), None
        if data is not None:
            self.parts.release_models()
            sealed = SealedTest(Path(data), on_progress, on_documents, on_card)
        with self._released():
            switch = promote_version(self.settings, wanted, version, not_worse, self._store_of(wanted), sealed, accept_made)
        return self._switched(switch)

    def rollback(self, role: Role | str) -> Switch:
        """Restore the previous version, for the embedder with its index. A second rollback undoes the first."""
        wanted = as_role(role)
        with self._released():
            switch = roll_back(self.settings, wanted, self._store_of(wanted))
        return self._switched(switch)

    def _store_of(self, role: Role) -> VectorStore | None:
        self.parts.require_open()
        return self.parts.store() if role is Role.EMBEDDER else None

    def _switched(self, switch: Switch) -> Switch:
        self.parts.refresh(switch.role)
        return switch

    def merge(
        self,
        role: Role | str,
        out: str | Path,
        *,
        version: str = "production",
        data: str | Path | None = None,
        precision: str = "bf16",
        samples: int = 32,
        allow_difference: bool = False,
        on_notice: Notice | None = None,
    ) -> MergeRecord:
        """Merge an adapter into its base, check that both agree, and write a model that needs no adapter to `out`.

        `data` holds rows to compare on, which are required for an adapter of a quantized base. Raises AdapterError with the
        figures if they differ, unless `allow_difference`.
        """
        from lorag.merging import MergeSpec, merge_version

        wanted = as_precision(precision)
        self.parts.release_models()
        rows = None if data is None else Path(data)
        spec = MergeSpec(version, Path(out), rows, wanted, samples, allow_difference)
        return merge_version(self.settings, as_role(role), spec, on_notice)

    def import_adapter(
        self,
        folder: str | Path,
        role: Role | str,
        data: str | Path,
        *,
        contract: str = "",
        precision: str = "",
        licence: str = "",
        same_base: bool = False,
    ) -> Version:
        """Import an adapter that peft or trl saved, check it on held-out rows of `data` and publish it as `candidate`.

        `contract` and `precision` say what it was trained on, if known. `same_base` says that the base it names is the project's
        under another name. Raises AdapterError, DataError.
        """
        from lorag.adapter_import import import_version
        from lorag.training.importing import Claims

        self.parts.release_models()
        claims = Claims(contract, precision, licence, same_base)
        return import_version(self.settings, self.registry, as_role(role), Path(folder), Path(data), claims)

    # --- serving ---

    def serve(
        self,
        host: str = "127.0.0.1",
        port: int = 8321,
        *,
        concurrency: int = 8,
        max_queue: int = 64,
        timeout: float = 120.0,
        max_body: int = 1 << 20,
        max_upload: int = 32 << 20,
        cache: int = 1024,
        on_notice: Notice | None = None,
    ) -> None:
        """Serve the project over HTTP until SIGTERM or Ctrl-C. The limits are those of `lorag serve`.

        Raises ConfigError if the address is not available, if it is not loopback and there are no keys, and if another process
        serves the project.
        """
        self.parts.require_open()
        server = importlib.import_module(SERVER)
        limits = server.Limits(max_queue, concurrency, timeout, max_body, max_upload, cache)
        server.serve(self, host, port, limits, on_notice or (lambda line: None))

    # --- async versions: each call runs in its own thread ---

    async def aingest(self, *, rebuild: bool = False, on_progress: IngestProgress | None = None) -> IngestReport:
        """As `ingest`. `on_progress` is called in the worker thread."""
        return await asyncio.to_thread(self.ingest, rebuild=rebuild, on_progress=on_progress)

    async def aask(self, question: str | Query, history: History = ()) -> Response:
        """As `ask`."""
        return await asyncio.to_thread(self.ask, question, history)

    async def astream(self, question: str | Query, history: History = ()) -> AsyncGenerator[Event]:
        """As `stream`. Closing it stops the work."""
        from contextlib import aclosing

        from lorag.pipeline.one_thread import in_one_thread

        async with aclosing(in_one_thread(partial(self.stream, question, history))) as events:
            async for event in events:
                yield event

    async def aask_many(
        self, questions: Sequence[str | Query], on_progress: Callable[[str, int, int], None] | None = None
    ) -> list[Response]:
        """As `ask_many`."""
        return await asyncio.to_thread(self.ask_many, questions, on_progress)


def as_role(role: Role | str) -> Role:
    """The role of that name. Raises InputError with the known names."""
    try:
        return Role(role)
    except ValueError:
        raise InputError(f"{role!r} is no role; there are: {', '.join(Role)}") from None


def as_precision(name: str) -> Precision:
    """The precision of that name. Raises InputError with the known names."""
    from lorag.pipeline.engine.weights import Precision

    try:
        return Precision(name)
    except ValueError:
        raise InputError(f"{name!r} is no precision; there are: {', '.join(Precision)}") from None
