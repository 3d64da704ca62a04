"""The langchain-core faces over the scripted engine: calls, batches, streams, their async twins, callbacks and refusals."""

import asyncio
import functools
import threading
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda

from lorag.pipeline.chain import Chain, ChainOptions, build_chain
from lorag.pipeline.engine.protocol import Generation
from lorag.pipeline.engine.scripted import ScriptedEngine
from lorag.pipeline.errors import EngineError, InputError, PromptTooLong
from lorag.pipeline.records import Hit, Message, Passage, Query, Role, Speaker, Turn
from lorag.pipeline.retrieval.store import Filter
from lorag.pipeline.runnables import ChainInput, ChainRunnable, LoragChatModel, LoragRetriever, query_of
from lorag.pipeline.stages import Retriever, Synthesizer

TEXT = "Crews eat at noon. The Kell berth is 4 m deep."
TURNS = (Turn(Speaker.USER, "How deep is Dun?"), Turn(Speaker.ASSISTANT, "3 m."))


class Shelf:
    def __init__(self) -> None:
        self.filters: list[Filter | None] = []
        self.asked: list[int] = []

    def search_many(
        self, questions: Sequence[str], k: int, *, hybrid: bool = True, filter: Filter | None = None, contexts: Sequence[str] = ()
    ) -> list[list[Hit]]:
        self.filters.append(filter)
        self.asked.append(k)
        passage = Passage("a.md#1", "a.md", "docs/a.md", "Berths", "Kell", TEXT, 9, 9 + len(TEXT), {"folder": "x"})
        return [[Hit(passage, 0.5)] for _ in questions]


def reply(request: Generation) -> str:
    prompt = request.messages[-1].content
    if "stands alone" in prompt:
        return "How deep is the Kell berth?"
    if "explode" in prompt:
        raise PromptTooLong("prompt of 9000 tokens does not fit")
    return "4 m [1]"


def runnable() -> ChainRunnable:
    engine = ScriptedEngine(reply)
    adapters = {Role.REWRITER: "rw", Role.SYNTHESIZER: "syn", Role.JUDGE: "jd"}
    return ChainRunnable(build_chain(engine, adapters, Retriever(Shelf()), ChainOptions(answerability=False)))


