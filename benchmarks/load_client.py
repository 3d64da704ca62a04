"""The requests of the load run and how their answers are read. Knows no figure and no verdict."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from lorag.pipeline.contracts import rewrite
from lorag.pipeline.records import Message, Speaker
from lorag.training.data.rows import RewriteRow

MODELS = ("lorag/rewriter", "lorag/synthesizer", "lorag/judge", "lorag/base")
ROLE_TOKENS = 24
BARE_CHAIN = dict.fromkeys(("rewriter", "synthesizer", "judge"), "none")  # another embedder would need another index
SHARES = {"chain": 3, "chain without adapters": 1, **dict.fromkeys(MODELS, 4), "embeddings": 4, "retrieve": 4}
"""Relative frequency of each kind of request."""


@dataclass(frozen=True)
class ServiceRequest:
    """One request: `kind` as in `SHARES`, the number of its question, and the content."""

    kind: str
    question: int
    path: str
    body: Mapping[str, Any]
    prompt: tuple[Message, ...] = ()
    stream: bool = False


@dataclass(frozen=True)
class Reply:
    """A reply, with seconds until the first piece of text and until the end. `content` is a text, vectors, or passage ids."""

    status: int
    content: Any = None
    adapters: str = ""
    tokens: int = 0
    first: float = 0.0
    seconds: float = 0.0


def requests_of(number: int, row: RewriteRow) -> Iterator[ServiceRequest]:
    """Every kind of request about one question."""
    chat = "/v1/chat/completions"
    speakers = {Speaker.USER: "user", Speaker.ASSISTANT: "assistant"}
    history = [{"role": speakers[turn.speaker], "content": turn.text} for turn in row.history if turn.speaker in speakers]
    messages = [*history, {"role": "user", "content": row.question}]
    yield ServiceRequest("chain", number, chat, {"model": "lorag", "messages": messages})
    bare = {"model": "lorag", "messages": messages, "lorag": {"adapters": BARE_CHAIN}}
    yield ServiceRequest("chain without adapters", number, chat, bare)
    prompt = rewrite.messages(row.history, row.question)
    shown = [{"role": message.role, "content": message.content} for message in prompt]
    for model in MODELS:
        yield ServiceRequest(model, number, chat, {"model": model, "messages": shown, "max_tokens": ROLE_TOKENS}, prompt)
    yield ServiceRequest(
        "embeddings", number, "/v1/embeddings", {"model": "lorag/embedder", "input": [row.question, row.rewrite]}
    )
    yield ServiceRequest("retrieve", number, "/v1/retrieve", {"query": row.rewrite, "k": 5})


def send(client: httpx.Client, request: ServiceRequest) -> Reply:
    """Send a request once. A network error has status 0."""
    started = time.perf_counter()
    try:
        if request.stream:
            return _send_stream(client, request, started)
        response = client.post(request.path, json=request.body)
    except httpx.HTTPError:
        return Reply(0, seconds=time.perf_counter() - started)
    seconds = time.perf_counter() - started
    if response.status_code != 200:
        return Reply(response.status_code, response.text, seconds=seconds)
    body = response.json()
    if request.kind == "embeddings":
        content: Any = [item["embedding"] for item in body["data"]]
    elif request.kind == "retrieve":
        content = [hit["passage_id"] for hit in body["hits"]]
    else:
        content = body["choices"][0]["message"]["content"]
    tokens = body.get("usage", {}).get("completion_tokens", 0)
    return Reply(200, content, _adapters(body), tokens, seconds=seconds)


def _send_stream(client: httpx.Client, request: ServiceRequest, started: float) -> Reply:
    body = {**request.body, "stream": True, "stream_options": {"include_usage": True}}
    text, adapters, tokens, first, ended = "", "", 0, 0.0, False
    with client.stream("POST", request.path, json=body) as response:
        if response.status_code != 200:
            return Reply(response.status_code, response.read().decode(), seconds=time.perf_counter() - started)
        for line in response.iter_lines():
            if not line.startswith("data: ") or (ended := line == "data: [DONE]"):
                continue
            chunk = json.loads(line.removeprefix("data: "))
            piece = "".join(choice["delta"].get("content") or "" for choice in chunk.get("choices", ()))
            first = first or (time.perf_counter() - started if piece else 0.0)
            text, adapters = text + piece, _adapters(chunk) or adapters
            tokens = (chunk.get("usage") or {}).get("completion_tokens", tokens)
    return Reply(200 if ended else 0, text, adapters, tokens, first, time.perf_counter() - started)


def _adapters(body: Mapping[str, Any]) -> str:
    """The adapters that answered, as the service says; empty if this part of the reply does not say."""
    adapters_field = body.get("lorag") or {}
    adapters = adapters_field.get("adapters") or adapters_field.get("adapter")
    return json.dumps(adapters, sort_keys=True) if adapters else ""
