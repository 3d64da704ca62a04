"""What langchain's callbacks and event streams are told of a chain's stages, and what calls may set."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document

from lorag.pipeline.chain import ChainOptions, build_chain
from lorag.pipeline.engine.protocol import ChoiceRequest, Finish, Generation
from lorag.pipeline.engine.scripted import ScriptedEngine
from lorag.pipeline.errors import InputError, PromptTooLong
from lorag.pipeline.records import Hit, Passage, Role
from lorag.pipeline.retrieval.client_store import ClientStore
from lorag.pipeline.retrieval.embedder import HashingEmbedder
from lorag.pipeline.retrieval.index import Index
from lorag.pipeline.retrieval.store import Filter
from lorag.pipeline.runnables import ChainRunnable, LoragChatModel, LoragRetriever
from lorag.pipeline.stage_callbacks import STAGE_TAG
from lorag.pipeline.stages import Retriever

HISTORY = ["User: How deep is the Dun berth?", "Assistant: 3 m."]
TURN = {"question": "And Kell?", "history": HISTORY}
STAGES = ["rewrite", "retrieve", "answerability", "synthesize", "support"]


class Shelf:
    """Two passages for every question; none where it says `nothing`."""

    def search_many(
        self, questions: Sequence[str], k: int, *, hybrid: bool = True, filter: Filter | None = None, contexts: Sequence[str] = ()
    ) -> list[list[Hit]]:
        return [[] if "nothing" in question else [hit("Kell", 0.9), hit("Dun", 0.4)] for question in questions]


def hit(name: str, score: float) -> Hit:
    text = f"The {name} berth is {len(name)} m deep."
    return Hit(Passage(f"{name}.md#1", f"{name}.md", f"docs/{name}.md", name, "Depths", text, 5, 5 + len(text)), score)


def reply(request: Generation) -> str:
    prompt = request.messages[-1].content
    if "stands alone" in prompt:
        return "How deep is the Kell berth?"
    if "explode" in prompt:
        raise PromptTooLong("prompt of 9000 tokens does not fit")
    return "4 m [1]"


def choice_probabilities(request: ChoiceRequest) -> Sequence[float]:
    return [3, *[1] * (len(request.choices) - 1)]


def runnable(options: ChainOptions | None = None) -> ChainRunnable:
    engine = ScriptedEngine(reply, scorer=choice_probabilities)
    adapters = {Role.REWRITER: "rw", Role.SYNTHESIZER: "syn", Role.JUDGE: "jd"}
    return ChainRunnable(build_chain(engine, adapters, Retriever(Shelf()), options))


class Runs(BaseCallbackHandler):
    """Every run: its name, its parent's name, what went in and what came out, in order of events."""

    def __init__(self) -> None:
        self.names: dict[UUID, str] = {}
        self.parents: dict[str, str | None] = {}
        self.events: list[tuple[str, str]] = []
        self.inputs: dict[str, Any] = {}
        self.outputs: dict[str, Any] = {}
        self.tags: dict[str, Any] = {}

    def _start(self, inputs: Any, run_id: UUID, parent_run_id: UUID | None, name: str, tags: Any) -> None:
        self.names[run_id] = name
        self.parents[name] = self.names[parent_run_id] if parent_run_id else None
        self.inputs[name], self.tags[name] = inputs, tags
        self.events.append(("start", name))

    def _end(self, kind: str, outputs: Any, run_id: UUID) -> None:
        self.outputs[self.names[run_id]] = outputs
        self.events.append((kind, self.names[run_id]))

    def on_chain_start(
        self, serialized: Any, inputs: Any, *, run_id: UUID, parent_run_id: UUID | None = None, tags: Any = None, **kwargs: Any
    ) -> None:
        self._start(inputs, run_id, parent_run_id, kwargs["name"], tags)

    def on_retriever_start(
        self, serialized: Any, query: Any, *, run_id: UUID, parent_run_id: UUID | None = None, tags: Any = None, **kwargs: Any
    ) -> None:
        self._start(query, run_id, parent_run_id, kwargs["name"], tags)

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self._end("end", outputs, run_id)

    def on_retriever_end(self, documents: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self._end("end", documents, run_id)

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self._end("error", error, run_id)

    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self._end("error", error, run_id)


def invoke(value: Any, config: Any) -> Any:
    return runnable().invoke(value, config)


def stream(value: Any, config: Any) -> Any:
    return list(runnable().stream(value, config))[-1]


def ainvoke(value: Any, config: Any) -> Any:
    return asyncio.run(runnable().ainvoke(value, config))


def astream(value: Any, config: Any) -> Any:
    async def collect() -> Any:
        return [chunk async for chunk in runnable().astream(value, config)][-1]

    return asyncio.run(collect())


def batch(value: Any, config: Any) -> Any:
    return runnable().batch([value], config)[0]


def abatch(value: Any, config: Any) -> Any:
    return asyncio.run(runnable().abatch([value], config))[0]


CALLS = [invoke, stream, ainvoke, astream, batch, abatch]


@pytest.mark.parametrize("call", CALLS)
def test_each_stage_is_a_run_below_the_chains(call: Any) -> None:
    runs = Runs()
    result = call(TURN, {"callbacks": [runs], "run_name": "asked"})
    steps = [event for name in STAGES for event in (("start", name), ("end", name))]
    assert runs.events == [("start", "asked"), *steps, ("end", "asked")]
    assert {runs.parents[name] for name in STAGES} == {"asked"}
    assert all(STAGE_TAG in runs.tags[name] for name in STAGES) and STAGE_TAG not in runs.tags["asked"]
    assert runs.inputs["rewrite"] == {"question": "And Kell?"}
    assert runs.inputs["retrieve"] == "How deep is the Kell berth?"
    by_stage = {stage["stage"]: stage for stage in result["trace"]["stages"]}
    assert {name: runs.outputs[name] for name in STAGES if name != "retrieve"} == {
        name: by_stage[name] for name in STAGES if name != "retrieve"
    }
    assert [(d.id, d.metadata["score"]) for d in runs.outputs["retrieve"]] == [("Kell.md#1", 0.9), ("Dun.md#1", 0.4)]


@pytest.mark.parametrize("call", CALLS)
def test_an_error_ends_its_stage_and_the_chain(call: Any) -> None:
    runs = Runs()
    with pytest.raises(PromptTooLong):
        call("explode?", {"callbacks": [runs]})
    assert runs.events[-3:] == [("start", "synthesize"), ("error", "synthesize"), ("error", "ChainRunnable")]
    assert isinstance(runs.outputs["synthesize"], PromptTooLong)


def test_a_batch_tells_each_question_of_its_own_stages() -> None:
    first, second = Runs(), Runs()
    configs: Any = [{"callbacks": [first]}, {"callbacks": [second]}]
    results = runnable().batch(["Kell?", "explode?"], configs, return_exceptions=True)
    assert results[0]["answer"] == "4 m" and isinstance(results[1], PromptTooLong)
    assert first.events[-3:] == [("start", "support"), ("end", "support"), ("end", "ChainRunnable")]
    assert second.events[-2:] == [("error", "synthesize"), ("error", "ChainRunnable")]


def test_a_stage_with_nothing_to_do_says_nothing() -> None:
    runs = Runs()
    runnable().invoke("nothing?", {"callbacks": [runs]})
    assert (runs.outputs["answerability"], runs.outputs["support"], runs.outputs["retrieve"]) == ({}, {}, [])
    assert runs.outputs["synthesize"]["detail"]["refused"] is True


def test_a_stream_that_is_left_early_ends_its_runs() -> None:
    runs = Runs()
    chunks = runnable().stream("Kell?", {"callbacks": [runs]})
    while "delta" not in next(chunks):
        pass
    chunks.close()  # type: ignore[attr-defined]
    assert ("error", "synthesize") in runs.events
    assert ("start", "support") not in runs.events


def test_astream_events_tells_of_stages_as_they_run() -> None:
    async def collect() -> list[Mapping[str, Any]]:
        return [event async for event in runnable().astream_events(TURN, version="v2", include_tags=[STAGE_TAG])]

    events = asyncio.run(collect())
    kinds = [(event["event"], event["name"]) for event in events]
    assert kinds[:4] == [
        ("on_chain_start", "rewrite"),
        ("on_chain_end", "rewrite"),
        ("on_retriever_start", "retrieve"),
        ("on_retriever_end", "retrieve"),
    ]
    assert [name for kind, name in kinds if kind.endswith("_end")] == STAGES
    (retrieved,) = [event for event in events if event["event"] == "on_retriever_end"]
    assert [document.id for document in retrieved["data"]["output"]] == ["Kell.md#1", "Dun.md#1"]


def test_astream_events_streams_the_reply_of_the_chain() -> None:
    async def collect() -> str:
        events = [event async for event in runnable().astream_events("Kell?", version="v2")]
        chunks = [event["data"]["chunk"] for event in events if event["event"] == "on_chain_stream"]
        return "".join(chunk.get("delta", "") for chunk in chunks)

    assert asyncio.run(collect()) == "4 m [1]"


def test_the_response_holds_its_passages_as_documents_with_what_is_cited() -> None:
    documents = runnable().invoke("Kell?")["documents"]
    assert all(isinstance(document, Document) for document in documents)
    cited, other = documents
    assert (cited.id, cited.page_content, cited.metadata["title"]) == ("Kell.md#1", "The Kell berth is 4 m deep.", "Kell")
    assert [d.metadata["number"] for d in documents] == [1, 2]
    assert [d.metadata["score"] for d in documents] == [0.9, 0.4]
    assert cited.metadata["citations"] == [{"quote": "The Kell berth is 4 m deep.", "start": 5, "end": 32, "page": None}]
    assert other.metadata["citations"] == []


def test_with_config_names_tags_and_metadata() -> None:
    runs = Runs()
    named = runnable().with_config(run_name="night", tags=["late"], callbacks=[runs])
    assert named.invoke("Kell?")["answer"] == "4 m"
    assert runs.events[0] == ("start", "night") and runs.tags["night"] == ["late"]
    assert sorted(runs.tags["synthesize"]) == ["late", STAGE_TAG]


def test_a_chain_takes_no_options() -> None:
    bound = runnable().bind(temperature=1)
    calls: list[Any] = [
        lambda: bound.invoke("Kell?"),
        lambda: list(bound.stream("Kell?")),
        lambda: bound.batch(["Kell?"]),
        lambda: asyncio.run(bound.ainvoke("Kell?")),
        lambda: asyncio.run(bound.abatch(["Kell?"])),
    ]
    for call in calls:
        with pytest.raises(InputError, match="no option 'temperature'"):
            call()


def model(**settings: Any) -> LoragChatModel:
    engine = ScriptedEngine(lambda request: "one two three four", adapters=("syn", "jd"))
    return LoragChatModel(engine=engine, adapter="syn", **settings)


def sent(chat: LoragChatModel) -> Generation:
    assert isinstance(chat.engine, ScriptedEngine)
    request = chat.engine.requests[-1]
    assert isinstance(request, Generation)
    return request


def test_bind_reaches_the_engine() -> None:
    chat = model(max_tokens=9, temperature=0.5, stop=["five"])
    chat.bind(max_tokens=3, temperature=0.0, top_p=0.5, seed=7, stop=["three"], model="jd").invoke("a")
    request = sent(chat)
    assert (request.max_tokens, request.adapter, request.stop) == (3, "jd", ("three",))
    assert (request.sampling.temperature, request.sampling.top_p, request.sampling.seed) == (0.0, 0.5, 7)
    chat.bind(model="base").invoke("a")
    assert (sent(chat).adapter, sent(chat).max_tokens, sent(chat).stop) == (None, 9, ("five",))
    list(chat.bind(max_tokens=2).stream("a"))
    assert sent(chat).max_tokens == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tools": []}, "no option 'tools'"),
        ({"max_tokens": 0}, "max_tokens is 0; it must be a whole number from 1"),
        ({"max_tokens": 2.5}, "max_tokens is 2.5"),
        ({"max_tokens": True}, "max_tokens is True"),
        ({"temperature": -1}, "temperature is -1"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"temperature": "hot"}, "temperature is 'hot'"),
        ({"top_p": 0}, "top_p is 0"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_options_that_mean_nothing_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        model().bind(**options).invoke("a")
    with pytest.raises(InputError, match=message):
        list(model().bind(**options).stream("a"))


def test_streams_and_calls_tell_the_same_usage() -> None:
    chat = model(stop=["three"])
    called = chat.invoke("how deep is it")
    chunks = list(chat.stream("how deep is it"))
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    assert called.content == whole.content == "one two "
    assert called.usage_metadata == whole.usage_metadata == {"input_tokens": 4, "output_tokens": 2, "total_tokens": 6}
    assert called.response_metadata == whole.response_metadata == {"model_name": "syn", "finish_reason": Finish.STOP.value}
    assert [chunk.usage_metadata is None for chunk in chunks] == [True] * (len(chunks) - 1) + [False]


def test_traces_name_the_model_that_answers() -> None:
    params = model(temperature=0.5, max_tokens=4)._get_ls_params(stop=["x"], model="jd")
    assert json.loads(json.dumps(params)) == {
        "ls_provider": "lorag",
        "ls_model_type": "chat",
        "ls_model_name": "jd",
        "ls_temperature": 0.5,
        "ls_max_tokens": 4,
        "ls_stop": ["x"],
    }


def test_the_retriever_refuses_a_k_below_one() -> None:
    retriever = LoragRetriever(retriever=Retriever(Index(ClientStore(":memory:"), HashingEmbedder())))
    with pytest.raises(InputError, match="k=0"):
        retriever.invoke("Kell?", k=0)
