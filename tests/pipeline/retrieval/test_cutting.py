"""Stretches without sentences: each piece fits, loses nothing and ends at the best place there is."""

from __future__ import annotations

import unicodedata

import pytest
import regex

from lorag.pipeline.records import Document
from lorag.pipeline.retrieval.chunking import chunk
from lorag.pipeline.retrieval.cutting import cut_long


def pieces(text: str, size: int, *, row: bool = False) -> list[str]:
    return [text[low:high] for low, high in cut_long(text, 0, len(text), size, row=row)]


@pytest.mark.parametrize(
    ("text", "size", "expected"),
    [
        pytest.param("aaaa bbbb, cc dddd ee", 14, ["aaaa bbbb,", "cc dddd ee"], id="clause"),
        pytest.param("aa, bbbb cccc dddd", 14, ["aa, bbbb cccc", "dddd"], id="clause-too-early"),
        pytest.param("1,000,000 and 2,000,000", 12, ["1,000,000", "and", "2,000,000"], id="comma-in-a-number"),
        pytest.param("港口费用,每天五十元，小船免费", 11, ["港口费用,每天五十元，", "小船免费"], id="han-clause"),
        pytest.param("港口费用每天五十元", 4, ["港口费用", "每天五十", "元"], id="han"),
        pytest.param("https://h.example/quay/fees?year=2026", 20, ["https://h.example/", "quay/fees?year=2026"], id="link"),
        pytest.param('{"a":1,"b":22,"c":3}', 10, ['{"a":1,', '"b":22,', '"c":3}'], id="json"),
        pytest.param("e\u0301e\u0301e\u0301", 3, ["e\u0301", "e\u0301", "e\u0301"], id="combining"),
        pytest.param("👩\u200d🚀👩\u200d🚀", 4, ["👩\u200d🚀", "👩\u200d🚀"], id="joined-emoji"),
        pytest.param("🇩🇪🇩🇪🇩🇪", 3, ["🇩🇪", "🇩🇪", "🇩🇪"], id="flags"),
        pytest.param("👍🏽👍🏽", 3, ["👍🏽", "👍🏽"], id="skin-tone"),
        pytest.param("กี่กี่กี่", 4, ["กี่", "กี่", "กี่"], id="thai-marks"),
        pytest.param("x" + "\u0301" * 9, 4, ["x" + "\u0301" * 3, "\u0301" * 4, "\u0301" * 2], id="no-border-at-all"),
        pytest.param("aaa    bbb", 5, ["aaa", "bbb"], id="wide-blank"),
        pytest.param("aaaa", 4, ["aaaa"], id="fits"),
        pytest.param("aaaa  ", 4, ["aaaa"], id="blanks-left"),
    ],
)
def test_where_a_stretch_is_cut(text: str, size: int, expected: list[str]) -> None:
    assert pieces(text, size) == expected


def test_a_row_is_cut_between_cells() -> None:
    assert pieces("| aa, bb | cc dd | ee |", 12, row=True) == ["| aa, bb |", "cc dd | ee |"]


FILL = {
    "chinese without stops": "港口费用每天五十元",
    "chinese with commas": "港口费用每天五十元，",
    "chinese and english": "使用GPU服务器的port fee是fifty元",
    "japanese": "港湾使用料は一日五十円です",
    "korean without blanks": "항구사용료는하루오십원입니다",
    "thai": "ค่าธรรมเนียมท่าเรือวันละห้าสิบบาท",
    "lao": "ຄ່າທໍານຽມທ່າເຮືອ",
    "khmer": "ថ្លៃកំពង់ផែក្នុងមួយថ្ងៃ",
    "burmese": "ဆိပ်ကမ်းအခကြေးငွေ",
    "tibetan": "གྲུ་ཁའི་གླ་འཛིན",
    "hindi compound": "अन्तर्राष्ट्रीयबन्दरगाहशुल्कनिर्धारणसमिति",
    "arabic": "رسومالميناءخمسون",
    "arabic words": "رسوم الميناء خمسون دينارا في اليوم ",
    "emoji": "😀👩\u200d👧🇩🇪👍🏽",
    "base64": "iVBORw0KGgoAAAANSUhEUg",
    "json": '{"id":1,"tags":["a","b"],"text":"x"},',
    "url": "https://h.example/a/b?c=d&e=f",
    "hashes": "#",
    "hash words": "# ",
    "pipes": "|",
    "cells": "| ",
    "stars": "* a",
    "backticks": "`",
    "angles": "<",
    "tags": "<a ",
    "comments": "<!--",
    "dots": ".",
    "underscores": "_ ",
    "quotes": '."',
    "equals": "=",
    "line of dashes": "- ",
    "accents": "\u0301",
    "zero width": "\u200b",
    "vertical tabs": "word\v",
    "bracketed": "[x](",
}


@pytest.mark.parametrize("fence", ["", "```\n", "| ", "# ", "- "], ids=["plain", "code", "row", "heading", "item"])
@pytest.mark.parametrize("name", FILL)
def test_every_passage_is_bounded_and_nothing_is_lost(name: str, fence: str) -> None:
    text = fence + FILL[name] * (9000 // len(FILL[name])) + " end"
    made = chunk(Document("d.txt", "T", text, "d.txt", "0" * 64))
    assert max(len(passage.text) for passage in made) <= 700
    assert "".join("".join(passage.text.split()) for passage in made) == "".join(text.split())
    if not unicodedata.combining(FILL[name][0]):
        borders = {match.end() for match in regex.finditer(r"\X", text)}
        assert all(passage.end in borders for passage in made)
    assert len(made) < 9000 / 300
