"""What real clients send by default, each kind with the status that it gets and what the response says of it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from lorag.pipeline.engine.protocol import Generation
from lorag.services.api.client_paths import repaired
from lorag.services.api.state import Limits
from lorag.services.api.text_completions import turns
from tests.services.api.live_service import ANSWER, PacedEngine, make_live_app, ready_project
from tests.services.api.small_service import wait_for

QUESTION = {"role": "user", "content": "Who keeps the key?"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def engine() -> PacedEngine:
    return PacedEngine()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, engine: PacedEngine) -> Iterator[TestClient]:
    app, state = make_live_app(ready_project(tmp_path_factory.mktemp("clients") / "project"), engine, Limits(cache=0))
    with TestClient(app, raise_server_exceptions=False) as opened:
        wait_for(lambda: state.opened is not None)
        yield opened


def ask(client: TestClient, change: dict[str, Any], messages: list[dict[str, Any]] | None = None) -> Any:
    return client.post(CHAT, json={"model": "lorag", "messages": messages or [QUESTION], **change})


ACCEPTED: list[tuple[dict[str, Any], list[str]]] = [
    ({}, []),
    ({"temperature": 0.7, "max_tokens": 1024}, ["temperature"]),
    ({"temperature": 0, "max_tokens": "1024"}, []),
    ({"temperature": "0.2"}, ["temperature"]),
    ({"temperature": 1, "top_p": 1, "presence_penalty": 0, "frequency_penalty": 0, "user": "ann", "n": 1}, ["temperature"]),
    ({"top_p": 0.9, "frequency_penalty": 0.1}, ["frequency_penalty", "top_p"]),
    ({"top_k": 40, "min_p": 0.05, "repeat_penalty": 1.1, "num_ctx": 8192}, ["min_p", "num_ctx", "repeat_penalty", "top_k"]),
    ({"keep_alive": "5m", "seed": "42", "logit_bias": {}, "stop": ""}, []),
    ({"max_tokens": 65536}, ["max_tokens"]),
    ({"max_tokens": -1}, ["max_tokens"]),
    ({"max_tokens": 0}, ["max_tokens"]),
    ({"max_tokens": 9, "max_completion_tokens": 9}, []),
    ({"max_tokens": 9, "max_completion_tokens": 12}, ["max_tokens"]),
    ({"stop": ["", "END"]}, []),
    ({"stop": ["a1", "b2", "c3", "d4", "e5"]}, []),
    ({"stream_options": {"include_usage": True}}, ["stream_options"]),
    ({"stream": "false", "stream_options": None, "response_format": None, "tools": None, "tool_choice": None}, []),
    (
        {"metadata": {"trace": 1}, "store": True, "verbosity": "low"},
        ["store", "verbosity"],
    ),
    ({"chat_template_kwargs": {"enable_thinking": False}, "guided_json": {}}, ["chat_template_kwargs"]),
    ({"tools": [TOOL], "tool_choice": "auto", "parallel_tool_calls": True}, ["tools"]),
    ({"functions": [{"name": "f"}], "function_call": "none"}, ["functions"]),
    ({"logprobs": False, "top_logprobs": 0, "lorag": None, "audio": None}, []),
    ({"a key": 1, "<b>": 1, "鍵": 1}, ["other"]),
]


@pytest.mark.parametrize(("change", "ignored"), ACCEPTED, ids=lambda value: json.dumps(value)[:60])
def test_parameters_that_cannot_matter_are_taken_and_named(
    client: TestClient, change: dict[str, Any], ignored: list[str]
) -> None:
    reply = ask(client, change)
    assert reply.status_code == 200, reply.text
    assert reply.json()["choices"][0]["message"]["content"] == ANSWER
    assert reply.json()["lorag"]["ignored"] == ignored


def assistant(**fields: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Good day.", **fields}, QUESTION]


MESSAGES: list[tuple[list[dict[str, Any]], list[str]]] = [
    ([{**QUESTION, "id": 19, "opts": {"visible": False}, "name": "ann"}], ["messages.id", "messages.name", "messages.opts"]),
    (assistant(reasoning_content="hm"), ["messages.reasoning_content"]),
    (assistant(finish_reason="stop"), ["messages.finish_reason"]),
    (assistant(tool_calls=None, function_call=None, provider_specific_fields=None, refusal=None, annotations=[], audio=None), []),
    (assistant(content=""), []),
    (assistant(content=None), []),
    ([{"role": "assistant", "content": "Hello! How can I help?"}, QUESTION], []),
    ([{"role": "user", "content": [{"type": "text", "text": "Who keeps "}, {"type": "text", "text": "the key?"}]}], []),
    ([{"role": "user", "content": [{"type": "text", "text": "Who keeps it?", "cache_control": {"type": "ephemeral"}}]}], []),
    ([{"role": "user", "content": [{"type": "input_text", "text": "Who keeps the key?"}]}], []),
    ([*assistant(content=None, tool_calls=[CALL])[:2], {"role": "tool", "tool_call_id": "c1", "content": "7"}, QUESTION], ["messages.tool_call_id", "messages.tool_calls", "tool"]),  # noqa: E501
    ([{"role": "user", "content": [{"type": "text", "text": "See"}, IMAGE]}, {"role": "assistant", "content": "No."}, QUESTION], ["messages.content.image_url"]),  # noqa: E501
    (assistant(content=[{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Hi."}]), ["messages.content.thinking"]),
    ([{"role": "system", "content": "Answer in German."}, QUESTION], ["system"]),
    ([{"role": "developer", "content": "Be brief."}, QUESTION], ["developer"]),
    ([QUESTION, {"role": "system", "content": "Be brief."}], ["system"]),
    ([QUESTION, {"role": "assistant", "content": ""}], []),
    ([{"role": "user", "content": "   "}, QUESTION], []),
    ([{"role": "user" if n % 2 == 0 else "assistant", "content": f"turn {n}"} for n in range(257)], []),
    ([{"role": "user", "content": "<context>\nOther passages.\n</context>\n\nWho keeps the key?"}], ["context"]),
]  # fmt: skip


@pytest.mark.parametrize(("messages", "ignored"), MESSAGES, ids=lambda value: json.dumps(value)[:60])
def test_messages_as_clients_replay_them(client: TestClient, messages: list[dict[str, Any]], ignored: list[str]) -> None:
    reply = ask(client, {}, messages)
    assert reply.status_code == 200, reply.text
    assert reply.json()["lorag"]["ignored"] == ignored


def test_context_of_the_client_is_no_part_of_the_question(client: TestClient) -> None:
    wrapped = {"role": "user", "content": "<context>\nOther passages.\n</context>\n\nWho keeps the key?"}
    assert ask(client, {}, [wrapped]).json()["lorag"]["question"] == "Who keeps the key?"


REFUSED: list[tuple[dict[str, Any], int, str, str, str]] = [
    ({"n": 2}, 400, "unsupported_value", "n", "does not support 2"),
    ({"n": "3"}, 400, "unsupported_value", "n", "does not support 3"),
    ({"tools": [TOOL], "tool_choice": "required"}, 400, "unsupported_value", "tool_choice", "no tool is called here"),
    ({"function_call": {"name": "f"}}, 400, "unsupported_value", "function_call", "no tool is called here"),
    ({"response_format": {"type": "json_object"}}, 400, "unsupported_value", "response_format", "of type 'json_object'"),
    ({"response_format": {"type": "json_schema", "json_schema": {}}}, 400, "unsupported_value", "response_format", "json_schema"),
    ({"logprobs": True, "top_logprobs": 5}, 400, "unsupported_parameter", "logprobs", "Unsupported parameter: 'logprobs'"),
    ({"modalities": ["text", "audio"]}, 400, "unsupported_value", "modalities", "answers are text"),
    ({"messages": [{"role": "user", "content": [{"type": "text", "text": "See"}, IMAGE]}]}, 400, "invalid_content_type", "messages.0.content.1.type", "image_url is not supported"),  # noqa: E501
    ({"messages": [{"role": "user", "content": None}]}, 400, "invalid_value", "messages", "must end with a user message"),
    ({"messages": [{"role": "user", "content": "  "}]}, 400, "invalid_value", "messages", "must end with a user message"),
    ({"messages": [QUESTION, {"role": "assistant", "content": "The"}]}, 400, "invalid_value", "messages", "must end with a user"),
    ({"model": "gpt-4o"}, 404, "model_not_found", "model", "The model does not exist; chat models here are lorag, "),
    ({"temperature": 3}, 400, "", "temperature", "less than or equal to 2"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "status", "code", "param", "said"), REFUSED)
def test_what_asks_for_another_kind_of_reply_is_refused_before_work_begins(
    client: TestClient, engine: PacedEngine, change: dict[str, Any], status: int, code: str, param: str, said: str
) -> None:
    before = len(engine.requests)
    reply = ask(client, change)
    error = reply.json()["error"]
    assert (reply.status_code, error["code"] or "", error["param"]) == (status, code, param)
    assert said in error["message"] and "\n" not in error["message"]
    assert len(engine.requests) == before


def test_half_a_surrogate_pair_is_no_text(client: TestClient) -> None:
    raw = '{"model":"lorag","messages":[{"role":"user","content":"Who keeps \\ud800 it?"}]}'
    reply = client.post(CHAT, content=raw, headers={"Content-Type": "application/json"})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "messages.0.content")


def test_a_single_role_follows_the_sampling(client: TestClient, engine: PacedEngine) -> None:
    reply = ask(
        client, {"model": "lorag/base", "temperature": "0.5", "top_p": 0.9, "seed": "7", "top_k": 4, "max_tokens": 99_999}
    )
    request = engine.requests[-1]
    assert isinstance(request, Generation)
    assert (request.sampling.temperature, request.sampling.top_p, request.sampling.seed) == (0.5, 0.9, 7)
    assert request.max_tokens == 4096
    assert reply.json()["lorag"]["ignored"] == ["max_tokens", "top_k"]
    ask(client, {"model": "lorag/base", "temperature": 1.5, "top_p": 0})
    assert engine.requests[-1].sampling.temperature == 0  # type: ignore[union-attr]


TITLE = (
    '### Task:\nWrite a short title.\n### Output:\nJSON format: { "title": "…" }\n### Chat History:\n'
    "<chat_history>\nUSER: Who keeps the key of the gate?\nASSISTANT: Orla.\n</chat_history>"
)


@pytest.mark.parametrize("stream", [False, True])
def test_a_side_task_asks_neither_the_index_nor_the_model(client: TestClient, engine: PacedEngine, stream: bool) -> None:
    before = len(engine.requests)
    reply = ask(client, {"stream": stream, "max_completion_tokens": 1000}, [{"role": "user", "content": TITLE}])
    title = '{"title": "Who keeps the key of the"}'
    if stream:
        chunks = [json.loads(line[6:]) for line in reply.text.splitlines() if line.startswith("data: {")]
        assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == title
        assert chunks[-1]["lorag"] == {"task": "title", "adapters": {}, "ignored": []}
        assert reply.text.endswith("data: [DONE]\n\n")
    else:
        assert reply.json()["choices"][0]["message"]["content"] == title
        assert reply.json()["lorag"]["task"] == "title"
    assert len(engine.requests) == before


def test_a_summary_is_the_bare_bases(client: TestClient, engine: PacedEngine) -> None:
    talk = [*assistant()[:2], {"role": "user", "content": "Summarize the discussion in 200 words."}]
    before = len(engine.requests)
    reply = ask(client, {}, talk).json()
    assert (reply["lorag"]["task"], reply["choices"][0]["message"]["content"]) == ("summary", ANSWER)
    (request,) = engine.requests[before:]
    assert isinstance(request, Generation) and request.adapter is None
    assert [message.role for message in request.messages] == ["user", "assistant", "user"]


EMBEDDINGS: list[tuple[dict[str, Any], int, list[str]]] = [
    ({"input": "key"}, 1, []),
    ({"input": [f"text {n}" for n in range(300)]}, 300, []),
    ({"input": "key", "encoding_format": None, "user": "ann"}, 1, []),
    ({"input": "key", "dimensions": 64}, 1, []),
    ({"input": "key", "dimensions": "64", "truncate": "END"}, 1, ["truncate"]),
    ({"input": ["a"], "input_type": "query"}, 1, []),
    ({"input": ["a"], "input_type": "classification"}, 1, ["input_type"]),
    ({"input": "word " * 5000}, 1, []),
]


@pytest.mark.parametrize(("body", "count", "ignored"), EMBEDDINGS, ids=lambda value: json.dumps(value)[:60])
def test_embeddings_as_clients_ask_for_them(client: TestClient, body: dict[str, Any], count: int, ignored: list[str]) -> None:
    reply = client.post("/v1/embeddings", json={"model": "lorag/embedder", **body})
    assert reply.status_code == 200, reply.text
    assert [len(each["embedding"]) for each in reply.json()["data"]] == [64] * count
    assert reply.json()["lorag"]["ignored"] == ignored


@pytest.mark.parametrize(
    ("body", "param"),
    [({"input": ["hello", ""]}, "input"), ({"input": "x", "dimensions": 32}, "dimensions"), ({"input": [100_300]}, "input")],
)
def test_embeddings_that_cannot_be(client: TestClient, body: dict[str, Any], param: str) -> None:
    reply = client.post("/v1/embeddings", json={"model": "lorag/embedder", **body})
    assert reply.status_code == 400
    assert reply.json()["error"]["param"].partition(".")[0] == param


def test_token_ids_are_embedded_as_their_text(client: TestClient) -> None:
    """The ids are those of tiktoken's cl100k_base for "hello" and "Hello world", as its documentation gives them."""
    pytest.importorskip("bpe_openai", reason="the extra `tokens` is not installed")
    asked = {"model": "lorag/embedder", "encoding_format": "base64"}
    by_ids = client.post("/v1/embeddings", json={**asked, "input": [[9906, 1917], [15339]]}).json()["data"]
    by_text = client.post("/v1/embeddings", json={**asked, "input": ["Hello world", "hello"]}).json()["data"]
    assert by_ids == by_text
    assert len(base64.b64decode(by_ids[0]["embedding"])) == 4 * 64
    one = client.post("/v1/embeddings", json={**asked, "input": [15339]}).json()["data"]
    assert [each["embedding"] for each in one] == [by_text[1]["embedding"]]


