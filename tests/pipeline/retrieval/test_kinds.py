"""Files of office programs, mails and books: what is read of each, and what is said of those that cannot be read."""

from __future__ import annotations

import datetime
import io
import zipfile
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path

import pytest

from lorag.pipeline.retrieval import delimited, workbook, zip_limits
from lorag.pipeline.retrieval.account import FileStatus
from lorag.pipeline.retrieval.loading import LoadedFile, load_one
from lorag.pipeline.retrieval.readers import KINDS
from lorag.pipeline.retrieval.tables import sheet, table

TINY_PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c636060f80f00010401005fe5c34b0000000049454e44ae426082"
)


def load(folder: Path, name: str, data: bytes | str) -> LoadedFile:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return load_one(path, folder)


def text(found: LoadedFile) -> str:
    (document,) = found.documents
    return document.text


# --- tables ---


def test_tables_are_markdown_with_a_header() -> None:
    assert table([["Berth", "Fee | day", ""], ["", "", ""], ["B-1", "40\nkr", ""]]) == (
        "| Berth | Fee \\| day |\n| --- | --- |\n| B-1 | 40 kr |"
    )
    assert table([["", " "]]) == table([]) == ""


def test_a_sheet_is_cut_at_empty_rows_and_captions_stand_above() -> None:
    rows = [["Prices 2026", ""], ["Berth", "Fee"], ["B-1", "40"], [], ["", "Note"], ["", "Paid in advance."]]
    assert sheet(rows) == "Prices 2026\n\n| Berth | Fee |\n| --- | --- |\n| B-1 | 40 |\n\nNote\nPaid in advance."


# --- .docx ---


def word(make: Callable[..., None], title: str = "") -> bytes:
    from docx import Document

    document = Document()
    document.core_properties.title = title
    make(document)
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def harbour(document: object) -> None:
    document.add_heading("Pump room", 0)  # type: ignore[attr-defined]
    document.add_heading("Key", 2)  # type: ignore[attr-defined]
    document.add_paragraph("It hangs\tin the office.")  # type: ignore[attr-defined]
    for item in ("Sign the book", "Take the key"):
        document.add_paragraph(item, style="List Bullet")  # type: ignore[attr-defined]
    grid = document.add_table(2, 2)  # type: ignore[attr-defined]
    for cell, value in zip((c for row in grid.rows for c in row.cells), ("Berth", "Price", "B-1", "40 kr"), strict=True):
        cell.text = value
    document.sections[0].header.paragraphs[0].text = "Harbour office, tel. 73 50 12 34"  # type: ignore[attr-defined]
    document.sections[0].footer.paragraphs[0].text = "3"  # type: ignore[attr-defined]


def test_word_headings_lists_tables_and_page_heads(tmp_path: Path) -> None:
    found = load(tmp_path, "rules.docx", word(harbour, "Microsoft Word - Draft.docx"))
    assert found.documents[0].title == "Pump room"
    assert text(found) == (
        "Harbour office, tel. 73 50 12 34\n\n# Pump room\n\n## Key\n\nIt hangs in the office.\n\n"
        "- Sign the book\n- Take the key\n\n| Berth | Price |\n| --- | --- |\n| B-1 | 40 kr |"
    )
    assert load(tmp_path, "t.docx", word(harbour, "Crane rules")).documents[0].title == "Crane rules"


def test_word_insertions_text_boxes_and_controls_are_read_and_deletions_are_not(tmp_path: Path) -> None:
    from docx.oxml import parse_xml

    w = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'

    def make(document: object) -> None:
        body = document.element.body  # type: ignore[attr-defined]
        run = "<w:r><w:t xml:space='preserve'>{}</w:t></w:r>"
        deleted = "<w:del><w:r><w:delText>not </w:delText></w:r></w:del>"
        changed = f"<w:p {w}>{run.format('The key is ')}{deleted}<w:ins>{run.format('green')}</w:ins></w:p>"
        control = f"<w:sdt {w}><w:sdtContent><w:p>{run.format('In a control.')}</w:p></w:sdtContent></w:sdt>"
        box = f"<w:p {w}><w:r><w:pict><w:txbxContent><w:p>{run.format('In a box.')}</w:p></w:txbxContent></w:pict></w:r></w:p>"
        link = f"<w:p {w}><w:hyperlink>{run.format('A link.')}</w:hyperlink></w:p>"
        for at, xml in enumerate((changed, control, box, link)):
            body.insert(at, parse_xml(xml))

    assert text(load(tmp_path, "a.docx", word(make))) == "The key is green\n\nIn a control.\n\nIn a box.\n\nA link."


