"""Reads what chat clients send, before it is validated: what cannot matter is taken out and named, limits are clamped.

Clients send parameters of other servers, numbers as text, and earlier replies with all their fields. What asks for a reply of
another kind (several choices, tool calls, JSON, what a picture shows) is refused in the words of the OpenAI API. Knows no model:
a JSON object becomes a JSON object.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic_core import PydanticCustomError

MAX_TOKENS = 4096

FIELDS = frozenset(
    {
        *("model", "messages", "lorag", "max_tokens", "max_completion_tokens", "stop", "stream", "stream_options"),
        *("temperature", "top_p", "seed", "n", "response_format", "tool_choice", "function_call", "modalities"),
        *("logprobs", "top_logprobs"),
    }
)
"""What is validated; all else is taken out."""
OF_CLIENTS = frozenset(
    {
        *("user", "safety_identifier", "metadata", "prompt_cache_key", "prompt_cache_retention", "service_tier"),
        *("parallel_tool_calls", "keep_alive"),
    }
)
"""These change no reply by their own meaning, so they are not named."""
SPOKEN = ("user", "assistant")
DROPPED_ROLES = frozenset({"tool", "function"})
MAX_NAMED = 32
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
_WHOLE = re.compile(r"[+-]?[0-9]{1,30}(?:\.0*)?")
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(?:[eE][+-]?[0-9]{1,3})?")
_TEXT_PARTS = ("text", "input_text", "output_text")


@dataclass(frozen=True, slots=True)
class Read:
    """A body with the fields that are validated, and the names of what it asked for in vain, sorted."""

    body: dict[str, Any]
    ignored: tuple[str, ...]


def refusal(code: str, message: str, param: str, *, status: int = 400) -> PydanticCustomError:
    """An error of the OpenAI API: `code` and `param` as there, one clear line."""
    about = {"said": message, "param": param, "code": code, "status": status}
    return PydanticCustomError(code, "{said}", about)


def read_chat(raw: Mapping[str, Any]) -> Read:
    """The body of a chat completion. Raises PydanticCustomError (see `refusal`) for what is not supported.

    Values of a wrong type stay, so that the validation names them.
    """
    _refuse(raw)
    body = {name: value for name, value in raw.items() if name in FIELDS and value is not None}
    ignored = {name for name, value in raw.items() if name not in FIELDS | OF_CLIENTS and asks_something(value)}
    for name in ("n", "seed"):
        if name in body:
            body[name] = whole(body[name])
    for name in ("temperature", "top_p"):
        if name in body:
            body[name] = number(body[name])
    ignored.update(_limits(body))
    ignored.update(_stream(body))
    if "stop" in body:
        body["stop"] = _stops(body["stop"])
    if isinstance(body.get("messages"), list):
        messages = _Messages(body["messages"])
        body["messages"] = messages.read()
        ignored |= messages.ignored
    return Read(body, named(ignored))


def named(names: Iterable[str]) -> tuple[str, ...]:
    """Clients' names as a response may show them: sorted, at most `MAX_NAMED`; `other` stands for one that is no plain word."""
    return tuple(sorted({name if _NAME.fullmatch(name) else "other" for name in names})[:MAX_NAMED])


def asks_something(value: object) -> bool:
    """False for null and for what switches nothing on."""
    return value not in (None, "", [], {}, False, 0)


def whole(value: object) -> object:
    """A whole number that was sent as text or with a decimal point becomes an int; all else stays."""
    if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        return int(value.strip().partition(".")[0])
    return int(value) if isinstance(value, float) and value.is_integer() else value


def number(value: object) -> object:
    """A number that was sent as text becomes a float; all else stays."""
    return float(value) if isinstance(value, str) and _NUMBER.fullmatch(value.strip()) else value