class Seen(BaseCallbackHandler):
    """The events of the outermost runs, with their tags; those of the stages have their own tests."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []

    def _see(self, parent: UUID | None, *event: Any) -> None:
        if parent is None:
            self.events.append((event[0], event[1]))

    def on_chain_start(
        self, serialized: Any, inputs: Any, *, tags: Any = None, parent_run_id: UUID | None = None, **kwargs: Any
    ) -> None:
        self._see(parent_run_id, "start", tuple(tags or ()))

    def on_chain_end(self, outputs: Any, *, parent_run_id: UUID | None = None, **kwargs: Any) -> None:
        self._see(parent_run_id, "end", outputs.get("answer"))

    def on_chain_error(self, error: BaseException, *, parent_run_id: UUID | None = None, **kwargs: Any) -> None:
        self._see(parent_run_id, "error", type(error))

    def on_retriever_start(self, serialized: Any, query: str, *, parent_run_id: UUID | None = None, **kwargs: Any) -> None:
        self._see(parent_run_id, "retriever start", query)

    def on_retriever_end(self, documents: Any, *, parent_run_id: UUID | None = None, **kwargs: Any) -> None:
        self._see(parent_run_id, "retriever end", len(documents))

    def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
        self.events.append(("model start", messages[0][0].content))

    def on_llm_new_token(self, token: Any, **kwargs: Any) -> None:
        self.events.append(("token", token))

    def on_llm_end(self, response: Any, **kwargs: Any) -> None:
        self.events.append(("model end", response.generations[0][0].text))


class SeenAsync(AsyncCallbackHandler):
    def __init__(self) -> None:
        self.events: list[str] = []

    async def on_chain_start(self, *args: Any, parent_run_id: UUID | None = None, **kwargs: Any) -> None:
        if parent_run_id is None:
            self.events.append("start")

    async def on_chain_end(self, outputs: Any, *, parent_run_id: UUID | None = None, **kwargs: Any) -> None:
        if parent_run_id is None:
            self.events.append(f"end {outputs['answer']}")


@pytest.mark.parametrize(
    ("value", "query"),
    [
        ("And Kell?", Query("And Kell?")),
        ({"question": "And Kell?"}, Query("And Kell?")),
        ({"question": "And Kell?", "history": TURNS}, Query("And Kell?", TURNS)),
        ({"question": "And Kell?", "history": ["User: How deep is Dun?", "Assistant: 3 m."]}, Query("And Kell?", TURNS)),
        ({"question": "And Kell?", "history": [HumanMessage("How deep is Dun?"), AIMessage("3 m.")]}, Query("And Kell?", TURNS)),
    ],
)
def test_a_chain_reads_questions_in_langchains_shapes(value: ChainInput, query: Query) -> None:
    assert query_of(value) == query


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (3, "question"),
        ({"query": "a"}, "question"),
        ({"question": "a", "histroy": []}, "unknown key 'histroy'"),
        ({"question": "a", "history": "User: b"}, "list of turns"),
        ({"question": "a", "history": ["b"]}, "begins with neither"),
        ({"question": "a", "history": [SystemMessage("b")]}, "SystemMessage"),
    ],
)
def test_other_shapes_are_refused(value: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        runnable().invoke(value)


def test_invoke_and_ainvoke_give_the_response_as_a_dict() -> None:
    value = {"question": "And Kell?", "history": list(TURNS)}
    result = runnable().invoke(value)
    assert (result["question"], result["rewrite"], result["answer"]) == ("And Kell?", "How deep is the Kell berth?", "4 m")
    assert result["citations"] == [
        {
            "number": 1,
            "passage_id": "a.md#1",
            "source": "docs/a.md",
            "quote": "The Kell berth is 4 m deep.",
            "start": 28,
            "end": 55,
            "page": None,
        }
    ]
    again = asyncio.run(runnable().ainvoke(value))
    assert {**again, "trace": None} == {**result, "trace": None}


def test_batch_keeps_order_and_sends_the_questions_together() -> None:
    results = runnable().batch(["Kell?", {"question": "And Kell?", "history": list(TURNS)}])
    assert [r["rewrite"] for r in results] == ["Kell?", "How deep is the Kell berth?"]
    assert [r["answer"] for r in asyncio.run(runnable().abatch(["Kell?", "Dun?"]))] == ["4 m", "4 m"]
    assert runnable().batch([]) == []


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_batch_puts_each_error_in_its_place_where_asked(asynchronous: bool) -> None:
    values: list[ChainInput] = ["Kell?", " ", "explode?", {"question": 3}]

    def batch(**options: Any) -> list[Any]:
        return asyncio.run(runnable().abatch(values, **options)) if asynchronous else runnable().batch(values, **options)

    results = batch(return_exceptions=True)
    assert results[0]["answer"] == "4 m"
    assert [type(r) for r in results[1:]] == [InputError, PromptTooLong, InputError]
    with pytest.raises(InputError, match="empty"):
        batch()


def test_stream_chunks_add_up_to_the_response() -> None:
    chunks = list(runnable().stream("Kell?"))
    assert [c["delta"] for c in chunks if "delta" in c] == ["4", " m", " [1]"]
    assert [s["stage"] for c in chunks if "stages" in c for s in c["stages"]] == ["rewrite", "retrieve", "synthesize", "support"]
    said = {s["stage"]: s["reply"] for c in chunks if "stages" in c for s in c["stages"]}
    assert said["synthesize"] == "4 m [1]" and said["support"] == "", "the judge's label comes last, if it may be shown"
    assert list(chunks[-1])[:3] == ["question", "rewrite", "answer"]
    whole = functools.reduce(lambda a, b: a + b, chunks)  # type: ignore[arg-type, return-value]
    assert (whole["delta"], whole["answer"], len(whole["stages"])) == ("4 m [1]", "4 m", 4)


def test_astream_gives_the_same_chunks() -> None:
    async def collect() -> list[dict[str, Any]]:
        return [chunk async for chunk in runnable().astream("Kell?")]

    def timeless(chunks: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{k: v for k, v in chunk.items() if k not in ("trace", "stages")} for chunk in chunks]

    assert timeless(asyncio.run(collect())) == timeless(list(runnable().stream("Kell?")))


def test_an_async_stream_steps_the_engine_in_one_thread_and_closes_it() -> None:
    seen: list[int] = []

    class Watched(ScriptedEngine):
        def stream(self, request: Generation):  # type: ignore[no-untyped-def]
            try:
                for piece in super().stream(request):
                    seen.append(threading.get_ident())
                    yield piece
            finally:
                seen.append(-threading.get_ident())

    engine = Watched(lambda _: "one two three four [1]")
    chain = ChainRunnable(Chain([Retriever(Shelf()), Synthesizer(engine)]))

    async def first_two() -> None:
        stream = chain.astream("Kell?")
        deltas = 0
        async for chunk in stream:
            deltas += "delta" in chunk
            if deltas == 2:
                break
        await stream.aclose()  # type: ignore[attr-defined]

    asyncio.run(first_two())
    worker = seen[0]
    assert worker != threading.get_ident()
    assert seen == [worker, worker, -worker]


def test_callbacks_and_tags_are_honoured() -> None:
    seen = Seen()
    config: Any = {"callbacks": [seen], "tags": ["night"]}
    runnable().invoke("Kell?", config)
    runnable().batch(["Kell?", "explode?"], config, return_exceptions=True)
    list(runnable().stream("Kell?", config))
    start = ("start", ("night",))
    assert seen.events == [
        *(start, ("end", "4 m")),
        *(start, start, ("end", "4 m"), ("error", PromptTooLong)),
        *(start, ("end", "4 m")),
    ]


def test_async_callbacks_fire() -> None:
    seen = SeenAsync()
    config: Any = {"callbacks": [seen]}

    async def run() -> None:
        await runnable().ainvoke("Kell?", config)
        await runnable().abatch(["Kell?"], config)
        _ = [chunk async for chunk in runnable().astream("Kell?", config)]

    asyncio.run(run())
    assert seen.events == ["start", "end 4 m"] * 3


def test_an_error_reaches_the_caller_and_the_callbacks() -> None:
    for call in (runnable().invoke, lambda v, c: list(runnable().stream(v, c))):
        seen = Seen()
        with pytest.raises(PromptTooLong, match=r"synthesize \(syn\), question 'explode\?'"):
            call("explode?", {"callbacks": [seen]})
        assert [name for name, _ in seen.events] == ["start", "error"]


def test_the_chain_composes_with_other_runnables() -> None:
    piped = RunnableLambda(lambda text: {"question": text + "?"}) | runnable() | RunnableLambda(lambda r: r["answer"].upper())
    assert piped.invoke("Kell") == "4 M"


def test_the_retriever_gives_documents_and_fires_callbacks() -> None:
    shelf, seen = Shelf(), Seen()
    retriever = LoragRetriever(retriever=Retriever(shelf))
    (document,) = retriever.invoke("Kell?", {"callbacks": [seen]})
    assert document == Document(
        page_content=TEXT,
        id="a.md#1",
        metadata={
            "passage_id": "a.md#1",
            "document_id": "a.md",
            "source": "docs/a.md",
            "title": "Berths",
            "section": "Kell",
            "start": 9,
            "end": 55,
            "pages": [],
            "score": 0.5,
            "metadata": {"folder": "x"},
        },
    )
    assert asyncio.run(retriever.ainvoke("Kell?")) == [document]
    assert [len(found) for found in retriever.batch(["a", "b"])] == [1, 1]
    shelf.asked.clear()
    retriever.invoke("Kell?", k=19)
    LoragRetriever(retriever=Retriever(shelf), k=17).invoke("Kell?")
    assert shelf.asked == [19, 17]
    retriever.invoke("Kell?", filter={"document_id": "a.md"})
    asyncio.run(retriever.ainvoke("Kell?", filter={"document_id": "b.md"}))
    assert shelf.filters[-2:] == [{"document_id": "a.md"}, {"document_id": "b.md"}]
    assert seen.events == [("retriever start", "Kell?"), ("retriever end", 1)]


def model(text: str = "four metres deep", **settings: Any) -> LoragChatModel:
    return LoragChatModel(engine=ScriptedEngine(lambda _: text), adapter="syn", **settings)


def test_the_chat_model_sends_messages_adapter_and_sampling() -> None:
    chat = model(max_tokens=7, temperature=0.5, top_p=0.9, seed=3)
    result = (ChatPromptTemplate([("system", "Be brief."), ("user", "{q}")]) | chat).invoke({"q": "How deep?"})
    assert (result.content, result.response_metadata["finish_reason"]) == ("four metres deep", "stop")
    assert result.usage_metadata == {"input_tokens": 4, "output_tokens": 3, "total_tokens": 7}
    assert isinstance(chat.engine, ScriptedEngine)
    (request,) = chat.engine.requests
    assert isinstance(request, Generation)
    assert request.messages == (Message("system", "Be brief."), Message("user", "How deep?"))
    sampling = request.sampling
    assert (request.adapter, request.max_tokens, sampling.temperature, sampling.top_p, sampling.seed) == ("syn", 7, 0.5, 0.9, 3)


def test_the_chat_model_streams_and_has_async_twins() -> None:
    seen = Seen()
    pieces = [chunk.content for chunk in model().stream("How deep?", {"callbacks": [seen]})]
    assert pieces == ["four", " metres", " deep", ""]
    assert seen.events == [("model start", "How deep?"), *(("token", p) for p in pieces), ("model end", "four metres deep")]

    async def run() -> tuple[Any, list[Any]]:
        streamed = [chunk.content async for chunk in model().astream("How deep?")]
        return (await model().ainvoke("How deep?")).content, streamed

    assert asyncio.run(run()) == ("four metres deep", pieces)
    assert [m.content for m in model().batch(["a", "b"])] == ["four metres deep"] * 2


@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        (["metres"], "four "),
        ([" deep", "metres"], "four "),
        (["r met"], "fou"),
        (["deeper"], "four metres deep"),
        (["four"], ""),
    ],
)
def test_a_stop_text_ends_call_and_stream_alike(stop: list[str], expected: str) -> None:
    assert model().invoke("How deep?", stop=stop).content == expected
    assert "".join(str(chunk.content) for chunk in model().stream("How deep?", stop=stop)) == expected


@pytest.mark.parametrize(
    "message",
    [
        ToolMessage("x", tool_call_id="1"),
        HumanMessage([{"type": "image_url", "image_url": {"url": "data:,"}}]),
    ],
)
def test_what_is_not_text_is_refused(message: Any) -> None:
    with pytest.raises(InputError, match="text|type"):
        model().invoke([message])


def test_an_engines_error_passes_through() -> None:
    with pytest.raises(EngineError, match="no reply left"):
        LoragChatModel(engine=ScriptedEngine()).invoke("a")
