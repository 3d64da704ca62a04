"""What an encoder reads of a text, counted by its tokenizer alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from lorag.pipeline.errors import BaseError
from lorag.pipeline.records import Document
from lorag.pipeline.retrieval.chunking import SLACK, chunk
from lorag.pipeline.retrieval.embedder import passage_text
from lorag.pipeline.retrieval.encoder_tokens import EncoderTokens
from lorag.pipeline.retrieval.sentence_encoder import MINILM, resolve_model

MODEL = resolve_model(MINILM)


def copied(folder: Path, *, left_out: tuple[str, ...] = (), **files: object) -> str:
    for path in MODEL.glob("*.json"):
        if path.name not in left_out:
            shutil.copy(path, folder)
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return str(folder)


def test_minilm_reads_256_tokens_of_which_two_are_special() -> None:
    tokens = EncoderTokens(MINILM)
    assert tokens.room == 254
    assert tokens.count("The harbour master") == len(["the", "harbour", "master"])
    assert tokens.count("word " * 1000) == 1000


def test_an_instruction_takes_room(tmp_path: Path) -> None:
    model = copied(tmp_path, config_sentence_transformers={"prompts": {"document": "passage: "}})
    assert EncoderTokens(model).room == 254 - len(["passage", ":"])


@pytest.mark.parametrize(
    ("settings", "room"),
    [({"max_seq_length": 128}, 126), ({}, 510), ({"max_seq_length": None}, 510)],
)
def test_the_limit_is_the_models_own_or_that_of_its_positions(tmp_path: Path, settings: object, room: int) -> None:
    assert EncoderTokens(copied(tmp_path, sentence_bert_config=settings)).room == room


def test_a_model_without_a_tokenizer_file_bounds_nothing(tmp_path: Path) -> None:
    tokens = EncoderTokens(copied(tmp_path, left_out=("tokenizer.json",)))
    assert tokens.room == 0 and tokens.count("word") == 0 and tokens.unknown_share("word") == 0


def test_a_broken_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(BaseError, match=r"tokenizer\.json is no tokenizer"):
        assert EncoderTokens(copied(tmp_path, tokenizer={})).room


def test_a_missing_model_is_named_when_it_is_needed() -> None:
    tokens = EncoderTokens("./no-such-folder")
    with pytest.raises(BaseError, match="no-such-folder"):
        assert tokens.room


def test_what_the_model_does_not_know() -> None:
    tokens = EncoderTokens(MINILM)
    assert tokens.unknown_share("The harbour fee is 50 marks a day.") == 0
    assert tokens.unknown_share("缆绳舱盖") > 0.2
    assert tokens.unknown_share("") == 0


DENSE = {
    "table": "| T-1083 | 2026-03-11 | M 1,204.50 | x9-Qz |\n",
    "chinese": "港口费用每天五十元，小船免费停泊。",
    "numbers": "0391 8824 1077 5526 ",
    "emoji": "😀🇩🇪",
    "hash": "3f2a91c0d77e41b9",
}


@pytest.mark.parametrize("kind", DENSE)
def test_minilm_reads_every_passage_whole(kind: str) -> None:
    text = DENSE[kind] * (6000 // len(DENSE[kind]))
    tokens = EncoderTokens(MINILM)
    made = chunk(Document("d.md", "Register", text, "d.md", "0"), tokens=tokens)
    assert max(tokens.count(passage_text(passage)) for passage in made) <= 254 * (1 + SLACK)
    assert "".join("".join(passage.text.split()) for passage in made) == "".join(text.split())
    assert min(len(passage.text) for passage in made[:-1]) > 60