# --- .pptx ---


def test_slides_are_pages_with_titles_tables_charts_and_notes(tmp_path: Path) -> None:
    from pptx import Presentation
    from pptx.chart.data import CategoryChartData
    from pptx.enum.chart import XL_CHART_TYPE
    from pptx.util import Inches

    talk = Presentation()
    first = talk.slides.add_slide(talk.slide_layouts[1])
    first.shapes.title.text = "Pump room"
    first.placeholders[1].text_frame.text = "Key in the office"
    first.placeholders[1].text_frame.add_paragraph().text = "Sign the book"
    first.notes_slide.notes_text_frame.text = "Say where the book lies."
    second = talk.slides.add_slide(talk.slide_layouts[6])
    second.shapes.add_picture(io.BytesIO(TINY_PNG), 0, 0)
    third = talk.slides.add_slide(talk.slide_layouts[6])
    grid = third.shapes.add_table(2, 2, 0, 0, Inches(4), Inches(1)).table
    for at, value in enumerate(("Berth", "Price", "B-1", "40 kr")):
        grid.cell(at // 2, at % 2).text = value
    data = CategoryChartData()
    data.categories = ["May", "June"]
    data.add_series("Boats", (12, 30.5))
    third.shapes.add_chart(XL_CHART_TYPE.COLUMN_CLUSTERED, 0, Inches(2), Inches(4), Inches(3), data)
    out = io.BytesIO()
    talk.save(out)
    found = load(tmp_path, "talk.pptx", out.getvalue())
    (document,) = found.documents
    assert (document.title, [page.number for page in document.pages]) == ("Pump room", [1, 2, 3])
    whole = document.text
    assert whole.startswith("## Pump room\n\n- Key in the office\n- Sign the book\n\nNotes: Say where the book lies.")
    assert whole[document.pages[2].offset :].lstrip().startswith("| Berth | Price |\n| --- | --- |\n| B-1 | 40 kr |")
    assert "|  | Boats |\n| --- | --- |\n| May | 12 |\n| June | 30.5 |" in whole
    assert found.account.status is FileStatus.IN_PART and "slides 2 show only pictures" in found.account.notes[0]


# --- .xlsx, .csv, .tsv ---


def book(sheets: dict[str, list[list[object]]]) -> bytes:
    from openpyxl import Workbook

    made = Workbook()
    made.remove(made.active)
    for name, rows in sheets.items():
        page = made.create_sheet(name)
        for row in rows:
            page.append(row)
    out = io.BytesIO()
    made.save(out)
    return out.getvalue()


def test_sheets_have_headings_and_values_as_shown(tmp_path: Path) -> None:
    day = datetime.datetime(2026, 5, 1)
    prices: list[list[object]] = [["Berth", "Fee", "From"], ["B-1", 40.0, day], ["B-2", 42.5, None]]
    found = load(
        tmp_path,
        "p.xlsx",
        book({"Prices": prices, "Empty": [], "Keys": [["Room", True]]}),
    )
    assert text(found) == (
        "## Prices\n\n| Berth | Fee | From |\n| --- | --- | --- |\n| B-1 | 40 | 2026-05-01 |\n| B-2 | 42.5 |  |"
        "\n\n## Keys\n\n| Room | TRUE |\n| --- | --- |"
    )
    assert found.account.status is FileStatus.READ


def test_a_far_cell_is_read_and_what_lies_beyond_the_bounds_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[list[object]] = [["a", "b"], *([None] for _ in range(3000)), ["far", "off"]]
    assert text(load(tmp_path, "a.xlsx", book({"S": rows}))).endswith("| far | off |\n| --- | --- |")
    wide = load(tmp_path, "w.xlsx", book({"S": [["a", *[None] * 600, "z"]]}))
    assert wide.account.notes == ("sheet S: columns after the first 500 left out",)
    monkeypatch.setattr(workbook, "MAX_SEEN", 100)
    assert "100 cells" in load(tmp_path, "s.xlsx", book({"S": rows})).account.notes[0]


def test_formulas_without_values_and_rows_beyond_the_limit_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbook, "MAX_ROWS", 3)
    found = load(tmp_path, "p.xlsx", book({"S": [["n", "m"], *([n, "=1+1"] for n in range(5))]}))
    assert found.account.status is FileStatus.IN_PART
    assert found.account.notes == (
        "sheet S: rows after the first 3 left out: split it",
        "5 formulas without a stored value: open it in a spreadsheet program and save it",
    )


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", "Berth,Price\nB-1,40\n"),
        ("a.csv", "Berth;Price\r\nB-1;40\r\n"),
        ("a.csv", "sep=;\nBerth;Price\nB-1;40"),
        ("a.csv", "\ufeffBerth\tPrice\nB-1\t40"),
        ("a.csv", '"Berth","Price"\n"B-1","40"\n\n'),
        ("a.tsv", "Berth\tPrice\nB-1\t40\n"),
    ],
)
def test_delimited_files_are_tables(tmp_path: Path, name: str, data: str) -> None:
    assert text(load(tmp_path, name, data)) == "| Berth | Price |\n| --- | --- |\n| B-1 | 40 |"


