"""`POST /v1/completions`: prompts as token ids, for another LoRAG whose settings say `generation: {engine: openai}`.

A prompt that is text is a client's of the OpenAI API: see `text_completions`.

It supports what such a client needs, in OpenAI's form with vLLM's additions: greedy or sampled text after one prompt, plain or
streamed. With `echo` and `max_tokens: 0` it returns the log-probabilities of the prompts' tokens. The client encodes the chat
itself, so special tokens in documents stay plain text, as they do in one process.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import aclosing, closing
from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Body, Depends, Request
from fastapi.responses import JSONResponse, Response
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from lorag.pipeline.engine.batch import BASE_ROW
from lorag.pipeline.engine.batching import BatchingEngine
from lorag.pipeline.engine.decoding import ChoiceRow
from lorag.pipeline.engine.local import LocalEngine
from lorag.pipeline.engine.protocol import Completion, Engine, Generation, Sampling
from lorag.pipeline.records import Role
from lorag.services.api.access import State, needs
from lorag.services.api.bodies import BARE, StreamOptions, Strict, Unsupported
from lorag.services.api.chat_reading import MAX_TOKENS
from lorag.services.api.errors import ApiError
from lorag.services.api.keys import Caller, Scope
from lorag.services.api.metering import RequestEngine
from lorag.services.api.runtime import Runtime
from lorag.services.api.sse import EventStream
from lorag.services.api.state import ServiceState
from lorag.services.api.text_completions import complete_text, text_prompt, validated
from lorag.services.api.work import items, run

MAX_PROMPT = 1 << 15
MAX_PROMPTS = 64
MAX_SCORED = 1024
"""The most tokens scored in one request: each takes a row of logits as long as the vocabulary."""

Ids = Annotated[list[Annotated[int, Field(ge=0, lt=1 << 31)]], Field(min_length=1, max_length=MAX_PROMPT)]

router = APIRouter(tags=["completions"])


class CompletionRequest(Strict):
    """Either text after one prompt, or, with `echo`, `logprobs` and `max_tokens: 0`, the log-probabilities of prompts."""

    model: Literal["lorag/base", "lorag/rewriter", "lorag/synthesizer", "lorag/judge"]
    prompt: Ids | Annotated[list[Ids], Field(min_length=1, max_length=MAX_PROMPTS)]
    max_tokens: Annotated[int, Field(ge=0, le=MAX_TOKENS)] = 16
    echo: bool = False
    logprobs: Annotated[int, Field(ge=0, le=1)] | None = None
    scored_from: Annotated[int, Field(ge=1)] = 1
    """Number of first tokens of a prompt that are not scored (null in the response). Prompts share the work on equal ones."""
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] = 0
    stop: Annotated[list[Annotated[str, Field(min_length=1, max_length=256)]], Field(max_length=16)] = Field(default_factory=list)
    stop_token_ids: Annotated[list[int], Field(max_length=16)] = Field(default_factory=list)
    """Must be the base's own end tokens, because replies end with those."""
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: Literal[1] = 1
    repetition_penalty: Annotated[float, Field(ge=1, le=1)] = 1.0
    top_k: Unsupported = None
    min_p: Unsupported = None
    presence_penalty: Unsupported = None
    frequency_penalty: Unsupported = None
    user: str | None = None

    @property
    def prompts(self) -> list[list[int]]:
        prompts: list[Any] = self.prompt
        return [prompts] if isinstance(prompts[0], int) else prompts

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if self.echo:
            if self.max_tokens or self.logprobs is None or self.stream:
                raise PydanticCustomError("echo", "echo scores prompts: send it with max_tokens 0 and logprobs, without stream")
            self._scorable()
        elif self.logprobs is not None or not self.max_tokens or len(self.prompts) > 1:
            raise PydanticCustomError("text", "text follows one prompt: send max_tokens of 1 or more, without logprobs")
        return self

    def _scorable(self) -> None:
        if any(len(prompt) <= self.scored_from for prompt in self.prompts):
            raise PydanticCustomError("scored_from", "scored_from leaves no token of a prompt to score")
        if len(self.prompts) * max(len(prompt) - self.scored_from for prompt in self.prompts) > MAX_SCORED:
            raise PydanticCustomError(
                "scored",
                "at most {most} tokens are scored in a request; raise scored_from or send fewer prompts",
                {"most": MAX_SCORED},
            )


