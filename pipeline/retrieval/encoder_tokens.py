"""How much of a text the encoder reads, counted by its tokenizer alone. Loads no model and no torch."""

from __future__ import annotations

import json
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from lorag.pipeline.errors import BaseError
from lorag.pipeline.retrieval.sentence_encoder import PROMPTS_FILE, resolve_model

_UNLIMITED = 100_000
"""A tokenizer whose limit is not known names a huge one."""


class EncoderTokens:
    """The tokens of the encoder that settings name `model`. Nothing is read until a text needs it. Thread-safe.

    A model without `tokenizer.json`, or without a limit, bounds nothing.
    """

    def __init__(self, model: str) -> None:
        self.model = model

    @cached_property
    def _tokenizer(self) -> _Tokenizer:
        return _load(self.model)

    @property
    def room(self) -> int:
        """Tokens that the encoder reads of a text, beside special ones and its instruction; 0 if that is not bounded.

        Raises:
            BaseError: the model is not available.
        """
        tokenizer = self._tokenizer
        return max(1, tokenizer.limit - tokenizer.fixed) if tokenizer.limit > 0 else 0

    def count(self, text: str) -> int:
        """The number of tokens of `text`. Raises BaseError."""
        return self._tokenizer.count(text)

    def unknown_share(self, text: str) -> float:
        """The share of the tokens of `text` that the model has no vector of its own for, 0 to 1. Raises BaseError."""
        return self._tokenizer.unknown_share(text)


class _Tokenizer:
    """A tokenizer, the encoder's limit and the tokens that every text has: special ones and the instruction."""

    def __init__(self, tokenizer: Any, limit: int, instruction: str) -> None:
        self._tokenizer = tokenizer
        self.limit = limit
        self.fixed = len(tokenizer.encode(instruction).ids) if tokenizer else 0

    def count(self, text: str) -> int:
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids) if self._tokenizer else 0

    def unknown_share(self, text: str) -> float:
        tokens = self._tokenizer.encode(text, add_special_tokens=False).tokens if self._tokenizer else []
        return sum(token in ("[UNK]", "<unk>") for token in tokens) / max(len(tokens), 1)


@cache
def _load(model: str) -> _Tokenizer:
    folder = resolve_model(model)
    files = [*folder.glob("tokenizer.json"), *sorted(folder.glob("*/tokenizer.json"))]
    if not files:
        return _Tokenizer(None, 0, "")
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(files[0]))
    except Exception as error:  # the library raises its own class and plain Exception
        reason = str(error).partition("\n")[0]
        raise BaseError(f"embedder {model}: {files[0]} is no tokenizer ({reason}); copy the model again") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    prompts = _read(folder / PROMPTS_FILE).get("prompts") or {}
    return _Tokenizer(tokenizer, _limit(folder, files[0].parent), str(prompts.get("document") or prompts.get("passage") or ""))


def _limit(folder: Path, inner: Path) -> int:
    """As sentence-transformers finds it: its own setting, else the lower of the model's positions and the tokenizer's limit."""
    if own := _read(folder / "sentence_bert_config.json").get("max_seq_length"):
        return int(own)
    positions = _read(inner / "config.json").get("max_position_embeddings")
    found = (positions, _read(inner / "tokenizer_config.json").get("model_max_length"))
    return int(min((each for each in found if isinstance(each, int | float) and 0 < each < _UNLIMITED), default=0))


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
