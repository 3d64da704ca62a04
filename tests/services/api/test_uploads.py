"""What arrives in a form: names made safe, kinds checked by name and by content, broken forms refused."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from lorag.services.api.errors import ApiError, on_known
from lorag.services.api.uploads import MAX_FILES, check_content, receive, safe_name


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("handbook.md", "handbook.md"),
        ("Übersicht 2026 (neu).PDF", "Übersicht 2026 (neu).PDF"),
        ("../../etc/passwd.txt", "passwd.txt"),
        ("/etc/cron.d/x.txt", "x.txt"),
        ("..\\..\\windows\\x.txt", "x.txt"),
        ("C:\\temp\\x.txt", "x.txt"),
        ("a/../b.md", "b.md"),
        (".hidden.md", "hidden.md"),
        ("....md", None),
        ("..md", None),
        (".md", None),
        ("", None),
        ("..", None),
        ("/", None),
        ("x.md/", None),
        ("x\0.md", "x%00.md"),
        ("x.md\0", None),
        ("a\nb.md", "a%0Ab.md"),
        ("a\u202egnp.md", "a%E2%80%AEgnp.md"),
        ("caf\udce9.md", "caf%E9.md"),
        ("C#.md", "C#.md"),
        ("C&.md", "C&.md"),
        ("a%2fb.md", "a%2fb.md"),
        ("a:b|c?.md", "a:b|c?.md"),
        ("  spaced   out .md", "spaced   out .md"),
        ("no\u202fbreak.md", "no break.md"),
        ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645.md", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645.md"),
        ("e\u0301.md", "\u00e9.md"),
        ("x.md. ", "x.md"),
        ("-rf.txt", "-rf.txt"),
        ("___.md", None),
        ("x" * 197 + ".md", "x" * 197 + ".md"),
        ("x" * 198 + ".md", None),
        ("ü" * 99 + ".md", None),
    ],
)
def test_names_lead_nowhere_else(raw: str, name: str | None) -> None:
    if name is not None:
        assert safe_name(raw) == name == safe_name(name)
        assert Path(name).name == name and not name.startswith(".")
        return
    with pytest.raises(ApiError) as refused:
        safe_name(raw)
    assert refused.value.status in (400, 415)


def test_different_names_stay_different() -> None:
    """Of every character of the first planes, of bytes that are no UTF-8, and of two spaces for one."""
    letters = [
        chr(code) for code in range(0x3000) if chr(code) not in "/\\" and unicodedata.category(chr(code)) not in ("Zs", "Cn")
    ]
    letters += [chr(0xDC00 + byte) for byte in range(0x80, 0x100)]
    names = [safe_name(f"C{letter}x.md") for letter in letters if unicodedata.is_normalized("NFC", f"C{letter}x")]
    assert len(names) > 7000
    assert len(set(names)) == len(names)
    assert safe_name("C  x.md") != safe_name("C x.md")


@pytest.mark.parametrize("name", ["x.exe", "x.doc", "x", "x.md.exe", "x.jsonl.gz", "x.htm.", "x.json"])
def test_kinds_that_are_not_read_are_refused(name: str) -> None:
    if name == "x.htm.":
        assert safe_name(name) == "x.htm"
        return
    with pytest.raises(ApiError, match="not a kind that is read") as refused:
        safe_name(name)
    assert refused.value.status == 415


@pytest.mark.parametrize(
    ("name", "head", "fits"),
    [
        ("a.pdf", b"%PDF-1.7\n", True),
        ("a.PDF", b"\n\n%PDF-1.4", True),
        ("a.pdf", b"Hello", False),
        ("a.pdf", b"PK\x03\x04", False),
        ("a.txt", b"Hello", True),
        ("a.txt", "Grüße".encode("latin-1"), True),
        ("a.txt", "\ufeffHi".encode("utf-16-le"), True),
        ("a.txt", b"a\0b", False),
        ("a.md", b"%PDF-1.7", False),
        ("a.html", b"PK\x03\x04docx", False),
        ("a.docx", b"PK\x03\x04docx", True),
        ("a.XLSX", b"PK\x03\x04xlsx", True),
        ("a.pptx", b"\xd0\xcf\x11\xe0 with a password", True),
        ("a.epub", b"<html>", False),
        ("a.txt", b"started\n\0\nstopped, and started again\n", True),
        ("a.jsonl", b"\x7fELF\x02\x01\x01\0", False),
        ("a.txt", b"\x89PNG\r\n\x1a\n\0\0", False),
    ],
)
def test_the_content_must_be_what_the_name_says(name: str, head: bytes, fits: bool) -> None:
    if fits:
        check_content(name, head)
        return
    with pytest.raises(ApiError, match="not what its name says") as refused:
        check_content(name, head)
    assert refused.value.status == 415


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


@pytest.fixture
def client(folder: Path) -> Iterator[TestClient]:
    app = FastAPI()
    app.add_exception_handler(ApiError, on_known)

    @app.post("/")
    async def take(request: Request) -> dict[str, tuple[str, ...]]:
        return {"names": await receive(request, folder, limit=200_000)}

    with TestClient(app) as made:
        yield made


def part(name: str, content: bytes, field: str = "file") -> bytes:
    head = f'Content-Disposition: form-data; name="{field}"; filename="{name}"'.encode()
    return b"--x\r\n" + head + b"\r\n\r\n" + content + b"\r\n"


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ("filename*=UTF-8''na%C3%AFve%20plan.md", "naïve plan.md"),
        ("filename*=utf-8'en'a.md", "a.md"),
        ("filename*=ISO-8859-1''na%EFve.md", "naïve.md"),
        ("filename=\"plain.md\"; filename*=UTF-8''na%C3%AFve.md", "naïve.md"),
        ("FileName* = \"UTF-8''b.md\"", "b.md"),
        ("filename=\"plain.md\"; filename*=nonsense''x.md", "plain.md"),
        ("filename*=UTF-8''..%2F..%2Fetc%2Fx.md", "x.md"),
    ],
)
def test_a_name_in_the_extended_form(client: TestClient, disposition: str, name: str) -> None:
    body = f'--x\r\nContent-Disposition: form-data; name="file"; {disposition}\r\n\r\nwords\r\n--x--\r\n'
    assert client.post("/", content=body.encode(), headers=FORM).json() == {"names": [name]}


FORM = {"Content-Type": "multipart/form-data; boundary=x"}


def test_files_come_whole_in_order_and_for_the_owner_alone(client: TestClient, folder: Path) -> None:
    contents = {"b.txt": b"word \r\n--x-but-not " * 9000, "a.pdf": b"%PDF-1.7 " + bytes(range(256)) * 20}
    answer = client.post("/", files=[("file", (name, content)) for name, content in contents.items()])
    assert answer.json() == {"names": ["b.txt", "a.pdf"]}
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == contents
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Content-Type": "application/json"}, b"{}", 400),
        ({}, b"x", 400),
        ({"Content-Type": "multipart/form-data"}, part("a.txt", b"a") + b"--x--\r\n", 400),
        ({"Content-Type": "multipart/form-data; boundary=" + "y" * 500}, b"", 400),
        (FORM, b"", 400),
        (FORM, b"--x--\r\n", 400),
        (FORM, b"no form at all", 400),
        (FORM, part("a.txt", b"a"), 400),
        (FORM, part("a.txt", b"a")[:-10], 400),
        (FORM, part("a.txt", b"") + b"--x--\r\n", 400),
        (FORM, part("a.txt", b"a") + part("a.txt", b"b") + b"--x--\r\n", 400),
        (FORM, part("a.txt", b"a") + part("A.txt", b"b") + b"--x--\r\n", 400),
        (FORM, part("a.txt", b"a") + part("x/a.txt", b"b") + b"--x--\r\n", 400),
        (FORM, b'--x\r\nContent-Disposition: form-data; name="tenant"\r\n\r\nred\r\n--x--\r\n', 400),
        (FORM, b"--x\r\nContent-Disposition: form-data\r\n\r\nred\r\n--x--\r\n", 400),
        (FORM, b"--x\r\n" + b"A: b\r\n" * 500 + b"\r\nred\r\n--x--\r\n", 400),
        (FORM, b"--x\r\nA: " + b"b" * 100_000 + b"\r\n\r\nred\r\n--x--\r\n", 400),
        (FORM, b"".join(part(f"{n}.txt", b"a") for n in range(MAX_FILES + 1)) + b"--x--\r\n", 400),
        (FORM, part("a.exe", b"MZ") + b"--x--\r\n", 415),
        (FORM, part("a.pdf", b"not one") + b"--x--\r\n", 415),
        (FORM, part("a.txt", b"a" * 200_001) + b"--x--\r\n", 413),
    ],
)
def test_what_is_no_such_form_is_refused(client: TestClient, headers: dict[str, str], body: bytes, status: int) -> None:
    answer = client.post("/", content=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["message"]


def test_the_most_files_at_once(client: TestClient) -> None:
    files = [("file", (f"{number}.txt", "a")) for number in range(MAX_FILES)]
    assert len(client.post("/", files=files).json()["names"]) == MAX_FILES
