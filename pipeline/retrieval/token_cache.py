"""Token vectors of passages in memory, so that a passage that is found again is not read again. Knows no encoder."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from lorag.pipeline.retrieval.token_vectors import TokenVectors

READ_TOGETHER = 32
"""Texts made at a time. Long ones are megabytes each in full precision, which they lose before the next are read."""

Make = Callable[[Sequence[str]], Sequence[TokenVectors]]


class TokenCache:
    """Token vectors by text, in half precision: the last used ones, up to `limit` bytes. Safe to call from several threads."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, TokenVectors] = OrderedDict()
        self._size = 0

    def read(self, texts: Sequence[str], make: Make) -> list[TokenVectors]:
        """The token vectors of each text; `make` is called for those that are not kept, texts of similar length together."""
        with self._lock:
            known = {text: self._kept[text] for text in texts if text in self._kept}
        lacking = sorted((text for text in dict.fromkeys(texts) if text not in known), key=len)
        for start in range(0, len(lacking), READ_TOGETHER):
            part = lacking[start : start + READ_TOGETHER]
            made = make(part)
            known |= {text: replace(each, vectors=each.vectors.astype(np.float16)) for text, each in zip(part, made, strict=True)}
        self._keep({text: known[text] for text in texts})
        return [known[text] for text in texts]

    def _keep(self, used: dict[str, TokenVectors]) -> None:
        with self._lock:
            for text, tokens in used.items():
                if text not in self._kept:
                    self._size += tokens.size
                self._kept[text] = tokens
                self._kept.move_to_end(text)
            while self._size > self._limit:
                _, dropped = self._kept.popitem(last=False)
                self._size -= dropped.size
