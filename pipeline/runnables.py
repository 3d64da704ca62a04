"""LoRAG in langchain-core: the chain as a Runnable, the retriever as a BaseRetriever, engine + adapter as a BaseChatModel.

Adapts interfaces only; the wrapped parts answer, search and generate.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Iterator, Mapping, Sequence
from contextlib import aclosing, closing
from functools import partial
from typing import Any

from langchain_core.callbacks import (
    AsyncCallbackManagerForChainRun,
    AsyncCallbackManagerForRetrieverRun,
    CallbackManagerForChainRun,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document
from langchain_core.messages import BaseMessage
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import run_in_executor
from langchain_core.runnables.utils import AddableDict

from lorag.pipeline.chain import Chain, Final, StageDone, TextDelta
from lorag.pipeline.chat_model import LoragChatModel
from lorag.pipeline.contracts.context import parse_turn
from lorag.pipeline.errors import InputError
from lorag.pipeline.hit_documents import hit_document, shown_documents
from lorag.pipeline.one_thread import in_one_thread
from lorag.pipeline.records import Query, Response, Speaker, Turn
from lorag.pipeline.response_json import response_json
from lorag.pipeline.retrieval.store import Filter
from lorag.pipeline.shown_verdicts import is_judgment
from lorag.pipeline.stage_callbacks import StageCallbacks
from lorag.pipeline.stages.retriever import Retriever

__all__ = ["ChainInput", "ChainRunnable", "LoragChatModel", "LoragRetriever", "query_of"]

ChainInput = str | Mapping[str, Any]
"""A question, or `{"question": …, "history": […]}`. Turns are `Turn`s, langchain messages, or lines `User: …`, `Assistant: …`."""

_SPEAKERS = {"human": Speaker.USER, "ai": Speaker.ASSISTANT}


def query_of(value: ChainInput) -> Query:
    """The query of a chain input. Raises InputError for anything but a question with an optional history, or for an unknown
    key."""
    if isinstance(value, str):
        return Query(value)
    if not isinstance(value, Mapping) or not isinstance(value.get("question"), str):
        raise InputError("a chain is asked with a question or {'question': text, 'history': turns}; give one of these")
    if unknown := sorted(map(str, value.keys() - {"question", "history"})):
        raise InputError(f"unknown key {unknown[0]!r} beside the question; known: question, history")
    history = value.get("history") or ()
    if isinstance(history, str) or not isinstance(history, Sequence):
        raise InputError("history must be a list of turns, oldest first")
    return Query(value["question"], tuple(_turn(turn) for turn in history))


def _turn(value: object) -> Turn:
    if isinstance(value, Turn):
        return value
    if isinstance(value, str):
        return parse_turn(value)
    if isinstance(value, BaseMessage) and value.type in _SPEAKERS:
        return Turn(_SPEAKERS[value.type], value.text)
    raise InputError(f"a history turn of type {type(value).__name__} is none; give a Turn, a user or AI message or 'User: …'")


class ChainRunnable(Runnable[ChainInput, dict[str, Any]]):
    """The chain: question in, the dict of `response_json` out, with the passages as `documents` (see `shown_documents`).

    A stream yields `{"delta": text}` for each piece of the reply, `{"stages": [record]}` as stages end, without what the judge
    says, and last the whole response. Their sum is the response with the raw reply under `delta`. Callbacks get each stage as a
    child run of the chain's (see `StageCallbacks`). Calls raise as `Chain.ask`; in `batch` with `return_exceptions` each
    question's error is in its place.
    """

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    def invoke(self, input: ChainInput, config: RunnableConfig | None = None, **kwargs: Any) -> dict[str, Any]:
        _no_options(kwargs)
        return self._call_with_config(self._ask, input, config)

    async def ainvoke(self, input: ChainInput, config: RunnableConfig | None = None, **kwargs: Any) -> dict[str, Any]:
        async def ask(value: ChainInput, run_manager: AsyncCallbackManagerForChainRun) -> dict[str, Any]:
            return await run_in_executor(config, self._ask, value, run_manager.get_sync())

        _no_options(kwargs)
        return await self._acall_with_config(ask, input, config)

    def batch(
        self,
        inputs: list[ChainInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any | None,
    ) -> list[dict[str, Any]]:
        """All questions together, so that the engine batches them."""
        _no_options(kwargs)
        return self._batch_with_config(self._ask_each, inputs, config, return_exceptions=return_exceptions)

    async def abatch(
        self,
        inputs: list[ChainInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any | None,
    ) -> list[dict[str, Any]]:
        async def ask_each(
            values: list[ChainInput], run_manager: list[AsyncCallbackManagerForChainRun]
        ) -> list[Exception | dict[str, Any]]:
            return await run_in_executor(None, self._ask_each, values, [run.get_sync() for run in run_manager])

        _no_options(kwargs)
        return await self._abatch_with_config(ask_each, inputs, config, return_exceptions=return_exceptions)

    def stream(self, input: ChainInput, config: RunnableConfig | None = None, **kwargs: Any | None) -> Iterator[dict[str, Any]]:
        _no_options(kwargs)
        yield from self._transform_stream_with_config(iter([input]), self._chunks_of, config)

    async def astream(
        self, input: ChainInput, config: RunnableConfig | None = None, **kwargs: Any | None
    ) -> AsyncIterator[dict[str, Any]]:
        async def one() -> AsyncIterator[ChainInput]:
            yield input

        _no_options(kwargs)
        async for chunk in self._atransform_stream_with_config(one(), self._achunks_of, config):
            yield chunk

    def _ask(self, value: ChainInput, run_manager: CallbackManagerForChainRun) -> dict[str, Any]:
        return _result(self._chain.ask(query_of(value), StageCallbacks(run_manager)))

    def _ask_each(
        self, values: list[ChainInput], run_manager: list[CallbackManagerForChainRun]
    ) -> list[Exception | dict[str, Any]]:
        """For each input its response, or the error that a call with it alone raises."""
        read = [_try_query(value) for value in values]
        asked = [(query, StageCallbacks(run)) for query, run in zip(read, run_manager, strict=True) if isinstance(query, Query)]
        responses = iter(self._chain.attempt_many([query for query, _ in asked], watchers=[watcher for _, watcher in asked]))
        return [_unless_failed(next(responses)) if isinstance(query, Query) else query for query in read]

    def _chunks(self, value: ChainInput, run_manager: CallbackManagerForChainRun) -> Generator[AddableDict]:
        with closing(self._chain.stream(query_of(value), StageCallbacks(run_manager))) as events:
            for event in events:
                match event:
                    case TextDelta(text):
                        yield AddableDict(delta=text)
                    case StageDone(record):
                        said = "" if is_judgment(record) else record.reply
                        yield AddableDict(stages=[{"stage": record.stage, "seconds": record.seconds, "reply": said}])
                    case Final(response):
                        yield AddableDict(_result(response))

    def _chunks_of(self, values: Iterator[ChainInput], run_manager: CallbackManagerForChainRun) -> Iterator[dict[str, Any]]:
        for value in values:
            yield from self._chunks(value, run_manager)

    async def _achunks_of(
        self, values: AsyncIterator[ChainInput], run_manager: AsyncCallbackManagerForChainRun
    ) -> AsyncIterator[dict[str, Any]]:
        run = run_manager.get_sync()
        async for value in values:
            async with aclosing(in_one_thread(lambda value=value: self._chunks(value, run))) as chunks:  # type: ignore[misc]
                async for chunk in chunks:
                    yield chunk


def _no_options(options: Mapping[str, Any]) -> None:
    if options:
        raise InputError(f"the chain takes no option {min(options)!r}; what it does is set where it is made")


def _result(response: Response) -> dict[str, Any]:
    return {**response_json(response), "documents": shown_documents(response.trace.hits, response.answer.citations)}


def _try_query(value: ChainInput) -> Query | InputError:
    try:
        return query_of(value)
    except InputError as error:
        return error


def _unless_failed(response: Response) -> dict[str, Any] | Exception:
    return response.answer.error or _result(response)


class LoragRetriever(BaseRetriever):
    """The retriever stage: documents as `hit_document` makes them, with the passage's identity and `score` in the metadata.

    `k` replaces the stage's own number of hits. `retriever.invoke(question, k=…, filter={…})` sets both for one search.
    """

    retriever: Retriever
    k: int | None = None

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int | None = None, filter: Filter | None = None
    ) -> list[Document]:
        (hits,) = self.retriever.retrieve([query], k=self.k if k is None else k, filter=filter)
        return [hit_document(hit) for hit in hits]

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,
        k: int | None = None,
        filter: Filter | None = None,
    ) -> list[Document]:
        search = partial(self._get_relevant_documents, k=k, filter=filter, run_manager=run_manager.get_sync())
        return await run_in_executor(None, search, query)
