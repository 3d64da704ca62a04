"""Which passages become hard negatives: hand-placed unit vectors, so that every similarity is known."""

from __future__ import annotations

import numpy as np
import pytest

from lorag.pipeline.errors import TrainingError
from lorag.training.data.negatives import Negatives, Pair, make_pairs, near_duplicate
from lorag.training.data.rows import EmbedRow, PassageRow

SIMILARITIES = {"gold": 0.80, "twin": 0.79, "rival": 0.77, "hard": 0.75, "copy": 0.70, "easy": 0.30, "far": 0.10}
TEXTS = {
    "gold": "The pump stops when the oil pressure falls below two bar.",
    "twin": "Below two bar of oil pressure the second pump is stopped by hand.",
    "rival": "An engineer may also stop the pump from the bridge panel.",
    "hard": "Oil pressure is written down every four hours on the log sheet.",
    "copy": "The pump stops when the oil pressure falls below two bar!",
    "easy": "The ferry leaves the harbour at nine on weekdays.",
    "far": "Dogs travel free of charge on the upper deck.",
}
PASSAGES = [PassageRow(name, "", TEXTS[name]) for name in SIMILARITIES]


def _at(similarity: float) -> list[float]:
    """A unit vector of the plane whose cosine with (1, 0) is `similarity`."""
    return [similarity, float(np.sqrt(1 - similarity**2))]


QUERY = np.array([[1.0, 0.0]], dtype=np.float32)
VECTORS = np.array([_at(value) for value in SIMILARITIES.values()], dtype=np.float32)


def _mine(row: EmbedRow, count: int, margin: float = 0.95) -> tuple[Pair, ...]:
    return make_pairs(
        [row], PASSAGES, Negatives.MINED, count, query_vectors=QUERY, passage_vectors=VECTORS, relative_margin=margin
    )


@pytest.mark.parametrize(
    ("margin", "expected"),
    [
        (0.95, ("hard", "easy", "far")),  # 0.95 x 0.80 = 0.76: twin and rival come too near; copy repeats the gold text
        (0.97, ("rival", "hard", "easy")),  # 0.776
        (1.0, ("twin", "rival", "hard")),  # all that is less similar than the positive
        (0.5, ("easy", "far")),  # 0.40
    ],
)
def test_negatives_are_the_most_similar_ones_below_the_margin(margin: float, expected: tuple[str, ...]) -> None:
    (pair,) = _mine(EmbedRow("q", "when does the pump stop", ("gold",)), len(expected), margin)
    assert pair == Pair("q", "when does the pump stop", "gold", expected, ("copy", "gold"))


def test_the_rows_own_negatives_come_first_and_are_not_repeated() -> None:
    (pair,) = _mine(EmbedRow("q", "?", ("gold",), ("far", "twin")), 4)
    assert pair.negative_ids == ("far", "twin", "hard", "easy")
    (pair,) = _mine(EmbedRow("q", "?", ("gold",), ("far", "twin")), 1)
    assert pair.negative_ids == ("far",)


def test_an_own_negative_that_repeats_the_positive_is_left_out() -> None:
    (pair,) = _mine(EmbedRow("q", "?", ("gold",), ("copy",)), 1)
    assert pair.negative_ids == ("hard",)


def test_each_positive_has_its_own_margin_and_none_is_a_negative_of_another() -> None:
    first, second = _mine(EmbedRow("q", "?", ("gold", "hard")), 2)
    assert (first.positive_id, first.negative_ids) == ("gold", ("easy", "far"))
    assert (second.positive_id, second.negative_ids) == (
        "hard",
        ("easy", "far"),
    )  # 0.95 x 0.75 = 0.7125 lets copy in, its text not


def test_what_mining_does_not_find_is_drawn_at_random_and_the_same_for_a_seed() -> None:
    row = EmbedRow("q", "?", ("far",))  # 0.95 x 0.10: nothing lies below
    (pair,) = _mine(row, 3)
    assert len(set(pair.negative_ids)) == 3 and "far" not in pair.negative_ids
    assert _mine(row, 3) == (pair,)


def test_modes_without_vectors() -> None:
    row = EmbedRow("q", "?", ("gold",), ("twin",))
    alone = (Pair("q", "?", "gold", (), ("copy", "gold")),)
    assert make_pairs([row], PASSAGES, Negatives.NONE, 2) == make_pairs([row], PASSAGES, Negatives.MINED, 0) == alone
    rows = [EmbedRow(f"q{n}", "?", ("gold",), ("twin",)) for n in range(60)]
    pairs = make_pairs(rows, PASSAGES, Negatives.RANDOM, 2, seed=3)
    assert (
        pairs
        == make_pairs(rows, PASSAGES, Negatives.RANDOM, 2, seed=3)
        != make_pairs(rows, PASSAGES, Negatives.RANDOM, 2, seed=4)
    )
    drawn = [negative for pair in pairs for negative in pair.negative_ids]
    assert all(len(set(pair.negative_ids)) == 2 for pair in pairs)
    assert set(drawn) == {"twin", "rival", "hard", "easy", "far"}


