"""`POST /v1/chat/completions`: the chain as model `lorag`, one role of it as `lorag/ROLE`, the bare base as `lorag/base`.

A chat client's side tasks (a title, tags, …) that are sent to model `lorag` do not search: see `side_tasks`.
"""

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
from lorag.services.api.answers import (
    ChatCompletion,
    Done,
    Envelope,
    Event,
    RoleExtension,
    Stage,
    TaskExtension,
    Text,
    content_of,
    extension,
)
from lorag.services.api.bodies import BARE, CHAIN
from lorag.services.api.chat_reading import DROPPED_ROLES, SPOKEN
from lorag.services.api.chat_request import ChatRequest
from lorag.services.api.errors import ApiError
from lorag.services.api.examples import CHAT_EXAMPLES, STREAM_EXAMPLE, STREAM_SCHEMA
from lorag.services.api.keys import Caller, Scope
from lorag.services.api.metering import RequestEngine, Usage, bounded
from lorag.services.api.runtime import Runtime
from lorag.services.api.side_tasks import SideTask, question_in, side_task
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
    envelope = Envelope(body.model)
    events = answer(request, state, caller, body, envelope.id)
    first = await anext(events)  # so that an error before the first piece has its own status
    if body.stream:
        return EventStream(_chunks(envelope, body, first, events))
    return JSONResponse(envelope.completion(await last_of(first, events)))


def answer(request: Request, state: ServiceState, caller: Caller, body: ChatRequest, id: str) -> AsyncGenerator[Event]:
    """The events of the reply to `body`, the last a `Done`. `id` names the answer for feedback. Raises ApiError 503 at once."""
    runtime = state.runtime
    if body.model != CHAIN:
        return items(request, lambda: _role_events(runtime, state, caller, body))
    if (task := side_task(_asked(body))) is not None:
        return items(request, lambda: _task_events(runtime, state, caller, body, task))
    return items(request, lambda: _chain_events(runtime, state, caller, body, id))


async def last_of(first: Event, events: AsyncGenerator[Event]) -> Done:
    """The whole reply, after the event `first`."""
    async with aclosing(events):
        event = first
        while not isinstance(event, Done):
            event = await anext(events)
    return event


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


def _asked(body: ChatRequest) -> tuple[Message, ...]:
    """What is said, up to the question, and the instructions before it."""
    system = tuple(message for message in _messages(body) if message.role == "system")
    return (*system, *(Message(message.role, message.text) for message in body.spoken))


def _conversation(body: ChatRequest) -> tuple[Query, list[str]]:
    """The last message of the user as the question with the earlier ones as its history, and what was ignored.

    The chain has its own prompts, so it ignores system messages. Passages that a client found itself are left out too.
    """
    speakers = dict(zip(SPOKEN, (Speaker.USER, Speaker.ASSISTANT), strict=True))
    *earlier, last = body.spoken
    history = tuple(Turn(speakers[each.role], question_in(each.text) or each.text) for each in earlier if each.text.strip())
    question = question_in(last.text)
    ignored = body.ignored if question is None else sorted({*body.ignored, "context"})
    return Query(question or last.text, history), ignored


def _task_events(runtime: Runtime, state: ServiceState, caller: Caller, body: ChatRequest, task: SideTask) -> Generator[Event]:
    details = TaskExtension(task=task.task.value, adapters={}, ignored=body.ignored)
    if task.reply is not None:
        yield Text(task.reply)
        yield Done(task.reply, Usage(), details)
        return
    engine = RequestEngine(runtime.engine, state.replies, state.metrics, caller.tenant)
    request = Generation(_asked(body), None, body.limit or ROLE_TOKENS, Sampling(), body.stops)
    with closing(engine.stream(request)) as pieces:
        completion = yield from _texts(pieces)
    yield Done(completion.text, engine.usage, details)


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
        yield Done(completion.text, engine.usage, RoleExtension(adapters=named, ignored=body.ignored))


def _texts(pieces: Generator[str, None, Completion]) -> Generator[Event, None, Completion]:
    while True:
        try:
            piece = next(pieces)
        except StopIteration as end:
            completion: Completion = end.value
            return completion
        yield Text(piece)


def _messages(body: ChatRequest) -> tuple[Message, ...]:
    """`developer` is OpenAI's new name for `system`; a base's chat template knows the old one, and no tools."""
    kept = (message for message in body.messages if message.role not in DROPPED_ROLES)
    return tuple(Message("system" if m.role == "developer" else m.role, m.text) for m in kept)


def _sampling(body: ChatRequest) -> Sampling:
    """A nucleus of nothing holds the likeliest token alone, as greedy decoding does."""
    return Sampling(
        temperature=0.0 if body.top_p == 0 else body.temperature or 0.0,
        top_p=body.top_p or 1.0,
        seed=body.seed or 0,
    )