@pytest.mark.parametrize(
    "path",
    ["/v1/chat/completions/", "/v1/v1/chat/completions", "/chat/completions", "//v1/chat/completions", "/v1//chat/completions"]
    + ["/v1/chat/completions/chat/completions"],
)
def test_base_urls_as_they_are_typed(client: TestClient, path: str) -> None:
    assert client.post(path, json={"model": "lorag", "messages": [QUESTION]}).status_code == 200


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/models/", "/v1/models"),
        ("/v1/models/lorag/base/", "/v1/models/lorag/base"),
        ("/v1/chat/completions", "/v1/chat/completions"),
        ("/v1/adapters", "/v1/adapters"),
        ("/v1/documents/a.md", "/v1/documents/a.md"),
        ("/documents/", "/v1/documents"),
        ("/v1/../v1/models", "/v1/../v1/models"),
        ("/static/models", "/static/models"),
        ("/", "/"),
        ("/" * 5000, "/" * 5000),
    ],
)
def test_only_known_paths_are_repaired(path: str, meant: str) -> None:
    assert repaired(path) == meant


def test_head_is_get_without_a_body(client: TestClient) -> None:
    for path in ("/v1/models", "/", "/healthz"):
        reply = client.head(path)
        assert (reply.status_code, reply.content) == (200, b"")
    assert client.head("/nothing").status_code == 404


