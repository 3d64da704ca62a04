"""One batch of prompts on a causal LM with a key-value cache. Knows tensors and adapters' names; knows no text and no role.

Rows are padded on the left, so every row's next token sits in the last column; what several prompts begin with is read once, and
what follows is padded on the left again. A batch may mix adapters: peft routes each row through the adapter named for it. The
model is used only inside a `Session`, one forward at a time, so that streams of different adapters may alternate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from lorag.pipeline.engine.prefixes import SharedPrefixes, shared_prefixes

BASE_ROW = "__base__"
"""peft's name for a row that no adapter touches."""


Session = Callable[[Sequence[str]], AbstractContextManager[tuple[Any, bool]]]
"""Given the adapter of each row, yields the model for one forward, and whether that needs per-row `adapter_names`."""


class Batch:
    """A left-padded batch: prefilled once, then stepped token by token."""

    def __init__(self, session: Session, rows: Sequence[tuple[Sequence[int], str]], pad_id: int, device: Any) -> None:
        from transformers import DynamicCache

        self._session, self._pad_id, self._device = session, pad_id, device
        self._ids, self._mask = _left_padded_ids([ids for ids, _ in rows], pad_id, device)
        self._names = [name for _, name in rows]
        self._prompts = [list(ids) for ids, _ in rows]
        self._on = [False] * len(rows)  # whether the row's prompt has switched its activated adapter on
        self.cache: Any = DynamicCache()

    @property
    def width(self) -> int:
        """Columns that the cache holds for every row, padding included."""
        return int(self._mask.shape[1])

    def _forward(self, ids: Any, positions: Any, mask: Any, *, last: bool = True) -> Any:
        import torch

        with self._session(self._names) as (model, per_row), torch.inference_mode():
            return model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=self.cache,
                use_cache=True,
                # The last column by its index: a slice of it is no contiguous matrix, and a product with it copies the
                # vocabulary for each row.
                logits_to_keep=torch.tensor([ids.shape[1] - 1], device=ids.device) if last else 0,
                **({"adapter_names": self._names} if per_row else {}),
                **self._activation(model, ids.shape[1]),
            ).logits

    def _activation(self, model: Any, columns: int) -> dict[str, Any]:
        """From which of these columns, counted from the end, each row's activated adapter is on; empty if no row has one.

        peft looks for the invocation in the ids of one forward alone, and would switch off again at the next token.
        """
        invocations = self._invocations(model)
        if not any(invocations):
            return {}
        if not self._prompts:
            return {"alora_offsets": [columns if on else None for on in self._on]}
        since = [_tokens_since(ids, invocation) for ids, invocation in zip(self._prompts, invocations, strict=True)]
        self._on = [place is not None for place in since]
        return {"alora_offsets": since}

    def prefill(self) -> Any:
        """Run the prompts; returns the next-token logits, shape (rows, vocabulary), float32.

        What several prompts begin with is read once.
        """
        shared = shared_prefixes(list(zip(self._prompts, self._names, strict=True)))
        if shared is not None and not self._is_activated():
            self._read_prefixes(shared)
        columns = self._ids.shape[1]
        positions = (self._mask.cumsum(-1) - 1).clamp(min=0)[:, -columns:]
        logits = self._forward(self._ids, positions, self._mask)[:, -1].float()
        self._prompts = []
        return logits

    def _read_prefixes(self, shared: SharedPrefixes) -> None:
        """Read the beginnings. What is left to read are the other tokens, padded between the two."""
        import torch

        first = Batch(self._session, shared.prefixes, self._pad_id, self._device)
        first.prefill()
        places = torch.tensor(shared.places, device=self._device)
        first.cache.batch_select_indices(places)
        self.cache = first.cache
        self._ids, mask = _left_padded_ids(shared.rest, self._pad_id, self._device)
        self._mask = torch.cat([first._mask[places], mask], dim=1)

    def _is_activated(self) -> bool:
        """Whether a row's adapter is switched on by tokens of its prompt: those are looked for in one forward."""
        with self._session(self._names) as (model, _):
            return any(self._invocations(model))

    def _invocations(self, model: Any) -> list[tuple[int, ...]]:
        """For each row the tokens that switch its adapter on; empty if it is always on."""
        known = getattr(model, "peft_config", {})
        return [tuple(getattr(known.get(name), "alora_invocation_tokens", None) or ()) for name in self._names]

    def step(self, tokens: Any) -> Any:
        """Append one token a row, shape (rows,); returns the next logits as `prefill` does."""
        mask = self._extended(tokens.shape[0], 1)
        logits = self._forward(tokens[:, None], mask.sum(-1, keepdim=True) - 1, mask)[:, -1].float()
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
        return self._forward(continuations, start + offsets, self._mask, last=False)


def _left_padded_ids(rows: Sequence[Sequence[int]], pad_id: int, device: Any) -> tuple[Any, Any]:
    """Ids and mask, both of shape (rows, width of the longest)."""
    import torch

    width = max(map(len, rows))
    ids = torch.full((len(rows), width), pad_id, dtype=torch.long, device=device)
    mask = torch.zeros((len(rows), width), dtype=torch.long, device=device)
    for n, row in enumerate(rows):
        ids[n, width - len(row) :] = torch.tensor(list(row), device=device)
        mask[n, width - len(row) :] = 1
    return ids, mask


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
