"""The walk over a folder: everything is seen once, whatever it is, and nothing outside is read."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lorag.pipeline.errors import InputError
from lorag.pipeline.retrieval import loading
from lorag.pipeline.retrieval.account import FileAccount, FileStatus
from lorag.pipeline.retrieval.loading import load_folder, load_one
from lorag.pipeline.retrieval.walking import walk

LEFT, FAILED = FileStatus.LEFT_ALONE, FileStatus.FAILED


def found(folder: Path) -> dict[str, tuple[FileStatus, str]]:
    """The accounts of all that was not read."""
    return {
        file.path: (file.status, file.notes[0])
        for file in load_folder(folder).accounts
        if file.status not in (FileStatus.READ, FileStatus.IN_PART)
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one good file in it."""
    made = tmp_path / "docs"
    made.mkdir()
    (made / "good.md").write_text("Good.")
    return made


@contextmanager
def without_rights() -> Iterator[Path]:
    """Within: a folder, and a process that permissions hold for. Root gives its own up."""
    with tempfile.TemporaryDirectory() as made:
        os.chmod(made, 0o777)
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)
        try:
            yield Path(made)
        finally:
            if root:
                os.seteuid(0)


def test_what_is_no_file_is_named_and_never_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "pipe.md")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "socket.md"))
        (folder / "zero.md").symlink_to("/dev/zero")
        assert found(folder) == {
            "pipe.md": (LEFT, "a named pipe, not a file"),
            "socket.md": (LEFT, "a socket, not a file"),
            "zero.md": (LEFT, "a device, not a file"),
        }
    with pytest.raises(InputError, match="not a file"):
        loading.read_file(folder / "pipe.md", folder)


def test_hidden_things_are_one_account_each(folder: Path) -> None:
    (folder / ".git/objects").mkdir(parents=True)
    (folder / ".git/objects/a.md").write_text("x")
    (folder / ".note.md").write_text("x")
    reason = "hidden, its name begins with a dot"
    assert found(folder) == {".git/": (LEFT, reason), ".note.md": (LEFT, reason)}


def test_names_that_are_no_utf8_are_shown_with_their_bytes(folder: Path) -> None:
    raw = os.fsencode(folder)
    Path(os.fsdecode(raw + b"/caf\xe9.md")).write_text("x")
    os.mkdir(raw + b"/d\xe9")
    Path(os.fsdecode(raw + b"/d\xe9/a.md")).write_text("x")
    assert found(folder) == {
        "caf\\xe9.md": (FAILED, "its name is not UTF-8; rename it"),
        "d\\xe9/": (FAILED, "the folder's name is not UTF-8, so nothing in it was read; rename it"),
    }


def test_names_with_control_characters_are_read_and_shown_in_one_line(folder: Path) -> None:
    (folder / "a\nb\x1b[31m\u202e.md").write_text("Text.")
    assert [file.path for file in load_folder(folder).accounts] == ["a\\nb\\x1b[31m\\u202e.md", "good.md"]
    assert [document.text for document in load_folder(folder).documents] == ["Text.", "Good."]


def test_links_to_folders_are_followed_inside_or_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret.md").write_text("secret")
    (folder / "real").mkdir()
    (folder / "real/a.md").write_text("A.")
    (folder / ".data/deep").mkdir(parents=True)
    (folder / ".data/b.md").write_text("B.")
    links = {"out": tmp_path / "outside", "in": folder / "real", "up": folder, "dead": folder / "no", "loop": folder / "loop"}
    links |= {"data": folder / ".data", "data2": folder / ".data/deep", ".data/back": folder / ".data", "real/up": tmp_path}
    for name, place in links.items():
        (folder / name).symlink_to(place)
    hidden = "hidden, its name begins with a dot"
    own = "a link to a folder that is read in its own place"
    leaves = "a link that leads out of the folder; copy what it leads to into the folder"
    overlaps = "a link to a folder that overlaps one that another link leads to"
    said = found(folder)
    assert said.pop("dead")[0] is said.pop("loop")[0] is FAILED
    assert said == {
        ".data/": (LEFT, hidden),
        "data/back/": (LEFT, overlaps),
        "data2/": (LEFT, overlaps),
        "in/": (LEFT, own),
        "out/": (FAILED, leaves),
        "real/up/": (FAILED, leaves),
        "up/": (LEFT, own),
    }
    assert [document.id for document in load_folder(folder).documents] == ["data/b.md", "good.md", "real/a.md"]


def test_the_folder_itself_may_be_a_link(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    assert [document.id for document in load_folder(tmp_path / "link").documents] == ["good.md"]


def test_what_permissions_forbid_is_named() -> None:
    with without_rights() as folder:
        (folder / "good.md").write_text("Good.")
        (folder / "file.md").write_text("x")
        (folder / "file.md").chmod(0)
        for name, mode in (("closed", 0), ("listed", 0o444)):
            (folder / name).mkdir()
            (folder / name / "a.md").write_text("x")
            (folder / name).chmod(mode)
        said = found(folder)
        for name in ("closed", "listed"):
            (folder / name).chmod(0o777)
    assert said == {
        "closed/": (FAILED, "cannot be opened (Permission denied); let it be read"),
        "file.md": (FAILED, "cannot be read (Permission denied)"),
        "listed/a.md": (FAILED, "cannot be read (Permission denied)"),
    }


def test_a_documents_folder_that_cannot_be_opened_is_an_error() -> None:
    with without_rights() as folder:
        (folder / "docs").mkdir(mode=0)
        with pytest.raises(InputError, match="docs: cannot be opened"):
            load_folder(folder / "docs")


def test_a_file_that_vanishes_or_changes_its_kind_while_the_folder_is_read(folder: Path) -> None:
    (folder / "other.md").write_text("Other.")
    accounts = []
    for seen in walk(folder):
        assert isinstance(seen, Path)
        seen.unlink()
        if seen.name == "other.md":
            os.mkfifo(seen)
        accounts.append(load_one(seen, folder).account)
    assert accounts == [
        FileAccount("good.md", FAILED, ("cannot be read (No such file or directory)",)),
        FileAccount("other.md", FAILED, ("not a file; take it out of the folder",)),
    ]


def test_paths_near_the_systems_limit_are_named(folder: Path) -> None:
    place = os.getcwd()
    try:
        os.chdir(folder)
        for _ in range(20):  # 4,020 characters, and each folder with a file
            os.mkdir("d" * 200)
            os.chdir("d" * 200)
            Path("a.md").write_text("Deep.")
    finally:
        os.chdir(place)
    loaded = load_folder(folder)
    assert len(loaded.files) >= 20
    read = [document for document in loaded.documents if document.text == "Deep."]
    assert {len(document.id) for document in read} == {201 * depth + 4 for depth in range(1, 5)}
    failed = [file for file in loaded.accounts if file.status is FAILED]
    assert len(failed) >= 15 and all("1000 are the most" in file.notes[0] or "too long" in file.notes[0] for file in failed)


def test_a_file_that_is_too_large_is_not_read(folder: Path) -> None:
    with (folder / "sparse.txt").open("wb") as file:
        file.truncate(loading.MAX_BYTES + 1)
    assert found(folder) == {"sparse.txt": (FAILED, "has 268435457 bytes; 268435456 are the most: split it")}
