"""The request bodies of the routes that take JSON. They are strict: exact types and no unknown key.

Parameters without effect here (`user`, `metadata`, …) are accepted. An unsupported parameter that would change the reply is
refused with one line, unless its value has no effect.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from lorag.pipeline.feedback.records import ID, MAX_ANSWER, MAX_COMMENT, MAX_QUESTION, Opinion, Rating, Reason

MAX_MESSAGES = 256
MAX_TOKENS = 4096
MAX_INPUTS = 256
MAX_TEXT = 1 << 19
"""Characters of one text. The model's own limit is far lower, and its error says how low."""
MAX_K = 100
ANSWER_ID = rf"^{ID.pattern}$"

CHAIN = "lorag"
EMBEDDER = "lorag/embedder"
GENERATORS = ("rewriter", "synthesizer", "judge")
BARE = "lorag/base"
CHAT_MODELS = (CHAIN, BARE, *(f"lorag/{role}" for role in GENERATORS))


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise PydanticCustomError("text", "must not hold the character U+0000")
    return text


def _filled(text: str) -> str:
    if not text.strip():
        raise PydanticCustomError("filled", "must not be blank")
    return text


def _whole(value: object) -> object:
    """JSON has one kind of number: 4.0 is the integer 4."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = Annotated[int, BeforeValidator(_whole)]
Text = Annotated[
    str,
    StringConstraints(max_length=MAX_TEXT),
    AfterValidator(_no_nul),
    Field(json_schema_extra={"pattern": r"^[^\x00]*$"}),
]
FilledText = Annotated[
    str,
    StringConstraints(max_length=MAX_TEXT),
    AfterValidator(_no_nul),
    AfterValidator(_filled),
    Field(json_schema_extra={"pattern": r"^[^\x00]*\S[^\x00]*$"}),
]
AdapterAlias = Literal["production", "candidate", "previous", "none"]


class Strict(BaseModel):
    """A request: frozen, exact types, no unknown key, and no value repeated in an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True, allow_inf_nan=False)


class TextPart(Strict):
    """One part of a message's content. Only text is supported."""

    type: Literal["text"]
    text: Text


