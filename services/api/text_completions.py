"""`POST /v1/completions` with a text as its prompt: the old form of the OpenAI API, which some clients send by default.

The prompt is answered as a chat's question. One that is a transcript, as LlamaIndex makes of a chat (`user: …`, and `assistant:`
at the end), is read as that chat.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ValidationError

from lorag.services.api.answers import Done, Event, Text, new_id, usage_shown
from lorag.services.api.bodies import CHAIN
from lorag.services.api.chat import answer, last_of
from lorag.services.api.chat_request import ChatRequest
from lorag.services.api.errors import ApiError
from lorag.services.api.keys import Caller
from lorag.services.api.sse import EventStream
from lorag.services.api.state import ServiceState

Body = TypeVar("Body", bound=BaseModel)

_TURN = re.compile(r"^(system|user|human|assistant|ai)[ \t]*:[ \t]*", re.IGNORECASE | re.MULTILINE)
_ROLES = {"human": "user", "ai": "assistant"}


def text_prompt(raw: Mapping[str, Any]) -> str | None:
    """The prompt, if it is text; None for token ids and for what is no prompt. Raises ApiError 400 for several texts."""
    prompt = raw.get("prompt")
    if isinstance(prompt, list) and prompt and all(isinstance(each, str) for each in prompt):
        if len(prompt) > 1:
            raise ApiError(400, "Unsupported value: 'prompt' does not support several texts; send one", param="prompt")
        prompt = prompt[0]
    return prompt if isinstance(prompt, str) else None


async def complete_text(request: Request, raw: Mapping[str, Any], prompt: str, caller: Caller, state: ServiceState) -> Response:
    """Answer `prompt` in the form of a text completion. Raises as the chat route."""
    body = _as_chat(raw, prompt)
    id = new_id()
    head = {"id": id.replace("chatcmpl-", "cmpl-"), "object": "text_completion", "created": int(time.time()), "model": body.model}
    events = answer(request, state, caller, body, id)
    first = await anext(events)  # so that an error before the first piece has its own status
    if body.stream:
        return EventStream(_chunks(head, body, first, events))
    done = await last_of(first, events)
    about = {"usage": usage_shown(done.usage).model_dump(), "lorag": done.extension.model_dump(exclude_unset=True)}
    return JSONResponse({**head, "choices": [_choice(done.content, done.usage.finish.value)], **about})


def turns(prompt: str) -> list[dict[str, str]]:
    """The messages of a transcript that ends where the assistant is to go on; any other prompt is one message of the user."""
    marks = list(_TURN.finditer(prompt))
    if not marks or marks[0].start() != 0 or prompt[marks[-1].end() :].strip() or len(marks) < 2:
        return [{"role": "user", "content": prompt}]
    ends = [*(mark.start() for mark in marks[1:]), len(prompt)]
    spoken = [(mark[1].lower(), prompt[mark.end() : end].strip()) for mark, end in zip(marks, ends, strict=True)]
    return [{"role": _ROLES.get(role, role), "content": text} for role, text in spoken[:-1]]


def _as_chat(raw: Mapping[str, Any], prompt: str) -> ChatRequest:
    kept = {name: value for name, value in raw.items() if name not in ("prompt", "messages")}
    model = raw.get("model", CHAIN)
    messages = turns(prompt) if model == CHAIN else [{"role": "user", "content": prompt}]
    return validated(ChatRequest, {**kept, "messages": messages})


def validated(kind: type[Body], raw: Mapping[str, Any]) -> Body:
    """`raw` as a body of this kind. Raises RequestValidationError, as the framework does."""
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        raise RequestValidationError([{**each, "loc": ("body", *each["loc"])} for each in error.errors()]) from None


async def _chunks(
    head: Mapping[str, Any], body: ChatRequest, first: Event, events: AsyncGenerator[Event]
) -> AsyncGenerator[Mapping[str, Any]]:
    written = False
    async with aclosing(events):
        event: Event | None = first
        while event is not None:
            match event:
                case Text(text):
                    written = True
                    yield {**head, "choices": [_choice(text, None)]}
                case Done(content):
                    rest = _choice("" if written else content, event.usage.finish.value)
                    yield {**head, "choices": [rest], "lorag": event.extension.model_dump(exclude_unset=True)}
                    if body.wants_usage:
                        yield {**head, "choices": [], "usage": usage_shown(event.usage).model_dump()}
            event = await anext(events, None)


def _choice(text: str, finish: str | None) -> dict[str, Any]:
    return {"index": 0, "text": text, "finish_reason": finish, "logprobs": None}
