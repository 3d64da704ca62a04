"""Words of scripts without blanks."""

from __future__ import annotations

import pytest

from lorag.pipeline.errors import ConfigError
from lorag.pipeline.retrieval.bigrams import with_bigrams
from lorag.pipeline.retrieval.bm25 import LANGUAGES, STEMMED, Bm25Encoder, Bm25Settings


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("港口费用", ["港口", "口费", "费用"], id="chinese"),
        pytest.param("每天50元, GPU服务器", ["每天", "50", "元", ",", "GPU", "服务", "务器"], id="chinese-and-english"),
        pytest.param("港湾データ", ["港湾", "湾デ", "デー", "ータ"], id="japanese"),
        pytest.param("人々", ["人々"], id="iteration-mark"),
        pytest.param("항구에서 사용료", ["항구", "구에", "에서", "사용", "용료"], id="korean"),
        pytest.param("费", ["费"], id="one-character"),
        pytest.param("รู้", ["ร36413657"], id="thai-one-character-with-signs"),
        pytest.param("กาดี", ["กา", "าด3637"], id="thai"),
        pytest.param("समुद्र तट", ["सम2369द2381र", "तट"], id="hindi-words-stay-whole"),
        pytest.param("😀🇩🇪", ["😀🇩🇪"], id="emoji"),
    ],
)
def test_runs_of_unspaced_scripts_become_bigrams(text: str, words: list[str]) -> None:
    assert with_bigrams(text).split() == words


@pytest.mark.parametrize(
    "text", ["The harbour's café, No. 5: 12.5 %", "Straße Größe naïve", "Ключ от крана", "رسوم الميناء", "", " a  b\n", "e\u0301"]
)
def test_all_other_text_stays_as_it_is(text: str) -> None:
    assert with_bigrams(text) == text


@pytest.mark.parametrize(
    ("question", "passage"),
    [
        ("港口费用", "每天的港口费用是五十元"),
        ("ท่าเรือ", "ค่าธรรมเนียมท่าเรือวันละห้าสิบบาท"),
        ("ທ່າເຮືອ", "ຄ່າທໍານຽມທ່າເຮືອ"),
        ("កំពង់ផែ", "ថ្លៃកំពង់ផែក្នុងមួយថ្ងៃ"),
        ("ဆိပ်ကမ်း", "ဆိပ်ကမ်းအခကြေးငွေ"),
        ("港湾", "港湾使用料は一日五十円です"),
        ("항구", "항구에서 하루 오십 원"),
        ("समुद्र", "समुद्र तट पर"),
    ],
)
def test_a_word_inside_a_sentence_is_found_and_another_is_not(question: str, passage: str) -> None:
    encoder = Bm25Encoder()
    asked = set(encoder.query(question).indices)
    assert asked and asked <= set(encoder.passage(passage).indices)
    other = {"港口费用": "今天天气很好", "港湾": "今日は天気がいい"}.get(question, "wholly other words")
    assert not asked & set(encoder.passage(other).indices)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_of_the_list_is_known_to_the_engine(language: str) -> None:
    assert Bm25Encoder(Bm25Settings(language=language)).passage("harbour 12").indices


@pytest.mark.parametrize(
    ("language", "left", "right", "alike"),
    [
        ("english", "harbours", "harbour", True),
        ("german", "häusern", "haus", True),
        ("english", "häusern", "haus", False),
        ("russian", "порта", "порту", True),
        ("english", "порта", "порту", False),
        ("none", "harbours", "harbour", False),
    ],
)
def test_the_language_chooses_the_stemmer(language: str, left: str, right: str, alike: bool) -> None:
    encoder = Bm25Encoder(Bm25Settings(language=language))
    assert (encoder.query(left).indices == encoder.query(right).indices) is alike


def test_none_keeps_the_words_that_a_language_leaves_out() -> None:
    assert len(Bm25Encoder(Bm25Settings(language="none")).query("the harbour of").indices) == 3
    assert len(Bm25Encoder().query("the harbour of").indices) == 1
    assert "english" in STEMMED


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(ConfigError, match="klingon"):
        Bm25Encoder(Bm25Settings(language="klingon")).query("x")
