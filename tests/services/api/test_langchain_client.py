"""LangChain's own OpenAI classes pointed at the service: chat, streamed, asynchronous, in a chain; embeddings."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

from tests.services.api.live_service import ANSWER, Live, live, ready_project


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live(ready_project(tmp_path_factory.mktemp("langchain") / "project")) as running:
        yield running


@pytest.fixture
def model(service: Live) -> ChatOpenAI:
    return ChatOpenAI(model="lorag", base_url=service.url, api_key="unused", max_retries=0, stream_usage=True)  # type: ignore[arg-type]


def test_invoke_reports_usage(model: ChatOpenAI) -> None:
    reply = model.invoke([SystemMessage("Be brief."), HumanMessage("Who keeps the key?")])
    assert reply.content == ANSWER
    assert reply.usage_metadata is not None
    assert reply.usage_metadata["output_tokens"] == 6
    assert reply.response_metadata["finish_reason"] == "stop"


def test_stream_adds_up_to_the_reply(model: ChatOpenAI) -> None:
    chunks = list(model.stream("Who keeps the key?"))
    assert "".join(str(chunk.content) for chunk in chunks) == ANSWER
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole = whole + chunk
    assert whole.usage_metadata is not None
    assert whole.usage_metadata["output_tokens"] == 6


def test_async_calls_run_beside_each_other(model: ChatOpenAI, service: Live) -> None:
    async def ask() -> list[AIMessage]:
        return await asyncio.gather(*(model.ainvoke(f"Who keeps key {n}?") for n in range(5)))

    assert [reply.content for reply in asyncio.run(ask())] == [ANSWER] * 5


def test_a_conversation_in_a_prompt_template(model: ChatOpenAI, service: Live) -> None:
    prompt = ChatPromptTemplate([("human", "Who keeps the key?"), ("ai", "The porter."), ("human", "{question}")])
    chain = prompt | model | StrOutputParser()
    assert chain.invoke({"question": "And at night?"}) == ANSWER
    rewriting = service.engine.requests[-4]
    assert "Assistant: The porter." in rewriting.messages[-1].content


def test_bind_stop_reaches_the_engine(service: Live) -> None:
    role = ChatOpenAI(model="lorag/base", base_url=service.url, api_key="unused", temperature=0.5)  # type: ignore[arg-type]
    role.bind(stop=["END"]).invoke("hello")
    request = service.engine.requests[-1]
    assert (request.stop, request.sampling.temperature) == (("END",), 0.5)  # type: ignore[union-attr]


def test_embeddings_of_text(service: Live) -> None:
    """`check_embedding_ctx_length` would send token ids of OpenAI's own tokenizer, which no other model can read."""
    embeddings = OpenAIEmbeddings(
        model="lorag/embedder",
        base_url=service.url,
        api_key="unused",  # type: ignore[arg-type]
        check_embedding_ctx_length=False,
    )
    first, second = embeddings.embed_documents(["the porter keeps the key", "the porter keeps the key"])
    assert first == second
    assert len(embeddings.embed_query("key")) == 64