def test_delimited_files_of_other_shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert text(load(tmp_path, "a.csv", "One sentence.\nAnother one.\n")) == "One sentence.\nAnother one."
    assert text(load(tmp_path, "b.csv", 'Who,What\nAnn,"a; b\nc"\n')) == "| Who | What |\n| --- | --- |\n| Ann | a; b c |"
    assert "€" in text(load(tmp_path, "c.csv", "Fee;€\n1;2\n".encode("cp1252")))
    monkeypatch.setattr(delimited, "MAX_ROWS", 2)
    long = load(tmp_path, "d.csv", "a,b\n1,2\n3,4\n5,6\n")
    assert long.account.notes == ("2 rows after the first 2 left out: split it",)


# --- .epub, .rtf, .eml ---


def epub(chapters: dict[str, str], *, locked: str = "", title: str = "Harbour book") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("mimetype", "application/epub+zip")
        root = '<container xmlns="c"><rootfiles><rootfile full-path="OPS/book.opf"/></rootfiles></container>'
        archive.writestr("META-INF/container.xml", root)
        items = "".join(f'<item id="{n}" href="{n}.xhtml" media-type="application/xhtml+xml"/>' for n in chapters)
        spine = "".join(f'<itemref idref="{n}"/>' for n in chapters)
        head = f'<metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>{title}</dc:title></metadata>'
        archive.writestr("OPS/book.opf", f'<package xmlns="o">{head}<manifest>{items}</manifest><spine>{spine}</spine></package>')
        for name, page in chapters.items():
            if page:
                archive.writestr(f"OPS/{name}.xhtml", page.encode())
        if locked:
            sealed = f'<e xmlns="e"><CipherReference URI="{locked}"/></e>'
            archive.writestr("META-INF/encryption.xml", sealed)
    return out.getvalue()


def test_a_book_is_read_in_the_order_of_its_spine(tmp_path: Path) -> None:
    pages = {"two": "<h1>Key</h1><p>It is green.", "one": "<h1>Crane</h1><p>It lifts 9 t.", "gone": ""}
    found = load(tmp_path, "b.epub", epub(pages))
    assert found.documents[0].title == "Harbour book"
    assert text(found) == "# Key\n\nIt is green.\n\n# Crane\n\nIt lifts 9 t."
    assert found.account.notes == ("chapter OPS/gone.xhtml missing or damaged",)
    assert text(load(tmp_path, "f.epub", epub({"one": "<p>Font locked."}, locked="OPS/font.otf"))) == "Font locked."
    locked = load(tmp_path, "d.epub", epub({"one": "<p>x"}, locked="OPS/one.xhtml"))
    assert locked.account.status is FileStatus.FAILED and "DRM" in locked.account.notes[0]


def test_rtf_text_tables_title_and_code_pages(tmp_path: Path) -> None:
    row = r"\trowd\cellx1000\cellx2000 {0}\cell {1}\cell\row "
    body = row.format("Berth", "Price") + row.format("B-1", "40 kr")
    head = r"{\rtf1\ansi\ansicpg1252{\info{\title Crane rules}}"
    data = rf"{head}Gr\'f6\'dfe \u8364? 25{{\footnote  with tax}}\par Next.\par {body}\pard End.}}"
    found = load(tmp_path, "a.rtf", data)
    assert found.documents[0].title == "Crane rules"
    assert text(found) == "Größe € 25 with tax\n\nNext.\n\n| Berth | Price |\n| --- | --- |\n| B-1 | 40 kr |\n\nEnd."
    assert "no RTF" in load(tmp_path, "b.rtf", "plain").account.notes[0]


