"""HTML to text, by hand-written expectations, and the map back to the raw page."""

from __future__ import annotations

import pytest

from lorag.pipeline.records import Segment
from lorag.pipeline.retrieval.html_text import clip, extract


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("<h1>A</h1><h3>B</h3><p>c</p>", "# A\n\n### B\n\nc"),
        ("<p>one  two\n  three</p><p>four<br>five</p>", "one two three\n\nfour\nfive"),
        ("<p>a<b>b</b> <i>c</i>, d</p>", "ab c, d"),
        ("<ul><li>x<li>y<ul><li>z</ul></ul>after", "- x\n- y\n  - z\n\nafter"),
        ('<ol start="3"><li>x</li><li><p>y</p></li></ol>', "3. x\n4. y"),
        (
            "<table><tr><th>R<th>M</tr><tr><td><p>1</p><p>2</p></td><td></td></tr></table><p>t</p>",
            "| R | M |\n| 1 2 | |\n\nt",
        ),
        ("<script>var a = '<p>no</p>';</script><style>p{}</style><p>yes<!-- no --></p>", "yes"),
        ("<svg><svg></svg><text>no</text></svg>yes", "yes"),
        ("<pre>a  b\n  c</pre>", "a  b\n  c"),
        ("a&nbsp;b &amp; c &lt; d &#8364;5 &unknown; &", "a b & c < d €5 &unknown; &"),
        ("<p>unclosed <b>bold", "unclosed bold"),
        ("<h2></h2><p></p>x", "x"),
        ("", ""),
    ],
)
def test_text(raw: str, text: str) -> None:
    assert extract(raw).text == text


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("<p>Price <![ if !IE]>12<![endif]> crowns.</p>", "Price 12 crowns."),
        ("<p>x <![foo bar]]> y</p>", "x y"),
        ("<p>x</p><![CDATA[ a < b ]]><p>y</p>", "x\n\na < b\n\ny"),
        ("<p>a</p><!-- never closed <p>b</p>", "a\n\nnever closed\n\nb"),
        ("<p>a</p><!-- never closed", "a\n\n<!-- never closed"),
        ("a &#xyz; <b>c</b> &#12z d &#65", "a &#xyz; c \x0cz d A"),
        ("a <b", "a <b"),
        ("<noscript><iframe></iframe><noscript><iframe></iframe></noscript><p>b</p>", "b"),
        ("<noscript><p>a</p>", "a"),
        ("<iframe src='x'><p>a</p>", "a"),
        ("<iframe src='x'/><p>a</p>", "a"),
        ("<svg><path/><p>a</p>", "a"),
        ("<template><template><i>no</i></template><p>a</p>", "a"),
        ("<template><template></template>no</template><p>a</p>", "a"),
        ("<select><option>S<option>M<p>a</p>", "S, M\n\na"),
        ("<object data='x'><p>a</p></object><canvas>b</canvas>", "a\n\nb"),
        ("<textarea><b>a</b></textarea> b", "a b"),
    ],
)
def test_what_is_malformed_or_never_closed_does_not_swallow_the_page(raw: str, text: str) -> None:
    page = extract(raw)
    assert (page.text, page.missing) == (text, ())


@pytest.mark.parametrize("tag", ["script", "style"])
def test_code_without_an_end_hides_the_rest_and_is_named(tag: str) -> None:
    page = extract(f"<p>a</p>\n<{tag}>x = 1;<p>b</p>")
    assert page.text == "a"
    assert page.missing == (f"<{tag}> in line 2 has no end, so what follows it was not read; close it",)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("Name:<input value=' Kim &amp; Co '>, berth <input type=number value=7>", "Name: Kim & Co , berth 7"),
        ("<input type=checkbox checked>Paid <input type=radio>Open", "[x] Paid [ ] Open"),
        ("<input type=hidden value=h><input type=password value=p><input type=submit value=s>x<input>", "x"),
        ("Size <select><option>S<option selected>M &amp; L<option value=x></select>!", "Size M & L !"),
        ("<select><optgroup label=o><option label=One><option>Two</select>", "One, Two"),
        ("<td>Fee <select><option>7</select></table>", "| Fee 7 |"),
        ("<p><img src=a alt='Chart: 40 crowns'><img src=b alt=''></p>", "Chart: 40 crowns"),
        ("<template><input value=no><img alt=no></template>a", "a"),
    ],
)
def test_values_of_forms_and_descriptions_of_pictures_are_text(raw: str, text: str) -> None:
    assert extract(raw).text == text


def test_a_title_without_an_end_holds_what_stands_before_the_next_tag() -> None:
    page = extract("<title>Fees<body><p>a</p>")
    assert (page.title, page.text) == ("Fees", "a")


def test_lists_in_lists_have_bounded_indents() -> None:
    assert len(extract("<ul><li>x" * 2000).text) == sum(2 * min(level, 10) + 4 for level in range(2000)) - 1


def test_title_is_apart_from_the_text() -> None:
    page = extract("<title> A\n&amp; B</title><p>x</p>")
    assert (page.title, page.text) == ("A & B", "x")


def test_every_segment_stands_verbatim_and_all_else_is_markup() -> None:
    raw = "<h1>Fares &amp; rules</h1>\r\n<p>Each <b>adult</b>\npays M 14.20\n   now.</p>\n<ul>\n<li>two\n</ul>"
    page = extract(raw)
    assert page.text == "# Fares & rules\n\nEach adult\npays M 14.20 now.\n\n- two"
    covered = ["." for _ in page.text]
    for segment in page.segments:
        piece = page.text[segment.offset : segment.offset + segment.length]
        assert piece == raw[segment.source_start : segment.source_start + segment.length]
        covered[segment.offset : segment.offset + segment.length] = piece
    assert "".join(covered) == "..Fares . rules..Each adult\npays M 14.20.now.....two"
    ends = [(s.offset, s.offset + s.length) for s in page.segments]
    assert all(before[1] <= after[0] for before, after in zip(ends, ends[1:], strict=False))


@pytest.mark.parametrize("raw", ["<p>&eacute;&agrave;</p>", "<table><tr><td></td></tr></table>"])
def test_text_that_stands_nowhere_in_the_page_still_has_a_map(raw: str) -> None:
    """No map would mean that its offsets are the page's own."""
    page = extract(raw)
    assert page.text
    assert page.segments == (Segment(0, 0, 0),)
    assert clip(page.segments, 1, 2) == (Segment(0, 0, 0),)


def test_clip_counts_from_the_start_of_the_span() -> None:
    segments = (Segment(0, 10, 5), Segment(8, 30, 4))
    assert clip(segments, 2, 10) == (Segment(0, 12, 3), Segment(6, 30, 2))
    assert clip(segments, 5, 8) == (Segment(0, 15, 0),)
    assert clip((), 2, 10) == ()
