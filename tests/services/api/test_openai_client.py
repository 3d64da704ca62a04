"""The official `openai` client against the service on a real port: plain, streamed, refused, late."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
from openai import OpenAI

from lorag.pipeline.engine.protocol import Generation
from lorag.services.api.state import Limits
from tests.services.api.live_service import ANSWER, Live, PacedEngine, live, ready_project

QUESTION = {"role": "user", "content": "Who keeps the key?"}
CONVERSATION = [QUESTION, {"role": "assistant", "content": ANSWER}, {"role": "user", "content": "And when does the ferry leave?"}]
REWRITTEN = "When does the ferry leave from the north quay?"


def script(request: Generation) -> str:
    """The rewriter's prompt shows a conversation, the synthesizer's numbered passages."""
    last = request.messages[-1].content
    if last.startswith("Conversation:"):
        return REWRITTEN
    return ANSWER if last.startswith("[1]") else "four words of reply"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    project = ready_project(tmp_path_factory.mktemp("openai") / "project", "retrieval: {k: 1}\n")
    with live(project, PacedEngine(script)) as running:
        yield running


@pytest.fixture
def client(service: Live) -> Iterator[OpenAI]:
    with OpenAI(base_url=service.url, api_key="unused", max_retries=0) as opened:
        yield opened


def test_models(client: OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert names == [
        "lorag",
        "lorag/base",
        "lorag/rewriter",
        "lorag/synthesizer",
        "lorag/judge",
        "lorag/embedder",
    ]
    assert client.models.retrieve("lorag/rewriter").owned_by == "lorag"
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("gpt-4")
    assert caught.value.code == "model_not_found"


def test_a_question(client: OpenAI) -> None:
    reply = client.chat.completions.create(model="lorag", messages=[QUESTION])
    (choice,) = reply.choices
    assert (choice.message.content, choice.message.role, choice.finish_reason) == (ANSWER, "assistant", "stop")
    assert reply.usage is not None
    assert reply.usage.completion_tokens == 6
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + 6
    said = reply.lorag  # type: ignore[attr-defined]
    assert said["answer"] == "The porter keeps the key."
    (citation,), (passage,) = said["citations"], said["passages"]
    assert passage["text"][citation["start"] : citation["end"]] == citation["quote"] == "The porter keeps the key in room 4."
    assert citation["passage_id"] == passage["id"]
    assert [(verdict["task"], verdict["label"], verdict["proven"]) for verdict in said["verdicts"]] == [
        ("answerability", "", False),  # the bare base is not shown to be better than a floor, so it gives no verdict
        ("support", "", False),
    ]
    assert [verdict["probabilities"] for verdict in said["verdicts"]] == [{}, {}]
    assert said["adapters"] == dict.fromkeys(("rewriter", "synthesizer", "judge", "embedder"), "base")
    assert list(said["timings"]) == ["rewrite", "retrieve", "answerability", "synthesize", "support"]
    assert "trace" not in said


def test_a_conversation_is_rewritten_and_traced(client: OpenAI, service: Live) -> None:
    reply = client.chat.completions.create(model="lorag", messages=CONVERSATION, extra_body={"lorag": {"trace": True}})
    said = reply.lorag  # type: ignore[attr-defined]
    assert said["rewrite"] == REWRITTEN
    assert said["question"] == "And when does the ferry leave?"
    assert "ferry leaves" in said["passages"][0]["text"]
    assert [stage["stage"] for stage in said["trace"]] == list(said["timings"])
    assert ANSWER in said["trace"][0]["prompt"][-1]["content"]


def test_a_system_message_is_named_as_ignored(client: OpenAI) -> None:
    reply = client.chat.completions.create(model="lorag", messages=[{"role": "system", "content": "Be brief."}, QUESTION])
    assert reply.lorag["ignored"] == ["system"]  # type: ignore[attr-defined]


def test_messages_in_parts_and_replies_sent_back(client: OpenAI) -> None:
    first = client.chat.completions.create(model="lorag", messages=[QUESTION])
    parts = [{"type": "text", "text": "And when does "}, {"type": "text", "text": "the ferry leave?"}]
    messages: Any = [QUESTION, first.choices[0].message, {"role": "user", "content": parts}]
    reply = client.chat.completions.create(model="lorag", messages=messages)
    assert reply.lorag["question"] == "And when does the ferry leave?"  # type: ignore[attr-defined]
    assert reply.lorag["rewrite"] == REWRITTEN  # type: ignore[attr-defined]


def test_a_stream_tells_stages_text_and_last_how_it_came(client: OpenAI) -> None:
    options = {"include_usage": True}
    chunks = list(client.chat.completions.create(model="lorag", messages=CONVERSATION, stream=True, stream_options=options))
    *body, end, usage = chunks
    said = [chunk.model_extra["lorag"]["stage"]["name"] for chunk in body if "lorag" in (chunk.model_extra or {})]
    assert said == ["rewrite", "retrieve", "answerability", "synthesize", "support"]
    details = [chunk.model_extra["lorag"]["stage"]["detail"] for chunk in body if "lorag" in (chunk.model_extra or {})]
    assert not any("label" in each or "probabilities" in each for each in details), "the bare base gives no verdict"
    assert [verdict["label"] for verdict in end.lorag["verdicts"]] == ["", ""]
    pieces = [chunk.choices[0].delta.content for chunk in body if chunk.choices[0].delta.content]
    assert len(pieces) == 6
    assert "".join(pieces) == ANSWER
    assert end.choices[0].finish_reason == "stop"
    assert end.lorag["rewrite"] == REWRITTEN
    assert end.lorag["citations"][0]["number"] == 1
    assert usage.choices == []
    assert usage.usage.completion_tokens == len(REWRITTEN.split()) + 6
    assert len({chunk.id for chunk in chunks}) == 1


def test_the_stages_before_the_text_come_before_it(client: OpenAI, service: Live) -> None:
    """They are sent when they end, not with the answer: while the model waits they have arrived already."""
    service.engine.gate.clear()
    with client.chat.completions.create(model="lorag", messages=[QUESTION], stream=True) as stream:
        seen: list[str] = []
        for chunk in stream:
            if stage := (chunk.model_extra or {}).get("lorag", {}).get("stage"):
                seen.append(stage["name"])
            if seen[-1:] == ["answerability"]:
                service.engine.gate.set()
    assert seen == ["rewrite", "retrieve", "answerability", "synthesize", "support"]


@pytest.mark.parametrize("model", ["lorag/base", "lorag/rewriter", "lorag/synthesizer", "lorag/judge"])
def test_a_bare_role(client: OpenAI, model: str) -> None:
    reply = client.chat.completions.create(model=model, messages=[{"role": "system", "content": "s"}, QUESTION])
    assert reply.choices[0].message.content == "four words of reply"
    assert reply.usage is not None
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (5, 4)
    role = model.removeprefix("lorag/")
    assert reply.lorag["adapters"] == ({} if role == "base" else {role: "base"})  # type: ignore[attr-defined]


def test_a_bare_role_streams(client: OpenAI) -> None:
    stream = client.chat.completions.create(model="lorag/base", messages=[QUESTION], stream=True, max_tokens=2)
    chunks = list(stream)
    assert [chunk.choices[0].delta.content for chunk in chunks] == ["", "four", " words", None]
    assert chunks[-1].choices[0].finish_reason == "length"


def test_what_a_role_is_asked_reaches_the_engine(client: OpenAI, service: Live) -> None:
    client.chat.completions.create(
        model="lorag/base", messages=[QUESTION], temperature=0.5, top_p=0.9, seed=7, stop=["\n", "END"], max_completion_tokens=9
    )
    request = service.engine.requests[-1]
    assert isinstance(request, Generation)
    assert (request.sampling.temperature, request.sampling.top_p, request.sampling.seed) == (0.5, 0.9, 7)
    assert (request.stop, request.max_tokens, request.adapter) == (("\n", "END"), 9, None)


def test_the_chain_bounds_the_answer_alone(client: OpenAI, service: Live) -> None:
    reply = client.chat.completions.create(model="lorag", messages=CONVERSATION, max_tokens=2, stop="END")
    assert (reply.choices[0].message.content, reply.choices[0].finish_reason) == ("The porter", "length")
    assert reply.lorag["rewrite"] == REWRITTEN  # type: ignore[attr-defined]
    rewriting, writing = [request for request in service.engine.requests if isinstance(request, Generation)][-2:]
    assert (rewriting.stop, writing.stop, writing.max_tokens) == ((), ("END",), 2)


TOOL: Any = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}

HARMLESS: dict[str, Any] = {
    "user": "ann",
    "n": 1,
    "seed": 4,
    "temperature": 0,
    "top_p": 0.5,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "logprobs": False,
    "tools": [],
    "tool_choice": "none",
    "response_format": {"type": "text"},
    "metadata": {"a": "b"},
    "store": False,
}


def test_parameters_that_ask_for_nothing_are_taken(client: OpenAI) -> None:
    reply = client.chat.completions.create(model="lorag", messages=[QUESTION], **HARMLESS)
    assert reply.choices[0].message.content == ANSWER


@pytest.mark.parametrize(
    ("change", "param", "said"),
    [
        ({"n": 2}, "n", "does not support 2"),
        ({"n": 0}, "n", "1"),
        ({"temperature": -1}, "temperature", "greater than or equal to 0"),
        ({"max_tokens": "many"}, "max_tokens", "integer"),
        ({"tools": [TOOL], "tool_choice": "required"}, "tool_choice", "does not support required"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "f"}}}, "tool_choice", "no tool is called"),
        ({"logprobs": True}, "logprobs", "not supported"),
        ({"response_format": {"type": "json_object"}}, "response_format", "of type 'json_object' is not supported"),
        ({"messages": []}, "messages", "at least 1"),
        ({"messages": [{"role": "assistant", "content": "hi"}]}, "messages", "must end with a user message"),
        ({"messages": [{"role": "user", "content": "  "}]}, "messages", "must end with a user message"),
        ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "1"}]}, "messages", "must end with a user message"),
        ({"messages": [{"role": "narrator", "content": "x"}]}, "messages.0.role", "'assistant'"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            "messages.0.content.0.type",
            "image_url is not supported",
        ),
        ({"stop": ["x"] * 17}, "stop", "at most 16"),
        ({"extra_body": {"lorag": {"adapters": {"rewriter": "../../etc"}}}}, "lorag.adapters.rewriter", "'production'"),
        ({"extra_body": {"lorag": {"adapters": {"rewriter": "candidate"}}}}, "lorag.adapters.rewriter", "no rewriter adapter"),
        ({"extra_body": {"lorag": {"nonsense": 1}}}, "lorag.nonsense", "not permitted"),
        ({"model": "lorag/judge", "extra_body": {"lorag": {"trace": True}}}, None, "one stage"),
    ],
)
def test_what_is_not_supported_is_refused_with_its_name(
    client: OpenAI, change: dict[str, Any], param: str | None, said: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(**{"model": "lorag", "messages": [QUESTION], **change})
    assert caught.value.param == param
    assert caught.value.type == "invalid_request_error"
    body: Any = caught.value.body
    assert said in body["message"]
    assert len(body["message"].splitlines()) == 1


def test_an_unknown_model_is_not_found(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="gpt-4o", messages=[QUESTION])
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    assert "lorag/base" in caught.value.message
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="text-embedding-3-small", input="x")


def test_embeddings(client: OpenAI) -> None:
    texts = ["The porter keeps the key.", "The ferry leaves."]
    plain = client.embeddings.create(model="lorag/embedder", input=texts, encoding_format="float")
    vectors = np.array([each.embedding for each in plain.data])
    assert vectors.shape == (2, 64)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)
    assert plain.usage.prompt_tokens == 8
    packed: Any = client.embeddings.create(model="lorag/embedder", input=texts[0], encoding_format="base64")
    raw = base64.b64decode(packed.data[0].embedding)
    assert struct.unpack(f"<{len(raw) // 4}f", raw) == pytest.approx(vectors[0])
    default = client.embeddings.create(model="lorag/embedder", input=texts, extra_body={"lorag": {"input_type": "query"}})
    assert np.array([each.embedding for each in default.data]) == pytest.approx(vectors)


@pytest.mark.parametrize("input", ["", " ", [], ["a", ""], ["x"] * 2049, [100_300], [[1], []]])
def test_embeddings_of_nothing(client: OpenAI, input: Any) -> None:
    with pytest.raises(openai.BadRequestError):
        client.embeddings.create(model="lorag/embedder", input=input)


def test_a_deadline_ends_in_504(tmp_path: Path) -> None:
    engine = PacedEngine()
    engine.gate.clear()
    with live(ready_project(tmp_path / "p"), engine, Limits(timeout=0.3, cache=0)) as service:
        with (
            OpenAI(base_url=service.url, api_key="x", max_retries=0) as client,
            pytest.raises(openai.InternalServerError) as caught,
        ):
            client.chat.completions.create(model="lorag", messages=[QUESTION])
        assert caught.value.status_code == 504
        assert caught.value.code == "timeout"
        service.until(lambda: service.idle and len(engine.abandoned) == 1)
        with OpenAI(base_url=service.url, api_key="x", max_retries=0) as client, pytest.raises(openai.APIError) as streamed:
            list(client.chat.completions.create(model="lorag", messages=[QUESTION], stream=True))
        assert streamed.value.code == "timeout"


def test_the_clients_own_timeout_cancels_the_work(tmp_path: Path) -> None:
    engine = PacedEngine()
    engine.gate.clear()
    with (
        live(ready_project(tmp_path / "p"), engine) as service,
        OpenAI(base_url=service.url, api_key="x", max_retries=0) as client,
    ):
        with pytest.raises(openai.APITimeoutError):
            client.with_options(timeout=0.5).chat.completions.create(model="lorag", messages=[QUESTION])
        service.until(lambda: service.idle and len(engine.abandoned) == 1)


def test_a_full_queue_says_when_to_come_back_and_the_client_does(tmp_path: Path) -> None:
    engine = PacedEngine()
    engine.gate.clear()
    limits = Limits(concurrency=1, max_queue=0, cache=0)
    with (
        live(ready_project(tmp_path / "p"), engine, limits) as service,
        OpenAI(base_url=service.url, api_key="x", max_retries=0) as client,
    ):
        stream = client.chat.completions.create(model="lorag", messages=[QUESTION], stream=True)
        service.until(lambda: engine.started == 1)
        with pytest.raises(openai.RateLimitError) as caught:
            client.chat.completions.create(model="lorag", messages=[QUESTION])
        assert caught.value.code == "queue_full"
        assert int(caught.value.response.headers["retry-after"]) >= 1
        engine.gate.set()
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == ANSWER
        reply = client.with_options(max_retries=3).chat.completions.create(model="lorag", messages=[QUESTION])
        assert reply.choices[0].message.content == ANSWER
