"""What is said of documents in other languages."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorag.language_advice import language_advice
from lorag.pipeline.config import parse_settings
from lorag.pipeline.retrieval.languages import LanguageShare, languages
from tests.pipeline.retrieval.test_languages import SENTENCES


def advice(name: str, settings: str = "") -> str:
    found = languages([SENTENCES[name]] * 3)
    return "\n".join(language_advice(found, parse_settings("documents: docs\n" + settings, Path())))


def test_english_needs_nothing() -> None:
    assert advice("English") == "" and language_advice((), parse_settings("documents: docs", Path())) == ()


def test_german_needs_another_embedder_words_and_base() -> None:
    said = advice("German").splitlines()
    assert said[0] == "languages of the documents: German 100%"
    assert said[1].startswith("embedder minilm knows English alone, not German: set embedder.model to a multilingual one")
    assert said[2].startswith("retrieval.language is english, but most text is German: set it to german")
    assert said[3].startswith("base smollm2-135m and the starters know English")


def test_chinese_is_unknown_to_the_encoder_and_its_words_are_found_anyway() -> None:
    said = advice("Chinese")
    assert "not Chinese (62% of its tokens are unknown to it)" in said and "retrieval.language" not in said


@pytest.mark.parametrize(
    ("name", "language"), [("Polish", "none"), ("Hindi", "none"), ("Russian", "russian"), ("Arabic", "arabic")]
)
def test_the_language_of_the_words(name: str, language: str) -> None:
    assert f"set it to {language}," in advice(name)
    assert "retrieval.language" not in advice(name, f"retrieval: {{language: {language}}}\n")


def test_an_embedder_that_is_not_here_is_not_judged() -> None:
    settings = "embedder: {model: ./no-such-folder}\nbase: {model: ./some-base}\nretrieval: {language: german}\n"
    assert advice("German", settings) == ""


def test_a_corpus_of_two_languages_is_told_as_one() -> None:
    found = (LanguageShare("English", 0.7, ""), LanguageShare("German", 0.3, "Der Hafen"))
    said = language_advice(found, parse_settings("documents: docs", Path()))
    assert said[0] == "languages of the documents: English 70%, German 30%"
    assert not any(line.startswith("retrieval.language") for line in said)
