"""`Project`: settings, documents, registry, index and models of one folder, and everything that is done with them.

A project is opened with `lorag.open` or made with `lorag.init`. Opening it loads nothing: each part is opened when it is first
needed, once, and closed by `close` or at the end of `with`. The use cases themselves lie in the modules beside this one; the
command line, the HTTP service and the page call them through here.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from lorag.assembly import open_registry
from lorag.catalogue import Listed, listed
from lorag.conversation import query_of
from lorag.parts import Parts
from lorag.pipeline.errors import InputError
from lorag.pipeline.records import Query, Response, Role, Turn
from lorag.promotion import Switch, promote_version, roll_back
from lorag.serving_lock import ingesting
from lorag.tuning import TrainingSpec, TrainingWatch, plan_adapter, run_folder_for, train_adapter

if TYPE_CHECKING:
    from lorag.evaluating.comparison import ComparedRuns
    from lorag.evaluating.evaluation import Evaluation
    from lorag.evaluating.measuring import Documents, Progress
    from lorag.evaluating.one_adapter import AdapterEvaluation
    from lorag.merging import Notice
    from lorag.pipeline.adapters.merged_card import MergeRecord
    from lorag.pipeline.adapters.registry import Registry, Version
    from lorag.pipeline.chain import Event
    from lorag.pipeline.config import Settings
    from lorag.pipeline.engine.protocol import Engine
    from lorag.pipeline.evaluation.report import Report
    from lorag.pipeline.retrieval.embedder import Embedder
    from lorag.pipeline.retrieval.index import Index
    from lorag.pipeline.retrieval.ingest import IngestReport
    from lorag.pipeline.retrieval.ingest import Progress as IngestProgress
    from lorag.pipeline.retrieval.store import VectorStore
    from lorag.pipeline.runnables import ChainRunnable, LoragChatModel, LoragRetriever
    from lorag.training.estimate import Plan
    from lorag.training.progress import Progress as StepProgress

History = Sequence[Turn | str]
"""Earlier turns, oldest first; a line `User: …` or `Assistant: …` is one too."""

SERVER = "lorag.services.api.server"
"""Services stand above the front door, so `serve` imports them by name when it is called. Nothing else here does."""


class Project:
    """A project that is open. Safe to use from several threads; after `close` every use raises ProjectClosed.

    What is promoted or rolled back through the project answers its next question.
    """

    def __init__(
        self, folder: Path, settings: Settings, *, engine: Engine | None = None, embedder: Embedder | None = None
    ) -> None:
        self.folder, self.settings = folder, settings
        self.parts = Parts(settings, engine=engine, embedder=embedder)

    def __enter__(self) -> Self:
        self.parts.require_open()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close index and models. Questions that are being answered elsewhere fail."""
        self.parts.close()

    def load(self) -> Self:
        """Load now what a question needs, in place of at the first one."""
        self.parts.chain()
        return self

    # --- what is there ---

    @property
    def registry(self) -> Registry:
        """The adapter versions of the project."""
        self.parts.require_open()
        return open_registry(self.settings)

    def adapters(self, role: Role | str | None = None) -> tuple[Listed, ...]:
        """The published versions of one role, or of all, oldest first, each with its card or with what is wrong with it."""
        return listed(self.registry, None if role is None else as_role(role))

    @property
    def index(self) -> Index:
        """The index of the documents, as the encoder that the settings name sees it."""
        return self.parts.index()

    @property
    def chain(self) -> ChainRunnable:
        """The chain as a LangChain Runnable: a question in, the response as a dict out."""
        from lorag.pipeline.runnables import ChainRunnable

        return ChainRunnable(self.parts.chain())

    @property
    def retriever(self) -> LoragRetriever:
        """The retriever as LangChain knows it. No language model is loaded for it."""
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
        """Bring the index to the state of the documents folder; only what is new, changed or gone is touched.

        With `rebuild` a new collection is filled beside the old one, which then takes its place: after a change of encoder.
        Raises ConfigError if another process serves the project or reads documents in, InputError without a usable document,
        IndexMismatch, StoreError.
        """
        self.parts.require_open()
        alone = ingesting(self.folder) if rebuild or self.settings.store.kind == "edge" else nullcontext()
        with alone:
            return self.parts.index().ingest(self.settings.documents, rebuild=rebuild, on_progress=on_progress)

    def ask(self, question: str | Query, history: History = ()) -> Response:
        """Answer one question. Raises InputError, and what ended the question as `Chain.ask` does."""
        query = query_of(question, history)
        return self.parts.chain().ask(query)

    def stream(self, question: str | Query, history: History = ()) -> Generator[Event]:
        """Answer one question: each stage as it ends, the reply piece by piece, last the whole response as `Final`."""
        query = query_of(question, history)
        return self.parts.chain().stream(query)

    def ask_many(
        self, questions: Sequence[str | Query], on_progress: Callable[[str, int, int], None] | None = None
    ) -> list[Response]:
        """Answer questions in batches, a response each, in order. One that fails has a failed answer with its error.

        `on_progress` is called with stage, questions done and questions in all. Raises InputError before any work for a question
        that cannot be asked, and the first error if every question failed.
        """
        queries = [query_of(question) for question in questions]
        return self.parts.chain().ask_many(queries, on_progress)

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

        `recipe` is a file or a bundled recipe's name, `begin` the adapter to go on from: `starter`, a version, an alias or a
        folder. `max_memory`, such as 6GiB, has each step's rows read in parts that fit. With `resume` the newest run, or that in
        the folder `run`, goes on from its newest checkpoint. Models that answered until now are let go of first.
        `on_progress` is called at each step, `on_measured` with items on which a continued adapter is compared, done and in all.

        Raises DataError, ConfigError, TrainingError, BaseError, AdapterError; a KeyboardInterrupt leaves the checkpoints.
        """
        self.parts.release_models()
        wanted = as_role(role)
        spec = TrainingSpec(wanted, Path(data), recipe, begin, public, max_memory)
        folder = run or self.run_folder(wanted, resume=resume)
        watch = TrainingWatch(on_progress, on_notice, on_measured)
        return train_adapter(self.settings, self.registry, spec, folder, resume=resume, watch=watch)

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
        """What the same `train` will need: parameters, steps, peak memory and time. Nothing is trained or written."""
        spec = TrainingSpec(as_role(role), Path(data), recipe, begin, public, max_memory)
        return plan_adapter(self.settings, self.registry, spec)

    def run_folder(self, role: Role | str, *, resume: bool = False) -> Path:
        """Where the next run of `role` keeps its checkpoints and its loss; with `resume` where the newest does."""
        return run_folder_for(self.folder, as_role(role), resume=resume)

    def evaluate(
        self,
        data: str | Path,
        *,
        limit: int | None = None,
        out: Path | None = None,
        on_progress: Progress | None = None,
        on_documents: Documents | None = None,
    ) -> Evaluation:
        """Measure the base chain, each adapter alone and all of them on `data`/test, each against the base item by item.

        `limit` bounds the items of each kind. What is answered is kept in the folder `out` as it comes, and a run that was
        stopped goes on there. Raises InputError without any adapter, DataError.
        """
        from lorag.evaluating.evaluation import evaluate_chain

        self.parts.release_models()
        return evaluate_chain(self.settings, Path(data), limit, on_progress, out=out, on_documents=on_documents)

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
        """Measure one adapter on `data`/test, item by item, and put the result on its card: what a promotion asks for.

        `general` is a BEIR or data folder of another domain, on which it is asked what an embedder lost there.
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

        A run that was stopped goes on. Raises as `evaluate`.
        """
        from lorag.evaluating.ablation import STATE, run_ablation

        self.parts.release_models()
        return run_ablation(self.settings, Path(data), self.folder / STATE, limit, on_progress)

    @staticmethod
    def compare(
        before: str | Path, after: str | Path, *, configuration: str = "all adapters", after_configuration: str = ""
    ) -> ComparedRuns:
        """Compare two saved reports or run folders on the items that they share.

        `configuration` names whose figures of both are compared, `after_configuration` another one of the second. Raises
        InputError for what cannot be read.
        """
        from lorag.evaluating.comparison import compare_saved

        return compare_saved(Path(before), Path(after), configuration, after_configuration or configuration)

    def promote(self, role: Role | str, version: str = "candidate", *, not_worse: float | None = None) -> Switch:
        """Let a version serve, if its evidence allows it; `not_worse` lets it be worse by that much. Raises AdapterError."""
        wanted = as_role(role)
        return self._switched(promote_version(self.settings, wanted, version, not_worse, self._store_of(wanted)))

    def rollback(self, role: Role | str) -> Switch:
        """Put the previous version back, for the embedder with its index. A second rollback undoes the first."""
        wanted = as_role(role)
        return self._switched(roll_back(self.settings, wanted, self._store_of(wanted)))

    def _store_of(self, role: Role) -> VectorStore | None:
        self.parts.require_open()
        return self.parts.store() if role is Role.EMBEDDER else None

    def _switched(self, switch: Switch) -> Switch:
        self.parts.follow(switch.role)
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
        """Merge an adapter into its base, prove that both do the same, and write a model that needs no adapter to `out`.

        `data` has held-out rows to compare on, which an adapter of a quantized base needs. Raises AdapterError with the figures
        if they differ, unless `allow_difference`.
        """
        from lorag.merging import MergeSpec, merge_version
        from lorag.pipeline.engine.weights import Precision

        self.parts.release_models()
        rows = None if data is None else Path(data)
        spec = MergeSpec(version, Path(out), rows, Precision(precision), samples, allow_difference)
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
        """Take in, as `candidate`, an adapter that peft or trl made elsewhere, proven on held-out rows of `data`.

        `contract` and `precision` say what it was trained on, if known; `same_base` that the base it names is the project's
        under another name. Raises AdapterError, DataError.
        """
        from lorag.adapter_import import bring_in
        from lorag.training.importing import Claims

        self.parts.release_models()
        claims = Claims(contract, precision, licence, same_base)
        return bring_in(self.settings, self.registry, as_role(role), Path(folder), Path(data), claims)

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
        """Serve the project over HTTP until the process is told to stop. The limits are those of `lorag serve`.

        Raises ConfigError for an address that cannot be had, for another than loopback without keys, and if another process
        serves the project.
        """
        self.parts.require_open()
        server = importlib.import_module(SERVER)
        limits = server.Limits(max_queue, concurrency, timeout, max_body, max_upload, cache)
        server.serve(self, host, port, limits, on_notice or (lambda line: None))

    # --- the same for callers of async functions: each call in a thread of its own ---

    async def aingest(self, *, rebuild: bool = False, on_progress: IngestProgress | None = None) -> IngestReport:
        """As `ingest`; `on_progress` is called in the working thread."""
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
    """The role of that name. Raises InputError with the names there are."""
    try:
        return Role(role)
    except ValueError:
        raise InputError(f"{role!r} is no role; there are: {', '.join(Role)}") from None
