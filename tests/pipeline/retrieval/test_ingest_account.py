"""What an ingest says of each file, and which old versions stay searchable."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorag.pipeline.retrieval.account import FileAccount, FileStatus, counts, printable, remarks
from lorag.pipeline.retrieval.client_store import ClientStore
from lorag.pipeline.retrieval.embedder import HashingEmbedder
from lorag.pipeline.retrieval.index import Index
from lorag.pipeline.retrieval.ingest import Chunking, IngestReport, NoDocuments
from lorag.pipeline.retrieval.store import VectorStore
from tests.pipeline.retrieval.test_walking import without_rights

FILES = {
    "a.md": "The first sheet.",
    "b/c.md": "The second sheet.",
    "b/d.jsonl": '{"id": 1, "text": "The third sheet."}\n{"id": 2, "text": "The fourth sheet."}\n',
}
ALL = {"The first sheet.", "The second sheet.", "The third sheet.", "The fourth sheet."}


@pytest.fixture
def index(store: VectorStore) -> Index:
    return Index(store, HashingEmbedder(16))


def fill(folder: Path) -> Path:
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def texts(index: Index) -> set[str]:
    return {passage.text for passage in index.passages()}


def said(report: IngestReport) -> dict[str, tuple[str, ...]]:
    """Status, documents and notes of each file."""
    return {file.path: (file.status.value, str(file.documents), *file.notes) for file in report.files}


def test_a_file_that_was_emptied_leaves_the_index_and_is_named(index: Index, tmp_path: Path) -> None:
    folder = fill(tmp_path / "docs")
    index.ingest(folder)
    (folder / "a.md").write_text("")
    (folder / "b/c.md").write_text("---\n\n***\n")
    (folder / "b/d.jsonl").write_text("\n")
    (folder / "e.md").write_text("Another sheet.")
    report = index.ingest(folder)
    removed = "its old version was removed from the index"
    assert said(report) == {
        "a.md": ("left_alone", "0", "is empty", removed),
        "b/c.md": ("left_alone", "0", "holds no passage, only rules or white space", removed),
        "b/d.jsonl": ("left_alone", "0", "holds no text", removed),
        "e.md": ("read", "1"),
    }
    assert (report.removed, report.gone, texts(index)) == (4, (), {"Another sheet."})


def test_documents_go_when_all_their_files_are_gone(index: Index, tmp_path: Path) -> None:
    folder = fill(tmp_path / "docs")
    index.ingest(folder)
    for name in FILES:
        (folder / name).unlink()
    report = index.ingest(folder)
    assert (report.files, report.removed, report.passages, report.gone) == ((), 4, 0, tuple(FILES))
    assert texts(index) == set()
    assert index.ingest(folder).removed == 0


def test_a_first_ingest_without_a_document_is_refused_with_its_account(index: Index, tmp_path: Path) -> None:
    for name, content in {"a.png": b"\x89PNG", "b.pdf": b"%PDF-1.7 no", "c.txt": b""}.items():
        (tmp_path / "docs").mkdir(exist_ok=True)
        (tmp_path / "docs" / name).write_bytes(content)
    with pytest.raises(NoDocuments, match=r"no document that can be used \(b.pdf: .*\); put .txt") as refused:
        index.ingest(tmp_path / "docs")
    assert [(file.path, file.status.value) for file in refused.value.files] == [
        ("a.png", "left_alone"),
        ("b.pdf", "failed"),
        ("c.txt", "left_alone"),
    ]


@pytest.mark.parametrize("rebuild", [False, True])
def test_a_folder_that_cannot_be_opened_keeps_its_documents(rebuild: bool) -> None:
    index = Index(ClientStore(":memory:"), HashingEmbedder(16))
    with without_rights() as made:
        folder = fill(made / "docs")
        index.ingest(folder)
        (folder / "b").chmod(0)
        (folder / "a.md").write_text("The new sheet.")
        report = index.ingest(folder, rebuild=rebuild)
        (folder / "b").chmod(0o777)
    reason = "cannot be opened (Permission denied); let it be read"
    assert said(report) == {"a.md": ("read", "1"), "b/": ("kept", "3", reason, "what it held stays searchable")}
    assert (report.removed, report.gone) == (0, ())
    assert texts(index) == ALL - {"The first sheet."} | {"The new sheet."}


@pytest.mark.parametrize("rebuild", [False, True])
def test_a_file_that_fails_keeps_its_old_version_until_it_is_read_again(index: Index, tmp_path: Path, rebuild: bool) -> None:
    folder = fill(tmp_path / "docs")
    index.ingest(folder)
    (folder / "b/d.jsonl").write_text("[]\n{")
    (folder / "b/c.md").unlink()
    report = index.ingest(folder, rebuild=rebuild)
    status, documents, reason, kept = said(report)["b/d.jsonl"]
    assert (status, documents, kept) == ("kept", "2", "its old version stays searchable")
    assert reason.startswith("line 1: not an object")
    assert texts(index) == {"The first sheet.", "The third sheet.", "The fourth sheet."}
    assert report.passages == 3
    (folder / "b/d.jsonl").write_text('{"id": 1, "text": "The changed sheet."}\n')
    assert said(index.ingest(folder))["b/d.jsonl"] == ("read", "1")
    assert texts(index) == {"The first sheet.", "The changed sheet."}


@pytest.mark.parametrize("rebuild", [False, True])
def test_a_wrong_row_costs_no_other_row_and_no_older_one(index: Index, tmp_path: Path, rebuild: bool) -> None:
    folder = fill(tmp_path / "docs")
    index.ingest(folder)
    (folder / "b/d.jsonl").write_text(
        '{"id": 1, "text": "The changed sheet."}\n{"id": 2\n{"id": 1, "text": "Twice."}\n{"id": 3, "text": "X."}'
    )
    report = index.ingest(folder, rebuild=rebuild)
    status, documents, first, second, kept = said(report)["b/d.jsonl"]
    assert (status, documents) == ("read_in_part", "2")
    assert first.startswith("line 2: not JSON") and second == "line 3: id '1' stands twice; ids must differ"
    assert kept == "1 of its older rows stay searchable"
    assert texts(index) == {"The first sheet.", "The second sheet.", "The changed sheet.", "The fourth sheet.", "X."}
    (folder / "b/d.jsonl").write_text('{"id": 1, "text": "The changed sheet."}\n')
    index.ingest(folder)
    assert texts(index) == {"The first sheet.", "The second sheet.", "The changed sheet."}


def test_a_file_whose_name_begins_as_that_of_a_failed_one_goes_all_the_same(index: Index, tmp_path: Path) -> None:
    folder = fill(tmp_path / "docs")
    (folder / "a.md#b.md").write_text("The fifth sheet.")
    index.ingest(folder)
    (folder / "a.md").write_bytes(b"\0\1\2")
    (folder / "a.md#b.md").unlink()
    report = index.ingest(folder)
    assert (said(report)["a.md"][0], report.gone, texts(index)) == ("kept", ("a.md#b.md",), ALL)


class Breaking:
    """Counts the tokens of every text but one."""

    room = 4

    def count(self, text: str) -> int:
        if "BREAK" in text:
            raise RecursionError("too deep\n")
        return 1


def test_a_text_that_breaks_the_splitter_stays_with_its_file(store: VectorStore, tmp_path: Path) -> None:
    index = Index(store, HashingEmbedder(16), chunking=Chunking(tokens=Breaking()))
    folder = fill(tmp_path / "docs")
    index.ingest(folder)
    (folder / "a.md").write_text("BREAK the first sheet.")
    (folder / "b/c.md").write_text("The changed sheet.")
    (folder / "b/d.jsonl").write_text(FILES["b/d.jsonl"].replace("The third", "BREAK the third"))
    (folder / "new.md").write_text("BREAK the first sheet.")
    report = index.ingest(folder)
    broken = "cannot be cut (RecursionError: too deep\\n); please report it"
    kept = "its old version stays searchable"
    assert said(report) == {
        "a.md": ("kept", "1", f"a.md: {broken}", kept),
        "b/c.md": ("read", "1"),
        "b/d.jsonl": ("read_in_part", "1", f"b/d.jsonl#1: {broken}", "1 of its older rows stay searchable"),
        "new.md": ("failed", "0", f"new.md: {broken}"),
    }
    assert texts(index) == ALL - {"The second sheet."} | {"The changed sheet."}


def test_what_is_said_of_files_names_each_once() -> None:
    kind = ("not a kind that is read (.png)",)
    files = [
        *(FileAccount(f"{number:02}.png", FileStatus.LEFT_ALONE, kind) for number in range(12)),
        FileAccount("a.md", FileStatus.READ, documents=1),
        FileAccount("b.txt", FileStatus.READ, ("read as windows-1251",), 1),
        FileAccount("g.txt", FileStatus.READ, ("read as windows-1251",), 1),
        FileAccount("c.pdf", FileStatus.IN_PART, ("page 2 has no text",), 1),
        FileAccount("d.pdf", FileStatus.FAILED, ("damaged",)),
        FileAccount("e.md", FileStatus.KEPT, ("is locked", "its old version stays searchable"), 1),
        FileAccount("f.md", FileStatus.LEFT_ALONE, ("is empty",)),
    ]
    ten = ", ".join(f"{number:02}.png" for number in range(10))
    assert remarks(files) == [
        "read: b.txt, g.txt: read as windows-1251",
        "read in part: c.pdf: page 2 has no text",
        "not read: d.pdf: damaged",
        "not read: e.md: is locked; its old version stays searchable",
        f"left alone: {ten} and 2 more (`lorag ingest -o json` names all): not a kind that is read (.png)",
        "left alone: f.md: is empty",
    ]


def test_counts_have_every_status_and_the_number_of_files_as_their_sum() -> None:
    files = [FileAccount("a", FileStatus.READ), FileAccount("b", FileStatus.KEPT), FileAccount("c", FileStatus.READ)]
    assert counts(files) == {"read": 2, "read_in_part": 0, "left_alone": 0, "failed": 0, "kept": 1}
    assert counts([]) == dict.fromkeys(FileStatus, 0)


def test_an_account_is_one_line_of_printable_text() -> None:
    account = FileAccount("a.md", FileStatus.FAILED, ("first",)).noting("x\ny\u2028\x1b[2J\udc80")
    assert str(account) == "a.md: first; x\\ny\\u2028\\x1b[2J\\udc80"
    assert str(FileAccount("a.md", FileStatus.READ)) == "a.md"
    assert printable("naïve – 8 °C 词") == "naïve – 8 °C 词"
