"""The order in which a run reads its rows, and this process's share of each step. Knows row numbers and lengths only.

An epoch's order depends on the seed and the epoch's number alone. For rows grouped by length, transformers uses the process's
random state instead. Then a run resumed in its second epoch would read other rows than the uninterrupted one, and processes
whose states differ (by dropout) would read rows twice or never. Steps are cut from the order before they are divided, so any
number of processes does the same steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from lorag.pipeline.errors import TrainingError


@dataclass(frozen=True, slots=True)
class Batching:
    """How one step's rows are divided: each of `processes` takes `micro_batch` rows at a time, `accumulate` times a step."""

    micro_batch: int
    accumulate: int
    processes: int

    @property
    def rows_per_pass(self) -> int:
        """Rows that all processes together take at a time."""
        return self.micro_batch * self.processes


def batching_of(batch_size: int, accumulate: int, processes: int) -> Batching:
    """Divide the `batch_size` · `accumulate` rows of a step among processes, at most `batch_size` at a time each.

    Raises TrainingError if they cannot be divided evenly.
    """
    rows = batch_size * accumulate
    own, left = divmod(rows, processes)
    if left or not own:
        raise TrainingError(
            f"batch_size · accumulate = {rows} rows a step cannot be shared by {processes} processes; make it a multiple of "
            f"{processes}"
        )
    micro = max(size for size in range(1, min(batch_size, own) + 1) if own % size == 0)
    return Batching(micro, own // micro, processes)


class RowOrder:
    """A random order of rows; with `grouped`, the rows of each `step` are of similar length.

    `lengths` are in tokens, one a row. With `grouped`, a step with the longest row comes first, so that too little memory shows
    at once.
    """

    def __init__(self, lengths: Sequence[int], step: int, seed: int, *, grouped: bool) -> None:
        self._lengths = lengths
        self._step = step
        self._seed = seed
        self._grouped = grouped
        self._epoch = 0

    def __len__(self) -> int:
        return len(self._lengths)

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        import torch
        from transformers.trainer_pt_utils import get_length_grouped_indices

        generator = torch.Generator().manual_seed(self._seed + self._epoch)
        if self._grouped:
            return iter(get_length_grouped_indices(self._lengths, self._step, generator=generator))
        return iter(torch.randperm(len(self._lengths), generator=generator).tolist())


class Batches(Protocol):
    """Lists of row numbers of an epoch."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[list[int]]: ...

    def set_epoch(self, epoch: int) -> None: ...


class Chunks:
    """The rows of `order` in lists of `size`, the last one perhaps shorter."""

    def __init__(self, order: RowOrder, size: int) -> None:
        self._order = order
        self._size = size

    def __len__(self) -> int:
        return -(-len(self._order) // self._size)

    def set_epoch(self, epoch: int) -> None:
        self._order.set_epoch(epoch)

    def __iter__(self) -> Iterator[list[int]]:
        rows = list(self._order)
        for first in range(0, len(rows), self._size):
            yield rows[first : first + self._size]


class EvenChunks(Chunks):
    """The rows of `order` in as many lists as `Chunks`, whose lengths differ by at most one.

    A short last batch would have few negatives in it.
    """

    def __iter__(self) -> Iterator[list[int]]:
        rows, parts = list(self._order), len(self)
        for part in range(parts):
            yield rows[len(rows) * part // parts : len(rows) * (part + 1) // parts]


class BatchShard:
    """This process's part of each batch: of n rows each process has n / `processes`, and the first ones one more.

    If a batch has fewer rows than there are processes, the others get the row `blank`, which adds nothing to the loss.
    """

    def __init__(self, batches: Batches, processes: int, rank: int, *, blank: int) -> None:
        self._batches = batches
        self._processes = processes
        self._rank = rank
        self._blank = blank

    def __len__(self) -> int:
        return len(self._batches)

    def set_epoch(self, epoch: int) -> None:
        self._batches.set_epoch(epoch)

    def __iter__(self) -> Iterator[list[int]]:
        for batch in self._batches:
            size, more = divmod(len(batch), self._processes)
            start = self._rank * size + min(self._rank, more)
            own = batch[start : start + size + (self._rank < more)]
            yield own or [self._blank]


def loader(rows: Any, batches: Iterable[list[int]], collate: Any, device: Any) -> Any:
    """A data loader over `rows` that reads the given batches and sets their epoch, also in a resumed run."""
    from accelerate.data_loader import DataLoaderShard

    return DataLoaderShard(rows, batch_sampler=batches, collate_fn=collate, device=device)
