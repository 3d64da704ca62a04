"""What is the same word to a search."""

from __future__ import annotations

import unicodedata

import pytest

from lorag.pipeline.contracts.embed import passage_text, query_text
from lorag.pipeline.contracts.folding import fold


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("The o\ufb03ce \ufb02ag is \ufb01nal.", "The office flag is final."),
        ("Ｆｅｅ ２５", "Fee 25"),
        ("ﾊﾞｰｽ", "バース"),
        ("4 m² ½", "4 m2 1⁄2"),
        ("\ufefbx", "لاx"),
        ("25\u00a0crowns", "25 crowns"),
        ("soft\u00adware", "software"),
        ("cafe\u0301", "café"),
        ("non\u2011breaking", "non-breaking"),
        ("har\u200bbour", "harbour"),
        ("\u200fשלום\u200e", "שלום"),
        ("the mainte-\nnance of", "the maintenance of"),
        ("the insur-\r\n  ance of", "the insurance of"),
        ("soft\u00ad\nware", "software"),
        ("The well-\nknown crane", "The well-known crane"),
        ("a part-time or part-\ntime keeper", "a part-time or part-time keeper"),
        ("the Anglo-\nSaxon wall", "the Anglo-Saxon wall"),
        ("die Hafen-\ngebühr", "die Hafengebühr"),
        ("ไทย\u200bค\u0e4d\u0e32", "ไทย\u200bค\u0e33"),
    ],
)
def test_spellings_that_are_one(text: str, folded: str) -> None:
    assert fold(text) == folded
    assert fold(folded) == folded


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Plain.",
        "- one\n- two",
        "1990-\n1995",
        "A-\nB",
        "Größe ’tis – “so”",
        "Åse's — €5",
        "para\u200cform",
        "a -\nb",
        "ไทย\u200bคำ",
    ],
)
def test_what_stays(text: str) -> None:
    assert fold(text) == text


def test_question_and_passage_are_folded_alike() -> None:
    assert query_text("Where is the of\ufb01ce\n\ufb02ag?") == "Where is the office flag?"
    assert passage_text("The of\ufb01ce", "\ufb02ag", "main-\ntenance") == "The office > flag\nmaintenance"


def test_letters_of_all_scripts_come_out_as_nfkc_says() -> None:
    whole = (0x0E33, 0x0EB3)  # Thai and Lao am, which stay whole
    letters = [chr(code) for code in range(0x00C0, 0x3100) if chr(code).isalpha() and code not in whole]
    assert fold(" ".join(letters)).split() == " ".join(unicodedata.normalize("NFKC", each) for each in letters).split()
