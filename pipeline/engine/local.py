"""The shared base: one model in memory, several adapters resident, each request answered by the adapter it names.

Requests run in batches of similar length; a batch may mix adapters. One lock guards the model, and with it the active adapter:
no request can see another's. Greedy decoding is deterministic.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from lorag.pipeline.engine.batch import BASE_ROW, Batch
from lorag.pipeline.engine.decoding import ChoiceRow, Key, Row, RunningBatch, continuation_logprobs, decode
from lorag.pipeline.engine.likelihood import probabilities
from lorag.pipeline.engine.prefixes import alike
from lorag.pipeline.engine.protocol import ChoiceRequest, Completion, Finish, Generation
from lorag.pipeline.engine.routing import AdapterRouter
from lorag.pipeline.engine.stopping import cut, settled
from lorag.pipeline.engine.tokens import ChatTokens
from lorag.pipeline.engine.weights import LoadedBase, hold_dequantized
from lorag.pipeline.errors import EngineError, InputError, PromptTooLong
from lorag.pipeline.records import Message

BATCH_ROWS = 16
BATCH_TOKENS = 6144
"""Padded prompt tokens of a batch, at most: bounds the memory of prefill for any lengths."""


class LocalEngine:
    """An `Engine` on a loaded base. `load_weights` makes the base; `load_adapter` makes adapters resident."""

    def __init__(self, loaded: LoadedBase, *, batch_rows: int = BATCH_ROWS, batch_tokens: int = BATCH_TOKENS) -> None:
        self.loaded = loaded
        self.tokens = ChatTokens(loaded.tokenizer)
        self._router = AdapterRouter(loaded.model)
        self._lock = threading.Lock()
        self._batch_rows, self._batch_tokens = batch_rows, batch_tokens
        self.context = int(getattr(loaded.model.config, "max_position_embeddings", 2048))

    @classmethod
    def of_trained(cls, loaded: LoadedBase, model: Any, name: str) -> LocalEngine:
        """An engine on the peft `model` that trains on `loaded`, with its adapter `name` resident in its current state."""
        engine = cls(loaded)
        engine._router.adopt(model, name)
        return engine

    @property
    def adapters(self) -> tuple[str, ...]:
        return self._router.names

    def load_adapter(self, name: str, folder: Path) -> None:
        """Make the LoRA adapter in `folder` resident as `name`. Raises AdapterError, NoEffect."""
        import torch

        with self._lock:
            self._router.add(name, folder, getattr(torch, self.loaded.compute))

    def unload_adapter(self, name: str) -> None:
        """Drop a resident adapter. Raises AdapterError if there is none of that name."""
        with self._lock:
            self._router.remove(name)

    def require(self, name: str) -> None:
        """Raises AdapterError if no adapter of that name is resident; BASE_ROW always is."""
        self._router.require([name])

    def _encode(self, messages: Sequence[Message], reserve: int) -> list[int]:
        return self._fitting(self.tokens.prompt(messages), reserve)

    def _fitting(self, ids: list[int], reserve: int) -> list[int]:
        if len(ids) + reserve > self.context:
            raise PromptTooLong(
                f"prompt of {len(ids)} tokens and a reply of up to {reserve} do not fit the context of {self.context} tokens; "
                "shorten the question or history, or lower retrieval.k or chunking.max_chars",
                fits=max(0, self.context - reserve) / len(ids),
            )
        return ids

    def _batches(self, lengths: Sequence[int], begins: Sequence[int]) -> Iterator[list[int]]:
        """Indices in batches of similar length, longest first, within the row and token bounds. A length is what a row costs.

        Rows of equal `begins` stand together, so that what they begin with is read once.
        """
        longest: dict[int, tuple[int, int]] = {}
        for i, begin in enumerate(begins):
            longest[begin] = min(longest.get(begin, (0, i)), (-lengths[i], i))
        order = sorted(range(len(lengths)), key=lambda i: (longest[begins[i]], -lengths[i], i))
        batch: list[int] = []
        for index in order:
            widest = max(lengths[i] for i in (*batch, index))
            if batch and (len(batch) == self._batch_rows or widest * (len(batch) + 1) > self._batch_tokens):
                yield batch
                batch = []
            batch.append(index)
        if batch:
            yield batch

    def generate(self, requests: Sequence[Generation]) -> list[Completion]:
        rows = [self.row(request) for request in requests]
        results: dict[int, Completion] = {}
        for batch in self._batches([len(row.ids) for row in rows], _beginnings(rows)):
            written: dict[int, list[int]] = {i: [] for i in batch}
            for tokens in self._run([rows[i] for i in batch]):
                for position, token in tokens.items():
                    written[batch[position]].append(token)
            for index, ids in written.items():
                results[index] = self._completion(rows[index], ids, requests[index].stop)
        return [results[i] for i in range(len(requests))]

    def row(self, request: Generation) -> Row:
        """The request as token ids. Raises PromptTooLong, InputError."""
        if request.ids:
            ids = self._fitting(self._known(request.ids), request.max_tokens)
        else:
            ids = self._encode(request.messages, request.max_tokens)
        return Row(tuple(ids), request.adapter or BASE_ROW, request.max_tokens, request.sampling)

    @contextmanager
    def _session(self, names: Sequence[str]) -> Iterator[tuple[Any, bool]]:
        """The model for one forward: under the lock, with the adapters of these rows active."""
        with self._lock, self._router.routed(names) as per_row:
            yield self._router.model, per_row

    def _run(self, rows: Sequence[Row]) -> Generator[dict[int, int]]:
        """Decode one batch. The lock is held for a forward at a time, so other requests may run between two tokens."""
        with engine_errors("generation", len(rows)):
            yield from decode(self._session, rows, self.tokens.end_ids, self.tokens.pad_id, self._router.model.device)

    def running_batch(self) -> RunningBatch[Key]:
        """An empty running batch on this base, for a caller that decides which rows run together."""
        return RunningBatch(self._session, self.tokens.end_ids, self.tokens.pad_id, self._router.model.device)

    def _completion(self, row: Row, ids: Sequence[int], stop: Sequence[str]) -> Completion:
        whole = self.tokens.text(ids).strip()
        text = cut(whole, stop)
        stopped = text != whole or (bool(ids) and ids[-1] in self.tokens.end_ids)
        return Completion(text, len(row.ids), len(ids), Finish.STOP if stopped else Finish.LENGTH)

    def stream(self, request: Generation) -> Generator[str, None, Completion]:
        row = self.row(request)
        with closing(self._run([row])) as run:
            return (yield from self.text_pieces(row, request.stop, (tokens[0] for tokens in run)))

    def text_pieces(self, row: Row, stop: Sequence[str], tokens: Iterable[int]) -> Generator[str, None, Completion]:
        """The reply to `row` in pieces of text as its `tokens` arrive. It ends at the token that completes a stop text."""
        written: list[int] = []
        shown = 0
        for token in tokens:
            written.append(token)
            text = self.tokens.text(written).strip()
            if cut(text, stop) != text:
                break
            sure = settled(text, stop)
            if not text.endswith("\ufffd") and sure > shown:  # else a character is still incomplete
                yield text[shown:sure]
                shown = sure
        completion = self._completion(row, written, stop)
        if rest := completion.text[shown:]:
            yield rest
        return completion

    def choice_row(self, request: ChoiceRequest) -> ChoiceRow:
        """The request as token ids. Raises PromptTooLong."""
        replies = tuple(tuple(self.tokens.reply(choice)) for choice in request.choices)
        ids = self._encode(request.messages, max(map(len, replies)))
        return ChoiceRow(tuple(ids), request.adapter or BASE_ROW, replies, request.relative)

    def choice_probabilities(self, requests: Sequence[ChoiceRequest]) -> list[tuple[float, ...]]:
        return self.row_probabilities([self.choice_row(request) for request in requests])

    def row_probabilities(self, rows: Sequence[ChoiceRow]) -> list[tuple[float, ...]]:
        """`choice_probabilities` of requests that are token ids already."""
        results: dict[int, tuple[float, ...]] = {}
        for batch in self._batches([choice_cost(row) for row in rows], _beginnings(rows)):
            for count in sorted({len(rows[i].replies) for i in batch}):
                same = [i for i in batch if len(rows[i].replies) == count]
                for index, logprobs in zip(same, self._logprobs([rows[i] for i in same]), strict=True):
                    results[index] = probabilities(logprobs, relative=rows[index].relative)
        return [results[i] for i in range(len(rows))]

    def reply_logprobs(self, requests: Sequence[ChoiceRequest]) -> list[list[float]]:
        """Log-probability of each whole choice after its prompt, end token included, in nats; one request at a time."""
        return [logprobs for request in requests for logprobs in self._logprobs([self.choice_row(request)])]

    def prompt_logits(self, requests: Sequence[Generation]) -> Any:
        """Logits of the token after each prompt, float32 of shape (requests, vocabulary); one request at a time."""
        import torch

        rows = [self.row(request) for request in requests]
        with engine_errors("scoring", len(rows)):
            batches = (
                Batch(self._session, [(row.ids, row.adapter)], self.tokens.pad_id, self._router.model.device) for row in rows
            )
            return torch.cat([batch.prefill() for batch in batches])

    def token_logprobs(self, row: ChoiceRow) -> list[list[float]]:
        """Log-probability of each token of each reply of `row`, in nats. Raises PromptTooLong, InputError."""
        self._fitting(self._known(row.ids), max(len(self._known(reply)) for reply in row.replies))
        return self._token_logprobs([row])[0]

    def _known(self, ids: Sequence[int]) -> list[int]:
        """`ids`, checked: an id outside the vocabulary would index beyond the embedding table. Raises InputError."""
        size = self._router.model.get_input_embeddings().weight.shape[0]
        if not all(0 <= token < size for token in ids):
            raise InputError(f"a token id lies outside 0 to {size - 1}; they are of another base's tokenizer")
        return list(ids)

    def _logprobs(self, rows: Sequence[ChoiceRow]) -> list[list[float]]:
        return [[math.fsum(tokens) for tokens in replies] for replies in self._token_logprobs(rows)]

    def _token_logprobs(self, rows: Sequence[ChoiceRow]) -> list[list[list[float]]]:
        with engine_errors("scoring", len(rows)):
            return continuation_logprobs(self._session, rows, self.tokens.pad_id, self._router.model.device)


def _beginnings(rows: Sequence[Row] | Sequence[ChoiceRow]) -> list[int]:
    """For each row the number of the group that begins like it."""
    numbers = {at: number for number, group in enumerate(alike([(row.ids, row.adapter) for row in rows])) for at in group}
    return [numbers[at] for at in range(len(rows))]


def choice_cost(row: ChoiceRow) -> int:
    """Cost of scoring a row, in prompt tokens: those of its prompt, multiplied by half its replies if those are more than two."""
    return len(row.ids) * max(1, len(row.replies) // 2)


@contextmanager
def engine_errors(work: str, rows: int) -> Iterator[None]:
    """Within: torch's errors become an EngineError that says what failed."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise EngineError(f"{work} failed on a batch of {rows}: {reason}") from error


def open_engine(loaded: LoadedBase, **bounds: Any) -> LocalEngine:
    """An engine on `loaded`, after choosing torch's thread count and the form of the weights that are fastest here."""
    from lorag.pipeline.engine.processor import probe_threads

    probe_threads()
    hold_dequantized(loaded)
    return LocalEngine(loaded, **bounds)
