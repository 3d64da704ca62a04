"""Every word of a document is in one of its passages: in its text, or in the headings above it."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lorag.pipeline.records import Document
from lorag.pipeline.retrieval.chunking import chunk
from lorag.pipeline.retrieval.html_text import extract

LINES = [
    *(
        "# {}",
        "## {}",
        "###### {} ##",
        "{}\n---",
        "{}\n===",
        "{}\n=",
        "---",
        "***",
        "===",
        "```\n{}\n```",
        "```{}",
        "~~~ {}",
        "    {}",
    ),
    *("> {}", "- {}", "  - {}\n    {}", "1. {}", "12) {}", "| {} | {} |", "|--|--|", "{} | {}", "{}  \n{}", "{}\r{}", "{}\r\n{}"),
    *(
        "{}\u2028{}",
        "# ",
        "#{}",
        "{}:",
        "{}. {}!",
        "\t{}",
        "[{}]: x",
        "<b>{}</b>",
        "$$ {} $$",
        "---\n{}\n---",
        "+++\n{}\n+++",
        "{}",
        "",
    ),
]
TAGS = [
    *("<p>{}</p>", "<h1>{}</h1>", "<h3>{}", "<ul><li>{}<li>{}</ul>", "<ol><li>{}", "<table><tr><th>{}<td>{}</table>", "<td>{}"),
    *("<pre>{}\n {}</pre>", "<noscript>{}", "<noscript>", "</noscript>{}", "<iframe>{}", "<select><option>{}<option>{}</select>"),
    *(
        "<select>{}",
        "<input value='{}'>",
        "<textarea>{}</textarea>",
        "<title>",
        "<!-- ",
        "{}",
        "<b>{}",
        "</b>{}",
        "<svg>{}",
        "<object>{}",
    ),
    *(
        "<template>{}",
        "<canvas>{}</canvas>",
        "<![if x]>{}<![endif]>",
        "&amp;{}",
        "&#x{}",
        "&{};",
        "<br>{}",
        "<div hidden>{}",
        "<img alt='{}'>",
    ),
    *("<button>{}</button>", "<![CDATA[{}]]>", "<dl><dt>{}<dd>{}", "<caption>{}", "<unknown-tag>{}</unknown-tag>", "<p {}>{}"),
]
SIZES = st.sampled_from([(700, 120), (60, 0), (200, 50), (20, 5)])


def filled(templates: list[str], lengths: list[int]) -> str:
    """The templates with a word of their own in each place, some in long lines."""
    number = 0

    def words(_: re.Match[str]) -> str:
        nonlocal number
        length = lengths[number % len(lengths)]
        number += 1
        return " ".join(f"w{number}q{place}" for place in range(length))

    return "\n".join(re.sub(r"\{\}", words, template) for template in templates)


def lost(text: str, document: Document, sizes: tuple[int, int]) -> set[str]:
    """Words of `text` that are nowhere in the passages of `document`."""
    passages = chunk(document, max_chars=sizes[0], min_chars=sizes[1])
    held = " ".join(f"{passage.title} {passage.section} {passage.text}" for passage in passages)
    joined = re.sub(r"\s+", "", held)  # a word longer than a passage is cut
    return {word for word in re.findall(r"w\d+q\d+", text) if word not in held and word not in joined}


@pytest.mark.parametrize("format", ["md", "txt", "pdf", "jsonl"])
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    templates=st.lists(st.sampled_from(LINES), min_size=1, max_size=12),
    lengths=st.lists(st.sampled_from([1, 2, 9, 60, 300]), min_size=1, max_size=4),
    sizes=SIZES,
)
def test_no_word_of_a_text_is_lost(format: str, templates: list[str], lengths: list[int], sizes: tuple[int, int]) -> None:
    text = filled(templates, lengths)
    assert lost(text, Document("d", "T", text, "d", "0", {"format": format}), sizes) == set()


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    templates=st.lists(st.sampled_from(TAGS), min_size=1, max_size=12),
    lengths=st.lists(st.sampled_from([1, 2, 60]), min_size=1, max_size=4),
    sizes=SIZES,
)
def test_no_word_of_a_page_is_lost(templates: list[str], lengths: list[int], sizes: tuple[int, int]) -> None:
    """Except those of attributes without text, of references, and of elements that are closed and hold no text to read."""
    raw = filled(templates, lengths)
    page = extract(raw)
    shown = re.sub(r"<p [^>]*>|&[^\s<;]*;?", "", raw, flags=re.S)
    for tag in ("noscript", "svg", "template", "iframe"):
        shown = re.sub(rf"<{tag}>.*</{tag}>", "", shown, flags=re.S)
    words = " ".join(re.findall(r"w\d+q\d+", shown))
    title = page.title or "T"
    if page.text.strip():
        assert lost(words, Document("d", title, page.text, "d", "0", {"format": "html"}, page.segments), sizes) == set()
    else:
        assert not set(words.split()) - set(re.findall(r"w\d+q\d+", page.title))