# Not in the OpenAPI document: it is an interface for programs that have the base's tokenizer.
@router.post("/v1/completions", include_in_schema=False)
async def complete(
    request: Request, raw: Annotated[dict[str, Any], Body()], caller: Annotated[Caller, Depends(needs(Scope.ASK))], state: State
) -> Response:
    """Continue a prompt of token ids, or score prompts of token ids, for engines of other processes. Answer a text."""
    if (prompt := text_prompt(raw)) is not None:
        return await complete_text(request, raw, prompt, caller, state)
    body = validated(CompletionRequest, raw)
    runtime = state.runtime
    head = {"id": f"cmpl-{uuid.uuid4().hex}", "object": "text_completion", "created": int(time.time()), "model": body.model}
    if body.echo:
        return JSONResponse({**head, **await run(request, lambda: _scores(runtime, caller, body))})
    pieces = items(request, lambda: _pieces(runtime, state, caller, body))
    if body.stream:
        first = await anext(pieces)  # so that an error before the first piece has its own status
        return EventStream(_chunks(head, body, first, pieces))
    async with aclosing(pieces):
        async for piece in pieces:
            if isinstance(piece, Completion):
                choice = {"index": 0, "text": piece.text, "finish_reason": piece.finish.value, "logprobs": None}
                return JSONResponse({**head, "choices": [choice], "usage": _usage(piece)})
    raise AssertionError("the last piece is the completion")


async def _chunks(
    head: Mapping[str, Any], body: CompletionRequest, first: str | Completion, pieces: AsyncGenerator[str | Completion]
) -> AsyncGenerator[Mapping[str, Any]]:
    async with aclosing(pieces):
        piece: str | Completion | None = first
        while piece is not None:
            text, finish = (piece, None) if isinstance(piece, str) else ("", piece.finish.value)
            yield {**head, "choices": [{"index": 0, "text": text, "finish_reason": finish, "logprobs": None}]}
            if isinstance(piece, Completion) and body.stream_options and body.stream_options.include_usage:
                yield {**head, "choices": [], "usage": _usage(piece)}
            piece = await anext(pieces, None)


def _pieces(runtime: Runtime, state: ServiceState, caller: Caller, body: CompletionRequest) -> Generator[str | Completion]:
    """The text in pieces, then the whole completion."""
    if set(body.stop_token_ids) - set(_local(runtime.engine).tokens.end_ids):
        raise ApiError(
            400, "replies end with other tokens here; the prompt is of another base's tokenizer", param="stop_token_ids"
        )
    engine = RequestEngine(runtime.engine, state.replies, state.metrics, caller.tenant)
    with runtime.snapshot(tenant=caller.tenant) as snapshot:
        sampling = Sampling(body.temperature, body.top_p, body.seed)
        (ids,) = body.prompts
        request = Generation((), _adapter(snapshot.adapters, body.model), body.max_tokens, sampling, tuple(body.stop), tuple(ids))
        with closing(engine.stream(request)) as stream:
            yield (yield from stream)


def _scores(runtime: Runtime, caller: Caller, body: CompletionRequest) -> dict[str, Any]:
    engine = _local(runtime.engine)
    start = body.scored_from
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, prompt in enumerate(body.prompts):
        groups.setdefault(tuple(prompt[:start]), []).append(index)
    scored: dict[int, Sequence[float]] = {}
    with runtime.snapshot(tenant=caller.tenant) as snapshot:
        adapter = _adapter(snapshot.adapters, body.model) or BASE_ROW
        for shared, indices in groups.items():
            rows = ChoiceRow(shared, adapter, tuple(tuple(body.prompts[index][start:]) for index in indices))
            scored.update(zip(indices, engine.token_logprobs(rows), strict=True))
    choices = [
        {
            "index": index,
            "text": engine.tokens.text(prompt),
            "finish_reason": "length",
            "logprobs": {
                "token_logprobs": [None] * start + list(scored[index]),
                "tokens": [f"token_id:{token}" for token in prompt],
            },
        }
        for index, prompt in enumerate(body.prompts)
    ]
    read = sum(map(len, body.prompts))
    return {"choices": choices, "usage": {"prompt_tokens": read, "completion_tokens": 0, "total_tokens": read}}


def _local(engine: Engine) -> LocalEngine:
    """The engine in this process. Raises ApiError if the models are on another server."""
    local = engine.local if isinstance(engine, BatchingEngine) else engine
    if not isinstance(local, LocalEngine):
        raise ApiError(400, "this service has no model of its own; send token ids to the server that it asks", code="no_model")
    return local


def _adapter(adapters: Mapping[Role, str], model: str) -> str | None:
    return None if model == BARE else adapters.get(Role(model.removeprefix("lorag/")))


def _usage(completion: Completion) -> dict[str, int]:
    prompt, written = completion.prompt_tokens, completion.completion_tokens
    return {"prompt_tokens": prompt, "completion_tokens": written, "total_tokens": prompt + written}
