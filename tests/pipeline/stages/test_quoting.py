"""Quotes: the sentence that supports the answer, verbatim in the source."""

from dataclasses import replace

import pytest

from lorag.pipeline.records import Document, PageStart, Passage, Segment
from lorag.pipeline.retrieval.chunking import chunk
from lorag.pipeline.retrieval.html_text import extract
from lorag.pipeline.stages.quoting import cite, support

TIDES = (
    "The Dun berth dries at low water. Vessels drawing over 2.4 m wait for half tide. "
    "The harbour master, Ann Reay, keeps the tide book. Vessels pay no dues on Sundays."
)


@pytest.mark.parametrize(
    ("question", "answer", "expected"),
    [
        pytest.param(
            "Who keeps the tide book?", "Ann Reay", "The harbour master, Ann Reay, keeps the tide book.", id="contained"
        ),
        pytest.param(
            "Which draught waits?", "over 2.4 m.", "Vessels drawing over 2.4 m wait for half tide.", id="final stop ignored"
        ),
        pytest.param("?", "ANN\n  REAY", "The harbour master, Ann Reay, keeps the tide book.", id="case and white space"),
        pytest.param("When do vessels pay nothing?", "On a Sunday", "Vessels pay no dues on Sundays.", id="overlap by stem"),
        pytest.param(
            "What about vessels at half tide?", "they wait", "Vessels drawing over 2.4 m wait for half tide.", id="rare words"
        ),
        pytest.param("zzz", "qqq", "The Dun berth dries at low water.", id="nothing shared: the first"),
    ],
)
def test_supporting_sentence(question: str, answer: str, expected: str) -> None:
    start, end = support(TIDES, question, answer)[0]
    assert TIDES[start:end] == expected


def test_of_two_sentences_with_the_answer_the_one_nearer_to_the_question_is_taken() -> None:
    text = "The pilot boat sails at 06:15. The mail boat sails at 06:15 on weekdays only."
    start, end = support(text, "When does the mail boat sail?", "06:15")[0]
    assert text[start:end] == "The mail boat sails at 06:15 on weekdays only."


def test_an_answer_is_found_as_whole_words_only() -> None:
    text = "Berth 14 is closed. Berth 4 is open."
    start, end = support(text, "", "4")[0]
    assert text[start:end] == "Berth 4 is open."


def test_an_answer_over_two_sentences_is_quoted_whole() -> None:
    text = "Before. Close the hatch. Ring the bell. After."
    start, end = support(text, "What to do?", "Close the hatch. Ring the bell")[0]
    assert text[start:end] == "Close the hatch. Ring the bell."


def test_a_table_row_is_a_unit() -> None:
    text = "| berth | depth |\n| --- | --- |\n| Dun | 2.4 m |\n| Kell | 6.2 m |"
    start, end = support(text, "How deep is Kell?", "6.2 m")[0]
    assert text[start:end] == "| Kell | 6.2 m |"


def test_plain_text_offsets_count_from_the_document_start() -> None:
    text = "# Tides\n\n" + TIDES
    document = Document("a.md", "Tides", text, "docs/a.md", "0")
    (found,) = chunk(document)
    citation = cite(2, found, "Who keeps the tide book?", "Ann Reay")
    assert (citation.number, citation.source, citation.passage_id) == (2, "docs/a.md", found.id)
    assert citation.quote == "The harbour master, Ann Reay, keeps the tide book."
    assert text[citation.start : citation.end] == citation.quote
    assert citation.start == text.index("The harbour master")


@pytest.mark.parametrize(
    ("html", "answer", "quote"),
    [
        pytest.param("<p>Dues are low. The fee is 40 crowns.</p>", "40 crowns", "The fee is 40 crowns.", id="no markup inside"),
        pytest.param(
            "<p>The fee for a long berth is <b>40 crowns</b> a day.</p>", "40 crowns", "40 crowns", id="run with answer"
        ),
        pytest.param("<p>The <i>fee</i> for a long berth is high.</p>", "lots", "for a long berth is high.", id="longest run"),
        pytest.param("<p>Fish &amp; salt pay 3 crowns here.</p>", "3 crowns", "salt pay 3 crowns here.", id="entity"),
        pytest.param("<p>&eacute;&agrave; &yen;</p>", "&yen;", "", id="entities alone: nothing stands in the file"),
    ],
)
def test_html_quotes_stand_verbatim_in_the_raw_file(html: str, answer: str, quote: str) -> None:
    extracted = extract(html)
    document = Document("a.html", "A", extracted.text, "docs/a.html", "0", segments=extracted.segments)
    citation = cite(1, chunk(document)[0], "fee?", answer)
    assert citation.quote == quote
    assert html[citation.start : citation.end] == quote


@pytest.mark.parametrize(
    ("segments", "expected"),
    [
        pytest.param((Segment(4, 70, 11),), ("Fine words.", 70, 81), id="the next best sentence"),
        pytest.param((Segment(3, 70, 1),), ("", 71, 71), id="only white space: an empty quote, in the source's offsets"),
    ],
)
def test_a_sentence_without_a_verbatim_character_is_not_quoted(
    segments: tuple[Segment, ...], expected: tuple[str, int, int]
) -> None:
    text = "AB. Fine words."
    found = Passage("a#1", "a", "a.html", "A", "", text, 10, 10 + len(text), segments=segments)
    citation = cite(1, found, "", "AB")
    assert (citation.quote, citation.start, citation.end) == expected


def test_a_citation_names_the_page_on_which_its_quote_begins() -> None:
    text = "Ann keeps the book.\nBo keeps the tide log. Cy keeps the lamp."
    pages = (PageStart(3, 0), PageStart(4, 20))
    found = Passage("d#1", "d", "d.pdf", "D", "", text, 100, 100 + len(text), pages=pages)
    assert [cite(1, found, "", answer).page for answer in ("Ann", "tide log", "Cy")] == [3, 4, 4]
    assert cite(1, replace(found, pages=()), "", "Ann").page is None
