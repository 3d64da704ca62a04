"""A small OpenAI-compatible server with several models, in a thread, for tests of the remote engine.

It takes prompts of token ids as vLLM does and computes with transformers and peft alone: a full forward for each token, no
cache, no batch. `plan` holds what the next requests meet in place of an answer; `seen` remembers each body and its headers.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send


@dataclass(frozen=True)
class Fault:
    """What a request meets: an answer of `status`, made after `delay` seconds; or a stream that falls silent for so long after
    `pieces` events, and ends."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b'{"error": {"message": "planned", "type": "x"}}'
    delay: float = 0.0
    pieces: int | None = None


@dataclass(frozen=True)
class Seen:
    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]


class EventStream(StreamingResponse):
    """Closes its events when the client goes, also between two pieces, where else the collector would some day."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self.body_iterator):
            await super().__call__(scope, receive, send)


class CompletionsServer:
    """Serves `models` (name → a causal LM, or None for a server whose answers are all planned) with their tokenizer."""

    def __init__(self, models: Mapping[str, Any], tokenizer: Any = None, *, key: str = "", context: int | None = 1024) -> None:
        self.models, self.tokenizer, self.key, self.context = dict(models), tokenizer, key, context
        self.plan: deque[Fault | None] = deque()
        self.seen: list[Seen] = []
        self.closed_early = threading.Event()
        self.most_at_once = self._now = 0
        self.scores = True
        self.confused = ""
        """The model that answers for `base` while another request is under way, as some servers do in a mixed batch."""
        self.url = ""
        self._lock = threading.Lock()

    @contextmanager
    def running(self) -> Iterator[CompletionsServer]:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            config = uvicorn.Config(self._app(), log_level="error", lifespan="off")
            server = uvicorn.Server(config)
            thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
            thread.start()
            while not server.started:
                time.sleep(0.005)
            self.url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
            try:
                yield self
            finally:
                server.should_exit = server.force_exit = True
                thread.join()

    def bodies(self) -> list[dict[str, Any]]:
        return [seen.body for seen in self.seen if seen.path == "/v1/completions"]

    def _app(self) -> FastAPI:
        app = FastAPI()

        @app.middleware("http")
        async def planned(request: Request, call_next: Any) -> Response:
            raw = await request.body()
            self.seen.append(Seen(request.url.path, dict(request.headers), json.loads(raw) if raw else {}))
            if self.key and request.headers.get("authorization") != f"Bearer {self.key}":
                given = request.headers.get("authorization", "none")
                return _error(401, f"wrong key: {given}")
            fault = self.plan.popleft() if self.plan else None
            if fault is not None and fault.pieces is None:
                await asyncio.sleep(fault.delay)
                return Response(fault.body, fault.status, dict(fault.headers), "application/json")
            request.state.fault = fault
            return await call_next(request)  # type: ignore[no-any-return]

        @app.get("/v1/models")
        async def models() -> Any:
            return {"object": "list", "data": [{"id": name, "max_model_len": self.context} for name in self.models]}

        @app.post("/v1/completions")
        async def completions(request: Request) -> Response:
            body = await request.json()
            if body["model"] not in self.models:
                return _error(404, f"The model `{body['model']}` does not exist.")
            if body.get("stream"):
                return EventStream(self._events(body, request.state.fault), media_type="text/event-stream")
            return JSONResponse(await asyncio.to_thread(self._answer, body))

        return app

    def _answer(self, body: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        confused = bool(self.confused) and self._shared()  # each waits for the other, so that they do meet
        name = self.confused if confused and body["model"] == "base" else body["model"]
        prompts = body["prompt"] if isinstance(body["prompt"][0], list) else [body["prompt"]]
        model, choices, written = self.models[name], [], 0
        for index, ids in enumerate(prompts):
            choice: dict[str, Any] = {"index": index, "text": "", "finish_reason": "length", "logprobs": None}
            if body.get("echo"):
                values = _token_logprobs(model, ids) if self.scores else []
                choice["logprobs"] = {"token_logprobs": values, "tokens": [str(i) for i in ids]}
            else:
                new = list(_greedy(model, ids, body["max_tokens"], body["stop_token_ids"]))
                written += len(new)
                choice["text"] = self.tokenizer.decode(new, skip_special_tokens=True)
                choice["finish_reason"] = "stop" if new[-1] in body["stop_token_ids"] else "length"
            choices.append(choice)
        with self._lock:
            self._now -= 1
        usage = {"prompt_tokens": sum(map(len, prompts)), "completion_tokens": written}
        return {"object": "text_completion", "choices": choices[::-1], "usage": usage}

    def _shared(self) -> bool:
        """Whether another request comes, within two seconds, to run with this one."""
        for _ in range(200):
            if self.most_at_once > 1:
                return True
            time.sleep(0.01)
        return False

    async def _events(self, body: dict[str, Any], fault: Fault | None) -> AsyncIterator[bytes]:
        finished, written, sent, text = False, [], 0, ""
        try:
            for token in _greedy(self.models[body["model"]], body["prompt"], body["max_tokens"], body["stop_token_ids"]):
                if fault is not None and fault.pieces == sent:
                    finished = True
                    await asyncio.sleep(fault.delay)
                    return
                written.append(token)
                whole = self.tokenizer.decode(written, skip_special_tokens=True)
                choice = {"index": 0, "text": whole[len(text) :], "finish_reason": None}
                text, sent = whole, sent + 1
                yield _sse({"choices": [choice]})
                await asyncio.sleep(0.002)
            reason = "stop" if written[-1] in body["stop_token_ids"] else "length"
            yield _sse({"choices": [{"index": 0, "text": "", "finish_reason": reason}]})
            yield _sse({"choices": [], "usage": {"prompt_tokens": len(body["prompt"]), "completion_tokens": len(written)}})
            yield b"data: [DONE]\n\n"
            finished = True
        finally:
            if not finished:
                self.closed_early.set()


def _error(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": {"message": message, "type": "x", "param": None, "code": status}}, status)


def _sse(event: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(event).encode() + b"\n\n"


def _token_logprobs(model: Any, ids: Sequence[int]) -> list[float | None]:
    import torch

    with torch.inference_mode():
        logprobs = torch.log_softmax(model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].float(), dim=-1)
    return [None, *(float(logprobs[n, token]) for n, token in enumerate(ids[1:]))]


def _greedy(model: Any, prompt: Sequence[int], max_tokens: int, ends: Sequence[int]) -> Iterator[int]:
    import torch

    ids = list(prompt)
    for _ in range(max_tokens):
        with torch.inference_mode():
            token = int(model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].argmax())
        ids.append(token)
        yield token
        if token in ends:
            return