def test_paths_of_other_apis_say_where_chat_is(client: TestClient) -> None:
    for path in ("/v1/responses", "/api/chat", "/v1/files"):
        reply = client.post(path, json={"model": "lorag", "input": "Who keeps the key?"})
        assert reply.status_code == 404
        assert "POST /v1/chat/completions" in reply.json()["error"]["message"]


@pytest.mark.parametrize("prompt", ["Who keeps the key?", ["Who keeps the key?"], "user: Who keeps the key?\nassistant: "])
def test_a_text_completion_is_a_chats_answer(client: TestClient, prompt: Any) -> None:
    reply = client.post("/v1/completions", json={"model": "lorag", "prompt": prompt, "max_tokens": 16, "temperature": 0.1}).json()
    assert (reply["object"], reply["choices"][0]["text"]) == ("text_completion", ANSWER)
    assert (reply["lorag"]["question"], reply["lorag"]["ignored"]) == ("Who keeps the key?", ["temperature"])
    streamed = client.post("/v1/completions", json={"model": "lorag", "prompt": prompt, "stream": True}).text
    chunks = [json.loads(line[6:]) for line in streamed.splitlines() if line.startswith("data: {")]
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == ANSWER
    assert streamed.endswith("data: [DONE]\n\n")


def test_text_completions_that_cannot_be(client: TestClient) -> None:
    two = client.post("/v1/completions", json={"model": "lorag", "prompt": ["a", "b"]})
    assert (two.status_code, two.json()["error"]["param"]) == (400, "prompt")
    blank = client.post("/v1/completions", json={"model": "lorag", "prompt": " "})
    assert (blank.status_code, blank.json()["error"]["param"]) == (400, "messages")
    assert client.post("/v1/completions", json={"model": "gpt-4o", "prompt": "a"}).status_code == 404


