"""Files written into a text: what is left out, and that all else keeps its place in the source."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorag.pipeline.records import Document, PageStart
from lorag.pipeline.retrieval.chunking import chunk, locate
from lorag.pipeline.retrieval.html_text import extract
from lorag.pipeline.retrieval.inline_data import without_inline_data
from lorag.pipeline.retrieval.loading import load_folder

DATA = "iVBORw0KGgo" * 40


def reduced(text: str) -> str:
    return without_inline_data(Document("d", "T", text, "d", "0"))[0].text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"![plan](data:image/png;base64,{DATA}) ends", "![plan](data:image/png;base64,…) ends"),
        (f"[i]: <data:image/png;base64,{DATA}==>\nx", "[i]: <data:image/png;base64,…>\nx"),
        (f'url("data:font/woff2;charset=utf-8;base64,{DATA}")', 'url("data:font/woff2;charset=utf-8;base64,…")'),
        (f"DATA:image/svg+xml,%3Csvg{'%20' * 60} then", "DATA:image/svg+xml,… then"),
        (f"data:a/b,{DATA}\n{DATA[:60]}\n{DATA[:44]}==\nwords go on", "data:a/b,…\nwords go on"),
        (f"two data:a/b,{DATA} and data:a/b,{DATA}", "two data:a/b,… and data:a/b,…"),
        ("data:text/plain,hello is an example", "data:text/plain,hello is an example"),
        (f"no link: {DATA}", f"no link: {DATA}"),
        ("the data: image/png, are here", "the data: image/png, are here"),
    ],
)
def test_what_is_left_out(text: str, expected: str) -> None:
    assert reduced(text) == expected


def test_the_rest_keeps_its_place() -> None:
    raw = f"The plan ![p](data:image/png;base64,{DATA}) shows the fee of M 5.\n"
    document, left_out = without_inline_data(Document("d.md", "T", raw, "d.md", "0"))
    (made,) = chunk(document)
    start = made.text.index("fee of")
    low, high = locate(made, start, start + len("fee of M 5."))
    assert raw[low:high] == "fee of M 5." and left_out == len(DATA)


def test_a_page_keeps_its_places_too() -> None:
    raw = f"<p>See data:image/png;base64,{DATA} and <b>pay</b> M 5.</p>"
    page = extract(raw)
    document, _ = without_inline_data(Document("d.html", "T", page.text, "d", "0", segments=page.segments))
    (made,) = chunk(document)
    assert made.text == "See data:image/png;base64,… and pay M 5."
    start = made.text.index("pay")
    assert raw[slice(*locate(made, start, start + 3))] == "pay"


def test_pages_begin_where_they_began() -> None:
    text = f"data:a/b,{DATA} ends\nnext page"
    pages = (PageStart(1, 0), PageStart(2, text.index("next")))
    document, _ = without_inline_data(Document("d.pdf", "T", text, "d", "0", pages=pages))
    assert [document.text[page.offset :][:4] for page in document.pages] == ["data", "next"]


def test_a_file_is_read_without_them(tmp_path: Path) -> None:
    (tmp_path / "note.md").write_text(f"# Note\n\nThe quay.\n\n![x](data:image/png;base64,{'QUJD' * 15000})\n\nOpen at 9.\n")
    (document,) = load_folder(tmp_path).documents
    (made,) = chunk(document)
    assert made.text == "The quay.\n\n![x](data:image/png;base64,…)\n\nOpen at 9."
