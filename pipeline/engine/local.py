"""The shared base: one model in memory, several adapters resident, each request answered by the adapter it names.

Requests run in batches of similar length; a batch may mix adapters. One lock owns the model, and with it the active
adapter: no request can see another's. Greedy decoding is deterministic.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.engine.decoding import BASE_ROW, Row, continuation_logprobs, decode
from pipeline.engine.protocol import ChoiceRequest, Completion, Finish, Generation
from pipeline.engine.routing import AdapterRouter
from pipeline.engine.tokens import ChatTokens
from pipeline.engine.weights import LoadedBase
from pipeline.errors import EngineError, PromptTooLong
from pipeline.records import Message

BATCH_ROWS = 8
BATCH_TOKENS = 6144
"""Padded prompt tokens of a batch at most: bounds the memory of prefill, whatever the lengths."""


class LocalEngine:
    """An `Engine` on a loaded base. `load_weights` makes the base; `load_adapter` makes adapters resident."""

    def __init__(self, loaded: LoadedBase, *, batch_rows: int = BATCH_ROWS, batch_tokens: int = BATCH_TOKENS) -> None:
        self.loaded = loaded
        self.tokens = ChatTokens(loaded.tokenizer)
        self._router = AdapterRouter(loaded.model)
        self._lock = threading.Lock()
        self._batch_rows, self._batch_tokens = batch_rows, batch_tokens
        self.context = int(getattr(loaded.model.config, "max_position_embeddings", 2048))

    @property
    def adapters(self) -> tuple[str, ...]:
        return self._router.names

    def load_adapter(self, name: str, folder: Path) -> None:
        """Make the LoRA adapter in `folder` resident as `name`. Raises AdapterError, NoEffect."""
        import torch

        with self._lock:
            self._router.add(name, folder, getattr(torch, self.loaded.compute))

    def unload_adapter(self, name: str) -> None:
        """Drop a resident adapter. Raises AdapterError where there is none of that name."""
        with self._lock:
            self._router.remove(name)

    def _encode(self, messages: Sequence[Message], reserve: int) -> list[int]:
        ids = self.tokens.prompt(messages)
        if len(ids) + reserve > self.context:
            raise PromptTooLong(
                f"prompt of {len(ids)} tokens and a reply of up to {reserve} do not fit the context of {self.context} tokens; "
                "shorten the question or history, or lower retrieval.k or chunking.max_chars"
            )
        return ids

    def _batches(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Indices in batches of similar length, longest first, within the row and token bounds.

        A length is what a row costs: its prompt's tokens, or those times the branches that continue it.
        """
        order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
        batch: list[int] = []
        for index in order:
            if batch and (len(batch) == self._batch_rows or lengths[batch[0]] * (len(batch) + 1) > self._batch_tokens):
                yield batch
                batch = []
            batch.append(index)
        if batch:
            yield batch

    def generate(self, requests: Sequence[Generation]) -> list[Completion]:
        rows = [self._row(request) for request in requests]
        results: dict[int, Completion] = {}
        for batch in self._batches([len(row.ids) for row in rows]):
            written: dict[int, list[int]] = {i: [] for i in batch}
            for tokens in self._run([rows[i] for i in batch]):
                for position, token in tokens.items():
                    written[batch[position]].append(token)
            for index, ids in written.items():
                results[index] = self._completion(rows[index], ids)
        return [results[i] for i in range(len(requests))]

    def _row(self, request: Generation) -> Row:
        ids = self._encode(request.messages, request.max_tokens)
        return Row(tuple(ids), request.adapter or BASE_ROW, request.max_tokens, request.sampling)

    @contextmanager
    def _session(self, names: Sequence[str]) -> Iterator[tuple[Any, bool]]:
        """The model for one forward: under the lock, with the adapters of these rows active."""
        with self._lock, self._router.routed(names) as per_row:
            yield self._router.model, per_row

    def _run(self, rows: Sequence[Row]) -> Iterator[dict[int, int]]:
        """Decode one batch. The lock is held for a forward at a time, so other requests may run between two tokens."""
        try:
            yield from decode(self._session, rows, self.tokens.end_ids, self.tokens.pad_id, self._router.model.device)
        except (RuntimeError, MemoryError) as error:
            raise EngineError(f"generation failed on a batch of {len(rows)}: {str(error).splitlines()[0]}") from error

    def _completion(self, row: Row, ids: Sequence[int]) -> Completion:
        stopped = bool(ids) and ids[-1] in self.tokens.end_ids
        text = self.tokens.text(ids).strip()
        return Completion(text, len(row.ids), len(ids), Finish.STOP if stopped else Finish.LENGTH)

    def stream(self, request: Generation) -> Iterator[str]:
        row = self._row(request)
        written: list[int] = []
        shown = 0
        for tokens in self._run([row]):
            written.append(tokens[0])
            text = self.tokens.text(written).strip()
            if not text.endswith("\ufffd") and len(text) > shown:  # else a character is still incomplete
                yield text[shown:]
                shown = len(text)
        if rest := self.tokens.text(written).strip()[shown:]:
            yield rest

    def weigh(self, requests: Sequence[ChoiceRequest]) -> list[tuple[float, ...]]:
        replies = [[self.tokens.reply(choice) for choice in r.choices] for r in requests]
        prompts = [self._encode(r.messages, max(map(len, own))) for r, own in zip(requests, replies, strict=True)]
        results: dict[int, tuple[float, ...]] = {}
        for batch in self._batches([len(p) * max(1, len(own) // 2) for p, own in zip(prompts, replies, strict=True)]):
            for count in sorted({len(replies[i]) for i in batch}):
                same = [i for i in batch if len(replies[i]) == count]
                for index, row in zip(same, self._logprobs(requests, prompts, replies, same), strict=True):
                    results[index] = _softmax(row)
        return [results[i] for i in range(len(requests))]

    def reply_logprobs(self, requests: Sequence[ChoiceRequest]) -> list[list[float]]:
        """Log-probability of each whole choice after its prompt, end token included, in nats; one request at a time."""
        rows = []
        for request in requests:
            replies = [self.tokens.reply(choice) for choice in request.choices]
            prompt = self._encode(request.messages, max(map(len, replies)))
            rows += self._logprobs([request], [prompt], [replies], [0])
        return rows

    def _logprobs(
        self,
        requests: Sequence[ChoiceRequest],
        prompts: Sequence[list[int]],
        replies: Sequence[list[list[int]]],
        chosen: list[int],
    ) -> list[list[float]]:
        rows = [(prompts[i], requests[i].adapter or BASE_ROW) for i in chosen]
        options = [replies[i] for i in chosen]
        try:
            return continuation_logprobs(self._session, rows, options, self.tokens.pad_id, self._router.model.device)
        except (RuntimeError, MemoryError) as error:
            raise EngineError(f"weighing failed on a batch of {len(rows)}: {str(error).splitlines()[0]}") from error


def _softmax(logprobs: Sequence[float]) -> tuple[float, ...]:
    import math

    top = max(logprobs)
    weights = [math.exp(value - top) for value in logprobs]
    total = sum(weights)
    return tuple(w / total for w in weights)


def open_engine(loaded: LoadedBase, **bounds: Any) -> LocalEngine:
    """Set torch's threads to what is fastest here and put an engine on `loaded`."""
    from pipeline.engine.processor import probe_threads

    probe_threads()
    return LocalEngine(loaded, **bounds)
