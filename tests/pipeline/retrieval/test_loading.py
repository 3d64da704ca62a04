"""What each kind of file becomes, and what is said of files that become nothing."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from lorag.pipeline.errors import DataError, InputError
from lorag.pipeline.retrieval.account import FileStatus
from lorag.pipeline.retrieval.loading import Loaded, load_file, load_folder, read_file
from tests.pipeline.retrieval.pdf_bytes import pdf_bytes, placed_pdf


def write(folder: Path, files: dict[str, bytes | str]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def reasons(loaded: Loaded) -> dict[str, str]:
    return {account.path: "; ".join(account.notes) for account in loaded.accounts if account.status is not FileStatus.READ}


def test_each_kind_gives_id_title_text_source_digest_and_metadata(tmp_path: Path) -> None:
    markdown = "intro\r\n# Harbour rules #\r\nKeep left.\r\n"
    row = '{"id": 7, "title": "Seven", "text": "Row text.", "lang": "en"}'
    write(
        tmp_path,
        {
            "a/rules.md": markdown,
            "b.txt": "Plain # no title\n",
            "c.html": "<title>A &amp; B</title><p>Body</p>",
            "d.jsonl": row + '\n\n{"id": "x", "text": "Second."}\n',
            "e.pdf": pdf_bytes([["One line."]], title="The title"),
        },
    )
    loaded = load_folder(tmp_path)
    assert {account.status for account in loaded.accounts} == {FileStatus.READ}
    assert [account.documents for account in loaded.accounts] == [1, 1, 1, 2, 1]
    found = [(d.id, d.title, d.text, d.metadata["folder"], d.metadata["format"]) for d in loaded.documents]
    assert found == [
        ("a/rules.md", "Harbour rules", markdown, "a", "md"),
        ("b.txt", "b", "Plain # no title\n", "", "txt"),
        ("c.html", "A & B", "Body", "", "html"),
        ("d.jsonl#7", "Seven", "Row text.", "", "jsonl"),
        ("d.jsonl#x", "x", "Second.", "", "jsonl"),
        ("e.pdf", "The title", "One line.", "", "pdf"),
    ]
    assert loaded.documents[0].source == str(tmp_path / "a/rules.md")
    assert loaded.documents[0].digest == hashlib.sha256(markdown.encode()).hexdigest()
    assert loaded.documents[3].digest == hashlib.sha256(row.encode()).hexdigest()
    assert loaded.documents[3].metadata["lang"] == "en"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("naïve – 8 °C".encode(), "naïve – 8 °C"),
        (b"\xef\xbb\xbfmarked", "marked"),
        ("Åse".encode("utf-16"), "Åse"),
        (b"8 \xb0C", "8 °C"),
        (b"a\r\nb\rc\n", "a\r\nb\rc\n"),
    ],
)
def test_text_is_the_decoded_file_with_its_line_ends(tmp_path: Path, data: bytes, text: str) -> None:
    write(tmp_path, {"f.txt": data})
    assert load_folder(tmp_path).documents[0].text == text


def test_title_is_not_taken_from_a_fenced_block(tmp_path: Path) -> None:
    write(tmp_path, {"f.md": "```\n# a comment\n```\n## Lower\n# Title\n"})
    assert load_folder(tmp_path).documents[0].title == "Title"


def test_a_bad_file_is_named_and_does_not_stop_the_others(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "binary.txt": b"a\0b",
            "broken.pdf": b"%PDF-1.4 nothing",
            "empty.md": " \n",
            "good.md": "fine",
            "picture.png": b"\x89PNG",
            "rows.jsonl": '{"id": "1", "text": "x"}\n{"id": "1", "text": "y"}\n',
            "scan.pdf": placed_pdf([[]], scanned=[1]),
        },
    )
    loaded = load_folder(tmp_path)
    assert [d.id for d in loaded.documents] == ["good.md", "rows.jsonl#1"]
    said = reasons(loaded)
    left = [account.path for account in loaded.accounts if account.status is FileStatus.LEFT_ALONE]
    assert left == ["empty.md", "picture.png"]
    failed = [account.path for account in loaded.accounts if account.status is FileStatus.FAILED]
    assert failed == ["binary.txt", "broken.pdf", "scan.pdf"]
    assert [account.path for account in loaded.accounts if account.status is FileStatus.IN_PART] == ["rows.jsonl"]
    assert "binary" in said["binary.txt"] and "damaged" in said["broken.pdf"] and "no text" in said["empty.md"]
    assert said["rows.jsonl"].startswith("line 2: id '1' stands twice") and "OCR" in said["scan.pdf"]
    assert all("\n" not in reason and str(tmp_path) not in reason for reason in said.values())


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_without_permission_is_reported(tmp_path: Path) -> None:
    write(tmp_path, {"a.txt": "x", "b.txt": "y"})
    (tmp_path / "a.txt").chmod(0)
    assert "Permission denied" in reasons(load_folder(tmp_path))["a.txt"]


def test_encrypted_pdf_says_so(tmp_path: Path) -> None:
    import io

    from pypdf import PdfReader, PdfWriter

    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(pdf_bytes([["secret"]]))))
    writer.encrypt("word", algorithm="RC4-128")
    sealed = io.BytesIO()
    writer.write(sealed)
    write(tmp_path, {"a.txt": "x", "sealed.pdf": sealed.getvalue()})
    assert "encrypted" in reasons(load_folder(tmp_path))["sealed.pdf"]


def test_links_out_of_the_folder_and_hidden_files_are_left(tmp_path: Path) -> None:
    outside = write(tmp_path / "outside", {"secret.txt": "secret"})
    folder = write(tmp_path / "docs", {"real.txt": "x", ".hidden.txt": "h", ".git/config.txt": "g"})
    (folder / "out.txt").symlink_to(outside / "secret.txt")
    (folder / "in.txt").symlink_to(folder / "real.txt")
    (folder / "dead.txt").symlink_to(folder / "nowhere.txt")
    (folder / "loop.txt").symlink_to(folder / "loop.txt")
    (folder / "dir").symlink_to(outside)
    loaded = load_folder(folder)
    assert [d.id for d in loaded.documents] == ["in.txt", "real.txt"]
    said = reasons(loaded)
    assert "leads out of the folder" in said["out.txt"]
    assert "cannot be read" in said["dead.txt"] and "cannot be read" in said["loop.txt"]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "not JSON"),
        ("[1]", "not an object"),
        ('{"text": "x"}', '"id"'),
        ('{"id": "", "text": "x"}', '"id"'),
        ('{"id": true, "text": "x"}', '"id"'),
        ('{"id": "1"}', '"text"'),
        ('{"id": "1", "text": "  "}', '"text"'),
        ('{"id": "1", "text": ["x"]}', '"text"'),
        ('{"id": "1", "text": "x", "n": 1e400}', "1e400 is too large a number"),
        ('{"id": "1", "text": "x", "n": NaN}', "NaN is no number of JSON"),
        ('{"id": "1", "text": "x", "n": ' + "[" * 16 + "]" * 16 + "}", "more than 16 levels"),
        ('{"id": "1", "text": "x", "n": ' + '{"a": ' * 400 + "1" + "}" * 400 + "}", "more than 16 levels"),
        ('{"id": "1", "text": "x", "title": 3}', '"title"'),
        (json.dumps({"id": "1", "text": "x", "title": "t" * 1001}), "1001 characters"),
        (json.dumps({"id": "i" * 201, "text": "x"}), "201 characters"),
        (json.dumps({"id": "1", "text": "x", **{f"k{number}": 0 for number in range(33)}}), "33 keys"),
        (json.dumps({"id": "1", "text": "x", "notes": ["n" * 5000]}), "bytes beside"),
    ],
)
def test_bad_rows_name_file_and_line(tmp_path: Path, line: str, complaint: str) -> None:
    write(tmp_path, {"r.jsonl": json.dumps({"id": "0", "text": "ok"}) + "\n\n" + line + "\n"})
    content = read_file(tmp_path / "r.jsonl", tmp_path)
    assert [document.text for document in content.documents] == ["ok"]
    assert content.missing[0].startswith("line 3: ") and complaint in content.missing[0]
    write(tmp_path, {"r.jsonl": f"\n\n{line}\n"})
    with pytest.raises(DataError, match="r.jsonl:3") as error:
        load_file(tmp_path / "r.jsonl", tmp_path)
    assert complaint in str(error.value)


def test_of_many_bad_rows_the_first_are_named_and_all_are_counted(tmp_path: Path) -> None:
    write(tmp_path, {"r.jsonl": '{"id": 1, "text": "x"}\n' + "{\n" * 8})
    missing = read_file(tmp_path / "r.jsonl", tmp_path).missing
    assert [line.partition(":")[0] for line in missing] == [*(f"line {n}" for n in range(2, 7)), "and 3 more rows like these"]


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a folder"):
        load_folder(tmp_path / "nowhere")


def test_pdf_paragraphs_headings_and_page_numbers(tmp_path: Path) -> None:
    full = "The passenger chooses between the whole fare back and a place on another sailing"
    pages = [
        [
            "1. When we cancel",
            full,
            "within 14 days.",
            "A passenger part-way may ask to be brought back to the place",
            "they left, and",
        ],
        ["is then carried free of charge on the next sailing that has room for them and", "for a car.", "Page 2 of 2"],
    ]
    write(tmp_path, {"charter.pdf": pdf_bytes(pages)})
    document = load_folder(tmp_path).documents[0]
    assert document.title == "charter"
    assert document.text == (
        f"## 1. When we cancel\n\n{full}\nwithin 14 days.\n\n"
        "A passenger part-way may ask to be brought back to the place\nthey left, and\n"
        "is then carried free of charge on the next sailing that has room for them and\nfor a car."
    )


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        (
            ["1. Actions", "-  Draw it. Hal.", "-  Post it,", "soon. Ada.", "-  End."],
            "## 1. Actions\n\n- Draw it. Hal.\n- Post it,\nsoon. Ada.\n- End.",
        ),
        (["1. Milk", "2. Bread", "3. Salt"], "1. Milk\n2. Bread\n3. Salt"),
        (["To Mr Holt", "Finance", "12 May"], "To Mr Holt\nFinance\n12 May"),
    ],
)
def test_pdf_lists_and_what_is_no_heading(tmp_path: Path, lines: list[str], text: str) -> None:
    long = "This line is as long as the lines of this page are, all but a few of them, and ends here."
    write(tmp_path, {"a.pdf": pdf_bytes([[*[long] * 9, *lines]])})
    assert load_folder(tmp_path).documents[0].text.split(long)[-1].strip() == text


def test_pages_are_read_in_the_charset_that_they_declare(tmp_path: Path) -> None:
    page = "<html><head><meta http-equiv=Content-Type content=text/html;charset={}><title>{}</title></head><p>{}</p></html>"
    words = {"windows-1251": "Правила причала", "gb2312": "退货规则", "Shift_JIS": "規則", "iso-8859-1": "Fees – €"}
    encodings = {"iso-8859-1": "cp1252"}
    write(
        tmp_path,
        {f"{name}.html": page.format(name, word, word).encode(encodings.get(name, name)) for name, word in words.items()},
    )
    loaded = load_folder(tmp_path)
    assert {d.id.removesuffix(".html"): (d.title, d.text) for d in loaded.documents} == {k: (v, v) for k, v in words.items()}
    assert all(account.notes == () for account in loaded.accounts)


def test_bad_bytes_and_guessed_encodings_are_in_the_account(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "bad.txt": "Größe: 12 m. ".encode() * 9 + b"\xff",
            "log.txt": b"started\n" * 9 + b"\0\0",
            "old.txt": "Срок возврата".encode("cp1251"),
            "plain.txt": "Größe",
        },
    )
    accounts = {account.path: account for account in load_folder(tmp_path).accounts}
    assert accounts["bad.txt"].status is FileStatus.IN_PART
    assert accounts["bad.txt"].notes == ("1 byte that is no UTF-8, � in the text: save the file as UTF-8",)
    assert accounts["old.txt"].status is FileStatus.READ
    assert accounts["old.txt"].notes == ("read as CP1251, a guess: save it as UTF-8 to be sure",)
    assert accounts["log.txt"].notes == ("2 NUL characters left out",)
    assert accounts["plain.txt"].notes == ()


def test_a_useless_page_title_gives_way_to_the_first_heading(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "a.html": "<title>Untitled Document</title><h1>Boat fees</h1><p>x",
            "b.html": "<title>index.html</title><p>x",
            "c.html": "<title>Crane rules</title><h1>Other</h1><p>x",
        },
    )
    assert [d.title for d in load_folder(tmp_path).documents] == ["Boat fees", "b", "Crane rules"]


def test_rows_in_utf16_with_a_mark_are_read(tmp_path: Path) -> None:
    write(tmp_path, {"r.jsonl": '{"id": 1, "text": "Åse"}\n{"id": 2, "text": "鍵"}\n'.encode("utf-16")})
    assert [d.text for d in load_folder(tmp_path).documents] == ["Åse", "鍵"]