def test_what_answers_a_question_by_another_row_is_no_negative_of_it() -> None:
    rows = [EmbedRow("q", "when does the pump stop", ("gold",), ("hard",)), EmbedRow("r", " when does the pump  stop", ("hard",))]
    for mode in (Negatives.MINED, Negatives.RANDOM):
        vectors = np.repeat(QUERY, 2, axis=0)
        pairs = make_pairs(rows, PASSAGES, mode, 3, query_vectors=vectors, passage_vectors=VECTORS, relative_margin=1.0)
        assert all({"gold", "hard", "copy"}.isdisjoint(pair.negative_ids) for pair in pairs)


def test_all_passages_that_answer_a_question_by_any_row_stand_with_each_of_its_pairs() -> None:
    rows = [
        EmbedRow("q", "when does it stop", ("gold", "far")),
        EmbedRow("r", " when does it  stop", ("hard",)),
        EmbedRow("s", "?", ("easy",)),
    ]
    pairs = make_pairs(rows, PASSAGES, Negatives.NONE, 0)
    assert [(pair.positive_id, pair.answer_ids) for pair in pairs] == [
        *((positive, ("copy", "far", "gold", "hard")) for positive in ("gold", "far", "hard")),
        ("easy", ("easy",)),
    ]


def test_near_duplicates_are_found_among_passages_that_begin_alike() -> None:
    """All share a letter head, which is too frequent to name candidates; the two that go on alike are still found."""
    head = "notice of the harbour office to all masters"
    passages = [PassageRow(f"p{n}", "", f"{head} berth {n} is shut for dredging from week {n} on") for n in range(80)]
    passages.append(PassageRow("again", "", f"{head} berth 7 is shut for dredging from week 7 on, sadly"))
    rows = [EmbedRow(f"q{n}", f"{n}?", (f"p{n}",)) for n in range(80)]
    pairs = make_pairs(rows, passages, Negatives.NONE, 0)
    for number in (7, 8):
        text = passages[number].text
        assert set(pairs[number].answer_ids) == {p.id for p in passages if near_duplicate(p.text, text)}
    assert "again" in pairs[7].answer_ids


def test_ranking_holds_a_block_of_similarities_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """2,000 queries and 1,000 passages: the whole product is 8 MB, a block of ten rows 40 kB."""
    import tracemalloc

    from lorag.training.data import negatives

    monkeypatch.setattr(negatives, "_CELLS", 10_000)
    random = np.random.default_rng(0)
    queries, corpus = (random.normal(size=(n, 2)).astype(np.float32) for n in (2000, 1000))
    passages = [PassageRow(f"p{n}", "", f"a{n} b{n} c{n}") for n in range(1000)]
    rows = [EmbedRow(f"q{n}", f"{n}", ("p0",)) for n in range(2000)]
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        ranked = negatives._rank(rows, passages, queries, corpus)
        assert sum(len(each.candidates) for each in ranked) == 2000 * negatives.CANDIDATES
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000


def test_ranking_in_blocks_equals_one_product(monkeypatch: pytest.MonkeyPatch) -> None:
    """1,100 queries, so three blocks, against an independent sort of the whole matrix."""
    from lorag.training.data import negatives

    monkeypatch.setattr(negatives, "_CELLS", 512 * 50)
    random = np.random.default_rng(0)
    queries, corpus = (random.normal(size=(n, 8)).astype(np.float32) for n in (1100, 50))
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    corpus /= np.linalg.norm(corpus, axis=1, keepdims=True)
    passages = [PassageRow(f"p{n}", "", f"a{n} b{n} c{n} d{n}") for n in range(50)]
    similarities = queries @ corpus.T
    best = similarities.argmax(axis=1)
    rows = [EmbedRow(f"q{n}", f"{n}?", (f"p{best[n]}",)) for n in range(1100)]
    pairs = make_pairs(rows, passages, Negatives.MINED, 1, query_vectors=queries, passage_vectors=corpus, relative_margin=0.9)
    for index in (0, 511, 512, 1023, 1024, 1099):
        line = similarities[index]
        allowed = [n for n in np.argsort(-line) if line[n] < 0.9 * line[best[index]]]
        assert pairs[index].negative_ids == (f"p{allowed[0]}",)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (TEXTS["gold"], TEXTS["copy"], True),
        ("one two three four five", "ONE  two, three four five six seven eight nine", True),  # held whole by the longer one
        ("one two three four five", "one two three nine ten", False),  # 1 trigram of 3
        ("two words", "two words", True),
        ("two words", "two others", False),
        ("", "", False),
    ],
)
def test_near_duplicates_by_shared_trigrams(one: str, other: str, expected: bool) -> None:
    assert near_duplicate(one, other) is near_duplicate(other, one) is expected


@pytest.mark.parametrize(
    ("row", "mode", "count", "message"),
    [
        (EmbedRow("q", "?", ("gone",)), Negatives.NONE, 0, "row 'q' names passage 'gone'"),
        (EmbedRow("q", "?", ("gold",), ("lost",)), Negatives.RANDOM, 1, "row 'q' names passage 'lost'"),
        (EmbedRow("q", "?", ("gold",)), Negatives.RANDOM, 6, "7 passages are too few for 6 negatives"),
        (EmbedRow("q", "?", ("gold",)), Negatives.MINED, 1, "need the vectors"),
    ],
)
def test_what_cannot_be_had_is_refused(row: EmbedRow, mode: Negatives, count: int, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        make_pairs([row], PASSAGES, mode, count)