def _refuse(raw: Mapping[str, Any]) -> None:
    choices = whole(raw.get("n"))
    if isinstance(choices, int) and choices > 1:
        raise _unsupported_value("n", str(choices)[:20], "each question has one answer here; send 1")
    for name in ("tool_choice", "function_call"):
        choice = raw.get(name)
        if choice not in (None, "none", "auto"):
            shown = choice if isinstance(choice, str) and choice.isascii() and choice.isalpha() else "this value"
            raise _unsupported_value(name, shown[:20], "no tool is called here; send none or auto")
    form = raw.get("response_format")
    if isinstance(form, Mapping) and form.get("type") in ("json_object", "json_schema"):
        reason = "answers are text with citations, and their parts are under the key lorag of the response"
        said = f"Invalid parameter: 'response_format' of type '{form['type']}' is not supported with this model: {reason}."
        raise refusal("unsupported_value", said, "response_format")
    for name in ("logprobs", "top_logprobs"):
        if isinstance(raw.get(name), bool | int) and raw[name]:
            said = f"Unsupported parameter: '{name}' is not supported with this model; leave it out."
            raise refusal("unsupported_parameter", said, name)
    if isinstance(kinds := raw.get("modalities"), list) and "audio" in kinds:
        raise _unsupported_value("modalities", "audio", "answers are text")


def _unsupported_value(name: str, value: str, reason: str) -> PydanticCustomError:
    return refusal("unsupported_value", f"Unsupported value: '{name}' does not support {value} with this model: {reason}.", name)


def _limits(body: dict[str, Any]) -> Iterator[str]:
    """Make one valid `max_tokens` of both limits and yield the names of those that are not kept as they were sent.

    Zero and negative numbers are clients' way to say that there is no limit. The newer name counts.
    """
    for name in ("max_tokens", "max_completion_tokens"):
        limit = body[name] = whole(body[name]) if name in body else None
        if isinstance(limit, int) and not isinstance(limit, bool) and not 0 < limit <= MAX_TOKENS:
            body[name] = MAX_TOKENS if limit > 0 else None
            yield name
    if isinstance(body["max_tokens"], int) and isinstance(body["max_completion_tokens"], int):
        if body["max_tokens"] != body["max_completion_tokens"]:
            yield "max_tokens"
        body["max_tokens"] = None


def _stream(body: dict[str, Any]) -> Iterator[str]:
    stream = body.get("stream")
    if isinstance(stream, str) and stream.lower() in ("true", "false"):
        body["stream"] = stream.lower() == "true"
    options = body.get("stream_options")
    if isinstance(options, Mapping):
        if not body.get("stream"):
            del body["stream_options"]
            yield "stream_options"
        else:
            body["stream_options"] = {"include_usage": options.get("include_usage")}
            yield from (f"stream_options.{name}" for name in options if name not in ("include_usage", "include_obfuscation"))


def _stops(stop: object) -> object:
    if isinstance(stop, list):
        return [each for each in stop if each != ""]
    return stop or None


class _Messages:
    """Reads a list of messages; `ignored` are the names of what was taken out."""

    def __init__(self, raw: list[Any]) -> None:
        self._raw, self.ignored = raw, set[str]()
        spoken = (n for n, each in enumerate(raw) if isinstance(each, Mapping) and each.get("role") == "user")
        self._question = max(spoken, default=-1)

    def read(self) -> list[Any]:
        """One message for each that was sent, with role and content alone. Those of tools stay, without their content."""
        return [self._message(number, each) if isinstance(each, Mapping) else each for number, each in enumerate(self._raw)]

    def _message(self, number: int, raw: Mapping[str, Any]) -> dict[str, Any]:
        extra = (name for name, value in raw.items() if name not in ("role", "content") and asks_something(value))
        self.ignored.update(f"messages.{name}" for name in extra)
        role = raw.get("role")
        if isinstance(role, str) and role in DROPPED_ROLES:
            return {"role": role, "content": None}
        content = raw.get("content")
        if isinstance(content, list):
            content = [part for n, each in enumerate(content) if (part := self._part(number, n, each)) is not None]
        kept = {"role": role} if "role" in raw else {}
        return {**kept, "content": content} if "content" in raw or role == "assistant" else kept

    def _part(self, number: int, position: int, part: Any) -> Any:
        """A text part, or None for one that an earlier message may have had. Raises for what the question cannot hold."""
        if not isinstance(part, Mapping) or not isinstance(kind := part.get("type"), str):
            return part
        if kind in _TEXT_PARTS:
            return {"type": "text", "text": part.get("text")}
        if number != self._question:
            self.ignored.add(f"messages.content.{_word(kind)}")
            return None
        said = f"Invalid content type. {_word(kind)} is not supported with this model: it reads text alone; remove that part."
        raise refusal("invalid_content_type", said, f"messages.{number}.content.{position}.type")


def _word(kind: str) -> str:
    """A client's word that may be shown."""
    return kind[:30] if re.fullmatch(r"[a-z_]+", kind) else "This type"
