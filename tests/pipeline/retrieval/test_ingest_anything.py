"""Whatever names and bytes are in a folder: an ingest ends well, accounts for each file, and loses no text of the others."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lorag.pipeline.retrieval.account import FileStatus, counts, printable_path
from lorag.pipeline.retrieval.client_store import ClientStore
from lorag.pipeline.retrieval.edge_store import EdgeStore
from lorag.pipeline.retrieval.embedder import HashingEmbedder
from lorag.pipeline.retrieval.index import Index
from lorag.pipeline.retrieval.ingest import Chunking, IngestReport
from lorag.pipeline.retrieval.loading import KINDS
from lorag.pipeline.retrieval.store import VectorStore
from tests.pipeline.retrieval.pdf_bytes import pdf_bytes

GOOD = {b"good.md": b"# Kept\n\nThe gate opens at six.\n", b"good.jsonl": b'{"id": 1, "text": "The mate keeps the log."}\n'}
TEXTS = {"The gate opens at six.", "The mate keeps the log."}

_HTML = (
    "<![ if !IE]>|<!--|-->|<script>|</script>|<noscript>|<select><option>|<ul><li>|<td>|&#x|&#55357;|<title>|<pre>|<svg>"
    '|<![CDATA[|]]>|<p>word|<input value="7">|<table><tr><th>|<meta charset="gb2312">'
)
_MARKDOWN = ("# ", "## Head\n", "---\n", "===\n", "```\n", "~~~\n", "| a | b |\n", "|--|--|\n", "- item\n", "  1. x\n", "> q\n")
_ROWS = (
    '{"id": "a", "text": "x"}\n',
    '{"id": "a", "text": "\\ud800"}\n',
    '{"id": 2, "text": "y", "n": 1e999}\n',
    '{"id": 3, "text": "z", "n": ' + "[" * 200 + "]" * 200 + "}\n",
    '{"id": "\\u0000#/", "text": "\\u0000", "a.b[]": {"": 1}}\n',
    "[[[[",
    "{}\n",
)
_PDF = (b"%PDF-1.7\n", b"startxref\n9\n%%EOF", b"PK\x03\x04", pdf_bytes([["One line."]]), pdf_bytes([["A", "B"]])[:-40])
_BYTES = (
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\xfe\xff",
    b"\0",
    b"\x1a",
    b"\r",
    b"\n\n",
    b" ",
    b"\t",
    b"\x0c",
    b"\xed\xa0\x80",
    b"caf\xe9",
)
_LONG = ("слово", "词。" * 50, "\u2028\u202e\ufeff\ufffe", "w " * 400, "x" * 3000)
PIECES = [*_PDF, *_BYTES, *(text.encode() for text in (*_HTML.split("|"), *_MARKDOWN, *_ROWS, *_LONG))]
CONTENT = st.one_of(st.binary(max_size=200), st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join))
_NAMES = (b"a", b"a#1", b"C#", b"C&", b"uploads", b".x", b"~$a", b"caf\xe9", b"\n", b"\xe2\x80\xae", b"%41", b"a b", b"-", b"\\")
_ANY = st.binary(min_size=1, max_size=12).map(lambda raw: raw.replace(b"/", b"_").replace(b"\0", b"_"))
PART = st.one_of(st.sampled_from(_NAMES), _ANY)
SUFFIX = st.sampled_from([*(kind.encode() for kind in KINDS), b".MD", b"", b".png", b".md\n"])
NAME = st.tuples(st.lists(PART, max_size=2), PART, SUFFIX).map(lambda name: b"/".join((*name[0], name[1] + name[2])))
FILES = st.dictionaries(NAME, CONTENT, max_size=5)


def write(folder: bytes, files: Mapping[bytes, bytes]) -> None:
    for name, content in files.items():
        path = os.path.join(folder, name)
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(content)
        except OSError:
            pass  # `.`, `..`, or a name that is a file and a folder


def seen(folder: Path) -> Iterator[str]:
    """What an account is due for, found in another way: each file, and each folder that is not entered."""
    for place, folders, files in os.walk(folder):
        at = Path(place)
        for name in sorted(folders):
            if name.startswith(".") or any("\udc80" <= letter <= "\udcff" for letter in name):
                folders.remove(name)
                yield printable_path((at / name).relative_to(folder)) + "/"
        yield from (printable_path((at / name).relative_to(folder)) for name in files)


def checked(index: Index, folder: Path) -> IngestReport:
    """An ingest whose account has each file once."""
    report = index.ingest(folder)
    assert sorted(file.path for file in report.files) == sorted(seen(folder))
    assert sum(counts(report.files).values()) == len(report.files)
    assert {file.path for file in report.files if file.documents} == {
        file.path for file in report.files if file.status in (FileStatus.READ, FileStatus.IN_PART, FileStatus.KEPT)
    }
    assert all(file.notes for file in report.files if file.status is not FileStatus.READ)
    return report


HOSTILE = settings(deadline=None, suppress_health_check=list(HealthCheck))


@settings(HOSTILE, max_examples=100)
@given(FILES, FILES)
def test_an_ingest_of_anything_ends_well(first: dict[bytes, bytes], second: dict[bytes, bytes]) -> None:
    with tempfile.TemporaryDirectory() as made:
        check_two_versions(ClientStore(":memory:"), Path(made), first, second)


@settings(HOSTILE, max_examples=8)
@given(FILES, FILES)
@example({b"caf\xe9.md": b"x", b"caf\xe9/a.md": b"x", b"a.html": b"<![ if"}, {b"a.html": b""})
@example({b"a.jsonl": b'{"id": 1, "text": "x", "n": 1e999}'}, {b"a.jsonl": b"{"})
@example({b"a.jsonl": _ROWS[3].encode(), b"b/c.md": b"text"}, {b"a.jsonl": _ROWS[4].encode()})
def test_an_ingest_of_anything_on_disk_ends_well(first: dict[bytes, bytes], second: dict[bytes, bytes]) -> None:
    with tempfile.TemporaryDirectory() as made:
        check_two_versions(EdgeStore(Path(made) / "index"), Path(made), first, second)


def check_two_versions(store: VectorStore, made: Path, first: dict[bytes, bytes], second: dict[bytes, bytes]) -> None:
    """Two versions of a folder, each beside good files: the account of each is whole, and no text of the good ones is lost."""
    folder = made / "docs"
    write(os.fsencode(folder), {**first, **GOOD})
    try:
        index = Index(store, HashingEmbedder(16), chunking=Chunking(200, 20))
        report = checked(index, folder)
        assert {passage.text for passage in index.passages()} >= TEXTS
        again = checked(index, folder)
        assert (again.added, again.changed, again.removed, again.passages) == (0, 0, 0, report.passages)
        assert again.files == report.files
        write(os.fsencode(folder), {**second, **GOOD})
        last = checked(index, folder)
        assert {passage.text for passage in index.passages()} >= TEXTS
        before = {file.path for file in report.of(FileStatus.READ, FileStatus.IN_PART)}
        assert not [file for file in last.of(FileStatus.FAILED) if file.path in before], "its old version is kept"
        assert index.ingest(folder, rebuild=True).passages == last.passages
    finally:
        store.close()
