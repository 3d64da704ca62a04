"""The request bodies of the routes that take JSON. LoRAG's own are strict: exact types and no unknown key.

Bodies in the form of the OpenAI API are read more leniently, since clients send much that cannot matter here: see `chat_request`
and `embedding_request`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

from lorag.pipeline.feedback.records import ID, MAX_ANSWER, MAX_COMMENT, MAX_QUESTION, Opinion, Rating, Reason

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


class Lenient(BaseModel):
    """A request as clients of the OpenAI API send it: exact types, and keys that nobody reads. No value stands in an error."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, hide_input_in_errors=True, allow_inf_nan=False)


class StreamOptions(Lenient):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


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


class RetrieveRequest(Strict):
    """`POST /v1/retrieve`. The project's settings give the defaults."""

    query: FilledText
    k: Annotated[Whole, Field(ge=1, le=MAX_K)] | None = None
    hybrid: bool | None = None
