"""The body of `POST /v1/embeddings`, read leniently: what cannot matter is taken out and named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ModelWrapValidatorHandler, PrivateAttr, WithJsonSchema, model_validator

from lorag.services.api.bodies import EMBEDDER, FilledText, Lenient, Strict
from lorag.services.api.chat_reading import asks_something, named, refusal, whole

MAX_INPUTS = 2048
MAX_IDS = 1 << 16
"""Token ids of one input. The encoder reads far fewer and cuts the rest, as it does with text."""
_QUERIES = frozenset({"query", "search_query", "question"})
_PASSAGES = frozenset({"passage", "document", "search_document", "text"})

Ids = Annotated[list[Annotated[int, Field(ge=0, lt=1 << 31)]], Field(min_length=1, max_length=MAX_IDS)]
_MANY = Field(min_length=1, max_length=MAX_INPUTS)


class EmbeddingOptions(Strict):
    """LoRAG's part of a request: an encoder may embed questions and passages differently."""

    input_type: Literal["query", "passage"] = "passage"


class EmbeddingRequest(Lenient):
    """`POST /v1/embeddings`. Token ids are those of OpenAI's encoding cl100k_base, which clients send for text.

    `dimensions` must be the encoder's own. `input_type` may stand outside of `lorag` too, in the words of other services.
    """

    model: Annotated[str, Field(json_schema_extra={"enum": [EMBEDDER]})]
    input: FilledText | Annotated[list[FilledText], _MANY] | Ids | Annotated[list[Ids], _MANY]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Field(ge=1, lt=1 << 31), WithJsonSchema({"type": "integer", "minimum": 1})] | None = None
    lorag: EmbeddingOptions = EmbeddingOptions()

    _ignored: tuple[str, ...] = PrivateAttr(default=())

    @model_validator(mode="wrap")
    @classmethod
    def _read(cls, raw: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(raw, Mapping):
            return validate(raw)
        if isinstance(model := raw.get("model"), str) and model != EMBEDDER:
            raise refusal("model_not_found", f"There is no such embedding model here; send {EMBEDDER}", "model", status=404)
        body = {name: value for name, value in raw.items() if name in cls.model_fields and value is not None}
        ignored = {name for name, value in raw.items() if name not in {*cls.model_fields, "user"} and asks_something(value)}
        if "dimensions" in body:
            body["dimensions"] = whole(body["dimensions"])
        kind = str(raw.get("input_type")).lower()
        if kind in _QUERIES | _PASSAGES:
            ignored.discard("input_type")
            body.setdefault("lorag", {"input_type": "query" if kind in _QUERIES else "passage"})
        read = validate(body)
        read._ignored = named(ignored)
        return read

    @property
    def ignored(self) -> list[str]:
        """The names of what the request asked for in vain, sorted."""
        return list(self._ignored)

    @property
    def inputs(self) -> list[str | list[int]]:
        """Each input: its text, or its token ids."""
        if isinstance(self.input, str):
            return [self.input]
        if isinstance(self.input[0], int):
            return [self.input]
        return list(self.input)
