"""The invented items that adapters are measured on are those that the generator makes, and no mixture holds them."""

from __future__ import annotations

from pathlib import Path

from benchmarks.starter_training.items import make_items
from benchmarks.starter_training.mixtures import rewriter_examples
from lorag.pipeline.contracts import rewrite
from lorag.training.transfer.invented import read_invented


def test_the_stored_items_are_those_that_are_made() -> None:
    assert read_invented() == make_items()


def test_fewer_items_are_the_first_of_more() -> None:
    whole, few = make_items(), make_items(9)
    assert few.documents == whole.documents[: len(few.documents)]
    assert few.conversations == whole.conversations[:9]
    assert few.judged == whole.judged[: len(few.judged)]


def test_no_measured_conversation_is_learnt(data: Path) -> None:
    learnt = {example.messages for example in rewriter_examples(data, "train", 0)}
    measured = {rewrite.messages(turn.history, turn.question) for turn in read_invented().conversations}
    assert len(measured) == 100 and not measured & learnt
