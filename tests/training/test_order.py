"""The order of rows: the same for whoever asks, as accelerate's own where that is the one runs began with, and shared evenly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from lorag.pipeline.errors import TrainingError
from lorag.training.order import Batching, BatchShard, Chunks, EvenChunks, RowOrder, batching_of

LENGTHS = [5, 40, 7, 33, 8, 21, 6, 35, 9, 30, 31]


class Given:
    """Batches as they are given."""

    def __init__(self, *batches: list[int]) -> None:
        self._batches = batches
        self.epoch = 0

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self._batches)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch


@pytest.mark.parametrize(
    ("batch_size", "accumulate", "processes", "expected"),
    [
        (4, 1, 1, Batching(4, 1, 1)),
        (1, 4, 1, Batching(1, 4, 1)),
        (4, 1, 2, Batching(2, 1, 2)),
        (1, 4, 2, Batching(1, 2, 2)),
        (4, 3, 2, Batching(3, 2, 2)),  # six rows each: twice three, since four at a time do not come out even
        (2, 3, 6, Batching(1, 1, 6)),
    ],
)
def test_a_steps_rows_are_shared_evenly(batch_size: int, accumulate: int, processes: int, expected: Batching) -> None:
    found = batching_of(batch_size, accumulate, processes)
    assert found == expected
    assert found.rows_per_pass * found.accumulate == batch_size * accumulate


@pytest.mark.parametrize(("batch_size", "processes"), [(3, 2), (1, 2)])
def test_rows_that_cannot_be_shared_evenly_are_refused(batch_size: int, processes: int) -> None:
    with pytest.raises(
        TrainingError, match=rf"= {batch_size} rows a step cannot be shared by 2 processes; make it a multiple of 2"
    ):
        batching_of(batch_size, 1, processes)


def test_an_epochs_order_depends_on_seed_and_epoch_alone() -> None:
    import torch

    order = RowOrder(LENGTHS, 4, 7, grouped=True)
    first = list(order)
    torch.rand(9)
    order.set_epoch(1)
    second = list(order)
    torch.rand(9)
    resumed = RowOrder(LENGTHS, 4, 7, grouped=True)
    resumed.set_epoch(1)
    assert list(resumed) == second != first
    assert sorted(first) == sorted(second) == list(range(len(LENGTHS)))
    assert LENGTHS[first[0]] == max(LENGTHS)
    assert list(RowOrder(LENGTHS, 4, 8, grouped=True)) != first


@pytest.mark.parametrize("epoch", [0, 3])
def test_packed_rows_come_in_accelerates_order(epoch: int) -> None:
    """Runs that began with it go on with the rows that they have not seen."""
    from accelerate.data_loader import SeedableRandomSampler

    theirs = SeedableRandomSampler(LENGTHS, data_seed=7)
    theirs.set_epoch(epoch)
    ours = RowOrder(LENGTHS, 4, 7, grouped=False)
    ours.set_epoch(epoch)
    assert list(ours) == list(theirs)


@pytest.mark.parametrize("processes", [2, 3])
def test_each_row_is_read_once_and_every_process_takes_every_step(processes: int) -> None:
    blank = len(LENGTHS)
    parts = []
    for rank in range(processes):
        part = BatchShard(Chunks(RowOrder(LENGTHS, 5, 0, grouped=False), 5), processes, rank, blank=blank)
        part.set_epoch(2)
        parts.append(list(part))
        assert len(parts[-1]) == len(part) == 3
    read = Counter(row for part in parts for batch in part for row in batch)
    assert read.pop(blank) == processes - 1  # the last step has one row
    assert read == Counter(range(len(LENGTHS)))
    whole = Chunks(order := RowOrder(LENGTHS, 5, 0, grouped=False), 5)
    order.set_epoch(2)
    for number, batch in enumerate(whole):
        assert [row for part in parts for row in part[number] if row != blank] == batch


def test_a_batch_is_cut_in_order_and_the_first_take_one_more() -> None:
    given = Given([1, 2, 3, 4, 5], [6], [7, 8, 9])
    parts = [BatchShard(given, 3, rank, blank=0) for rank in range(3)]
    assert [list(part) for part in parts] == [[[1, 2], [6], [7]], [[3, 4], [0], [8]], [[5], [0], [9]]]
    parts[0].set_epoch(4)
    assert given.epoch == 4


@pytest.mark.parametrize(("rows", "most", "sizes"), [(33, 32, {16, 17}), (64, 32, {32}), (5, 8, {5}), (400, 128, {100})])
def test_even_batches_hold_each_row_once_and_differ_by_one_at_most(rows: int, most: int, sizes: set[int]) -> None:
    batches = EvenChunks(RowOrder([1] * rows, most, 0, grouped=False), most)
    epochs = []
    for epoch in range(2):
        batches.set_epoch(epoch)
        read = list(batches)
        assert len(read) == len(batches) and {len(batch) for batch in read} == sizes
        assert sorted(row for batch in read for row in batch) == list(range(rows))
        epochs.append(read)
    assert epochs[0] != epochs[1]
