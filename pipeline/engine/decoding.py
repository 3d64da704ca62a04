"""Batched decoding on a causal LM with a key-value cache. Knows tensors and adapters' names; knows no text and no role.

Rows are padded on the left, so every row's next token sits in the last column. A batch may mix adapters: peft routes each
row through the adapter named for it. The model is used only inside a `Session`, one forward at a time, so that streams
of different adapters may take turns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from pipeline.engine.protocol import Sampling

BASE_ROW = "__base__"
"""peft's name for a row that no adapter touches."""


Session = Callable[[Sequence[str]], AbstractContextManager[tuple[Any, bool]]]
"""Given the adapter of each row, lends the model for one forward, and says whether that needs per-row `adapter_names`."""


@dataclass(frozen=True, slots=True)
class Row:
    """One prompt of a batch: its token ids, adapter (or BASE_ROW), token budget and sampling."""

    ids: tuple[int, ...]
    adapter: str
    max_tokens: int
    sampling: Sampling


class Batch:
    """A left-padded batch in flight: prefilled once, then stepped token by token."""

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
        self.cache = DynamicCache()

    def _forward(self, ids: Any, positions: Any, keep: int) -> Any:
        import torch

        with self._session(self._names) as (model, per_row), torch.inference_mode():
            return model(
                input_ids=ids,
                attention_mask=self._mask,
                position_ids=positions,
                past_key_values=self.cache,
                use_cache=True,
                logits_to_keep=keep,
                **({"adapter_names": self._names} if per_row else {}),
            ).logits

    def prefill(self) -> Any:
        """Run the prompts; returns the next-token logits, shape (rows, vocabulary), float32."""
        positions = (self._mask.cumsum(-1) - 1).clamp(min=0)
        return self._forward(self._ids, positions, 1)[:, -1].float()

    def step(self, tokens: Any) -> Any:
        """Append one token a row, shape (rows,); returns the next logits as `prefill` does."""
        self._mask = self._extended(tokens.shape[0], 1)
        return self._forward(tokens[:, None], (self._mask.sum(-1, keepdim=True) - 1), 1)[:, -1].float()

    def _extended(self, rows: int, columns: int) -> Any:
        import torch

        return torch.cat([self._mask, self._mask.new_ones((rows, columns))], dim=1)

    def keep(self, indices: Sequence[int]) -> None:
        """Drop all rows but these, so that finished ones cost nothing more."""
        import torch

        chosen = torch.tensor(list(indices), device=self._mask.device)
        self.cache.batch_select_indices(chosen)
        self._mask = self._mask[chosen]
        self._names = [self._names[i] for i in indices]

    def branch(self, copies: int, continuations: Any) -> Any:
        """Continue every row `copies` times: row r with continuations[r * copies + c], shape (rows * copies, columns).

        Returns logits of every continuation position, shape (rows * copies, columns, vocabulary). The batch is spent after.
        """
        self.cache.batch_repeat_interleave(copies)
        self._mask = self._mask.repeat_interleave(copies, dim=0)
        self._names = [name for name in self._names for _ in range(copies)]
        start = self._mask.sum(-1, keepdim=True)
        columns = continuations.shape[1]
        self._mask = self._extended(continuations.shape[0], columns)
        offsets = continuations.new_tensor(range(columns))[None]
        return self._forward(continuations, start + offsets, 0)


def choose(logits: Any, sampling: Sampling, generator: Any) -> int:
    """The next token of one row: argmax when greedy, else a seeded draw from the top-p nucleus (arXiv 1904.09751)."""
    import torch

    if sampling.temperature <= 0:
        return int(logits.argmax())
    weights = torch.softmax(logits / sampling.temperature, dim=-1)
    ranked, order = weights.sort(descending=True)
    ranked = ranked.masked_fill(ranked.cumsum(-1) - ranked > sampling.top_p, 0.0)
    return int(order[torch.multinomial(ranked, 1, generator=generator)])


def decode(session: Session, rows: Sequence[Row], end_ids: Sequence[int], pad_id: int, device: Any) -> Iterator[dict[int, int]]:
    """Generate for all rows together; each step yields {row index: token id} of the rows still running, end tokens included."""
    import torch

    generators = [torch.Generator().manual_seed(row.sampling.seed) for row in rows]
    batch = Batch(session, [(row.ids, row.adapter) for row in rows], pad_id, device)
    running = list(range(len(rows)))
    counts = [0] * len(rows)
    logits = batch.prefill()
    while running:
        tokens = {r: choose(logits[n], rows[r].sampling, generators[r]) for n, r in enumerate(running)}
        yield tokens
        for r in running:
            counts[r] += 1
        alive = [n for n, r in enumerate(running) if tokens[r] not in end_ids and counts[r] < rows[r].max_tokens]
        if len(alive) < len(running) and alive:
            batch.keep(alive)
        running = [running[n] for n in alive]
        if running:
            logits = batch.step(torch.tensor([tokens[r] for r in running], device=device))


def continuation_logprobs(
    session: Session,
    prompts: Sequence[tuple[Sequence[int], str]],
    choices: Sequence[Sequence[Sequence[int]]],
    pad_id: int,
    device: Any,
) -> list[list[float]]:
    """Sum of log-probabilities of each choice's tokens after its prompt. All prompts must have the same number of choices."""
    import torch

    copies = len(choices[0])
    batch = Batch(session, prompts, pad_id, device)
    first = torch.log_softmax(batch.prefill(), dim=-1)
    longest = max(len(ids) for options in choices for ids in options)
    total = torch.stack([first[r, ids[0]] for r, options in enumerate(choices) for ids in options])
    if longest > 1:
        flat = [list(ids) for options in choices for ids in options]
        padded = torch.full((len(flat), longest - 1), pad_id, dtype=torch.long, device=first.device)
        for n, ids in enumerate(flat):
            padded[n, : len(ids) - 1] = torch.tensor(ids[:-1], device=first.device)
        logprobs = torch.log_softmax(batch.branch(copies, padded).float(), dim=-1)
        for n, ids in enumerate(flat):
            for column, token in enumerate(ids[1:]):
                total[n] += logprobs[n, column, token]
    values = total.tolist()
    return [values[r * copies : (r + 1) * copies] for r in range(len(prompts))]
