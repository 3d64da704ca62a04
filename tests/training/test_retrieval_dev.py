"""Dev figures of the embedder: rankings placed by hand, so that each value is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lorag.pipeline.errors import TrainingError
from lorag.training.data.rows import EmbedRow, PassageRow
from lorag.training.retrieval_dev import DEV_PASSAGES, RetrievalDev, retrieval_dev

PASSAGES = {f"p{n}": PassageRow(f"p{n}", "", f"text {n}") for n in range(12)}
ROWS = [EmbedRow("first", "one", ("p0",)), EmbedRow("third", "two", ("p2",)), EmbedRow("lost", "three", ("p11",))]


def test_the_figures_of_known_ranks() -> None:
    """All queries rank p0, p1, … p11: gold at places 1, 3 and 12."""
    angles = np.linspace(0, 1, 12)
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    asked: list[str] = []

    def embed_queries(texts: object) -> np.ndarray:
        asked.extend(texts)  # type: ignore[arg-type]
        return np.tile(vectors[:1], (3, 1))

    found = RetrievalDev(tuple(ROWS), tuple(PASSAGES.values())).measure(embed_queries, lambda _: vectors)
    assert asked == ["one", "two", "three"]
    assert found["nDCG@10"] == pytest.approx((1 + 1 / math.log2(4) + 0) / 3)
    assert found["MRR@10"] == pytest.approx((1 + 1 / 3) / 3)
    assert found["Recall@10"] == pytest.approx(2 / 3)


def test_questions_are_drawn_and_keep_their_passages_among_others() -> None:
    many = {f"d{n}": PassageRow(f"d{n}", "", "x") for n in range(DEV_PASSAGES + 50)}
    rows = [EmbedRow(f"q{n}", "?", (f"d{n}", f"d{n + 1}")) for n in range(40)]
    dev = retrieval_dev(rows, many, 10, seed=3)
    ids = {passage.id for passage in dev.passages}
    assert len(dev.rows) == 10 and len(dev.passages) == len(ids) == DEV_PASSAGES
    assert {p for row in dev.rows for p in row.positive_ids} <= ids
    assert dev == retrieval_dev(rows, many, 10, seed=3) != retrieval_dev(rows, many, 10, seed=4)
    assert retrieval_dev(ROWS, PASSAGES, 10).rows == tuple(ROWS)


@pytest.mark.parametrize(
    ("rows", "metric", "message"),
    [
        ([], "", "no dev row"),
        (ROWS, "F1", "stopped by one of nDCG@10"),
        ([EmbedRow("q", "?", ("gone",))], "", "names passage 'gone'"),
    ],
)
def test_what_cannot_be_measured_is_refused(rows: list[EmbedRow], metric: str, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        retrieval_dev(rows, PASSAGES, 10, metric)
