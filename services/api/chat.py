"""`POST /v1/chat/completions`: the chain as model `lorag`, one role of it as `lorag/ROLE`, the bare base as `lorag/base`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import aclosing, closing
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Request
from fastapi.responses import JSONResponse, Response

from lorag.pipeline.chain import Final, StageDone, TextDelta
from lorag.pipeline.engine.protocol import Completion, Generation, Sampling
from lorag.pipeline.errors import Cancelled, InputError, NothingIngested, PromptTooLong
from lorag.pipeline.records import Message, Query, Role, Speaker, Turn
from lorag.services.api.access import State, needs
from lorag.services.api.answers import ChatCompletion, Done, Envelope, Event, RoleExtension, Stage, Text, content_of, extension
from lorag.services.api.bodies import BARE, CHAIN, ChatRequest
from lorag.services.api.errors import ApiError
from lorag.services.api.examples import CHAT_EXAMPLES, STREAM_EXAMPLE, STREAM_SCHEMA
from lorag.services.api.keys import Caller, Scope
from lorag.services.api.metering import RequestEngine, bounded
from lorag.services.api.runtime import Runtime
from lorag.services.api.sse import EventStream
from lorag.services.api.state import ServiceState
from lorag.services.api.work import items

ROLE_TOKENS = 256
"""The most tokens of a single role's reply, unless the request sets a limit."""

CLIENT_ERRORS = (ApiError, Cancelled, InputError, NothingIngested, PromptTooLong)
"""Errors that are no failure of the chain."""

router = APIRouter(tags=["chat"])


@router.post(
    "/v1/chat/completions",
    response_model=ChatCompletion,
    responses={200: {"content": {"text/event-stream": {"schema": STREAM_SCHEMA, "example": STREAM_EXAMPLE}}}},
)
async def chat(
    request: Request,
    body: Annotated[ChatRequest, Body(openapi_examples=CHAT_EXAMPLES)],
    caller: Annotated[Caller, Depends(needs(Scope.ASK))],
    state: State,
) -> Response:
    """Answer a conversation.

    Model `lorag` answers the last message from the documents and cites them; `lorag` in the response holds the details.
    `lorag/rewriter`, `lorag/synthesizer`, `lorag/judge` and `lorag/base` get the messages unchanged.
    """
    runtime, envelope = state.runtime, Envelope(body.model)
    if body.model == CHAIN:
        events = items(request, lambda: _chain_events(runtime, state, caller, body, envelope.id))
    else:
        events = items(request, lambda: _role_events(runtime, state, caller, body))
    first = await anext(events)  # so that an error before the first piece has its own status
    if body.stream:
        return EventStream(_chunks(envelope, body, first, events))
    async with aclosing(events):
        event = first
        while not isinstance(event, Done):
            event = await anext(events)
    return JSONResponse(envelope.completion(event))


async def _chunks(
    envelope: Envelope, body: ChatRequest, first: Event, events: AsyncGenerator[Event]
) -> AsyncGenerator[Mapping[str, Any]]:
    written = False
    async with aclosing(events):
        yield envelope.chunk({"role": "assistant", "content": ""})
        event: Event | None = first
        while event is not None:
            match event:
                case Stage(record):
                    yield envelope.stage(record)
                case Text(text):
                    written = True
                    yield envelope.chunk({"content": text})
                case Done(content):
                    if not written and content:
                        yield envelope.chunk({"content": content})
                    yield envelope.end(event)
                    if body.wants_usage:
                        yield envelope.usage(event)
            event = await anext(events, None)


def _chain_events(runtime: Runtime, state: ServiceState, caller: Caller, body: ChatRequest, id: str) -> Generator[Event]:
    engine = RequestEngine(runtime.engine, state.replies, state.metrics, caller.tenant)
    writer = bounded(engine, body.limit, body.stops)
    aliases = {Role(role): alias for role, alias in body.lorag.adapters.items()}
    query, ignored = _conversation(body)
    try:
        with (
            runtime.chain(caller.tenant, aliases, engine=engine, writer=writer) as (chain, snapshot),
            closing(chain.stream(query)) as events,
        ):
            for event in events:
                match event:
                    case StageDone(record):
                        yield Stage(record)
                    case TextDelta(text):
                        yield Text(text)
                    case Final(response):
                        state.metrics.answered(response)
                        named = snapshot.named()
                        state.project.feedback.remember(
                            query, response, id=id, adapters=named, tenant=caller.tenant, asked_by=caller.name
                        )
                        details = extension(response, named, trace=body.lorag.trace, ignored=ignored)
                        yield Done(content_of(response.answer), engine.usage, details)
    except Exception as error:
        if not isinstance(error, CLIENT_ERRORS):
            state.metrics.answers.labels("failed").inc()
        raise


def _conversation(body: ChatRequest) -> tuple[Query, list[str]]:
    """The last message as the question with the earlier ones as its history, and the roles of ignored messages.

    The chain has its own prompts, so it ignores system messages.
    """
    speakers: dict[str, Speaker] = {"user": Speaker.USER, "assistant": Speaker.ASSISTANT}
    *earlier, last = body.messages
    history = tuple(Turn(speakers[message.role], message.text) for message in earlier if message.role in speakers)
    ignored: set[str] = {message.role for message in earlier if message.role not in speakers}
    return Query(last.text, history), sorted(ignored)


def _role_events(runtime: Runtime, state: ServiceState, caller: Caller, body: ChatRequest) -> Generator[Event]:
    engine = RequestEngine(runtime.engine, state.replies, state.metrics, caller.tenant)
    role = None if body.model == BARE else Role(body.model.removeprefix("lorag/"))
    aliases = {Role(named): alias for named, alias in body.lorag.adapters.items()}
    with runtime.snapshot(aliases, caller.tenant) as snapshot:
        adapter = snapshot.adapters.get(role) if role else None
        request = Generation(_messages(body), adapter, body.limit or ROLE_TOKENS, _sampling(body), body.stops)
        with closing(engine.stream(request)) as pieces:
            completion = yield from _texts(pieces)
        named = {} if role is None else {role.value: snapshot.named()[role.value]}
        yield Done(completion.text, engine.usage, RoleExtension(adapters=named))


def _texts(pieces: Generator[str, None, Completion]) -> Generator[Event, None, Completion]:
    while True:
        try:
            piece = next(pieces)
        except StopIteration as end:
            completion: Completion = end.value
            return completion
        yield Text(piece)


def _messages(body: ChatRequest) -> tuple[Message, ...]:
    """`developer` is OpenAI's new name for `system`; a base's chat template knows the old one."""
    return tuple(Message("system" if m.role == "developer" else m.role, m.text) for m in body.messages)


def _sampling(body: ChatRequest) -> Sampling:
    return Sampling(
        temperature=body.temperature or 0.0,
        top_p=1.0 if body.top_p is None else body.top_p,
        seed=body.seed or 0,
    )
