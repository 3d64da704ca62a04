"""The body of `POST /v1/chat/completions`: read leniently by `chat_reading`, then validated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ModelWrapValidatorHandler, PrivateAttr, StringConstraints, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from lorag.services.api.bodies import CHAIN, CHAT_MODELS, ChainRequest, Lenient, StreamOptions, Text, Unsupported
from lorag.services.api.chat_reading import DROPPED_ROLES, MAX_TOKENS, SPOKEN, read_chat, refusal

MAX_MESSAGES = 4096
MAX_PARTS = 1024
MAX_STOPS = 16

_NUMBER_TEXT = {"type": "string", "pattern": "^[0-9]{1,9}$"}
Limit = Annotated[int, Field(ge=1, le=MAX_TOKENS), WithJsonSchema({"anyOf": [{"type": "integer"}, _NUMBER_TEXT]})]
"""Above the maximum it is clamped, and numbers below 1 mean no limit."""
StopText = Annotated[str, StringConstraints(max_length=256)]


class TextPart(Lenient):
    """One part of a message's content. Only text is supported in the question."""

    type: Literal["text"]
    text: Text


class ChatMessage(Lenient):
    """One message. Other keys, which clients send back with an earlier reply, are taken out."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Text | Annotated[list[TextPart], Field(max_length=MAX_PARTS)] | None = None

    @property
    def text(self) -> str:
        if self.content is None or isinstance(self.content, str):
            return self.content or ""
        return "".join(part.text for part in self.content)


class TextFormat(Lenient):
    type: Literal["text"]


class ChatRequest(Lenient):
    """`POST /v1/chat/completions`. Model `lorag` answers greedily: temperature, top_p and other sampling are ignored.

    What is ignored is named in `lorag.ignored` of the response. A single role follows `temperature`, `top_p` and `seed`.
    """

    model: Annotated[str, Field(json_schema_extra={"enum": list(CHAT_MODELS)})]
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=MAX_MESSAGES)]
    lorag: ChainRequest = ChainRequest()
    max_tokens: Limit | None = None
    max_completion_tokens: Limit | None = None
    stop: StopText | Annotated[list[StopText], Field(max_length=MAX_STOPS)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None

    n: Annotated[int, Field(ge=1, le=1)] | None = None
    response_format: TextFormat | None = None
    tool_choice: Literal["none", "auto"] | None = None
    function_call: Literal["none", "auto"] | None = None
    modalities: Annotated[list[Literal["text"]], Field(max_length=1)] | None = None
    logprobs: Unsupported = None
    top_logprobs: Unsupported = None

    _ignored: tuple[str, ...] = PrivateAttr(default=())

    @model_validator(mode="wrap")
    @classmethod
    def _read(cls, raw: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(raw, Mapping):
            return validate(raw)
        if isinstance(model := raw.get("model"), str) and model not in CHAT_MODELS:
            # The name is not repeated: it may be a key in the wrong field.
            said = f"The model does not exist; chat models here are {', '.join(CHAT_MODELS)}"
            raise refusal("model_not_found", said, "model", status=404)
        read = read_chat(raw)
        body = validate(read.body)
        body._ignored = read.ignored
        if body.model == CHAIN:
            body._fits_chain()
        elif body.lorag != ChainRequest():
            body._fits_role()
        return body

    def _fits_chain(self) -> None:
        last = self.spoken[-1:]
        if not last or last[0].role != "user" or not last[0].text.strip():
            raise refusal("invalid_value", "messages must end with a user message that holds the question", "messages")

    def _fits_role(self) -> None:
        role = self.model.removeprefix("lorag/")
        if self.lorag.trace or self.lorag.adapters.keys() - {role}:
            raise PydanticCustomError("role", f"lorag: model {self.model} has one stage; only `adapters.{role}` means something")

    @property
    def spoken(self) -> list[ChatMessage]:
        """The messages of user and assistant, without empty ones of the assistant: it called a tool, or its reply is awaited."""
        return [each for each in self.messages if each.role in SPOKEN and (each.role == "user" or each.text.strip())]

    @property
    def ignored(self) -> list[str]:
        """The names of what the request asked for in vain, sorted. The chain has its own prompts and is greedy."""
        named, roles = {*self._ignored}, {message.role for message in self.messages}
        named |= roles & DROPPED_ROLES
        if self.model == CHAIN:
            named |= roles - {*SPOKEN}
            named |= {"temperature"} if self.temperature else set()
            named |= {"top_p"} if self.top_p not in (None, 1) else set()
        return sorted(named)

    @property
    def limit(self) -> int | None:
        """The most tokens of the reply, if the request sets a limit."""
        return self.max_tokens if self.max_tokens is not None else self.max_completion_tokens

    @property
    def stops(self) -> tuple[str, ...]:
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def wants_usage(self) -> bool:
        return self.stream_options is not None and bool(self.stream_options.include_usage)
