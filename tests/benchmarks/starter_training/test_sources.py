"""Splits of the public sets: by article and conversation, the same everywhere, nothing on two sides."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import pytest

from benchmarks.starter_training.sources import read_corpus, read_rows, read_turns, split_of
from lorag.pipeline.errors import DataError


@pytest.mark.parametrize("source", ["squad_newwiki Surname", "rewrite_cast cast19-31", "x"])
def test_the_side_follows_from_the_hash_of_the_name(source: str) -> None:
    first = hashlib.sha256(source.casefold().encode()).digest()[:4]
    percent = int(first.hex(), 16) % 100
    assert split_of(source) == ("test" if percent < 12 else "dev" if percent < 16 else "train")
    assert split_of(f"  {source.upper()} ") == split_of(source)


def test_an_article_lies_whole_on_one_side(data: Path) -> None:
    sides = [read_corpus(data, "squad_newwiki", split, by_title=True) for split in ("train", "dev", "test")]
    articles = [{passage.article for passage in side.passages.values()} for side in sides]
    assert sum(len(side.passages) for side in sides) == 36
    assert len(set.union(*articles)) == sum(len(side) for side in articles) == 12
    assert all(question.passage_id in side.passages for side in sides for question in side.questions)
    assert sum(len(side.questions) for side in sides) == 72


def test_turns_without_a_history_are_left_out_and_conversations_are_not_parted(data: Path) -> None:
    sides = [read_turns(data, "rewrite_canard", split) for split in ("train", "dev", "test")]
    assert sum(len(side) for side in sides) == 60
    conversations = [{turn.conversation for turn in side} for side in sides]
    assert len(set.union(*conversations)) == sum(len(side) for side in conversations)


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"qed_nq\.passages\.jsonl\.gz: no such file; name the folder"):
        read_corpus(tmp_path, "qed_nq", "train", by_title=True)
    with gzip.open(tmp_path / "intent_clinc150.test.jsonl.gz", "wt") as file:
        file.write("[1]\n")
    with pytest.raises(DataError, match=r"intent_clinc150\.test\.jsonl\.gz:1: not a JSON object"):
        list(read_rows(tmp_path, "intent_clinc150.test"))
