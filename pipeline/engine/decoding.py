"""Decoding: rows that run together on one batch, token by token; probabilities of whole replies. Knows no text and no role."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from lorag.pipeline.engine.batch import Batch, Session
from lorag.pipeline.engine.protocol import Sampling


@dataclass(frozen=True, slots=True)
class Row:
    """One prompt of a batch: its token ids, adapter (or BASE_ROW), token budget and sampling."""

    ids: tuple[int, ...]
    adapter: str
    max_tokens: int
    sampling: Sampling


@dataclass(frozen=True, slots=True)
class ChoiceRow:
    """One prompt and the whole replies to score after it, as token ids, and the adapter (or BASE_ROW) that scores them.

    `relative` as in `ChoiceRequest`."""

    ids: tuple[int, ...]
    adapter: str
    replies: tuple[tuple[int, ...], ...]
    relative: bool = True


def choose(logits: Any, sampling: Sampling, generator: Any) -> int:
    """The next token of one row: argmax when greedy, else a seeded draw from the top-p nucleus (arXiv 1904.09751)."""
    import torch

    if sampling.temperature <= 0:
        return int(logits.argmax())
    probabilities = torch.softmax(logits / sampling.temperature, dim=-1)
    ranked, order = probabilities.sort(descending=True)
    ranked = ranked.masked_fill(ranked.cumsum(-1) - ranked > sampling.top_p, 0.0)
    return int(order[torch.multinomial(ranked, 1, generator=generator)])


Key = TypeVar("Key", bound=Hashable)


@dataclass(slots=True)
class _RunningRow(Generic[Key]):
    """A running row: how many tokens it has and the last of them, which the model has not seen yet."""

    key: Key
    row: Row
    generator: Any
    last: int = -1
    count: int = 0


class RunningBatch(Generic[Key]):
    """Rows that decode together, each under the caller's key; rows join and leave between two tokens.

    The model runs in `join` and `step` only. An error of `join`, or an AdapterError of `step`, leaves the batch as it was;
    after any other error of `step` it is not to be used.
    """

    def __init__(self, session: Session, end_ids: Collection[int], pad_id: int, device: Any) -> None:
        self._session, self._end_ids, self._pad_id, self._device = session, end_ids, pad_id, device
        self._batch: Batch | None = None
        self._running: list[_RunningRow[Key]] = []

    @property
    def rows(self) -> dict[Key, Row]:
        """The rows still running, by key."""
        return {entry.key: entry.row for entry in self._running}

    @property
    def width(self) -> int:
        """Columns that the cache holds for every row, padding included; 0 if no row runs."""
        return self._batch.width if self._batch is not None else 0

    def join(self, rows: Mapping[Key, Row]) -> dict[Key, int]:
        """Prefill `rows` and return their first tokens. Rows that these do not end join the batch.

        Equal prompts, such as several samples of one, are read once.
        """
        import torch

        running = [_RunningRow(key, row, torch.Generator().manual_seed(row.sampling.seed)) for key, row in rows.items()]
        prompts = list(dict.fromkeys((row.ids, row.adapter) for row in rows.values()))
        places = [prompts.index((row.ids, row.adapter)) for row in rows.values()]
        batch = Batch(self._session, prompts, self._pad_id, self._device)
        tokens = _advance(running, batch.prefill()[places])
        unfinished = self._unfinished(running)
        if unfinished:
            chosen = [places[n] for n in unfinished]
            if chosen != list(range(len(prompts))):
                batch.keep(chosen)
            if self._batch is None:
                self._batch = batch
            else:
                self._batch.absorb(batch)
            self._running += [running[n] for n in unfinished]
        return tokens

    def step(self) -> dict[Key, int]:
        """One more token for every row, end tokens included; rows that it ends leave. {} if no row runs."""
        import torch

        if self._batch is None:
            return {}
        logits = self._batch.step(torch.tensor([entry.last for entry in self._running], device=self._device))
        tokens = _advance(self._running, logits)
        self._keep(self._unfinished(self._running))
        return tokens

    def drop(self, keys: Collection[Key]) -> None:
        """Take rows out before they have ended; keys that are not in the batch are ignored."""
        self._keep([n for n, entry in enumerate(self._running) if entry.key not in keys])

    def _unfinished(self, running: Sequence[_RunningRow[Key]]) -> list[int]:
        return [n for n, entry in enumerate(running) if entry.last not in self._end_ids and entry.count < entry.row.max_tokens]

    def _keep(self, indices: Sequence[int]) -> None:
        if len(indices) == len(self._running):
            return
        self._running = [self._running[n] for n in indices]
        if not self._running:
            self._batch = None
        elif self._batch is not None:
            self._batch.keep(indices)


def _advance(running: Sequence[_RunningRow[Key]], logits: Any) -> dict[Key, int]:
    """Choose the next token of each running row from its row of `logits`."""
    for entry, row_logits in zip(running, logits, strict=True):
        entry.last = choose(row_logits, entry.row.sampling, entry.generator)
        entry.count += 1
    return {entry.key: entry.last for entry in running}


def decode(session: Session, rows: Sequence[Row], end_ids: Collection[int], pad_id: int, device: Any) -> Iterator[dict[int, int]]:
    """Generate for all rows together; each step yields {row index: token id} of the rows still running, end tokens included."""
    running = RunningBatch[int](session, end_ids, pad_id, device)
    yield running.join(dict(enumerate(rows)))
    while running.rows:
        yield running.step()


def continuation_logprobs(session: Session, rows: Sequence[ChoiceRow], pad_id: int, device: Any) -> list[list[list[float]]]:
    """Log-probability of each token of each reply after its row's prompt. All rows must have the same number of replies."""
    import torch

    copies = len(rows[0].replies)
    batch = Batch(session, [(row.ids, row.adapter) for row in rows], pad_id, device)
    first = torch.log_softmax(batch.prefill(), dim=-1)
    longest = max(len(ids) for row in rows for ids in row.replies)
    found = [[value] for value in torch.stack([first[r, ids[0]] for r, row in enumerate(rows) for ids in row.replies]).tolist()]
    if longest > 1:
        flat = [ids for row in rows for ids in row.replies]
        padded = torch.full((len(flat), longest - 1), pad_id, dtype=torch.long, device=first.device)
        for n, ids in enumerate(flat):
            padded[n, : len(ids) - 1] = torch.tensor(ids[:-1], device=first.device)
        logprobs = torch.log_softmax(batch.branch(copies, padded).float(), dim=-1)
        for n, ids in enumerate(flat):
            found[n] += logprobs[n, range(len(ids) - 1), ids[1:]].tolist()
    return [found[r * copies : (r + 1) * copies] for r in range(len(rows))]
