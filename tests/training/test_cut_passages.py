"""Whether training cuts gold passages that serving reads on: told with both figures."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from lorag.training.contrastive_columns import cut_passages
from lorag.training.data.negatives import Pair

TEXTS = {"a": "one two three four", "b": "one two", "c": "one two three four five"}


def model(limit: int | None) -> Any:
    return SimpleNamespace(max_seq_length=limit, tokenizer=lambda text, **_: {"input_ids": text.split()})


def pairs() -> list[Pair]:
    return [Pair(f"q{n}", "who?", name) for n, name in enumerate(("a", "b", "a"))]


def test_gold_passages_that_serving_reads_on_are_counted_once() -> None:
    assert cut_passages(model(3), pairs(), TEXTS, 256).startswith(
        "1 of 2 gold passages are cut at 3 tokens in training, and serving reads 256 of them"
    )
    assert "serving reads all of them" in cut_passages(model(3), pairs(), TEXTS, 0)


@pytest.mark.parametrize(("limit", "serving"), [(4, 256), (3, 3), (3, 2), (None, 256), (None, 0)])
def test_nothing_is_said_if_nothing_more_is_served(limit: int | None, serving: int) -> None:
    assert cut_passages(model(limit), pairs(), TEXTS, serving) == ""