class ChatMessage(Strict):
    """One message. Clients send the fields after `name` back with an earlier reply. They must be empty."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Text | Annotated[list[TextPart], Field(min_length=1, max_length=64)]
    name: str | None = None
    refusal: str | None = None
    annotations: list[Any] | None = None
    audio: None = None
    function_call: None = None
    tool_calls: Annotated[list[Any], Field(max_length=0)] | None = None

    @property
    def text(self) -> str:
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class StreamOptions(Strict):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class TextFormat(Strict):
    type: Literal["text"]


class ChainRequest(Strict):
    """LoRAG's part of a request: the adapter of each role, by alias and never by path, and whether to return the trace.

    Roles that are not named use their production version.
    """

    adapters: dict[Literal["rewriter", "embedder", "synthesizer", "judge"], AdapterAlias] = Field(default_factory=dict)
    trace: bool = False


_NOTHING: list[Any] = [None, [], {}, False, 0]


def _asks_nothing(value: object) -> object:
    if value not in _NOTHING:
        raise PydanticCustomError("unsupported", "is not supported; leave it out")
    return value


Unsupported = Annotated[Any, AfterValidator(_asks_nothing), Field(json_schema_extra={"enum": _NOTHING})]
"""A parameter that would change the reply and that LoRAG does not support. Only values without effect are accepted."""


class ChatRequest(Strict):
    """`POST /v1/chat/completions`. Replies are greedy, so the same each time, unless a single role gets a temperature."""

    model: Literal["lorag", "lorag/base", "lorag/rewriter", "lorag/synthesizer", "lorag/judge"]
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=MAX_MESSAGES)]
    lorag: ChainRequest = ChainRequest()
    max_tokens: Annotated[Whole, Field(ge=1, le=MAX_TOKENS)] | None = None
    max_completion_tokens: Annotated[Whole, Field(ge=1, le=MAX_TOKENS)] | None = None
    stop: (
        Annotated[str, StringConstraints(min_length=1, max_length=256)]
        | Annotated[list[Annotated[str, StringConstraints(min_length=1, max_length=256)]], Field(max_length=4)]
        | None
    ) = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: Annotated[Whole, Field(ge=-(2**63), lt=2**63)] | None = None
    n: Annotated[Whole, Field(ge=1, le=1)] | None = None
    response_format: TextFormat | None = None
    tool_choice: Literal["none", "auto"] | None = None
    modalities: Annotated[list[Literal["text"]], Field(max_length=1)] | None = None
    service_tier: Literal["auto", "default"] | None = None

    tools: Unsupported = None
    functions: Unsupported = None
    function_call: Unsupported = None
    logprobs: Unsupported = None
    top_logprobs: Unsupported = None
    logit_bias: Unsupported = None
    presence_penalty: Unsupported = None
    frequency_penalty: Unsupported = None
    audio: Unsupported = None
    store: Unsupported = None
    web_search_options: Unsupported = None
    reasoning_effort: Unsupported = None

    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    metadata: dict[str, str] | None = None
    parallel_tool_calls: bool | None = None
    prediction: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.max_tokens is not None and self.max_completion_tokens is not None:
            raise PydanticCustomError("both", "max_tokens and max_completion_tokens mean the same; send one")
        if self.stream_options is not None and not self.stream:
            raise PydanticCustomError("stream", "stream_options belong to a stream; send `stream: true` with them")
        if self.model == CHAIN:
            self._fits_chain()
        elif self.lorag != ChainRequest():
            self._fits_role()
        return self

    def _fits_chain(self) -> None:
        if self.messages[-1].role != "user" or not self.messages[-1].text.strip():
            raise PydanticCustomError("question", "messages must end with a user message that holds the question")
        if self.temperature:
            raise PydanticCustomError("greedy", "temperature: model lorag answers greedily; send 0 or leave it out")

    def _fits_role(self) -> None:
        role = self.model.removeprefix("lorag/")
        if self.lorag.trace or self.lorag.adapters.keys() - {role}:
            raise PydanticCustomError("role", f"lorag: model {self.model} has one stage; only `adapters.{role}` means something")

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


PassageIds = Annotated[list[Annotated[Text, StringConstraints(min_length=1, max_length=4096)]], Field(max_length=MAX_K)]


class FeedbackRequest(Strict):
    """`POST /v1/feedback`: what a user says of one answer of model `lorag`, by the `id` of its chat completion.

    `answer` is the right answer, `question` the question that should have been searched for. `wrong_passages` and
    `right_passages` are ids among the answer's `passages`. `not_in_documents`: the documents do not say.
    """

    id: Annotated[str, StringConstraints(pattern=ANSWER_ID)]
    rating: Literal["up", "down"] | None = None
    reasons: Annotated[
        list[Literal["incorrect", "incomplete", "off_topic", "unclear", "wrongly_refused", "other"]], Field(max_length=6)
    ] = Field(default_factory=list)
    comment: Annotated[Text, StringConstraints(max_length=MAX_COMMENT)] = ""
    answer: Annotated[Text, StringConstraints(max_length=MAX_ANSWER)] = ""
    question: Annotated[Text, StringConstraints(max_length=MAX_QUESTION)] = ""
    wrong_passages: PassageIds = Field(default_factory=list)
    right_passages: PassageIds = Field(default_factory=list)
    not_in_documents: bool = False

    @property
    def opinion(self) -> Opinion:
        return Opinion(
            rating=None if self.rating is None else Rating(self.rating),
            reasons=tuple(map(Reason, self.reasons)),
            comment=self.comment,
            answer=self.answer,
            question=self.question,
            wrong_passages=tuple(self.wrong_passages),
            right_passages=tuple(self.right_passages),
            not_in_documents=self.not_in_documents,
        )


class EmbeddingOptions(Strict):
    """LoRAG's part of a request: an encoder may embed questions and passages differently."""

    input_type: Literal["query", "passage"] = "passage"


class EmbeddingRequest(Strict):
    """`POST /v1/embeddings`."""

    model: Literal["lorag/embedder"]
    input: FilledText | Annotated[list[FilledText], Field(min_length=1, max_length=MAX_INPUTS)]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Unsupported = None
    user: str | None = None
    lorag: EmbeddingOptions = EmbeddingOptions()

    @property
    def texts(self) -> list[str]:
        return [self.input] if isinstance(self.input, str) else self.input


class RetrieveRequest(Strict):
    """`POST /v1/retrieve`. The project's settings give the defaults."""

    query: FilledText
    k: Annotated[Whole, Field(ge=1, le=MAX_K)] | None = None
    hybrid: bool | None = None
