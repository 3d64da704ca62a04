"""Windows over long texts: borders worked out by hand, every token in one of them, and short texts left alone."""

from __future__ import annotations

import re

import numpy as np
import pytest

from lorag.pipeline.retrieval.sentence_encoder import SentenceTransformerEmbedder
from lorag.pipeline.retrieval.windows import MOST, OVERLAP, cut, windows

WORDS = " ".join(f"w{n}" for n in range(40))


def words(text: str) -> list[tuple[int, int]]:
    return [found.span() for found in re.finditer(r"\S+", text)]


def letters(text: str) -> list[tuple[int, int]]:
    return [(at, at + 1) for at in range(len(text))]


def test_a_text_that_fits_is_one_window() -> None:
    assert cut("a b c", words("a b c"), 3) == ("a b c",)
    assert cut("", [], 3) == ("",)


def test_windows_begin_at_equal_distances_and_overlap() -> None:
    """20 words by 16: overlap 2, so two windows of 16, from 0 and from 4. 40 words: three, from 0, 12 and 24."""
    twenty = " ".join(f"w{n}" for n in range(20))
    first, second = cut(twenty, words(twenty), 16)
    assert first.split() == [f"w{n}" for n in range(16)]
    assert second.split() == [f"w{n}" for n in range(4, 20)]
    assert [part.split()[0] for part in cut(WORDS, words(WORDS), 16)] == ["w0", "w12", "w24"]


def test_borders_between_words_are_preferred() -> None:
    """Letters as tokens, 16 a window, so a border may move by one: from within abcd to before it."""
    text = "0123456789 123 abcd fgh"
    first, second = cut(text, letters(text), 16)
    assert first == "0123456789 123 "
    assert second == "789 123 abcd fgh"


@pytest.mark.parametrize("size", [1, 2, 7, 8, 16, 33])
def test_no_token_is_lost_within_the_bound(size: int) -> None:
    text = "".join(chr(ord("a") + n % 26) + (" " if n % 5 == 0 else "") for n in range(10 * size + 3))
    parts = cut(text, letters(text), size)
    assert len(parts) <= MOST
    assert all(len(part) <= size for part in parts)
    at = 0
    for part in parts:  # each begins within or right after the one before
        start = text.index(part, max(0, at - size))
        assert start <= at
        at = start + len(part)
    if len(parts) < MOST:
        assert at == len(text)


def test_what_needs_too_many_windows_is_read_from_its_beginning() -> None:
    text = "x" * 2000
    parts = cut(text, letters(text), 16)
    assert [len(part) for part in parts] == [16] * MOST
    covered = 16 + (MOST - 1) * (16 - 16 // OVERLAP)
    assert covered < 2000


class Unplaced:
    is_fast = False


def test_no_limit_and_a_tokenizer_without_places_cut_nothing() -> None:
    assert windows(Unplaced(), [WORDS], 4) == [(WORDS,)]
    assert windows(None, [WORDS], 0) == [(WORDS,)]


FILLER = "The crew paints the railing of the eastern landing stage in spring and in autumn. " * 30
"""About 500 tokens."""


@pytest.fixture(scope="module")
def minilm() -> SentenceTransformerEmbedder:
    return SentenceTransformerEmbedder()


def test_the_real_encoder_reads_a_long_passage_to_its_end(minilm: SentenceTransformerEmbedder) -> None:
    (long,) = minilm.passage_tokens([FILLER + "The siren sounds at noon [SEP]."])
    (query,) = minilm.query_tokens(["siren"])
    found = minilm.load().tokenizer.convert_ids_to_tokens(long.ids.tolist())
    assert found[-8:] == ["siren", "sounds", "at", "noon", "[", "sep", "]", "."]
    assert len(found) > 500
    assert float((query.vectors @ long.vectors.T).max()) > float((query.vectors @ long.vectors[:254].T).max()) + 0.1


def test_a_short_passage_is_read_as_without_windows(minilm: SentenceTransformerEmbedder) -> None:
    """sentence-transformers' own token vectors, whatever longer passages stand in the batch."""
    texts = ["The siren sounds at noon.", FILLER[:700]]
    for text, found in zip(texts, minilm.passage_tokens([texts[0], FILLER * 3, texts[1]])[::2], strict=True):
        output = minilm.load().encode(text, output_value="token_embeddings").numpy()[1:-1]
        assert found.vectors == pytest.approx(output / np.linalg.norm(output, axis=1, keepdims=True), abs=1e-4)


def test_an_instruction_leaves_its_room_in_each_window(minilm: SentenceTransformerEmbedder) -> None:
    model, instruction = minilm.load(), "find a passage: "
    room = model.max_seq_length - len(model.tokenizer(instruction)["input_ids"])
    (parts,) = windows(model.tokenizer, [FILLER], room)
    assert len(parts) > 2
    assert max(len(model.tokenizer(instruction + part)["input_ids"]) for part in parts) <= model.max_seq_length
