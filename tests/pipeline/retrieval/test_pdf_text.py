"""What is read of a PDF: reading order, running heads, scans, forms, encrypted and damaged files, and on which page it stands."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path

import pytest
from pypdf import PdfReader, PdfWriter

from lorag.pipeline.errors import InputError
from lorag.pipeline.records import PageStart
from lorag.pipeline.retrieval import ocr
from lorag.pipeline.retrieval.chunking import chunk
from lorag.pipeline.retrieval.file_content import Extracted, File
from lorag.pipeline.retrieval.pdf_text import extract
from lorag.pipeline.retrieval.readers import READERS
from tests.pipeline.retrieval.pdf_bytes import Placed, pdf_bytes, placed_pdf

KEY = ["The pump room key hangs in the harbour office.", "Visitors sign the book before they take it."]
LEFT = ["The northern quay was built", "in 1921 and is reserved for", "fishing boats. Its crane lifts", "nine tonnes of freight."]
RIGHT = ["The southern quay takes", "ferries. Its gangway closes", "ten minutes before each", "departure in any weather."]


@pytest.fixture(autouse=True)
def _no_ocr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ocr, "is_available", lambda: False)


def read(data: bytes) -> Extracted:
    return extract(data, "f.pdf")


# --- reading order ---


@pytest.mark.parametrize("by_row", [True, False])
def test_columns_are_read_one_after_the_other(by_row: bool) -> None:
    left: list[Placed] = [(72, 700 - 14 * n, text) for n, text in enumerate(LEFT)]
    right: list[Placed] = [(320, 700 - 14 * n, text) for n, text in enumerate(RIGHT)]
    drawn = [each for pair in zip(left, right, strict=True) for each in pair] if by_row else [*left, *right]
    assert read(placed_pdf([drawn])).text.split() == " ".join([*LEFT, *RIGHT]).split()


def test_three_columns_and_a_heading_across_them() -> None:
    words = [[f"{column} words of line {n}" for n in range(6)] for column in ("red", "green", "blue")]
    drawn: list[Placed] = [(72, 760, "A heading that runs across all of the three columns of the page")]
    drawn += [(72 + 170 * column, 730 - 14 * n, words[column][n]) for n in range(6) for column in range(3)]
    lines = read(placed_pdf([drawn])).text.split("\n")
    assert [line for line in lines if " words of line " in line] == [text for column in words for text in column]


def test_a_table_stays_row_by_row() -> None:
    rows = [("Berth", "Fee"), ("North 1", "20"), ("North 2", "25"), ("South 1", "30"), ("South 2", "35"), ("West 1", "40")]
    drawn: list[Placed] = [(72 + 200 * at, 700 - 14 * n, cell) for n, row in enumerate(rows) for at, cell in enumerate(row)]
    assert "North 2 25\nSouth 1 30" in read(placed_pdf([drawn])).text


@pytest.mark.parametrize(
    ("rotate", "matrix", "places"),
    [
        (90, "1 0 0 1", [(72, 700), (72, 686)]),
        (180, "1 0 0 1", [(72, 700), (72, 686)]),
        (0, "0 1 -1 0", [(300, 100), (314, 100)]),
        (0, "0 -1 1 0", [(300, 700), (286, 700)]),
        (0, "-1 0 0 -1", [(500, 300), (500, 314)]),
    ],
)
def test_turned_pages_and_texts(rotate: int, matrix: str, places: list[tuple[float, float]]) -> None:
    drawn = [(x, y, text) for (x, y), text in zip(places, KEY, strict=True)]
    assert read(placed_pdf([drawn], rotate=rotate, matrix=matrix)).text.replace("\n\n", "\n") == "\n".join(KEY)


def test_words_that_are_placed_one_by_one_make_a_line() -> None:
    drawn: list[Placed] = []
    x = 72.0
    for word in KEY[0].split():
        drawn.append((x, 700, word))
        x += 7 * len(word) + 4
    assert read(placed_pdf([drawn])).text == KEY[0]


def test_what_stands_at_one_height_is_one_line() -> None:
    drawn: list[Placed] = [(72, 700, "1 Rules"), (130, 700, ". " * 40), (500, 700, "3"), (72, 686, "Next")]
    assert read(placed_pdf([drawn])).text.replace(" .", "").split("\n") == ["1 Rules 3", "Next"]


def test_hyphens_at_line_ends_stay_in_the_text() -> None:
    found = read(pdf_bytes([["The harbour does the mainte-", "nance of all moorings here."]]))
    assert found.text == "The harbour does the mainte-\nnance of all moorings here."


# --- running heads and feet ---


def manual(count: int, head: str, foot: str) -> bytes:
    pages: list[list[Placed]] = []
    for page in range(1, count + 1):
        body = [
            f"Section {page} explains the rule for berth {page}, which is {3 * page} metres deep.",
            "It has a keeper in every season of the year, and in the winter months too.",
            f"The deposit for berth {page} is {100 * page} crowns.",
        ]
        lines: list[Placed] = [(72, 740 - 14 * n, text) for n, text in enumerate(body)]
        pages.append([(72, 800, head.format(page)), *lines, (72, 40, foot.format(page))])
    return placed_pdf(pages)


def test_running_heads_and_feet_stand_once_and_the_text_stays_whole() -> None:
    text = read(manual(12, "ACME Harbour - Confidential", "Doc. HB-2026-04     Page {} of 12")).text
    assert text.count("ACME Harbour - Confidential") == 1 and text.startswith("ACME Harbour")
    assert text.count("Doc. HB-2026-04") == 1 and text.endswith("Doc. HB-2026-04")
    assert "Page" not in text
    for page in range(1, 13):
        assert f"Section {page} explains" in text and f"The deposit for berth {page} is {100 * page} crowns." in text


def test_heads_of_left_and_right_pages() -> None:
    pages: list[list[Placed]] = [
        [
            (72, 800, f"{n} Harbour manual" if n % 2 else f"Mooring {n}"),
            (72, 740, f"Line {n * n} of the text."),
            (72, 726, "More"),
        ]
        for n in range(1, 11)
    ]
    text = read(placed_pdf(pages)).text
    assert text.count("Harbour manual") == 1 and text.count("Mooring") == 1 and text.count("of the text.") == 10


@pytest.mark.parametrize("line", ["Invoice no. {}", "Section {}", "Chapter {}", "Berth {} is open."])
def test_first_lines_that_differ_from_page_to_page_are_text(line: str) -> None:
    numbers = [187, 12, 55, 903] if line.startswith("Invoice") else [1, 2, 3, 4]
    text = read(pdf_bytes([[line.format(n), "It holds what it holds.", f"And {n * 7} more."] for n in numbers])).text
    assert all(line.format(n) in text for n in numbers)


def test_a_number_that_ends_a_page_is_no_page_number() -> None:
    text = read(pdf_bytes([["The fees of the year are", "120"], ["and of the year after", "75"], ["and then", "31"]])).text
    assert all(f"\n{number}" in text for number in (120, 75, 31))


# --- pages ---


def test_each_place_knows_its_page(tmp_path: Path) -> None:
    pages = [[f"Page {'abcd'[n]} begins here and says a thing.", "It ends here."] for n in range(4)]
    pages[2] = []
    found = read(pdf_bytes(pages))
    starts = {start.number: start.offset for start in found.pages}
    assert {n: found.text[starts[n] :].split()[1] for n in (1, 2, 4)} == {1: "a", 2: "b", 4: "d"}
    (tmp_path / "m.pdf").write_bytes(pdf_bytes(pages))
    file = File(tmp_path / "m.pdf", "m.pdf", pdf_bytes(pages))
    (document,) = READERS[".pdf"](file).documents
    (passage,) = chunk(document)
    assert [page.number for page in passage.pages if passage.text[page.offset :].startswith("Page")] == [1, 2, 4]
    assert passage.pages[0] == PageStart(1, 0)


# --- scans ---


def test_pages_without_text_are_named() -> None:
    text = [(72.0, 700.0, KEY[0])]
    found = read(placed_pdf([text, [], [], text, [], []], scanned=[2, 3, 5]))
    assert found.missing[0].startswith("pages 2-3, 5 of 6 without text, probably scanned: ")
    assert found.missing[1] == "page 6 of 6 empty or damaged"
    assert "lorag[ocr]" in found.missing[0]


@pytest.mark.parametrize("stamp", ["", "Scanned with CamScanner", "Scanned by TapScanner app", "CamScanner"])
def test_a_scan_with_a_stamp_is_a_scan(stamp: str) -> None:
    pages: list[list[Placed]] = [[(72, 20, stamp)] if stamp else [] for _ in range(3)]
    with pytest.raises(InputError, match="f.pdf: PDF without text, probably a scan: .*OCR"):
        read(placed_pdf(pages, scanned=[1, 2, 3]))


def test_an_ocr_program_that_is_installed_reads_scans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pytesseract", reason="the extra `ocr` is not installed")
    program = tmp_path / "tesseract"
    listing = 'if [ "$1" = "--list-langs" ]; then echo "List of languages (1):"; echo eng; exit 0; fi'
    version = 'if [ "$1" = "--version" ]; then echo "tesseract 5.3.0"; exit 0; fi'
    program.write_text(f'#!/bin/sh\n{listing}\n{version}\necho "The crane key is green." > "$2.txt"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.undo()  # the fixture's
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    ocr.is_available.cache_clear()
    try:
        found = read(placed_pdf([[(72, 700, KEY[0])], [(72, 20, "Scanned with CamScanner")]], scanned=[2]))
    finally:
        ocr.is_available.cache_clear()
    assert found.text.replace("\n\n", "\n").split("\n") == [KEY[0], "The crane key is green."]
    assert (found.missing, found.notes) == ((), ("page 2 of 2 read by text recognition (OCR)",))


# --- forms ---


def test_values_of_form_fields_are_read_on_their_page() -> None:
    from pypdf.generic import ArrayObject, DictionaryObject, NameObject, NumberObject, TextStringObject

    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(pdf_bytes([["Name:"], ["Insured:"]]))))
    made = []
    for page, (name, kind, value, label) in enumerate(
        [("owner", "/Tx", TextStringObject("Margit Halvorsen"), ""), ("ins", "/Btn", NameObject("/Yes"), "Insured")]
    ):
        field = DictionaryObject(
            {
                NameObject("/Type"): NameObject("/Annot"),
                NameObject("/Subtype"): NameObject("/Widget"),
                NameObject("/FT"): NameObject(kind),
                NameObject("/T"): TextStringObject(name),
                NameObject("/V"): value,
                NameObject("/Rect"): ArrayObject(map(NumberObject, (72, 600, 200, 620))),
                **({NameObject("/TU"): TextStringObject(label)} if label else {}),
            }
        )
        reference = writer._add_object(field)
        writer.pages[page][NameObject("/Annots")] = ArrayObject([reference])
        made.append(reference)
    form = DictionaryObject({NameObject("/Fields"): ArrayObject(made)})
    writer._root_object[NameObject("/AcroForm")] = writer._add_object(form)
    out = io.BytesIO()
    writer.write(out)
    found = read(out.getvalue())
    assert found.text.split() == ["Name:", "owner:", "Margit", "Halvorsen", "Insured:", "Insured:", "yes"]
    assert found.text[found.pages[1].offset :].split() == ["Insured:", "Insured:", "yes"]


# --- encrypted and damaged files ---


@pytest.mark.parametrize("algorithm", ["RC4-40", "RC4-128", "AES-128", "AES-256"])
def test_an_owner_password_alone_does_not_stop_reading(algorithm: str) -> None:
    for user, readable in (("", True), ("word", False)):
        writer = PdfWriter(clone_from=PdfReader(io.BytesIO(pdf_bytes([KEY]))))
        writer.encrypt(user, "owner", algorithm=algorithm)
        sealed = io.BytesIO()
        writer.write(sealed)
        if readable:
            assert read(sealed.getvalue()).text == "\n".join(KEY)
        else:
            with pytest.raises(InputError, match="encrypted PDF; save it without a password"):
                read(sealed.getvalue())


def test_damaged_files_are_read_as_far_as_they_go() -> None:
    whole = pdf_bytes([[f"Page {'abcdef'[n]} says this.", KEY[0]] for n in range(6)])
    for name, data in {
        "no end": whole[: whole.index(b"xref\n")],
        "bad offset": whole.replace(b"startxref\n", b"startxref\n9"),
        "junk before": b"HTTP/1.1 200 OK\r\n\r\n" + whole,
        "junk after": whole + b"<html>" * 900,
    }.items():
        assert read(data).text.count("says this.") == 6, name
    cut = read(whole[: whole.index(b"Page e says")])
    assert cut.text.count("says this.") == 4
    assert cut.missing and "empty or damaged" in cut.missing[0]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"<html>Login required</html>", "its content is no PDF"),
        (b"%PDF-1.4 nothing", "damaged PDF"),
        (b"%PDF-1.4\n%%EOF", "damaged PDF"),
    ],
)
def test_what_is_no_pdf_is_said_in_a_line(data: bytes, said: str) -> None:
    with pytest.raises(InputError, match=f"f.pdf: {said}"):
        read(data)


def test_useless_titles_are_left_out() -> None:
    assert read(pdf_bytes([KEY], title="Microsoft Word - Draft1_v3_final.docx")).title == ""
    assert read(pdf_bytes([KEY], title="Harbour rules")).title == "Harbour rules"