def test_a_mail_with_alternatives_and_attachments(tmp_path: Path) -> None:
    mail = EmailMessage()
    mail["Subject"], mail["From"], mail["To"] = "Schlüssel", "Åse <a@example.org>", "b@example.org"
    mail.set_content("Die Größe: 12 m.", charset="iso-8859-1")
    mail.add_alternative("<p>Die <b>Größe</b>: 12 m.</p>", subtype="html")
    mail.add_attachment(b"%PDF-", maintype="application", subtype="pdf", filename="plan.pdf")
    found = load(tmp_path, "m.eml", mail.as_bytes())
    assert found.documents[0].title == "Schlüssel"
    assert text(found) == "From: Åse <a@example.org>\nTo: b@example.org\n\nDie Größe: 12 m."
    assert found.account.notes == ("attachments not read: plan.pdf; save them into the folder",)


def test_a_forwarded_mail_is_read_with_its_envelope(tmp_path: Path) -> None:
    inner = EmailMessage()
    inner["Subject"], inner["From"] = "Crane", "c@example.org"
    inner.set_content("It lifts 9 t.")
    outer = EmailMessage()
    outer["Subject"], outer["From"] = "Fwd", "d@example.org"
    outer.set_content("See below.")
    outer.add_attachment(inner)
    found = load(tmp_path, "m.eml", outer.as_bytes())
    assert text(found) == "From: d@example.org\n\nSee below.\n\nSubject: Crane\nFrom: c@example.org\n\nIt lifts 9 t."
    assert found.account.status is FileStatus.READ


def test_mails_in_html_alone_and_in_old_charsets(tmp_path: Path) -> None:
    head = b"From: a@example.org\nSubject: =?koi8-r?B?68zA3g==?=\nContent-Type: text/%s; charset=%s\n"
    head += b"Content-Transfer-Encoding: 8bit\n\n"
    page = load(tmp_path, "h.eml", head % (b"html", b"koi8-r") + "<p>Ключ <i>у двери</i>".encode("koi8-r"))
    assert (page.documents[0].title, text(page).partition("\n\n")[2]) == ("Ключ", "Ключ у двери")
    bare = load(tmp_path, "p.eml", head % (b"plain", b"x-unknown") + "Größe".encode("cp1252"))
    assert text(bare).endswith("Größe")
    sealed = load(tmp_path, "s.eml", "From: a\nContent-Type: application/pkcs7-mime\n\nMIIB")
    assert "encrypted" in sealed.account.notes[0]


# --- what cannot be read ---

ARCHIVES = (".docx", ".pptx", ".xlsx", ".epub")


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


@pytest.mark.parametrize("kind", ARCHIVES)
@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"PKx", "damaged"),
        (b"<html>Login</html>", "damaged"),
        (b"\xd0\xcf\x11\xe0" + "EncryptedPackage".encode("utf-16-le"), "password"),
        (b"\xd0\xcf\x11\xe0 old", "old office format"),
        (zipped({"a.txt": b"other"}), "damaged"),
        (zipped({"word/document.xml": b"<a/>", "[Content_Types].xml": b"<Types/>"}), "damaged"),
        (zipped({"bomb": bytes(2**22)}), "unpacks to"),
    ],
)
def test_what_is_damaged_or_protected_fails_alone_in_a_line(tmp_path: Path, kind: str, data: bytes, said: str) -> None:
    found = load(tmp_path, f"a{kind}", data)
    assert found.account.status is FileStatus.FAILED
    (note,) = found.account.notes
    assert said in note and "\n" not in note and str(tmp_path) not in note


@pytest.mark.parametrize("kind", ARCHIVES)
def test_a_truncated_file_fails_alone(tmp_path: Path, kind: str) -> None:
    made = {".docx": word(harbour), ".xlsx": book({"S": [["a", "b"]]}), ".epub": epub({"one": "<p>x"})}
    whole = made.get(kind, word(harbour))
    assert load(tmp_path, f"a{kind}", whole[: len(whole) // 2]).account.status is FileStatus.FAILED


def test_lock_files_are_left_alone(tmp_path: Path) -> None:
    found = load(tmp_path, "~$rules.docx", b"\x05Ada")
    assert found.account.status is FileStatus.LEFT_ALONE and "lock file" in found.account.notes[0]


def test_too_many_bytes_or_members_are_refused_before_unpacking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_limits, "MAX_MEMBERS", 2)
    assert "members" in load(tmp_path, "a.docx", word(harbour)).account.notes[0]


def test_the_kinds() -> None:
    assert set(KINDS) >= {".docx", ".pptx", ".xlsx", ".csv", ".tsv", ".epub", ".rtf", ".eml", ".markdown", ".xhtml"}
