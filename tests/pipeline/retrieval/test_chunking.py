"""Passages: where they are cut, what they are called, and where they stand in the source."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from lorag.pipeline.errors import InputError
from lorag.pipeline.records import Document, Passage
from lorag.pipeline.retrieval.blocks import MAX_HEADING
from lorag.pipeline.retrieval.chunking import MAX_HEADER, MAX_SECTION, chunk, locate
from lorag.pipeline.retrieval.html_text import extract

EXAMPLE = Path(__file__).resolve().parents[3] / "examples/kelder-sound-line/documents"


def document(text: str, title: str = "T", **more: object) -> Document:
    return Document("d.md", title, text, "docs/d.md", "0" * 64, **more)  # type: ignore[arg-type]


def cut(text: str, max_chars: int, min_chars: int = 0, title: str = "T") -> list[tuple[str, str]]:
    return [(p.section, p.text) for p in chunk(document(text, title), max_chars=max_chars, min_chars=min_chars)]


@pytest.mark.parametrize(
    ("text", "max_chars", "min_chars", "expected"),
    [
        pytest.param("# T\n\na\n\nb\n\n## S\n\nc", 700, 0, [("", "a\n\nb"), ("S", "c")], id="sections"),
        pytest.param("## A\n### B\nx\n### C\ny\n## D\nz", 9, 0, [("A > B", "x"), ("A > C", "y"), ("D", "z")], id="trail"),
        pytest.param("# Other\nx\n## S\ny", 9, 0, [("Other", "x"), ("Other > S", "y")], id="title-differs"),
        pytest.param("One\n===\nx\n\nTwo\n---\ny", 9, 0, [("One", "x"), ("One > Two", "y")], id="underlined"),
        pytest.param("```\n# no heading\n```\nx", 50, 0, [("", "```\n# no heading\n```\nx")], id="fence"),
        pytest.param("# T", 9, 0, [("", "# T")], id="title-only"),
        pytest.param("a\n## Lonely\n## S\nb", 50, 0, [("", "a"), ("", "## Lonely"), ("S", "b")], id="lonely-heading"),
        pytest.param("aaa bbb\n\nccc ddd\n\neee", 15, 0, [("", "aaa bbb"), ("", "ccc ddd\n\neee")], id="paragraphs-whole"),
        pytest.param("Aaa bb. Cc dd. Ee ff.", 15, 0, [("", "Aaa bb. Cc dd."), ("", "Ee ff.")], id="sentences"),
        pytest.param("aaaa bbbb, cc dddd ee", 14, 0, [("", "aaaa bbbb,"), ("", "cc dddd ee")], id="clause"),
        pytest.param("aaaaaaaaaaaa bb", 5, 0, [("", "aaaaa"), ("", "aaaaa"), ("", "aa bb")], id="long-word"),
        pytest.param("c aaaaaaa bb", 8, 0, [("", "c"), ("", "aaaaaaa"), ("", "bb")], id="word-whole-in-the-next"),
        pytest.param("| a | b |\n| c | d |\n| e | f |", 20, 0, [("", "| a | b |\n| c | d |"), ("", "| e | f |")], id="rows"),
        pytest.param("| aaaa | bbbb |\n| c |", 10, 0, [("", "| aaaa |"), ("", "bbbb |"), ("", "| c |")], id="long-row"),
        pytest.param("```\nx=1;y=2;z=3;\n```", 10, 0, [("", "```"), ("", "x=1;y=2;"), ("", "z=3;\n```")], id="long-code-line"),
        pytest.param("## " + "a" * 9 + " #", 50, 0, [("", "## aaaaaaaaa #")], id="closed-heading-alone"),
        pytest.param("# C#\nx\n# D #\ny", 9, 0, [("C#", "x"), ("D", "y")], id="closing-signs"),
        pytest.param("- aa\n  more\n- bb\n\n- cc", 15, 0, [("", "- aa\n  more"), ("", "- bb\n\n- cc")], id="items"),
        pytest.param("Xx:\n\n- aaaa\n- bbbb\n- cc", 16, 4, [("", "Xx:\n\n- aaaa"), ("", "- bbbb\n- cc")], id="announcement"),
        pytest.param("Aa aa. Bb bb. C.", 14, 5, [("", "Aa aa."), ("", "Bb bb. C.")], id="tail-lengthened"),
        pytest.param("## A\nx\n## B\nyy", 30, 5, [("", "## A\nx\n## B\nyy")], id="small-sections-joined"),
        pytest.param("## A\nx\n### B\nyy", 30, 5, [("A", "x\n### B\nyy")], id="joined-under-parent"),
        pytest.param("## A\nx\n## B\nyyyyyyyyyyyyyyy", 20, 5, [("A", "x"), ("B", "yyyyyyyyyyyyyyy")], id="does-not-fit"),
        pytest.param("a\n\n---\n\nb\n\n***", 50, 0, [("", "a\n\n---\n\nb")], id="rules"),
        pytest.param("---\n\n***\n", 50, 0, [], id="only-rules"),
        pytest.param("Old\rMac\r\r# S\rline\r", 50, 0, [("", "Old\rMac"), ("S", "line")], id="carriage-returns"),
        pytest.param("a\n\n=====\nb", 50, 0, [("", "a\n\n=====\nb")], id="double-rule"),
        pytest.param("# T\r\n\r\na\r\n\r\n## S\r\nb\r\n", 50, 0, [("", "a"), ("S", "b")], id="crlf"),
    ],
)
def test_where_it_is_cut(text: str, max_chars: int, min_chars: int, expected: list[tuple[str, str]]) -> None:
    assert cut(text, max_chars, min_chars) == expected


@pytest.mark.parametrize("line", ["---", "===", "=", "-----"])
def test_an_underlined_line_is_a_heading_in_markdown_alone_and_if_it_is_short(line: str) -> None:
    words = "word " * 40 + "last"  # 204 characters, in which no heading is written

    def passages(text: str, format: str) -> list[tuple[str, str]]:
        made = chunk(document(text, metadata={"format": format}), max_chars=400, min_chars=0)
        return [(passage.section, passage.text.replace(f"\n{line}\n", "\n")) for passage in made]

    assert passages(f"Fees\n{line}\nThe office opens.", "md") == [("Fees", "The office opens.")]
    assert passages(f"Fees\n{line}\nThe office opens.", "txt") == [("", "Fees\nThe office opens.")]
    for format in ("md", "txt", "pdf", "html", "jsonl"):
        assert passages(f"{words}\n{line}\nThe office opens.", format) == [("", f"{words}\nThe office opens.")]


def test_ids_come_from_the_text_alone() -> None:
    first = chunk(document("## A\nSame words.\n## B\nother\n## C\nsame  WORDS."), max_chars=12, min_chars=0)
    edited = chunk(document("New start.\n## Z\nSame words.\n## B\nchanged"), max_chars=12, min_chars=0)
    name = hashlib.sha256(b"same words.").hexdigest()[:8]
    assert [p.id for p in first][::2] == [f"d.md#{name}", f"d.md#{name}-2"]
    assert edited[1].id == first[0].id and edited[2].id != first[1].id


def test_passages_carry_their_document() -> None:
    made = chunk(document("## A\ntext", metadata={"folder": "x"}))[0]
    assert made == Passage(made.id, "d.md", "docs/d.md", "T", "A", "text", 5, 9, {"folder": "x"})


@pytest.mark.parametrize(("max_chars", "min_chars"), [(0, 0), (10, 11), (10, -1)])
def test_impossible_sizes_are_refused(max_chars: int, min_chars: int) -> None:
    with pytest.raises(InputError, match="chunk sizes"):
        chunk(document("x"), max_chars=max_chars, min_chars=min_chars)


@pytest.mark.parametrize("max_chars", [40, 200, 700])
@pytest.mark.skipif(not EXAMPLE.is_dir(), reason="the example domain is not in this checkout")
def test_the_example_documents_lose_no_word_and_cut_none(max_chars: int) -> None:
    from lorag.pipeline.retrieval.loading import load_folder

    for made in load_folder(EXAMPLE).documents:
        passages = chunk(made, max_chars=max_chars, min_chars=max_chars // 6)
        end = 0
        between = []
        for passage in passages:
            assert passage.start >= end and passage.text == made.text[passage.start : passage.end]
            assert passage.text == passage.text.strip() or passage.text.startswith(" ")
            assert (
                made.text[passage.start - 1 : passage.start].strip() == ""
                and made.text[passage.end : passage.end + 1].strip() == ""
            )
            between.append(made.text[end : passage.start])
            end = passage.end
        between.append(made.text[end:])
        left = [line for gap in between for line in gap.splitlines() if line.strip()]
        assert all(line.lstrip()[0] == "#" or set(line.strip()) <= set("-*_=") for line in left), made.id
        assert len({passage.id for passage in passages}) == len(passages)


TABLE = "| pier | fee |\n| --- | --- |\n" + "".join(f"| pier {n} | {n}.00 |\n" for n in range(6))
HTML_TABLE = (
    "<table><tr><th>pier</th><th>fee</th></tr>" + "".join(f"<tr><td>p{n}</td><td>{n}.00</td></tr>" for n in range(6)) + "</table>"
)


@pytest.mark.parametrize(
    ("text", "headers"),
    [
        pytest.param(TABLE, {"", "| pier | fee |\n| --- | --- |"}, id="delimiter"),
        pytest.param(extract(HTML_TABLE).text, {"", "| pier | fee |"}, id="html"),
        pytest.param("| a 1 | b |\n" * 9, {""}, id="first-row-has-a-digit"),
        pytest.param("| a | b |\n" * 9, {""}, id="no-digit-anywhere"),
        pytest.param("| a | |\n" + "| 1 | 2 |\n" * 9, {""}, id="empty-cell"),
        pytest.param("Pier by pier:\n\n" + TABLE, {"", "| pier | fee |\n| --- | --- |"}, id="below-a-paragraph"),
    ],
)
def test_a_passage_that_begins_within_a_table_has_its_header(text: str, headers: set[str]) -> None:
    made = chunk(document(text), max_chars=50, min_chars=0)
    assert {passage.header for passage in made} == headers and len(made) > 1
    for passage in made:
        assert passage.text == text[passage.start : passage.end]
        assert passage.shown == (f"{passage.header}\n{passage.text}" if passage.header else passage.text)


def test_text_after_a_table_has_no_header() -> None:
    made = chunk(document(TABLE + "\nAll fees are paid once a year at the office."), max_chars=50, min_chars=0)
    assert made[-1].text == "All fees are paid once a year at the office." and made[-1].header == "" and made[-2].header


def test_a_wide_header_loses_its_last_columns() -> None:
    wide = "| " + " | ".join(f"column {n:03}" for n in range(60)) + " |"
    made = chunk(document(f"{wide}\n|{'---|' * 60}\n" + "| 1 | 2 |\n" * 99), min_chars=0)
    assert len(made[-1].header) <= MAX_HEADER and wide.startswith(made[-1].header) and made[-1].header.endswith("|")


def test_no_word_of_a_heading_is_lost() -> None:
    trail = "".join(f"{'#' * level} {'h' * MAX_HEADING}\n" for level in range(1, 7))
    assert len(chunk(document(f"{trail}x"))[0].section) <= MAX_SECTION
    long = "# " + "h" * (MAX_HEADING + 1)
    assert cut(f"{long}\nx", 700) == [("", f"{long}\nx")]


class Letters:
    """An encoder that reads 20 letters."""

    room = 20

    def count(self, text: str) -> int:
        return sum(not character.isspace() for character in text)


def test_passages_fit_what_the_encoder_reads() -> None:
    text = "Aaaa bbbb. " * 30
    made = chunk(document(text, ""), max_chars=60, min_chars=10, tokens=Letters())
    assert max(Letters().count(passage.text) for passage in made) <= 20 * 9 / 8
    assert " ".join(passage.text for passage in made) == text.strip()
    assert len(made) <= 30 * 9 / 20 * 2


def test_headings_count_as_tokens_up_to_half_of_the_room() -> None:
    bare, headed, long = (
        chunk(document(f"{heading}\n" + "word " * 40, ""), max_chars=60, min_chars=0, tokens=Letters())
        for heading in ("", "## Heading", "## " + "h" * 100)
    )
    assert len(bare) < len(headed) <= len(long)
    assert min(Letters().count(passage.text) for passage in long) >= 4


@pytest.mark.parametrize("kind", ["- item of a list that goes on\n", "| a | row that goes on |\n", "    # not a heading\n"])
def test_what_the_encoder_bounds_loses_nothing(kind: str) -> None:
    text = "```\n" + kind * 20 + "```\n" if kind.startswith(" ") else kind * 20
    made = chunk(document(text, ""), max_chars=300, min_chars=50, tokens=Letters())
    assert "".join("".join(passage.text.split()) for passage in made) == "".join(text.split())
    assert max(Letters().count(passage.text) for passage in made) <= 20 * 9 / 8


@pytest.mark.skipif(not EXAMPLE.is_dir(), reason="the example domain is not in this checkout")
def test_the_encoder_bounds_nothing_of_the_example_domain() -> None:
    from lorag.pipeline.retrieval.encoder_tokens import EncoderTokens
    from lorag.pipeline.retrieval.loading import load_folder

    tokens = EncoderTokens("minilm")
    for made in load_folder(EXAMPLE).documents:
        assert chunk(made, tokens=tokens) == chunk(made)


RAW = "<title>T</title><h2>Fares</h2>\n<p>Each <b>adult pays</b> M 14.20 &amp; no more.</p><p>&#1488;&#1489;</p>"


@pytest.mark.parametrize(
    ("quote", "verbatim"),
    [
        ("Each", "Each"),
        ("adult pays", "adult pays"),
        ("Each adult pays M 14.20", "adult pays"),
        ("M 14.20 & no more.", " no more."),
    ],
)
def test_locate_gives_the_longest_verbatim_run_of_html(quote: str, verbatim: str) -> None:
    page = extract(RAW)
    made = chunk(document(page.text, segments=page.segments), min_chars=0)[0]
    assert made.section == "Fares" and made.text == "Each adult pays M 14.20 & no more.\n\nאב"
    start = made.text.index(quote)
    low, high = locate(made, start, start + len(quote))
    assert RAW[low:high] in (verbatim, f" {verbatim}") and RAW[low:high] in quote


def test_locate_of_what_stands_nowhere_is_empty_and_near() -> None:
    page = extract(RAW)
    made = chunk(document(page.text, segments=page.segments), min_chars=0)[0]
    low, high = locate(made, len(made.text) - 2, len(made.text))
    assert low == high and RAW[:low].endswith("no more.")


def test_locate_in_plain_text_adds_the_start() -> None:
    text = "## A\nfirst\n## B\nsecond words"
    made = chunk(document(text), max_chars=20, min_chars=0)[1]
    low, high = locate(made, 7, 12)
    assert text[low:high] == "words"


@pytest.mark.parametrize(("start", "end"), [(-1, 2), (3, 2), (0, 99)])
def test_locate_outside_the_passage_is_refused(start: int, end: int) -> None:
    with pytest.raises(InputError, match="lies outside"):
        locate(chunk(document("text"))[0], start, end)
