"""Batched decoding on a causal LM with a key-value cache. Knows tensors and adapters' names; knows no text and no role.

Rows are padded on the left, so every row's next token sits in the last column. A batch may mix adapters: peft routes each row
through the adapter named for it. The model is used only inside a `Session`, one forward at a time, so that streams of different
adapters may alternate.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from lorag.pipeline.engine.protocol import Sampling

BASE_ROW = "__base__"
"""peft's name for a row that no adapter touches."""


Session = Callable[[Sequence[str]], AbstractContextManager[tuple[Any, bool]]]
"""Given the adapter of each row, yields the model for one forward, and whether that needs per-row `adapter_names`."""


@dataclass(frozen=True, slots=True)
class Row:
    """One prompt of a batch: its token ids, adapter (or BASE_ROW), token budget and sampling."""

    ids: tuple[int, ...]
    adapter: str
    max_tokens: int
    sampling: Sampling


@dataclass(frozen=True, slots=True)
class ChoiceRow:
    """One prompt and the whole replies to score after it, as token ids, and the adapter (or BASE_ROW) that scores them."""

    ids: tuple[int, ...]
    adapter: str
    replies: tuple[tuple[int, ...], ...]


class Batch:
    """A left-padded batch: prefilled once, then stepped token by token."""

    def __init__(self, session: Session, rows: Sequence[tuple[Sequence[int], str]], pad_id: int, device: Any) -> None:
        import torch
        from transformers import DynamicCache

        self._session = session
        width = max(len(ids) for ids, _ in rows)
        self._ids = torch.full((len(rows), width), pad_id, dtype=torch.long, device=device)
        self._mask = torch.zeros((len(rows), width), dtype=torch.long, device=device)
        for n, (ids, _) in enumerate(rows):
            self._ids[n, width - len(ids) :] = torch.tensor(list(ids), device=device)
            self._mask[n, width - len(ids) :] = 1
        self._names = [name for _, name in rows]
        self._prompts = [list(ids) for ids, _ in rows]
        self._on = [False] * len(rows)  # whether the row's prompt has switched its activated adapter on
        self.cache: Any = DynamicCache()

    @property
    def width(self) -> int:
        """Columns that the cache holds for every row, padding included."""
        return int(self._mask.shape[1])

    def _forward(self, ids: Any, positions: Any, mask: Any, keep: int) -> Any:
        import torch

        with self._session(self._names) as (model, per_row), torch.inference_mode():
            return model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=self.cache,
                use_cache=True,
                logits_to_keep=keep,
                **({"adapter_names": self._names} if per_row else {}),
                **self._activation(model, ids.shape[1]),
            ).logits

    def _activation(self, model: Any, columns: int) -> dict[str, Any]:
        """From which of these columns, counted from the end, each row's activated adapter is on; empty if no row has one.

        peft looks for the invocation in the ids of one forward alone, and would switch off again at the next token.
        """
        known = getattr(model, "peft_config", {})
        invocations = [tuple(getattr(known.get(name), "alora_invocation_tokens", None) or ()) for name in self._names]
        if not any(invocations):
            return {}
        if not self._prompts:
            return {"alora_offsets": [columns if on else None for on in self._on]}
        since = [_tokens_since(ids, invocation) for ids, invocation in zip(self._prompts, invocations, strict=True)]
        self._on = [place is not None for place in since]
        return {"alora_offsets": since}

    def prefill(self) -> Any:
        """Run the prompts; returns the next-token logits, shape (rows, vocabulary), float32."""
        positions = (self._mask.cumsum(-1) - 1).clamp(min=0)
        logits = self._forward(self._ids, positions, self._mask, 1)[:, -1].float()
        self._prompts = []
        return logits

    def step(self, tokens: Any) -> Any:
        """Append one token a row, shape (rows,); returns the next logits as `prefill` does."""
        mask = self._extended(tokens.shape[0], 1)
        logits = self._forward(tokens[:, None], mask.sum(-1, keepdim=True) - 1, mask, 1)[:, -1].float()
        self._mask = mask  # not before: if the adapter was unloaded the forward does not begin, and the batch stays as it was
        return logits

    def _extended(self, rows: int, columns: int) -> Any:
        import torch

        return torch.cat([self._mask, self._mask.new_ones((rows, columns))], dim=1)

    def keep(self, indices: Sequence[int]) -> None:
        """Drop all rows but these, and the columns that pad every remaining row: finished rows cost nothing more."""
        import torch

        chosen = torch.tensor(list(indices), device=self._mask.device)
        mask = self._mask[chosen]
        padding = int(mask.argmax(dim=1).min())
        self.cache.batch_select_indices(chosen)
        if padding:
            self.cache = _rebuilt((keys[:, :, padding:], values[:, :, padding:]) for keys, values, _ in self.cache)
        self._mask = mask[:, padding:]
        self._names, self._on = [self._names[i] for i in indices], [self._on[i] for i in indices]

    def absorb(self, other: Batch) -> None:
        """Append the rows of `other`, a prefilled batch; `other` is not to be used after.

        The narrower one is padded on the left to the width of the wider. A failure leaves this batch as it was.
        """
        import torch

        width = max(self.width, other.width)
        cache = _rebuilt(
            (_stacked(keys, new_keys, width), _stacked(values, new_values, width))
            for (keys, values, _), (new_keys, new_values, _) in zip(self.cache, other.cache, strict=True)
        )
        mask = torch.cat([_left_padded(self._mask, width), _left_padded(other._mask, width)])
        self.cache, self._mask = cache, mask
        self._names, self._on = self._names + other._names, self._on + other._on

    def branch(self, copies: int, continuations: Any) -> Any:
        """Continue every row `copies` times: row r with continuations[r * copies + c], shape (rows * copies, columns).

        Returns logits of every continuation position, shape (rows * copies, columns, vocabulary). The batch is not to be used
        after.
        """
        self.cache.batch_repeat_interleave(copies)
        self._mask = self._mask.repeat_interleave(copies, dim=0)
        self._names = [name for name in self._names for _ in range(copies)]
        self._on = [on for on in self._on for _ in range(copies)]
        start = self._mask.sum(-1, keepdim=True)
        columns = continuations.shape[1]
        self._mask = self._extended(continuations.shape[0], columns)
        offsets = continuations.new_tensor(range(columns))[None]
        return self._forward(continuations, start + offsets, self._mask, 0)


def _tokens_since(ids: Sequence[int], invocation: Sequence[int]) -> int | None:
    """Tokens from the last place where `invocation` begins in `ids` to the end; None if `ids` do not hold it."""
    starts = range(len(ids) - len(invocation), -1, -1) if invocation else ()
    return next((len(ids) - start for start in starts if tuple(ids[start : start + len(invocation)]) == tuple(invocation)), None)


def _rebuilt(layers: Iterable[tuple[Any, ...]]) -> Any:
    """A cache of these (keys, values), each of shape (rows, heads, columns, width of a head)."""
    from transformers import DynamicCache

    return DynamicCache(layers)


def _left_padded(mask: Any, width: int) -> Any:
    import torch

    return torch.nn.functional.pad(mask, (width - mask.shape[-1], 0))


def _stacked(states: Any, more: Any, width: int) -> Any:
    """Keys or values of both, stacked along the rows, padded in front with zeros, which the mask hides."""
    import torch

    return torch.cat([torch.nn.functional.pad(s, (0, 0, width - s.shape[-2], 0)) for s in (states, more)])


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