def test_a_transcript_as_a_prompt_is_a_chat() -> None:
    assert turns("system: Be brief.\nuser: Keys?\nassistant: He.\nuser: At night?\nassistant:") == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Keys?"},
        {"role": "assistant", "content": "He."},
        {"role": "user", "content": "At night?"},
    ]
    for text in ("Who keeps it?", "user: a\nassistant: b", "Note: user: x\nassistant:", "assistant:"):
        assert turns(text) == [{"role": "user", "content": text}]


def test_pages_of_other_sites_need_a_service_with_keys(client: TestClient, tmp_path: Path, engine: PacedEngine) -> None:
    preflight = {"Origin": "http://chat.example", "Access-Control-Request-Method": "POST"}
    preflight["Access-Control-Request-Headers"] = "authorization,content-type"
    assert "access-control-allow-origin" not in client.options(CHAT, headers=preflight).headers
    project = ready_project(tmp_path / "p")
    from lorag.services.api.keys import FILE, KeyRing, Scope

    key = KeyRing(project / FILE).add("page", (Scope.ASK,))
    app, state = make_live_app(project, engine, Limits(cache=0))
    with TestClient(app) as keyed:
        wait_for(lambda: state.opened is not None)
        allowed = keyed.options(CHAT, headers=preflight)
        assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, "*")
        origin = {"Origin": "http://chat.example"}
        asked = keyed.get("/v1/models", headers={**origin, "Authorization": f"Bearer {key}"})
        assert (asked.status_code, asked.headers["access-control-allow-origin"]) == (200, "*")
        assert keyed.get("/v1/models", headers=origin).status_code == 401
