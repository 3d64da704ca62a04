"""Text out of the token ids that clients send for it: LangChain's embeddings send ids of OpenAI's encoding cl100k_base.

The encoder has another tokenizer, so the ids are read back as text. The package bpe-openai holds the encoding as data; tiktoken
would fetch it from the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Protocol, cast

from lorag.services.api.errors import ApiError

FIRST_SPECIAL = 100256
"""From here on the encoding has special tokens, which are no text."""


class Encoding(Protocol):
    """What is used of an encoding."""

    def decode(self, tokens: list[int], /) -> str: ...


def text_of(ids: Sequence[int]) -> str:
    """Raises ApiError 400 if the ids are no text of cl100k_base, or if this installation cannot read ids."""
    try:
        text = encoding().decode(list(ids)) if max(ids) < FIRST_SPECIAL else ""
    except ImportError:
        message = (
            "token ids cannot be read here: have the client send text (LangChain: check_embedding_ctx_length=False), or install "
            "lorag[tokens]"
        )
        raise ApiError(400, message, param="input", code="unsupported_value") from None
    if not text.strip():
        message = "these token ids are no text of the encoding cl100k_base; send text"
        raise ApiError(400, message, param="input", code="invalid_value")
    return text


@cache
def encoding() -> Encoding:
    """Loaded once, in a tenth of a second. Raises ImportError without the package."""
    import bpe_openai

    return cast(Encoding, bpe_openai.get_encoding("cl100k_base"))
