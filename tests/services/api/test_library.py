"""Uploads between disk and index: what is mended at a start, what is undone, what a lost or other index gets back."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from lorag.pipeline.errors import StoreError
from lorag.pipeline.retrieval.edge_store import EdgeStore
from lorag.pipeline.retrieval.embedder import HashingEmbedder, Vectors
from lorag.pipeline.retrieval.index import Index
from lorag.pipeline.retrieval.ingest import Chunking
from lorag.pipeline.retrieval.store import VectorStore
from lorag.services.api.background import Job, Order
from lorag.services.api.library import INGEST, RECHECK, Library


class Failing(HashingEmbedder):
    """The store's or encoder's failure in the middle of a long document."""

    failing = False

    def embed_passages(self, texts: Sequence[str]) -> Vectors:
        if self.failing and any("37" in text for text in texts):
            raise StoreError("the disk is gone")
        return super().embed_passages(texts)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[VectorStore]:
    made = EdgeStore(tmp_path / "index")
    yield made
    made.close()


@pytest.fixture
def embedder() -> Failing:
    return Failing(32)


@pytest.fixture
def index(store: VectorStore, embedder: Failing) -> Index:
    return Index(store, embedder, chunking=Chunking(40, 0))


@pytest.fixture
def library(tmp_path: Path, index: Index) -> Library:
    return Library(tmp_path / "uploads", lambda: index)


def long(word: str) -> str:
    return "\n\n".join(f"Line {number} is {word}." for number in range(40))


def arrive(library: Library, id: str, **files: str) -> Job:
    """The job of an upload that has arrived and is not begun."""
    with library.incoming(id) as folder:
        for name, text in files.items():
            (folder / f"{name}.md").write_text(text)
    return Job(id, INGEST, "red", tuple(f"{name}.md" for name in files), "2026-01-01T00:00:00Z")


def nothing(done: int, total: int, message: str) -> None:
    """Progress that nobody reads."""


def texts(index: Index) -> set[str]:
    return {passage.text for passage in index.for_tenant("red").passages()}


def run_orders(library: Library) -> list[Order]:
    orders = library.needed(())
    for number, order in enumerate(orders):
        library.run(Job(f"r{number}", order.kind, order.tenant, order.files, ""), nothing)
    return orders


def test_a_job_may_be_run_again_from_any_point(library: Library, index: Index, tmp_path: Path) -> None:
    """As after a kill: between the index and the move of the file, and after the move."""
    job = arrive(library, "j1", a="One.", b="Two.")
    staged = tmp_path / "uploads/.incoming/j1"
    copies = {path.name: path.read_text() for path in staged.iterdir()}
    assert library.run(job, nothing) == ("2 of 2 files read, 2 passages written", None)
    for again in (("a.md", "b.md"), ("b.md",), ()):
        for name in again:
            (staged / name).write_text(copies[name])
        message, error = library.run(job, nothing)
        assert message.startswith("2 of 2 files read") and error is None
        assert texts(index) == {"One.", "Two."} and list(staged.iterdir()) == []
    library.finish(job)
    assert not staged.exists()
    assert {path.name for path in (tmp_path / "uploads/red").iterdir()} == {"a.md", "b.md"}


def test_a_file_that_cannot_be_used_says_so_each_time_until_the_job_has_ended(library: Library, index: Index) -> None:
    job = arrive(library, "j1", a="---\n", b="Two.")
    for _ in range(2):
        _, error = library.run(job, nothing)
        assert error == "a.md: holds no passage, only rules or white space" and texts(index) == {"Two."}


def test_what_failed_half_way_is_undone(library: Library, index: Index, embedder: Failing, tmp_path: Path) -> None:
    library.run(arrive(library, "j1", a=long("old")), nothing)
    before = texts(index)
    job = arrive(library, "j2", a=long("new"), b=long("never there"))
    embedder.failing = True
    with pytest.raises(StoreError):
        library.run(job, nothing)
    assert texts(index) != before, "the test wants a half-written document"
    embedder.failing = False
    library.give_up(job)
    assert texts(index) == before and {line for text in before for line in text.split("\n\n")} == {*long("old").split("\n\n")}
    assert (tmp_path / "uploads/red/a.md").read_text() == long("old")
    library.finish(job)
    assert not (tmp_path / "uploads/.incoming/j2").exists()


def test_a_document_that_was_never_there_is_gone_after_it_was_given_up(library: Library, index: Index, embedder: Failing) -> None:
    job = arrive(library, "j1", a=long("new"))
    embedder.failing = True
    with pytest.raises(StoreError):
        library.run(job, nothing)
    assert texts(index)
    library.give_up(job)
    assert texts(index) == set() and index.for_tenant("red").files() == []


def test_an_upload_that_breaks_off_leaves_nothing(library: Library, tmp_path: Path) -> None:
    with pytest.raises(ConnectionError), library.incoming("j1") as folder:
        (folder / "a.md").write_text("half")
        raise ConnectionError
    assert list((tmp_path / "uploads/.incoming").iterdir()) == []


def test_a_sweep_keeps_the_files_of_unfinished_jobs_alone(library: Library, tmp_path: Path) -> None:
    for id in ("kept", "orphan"):
        arrive(library, id, a="One.")
    (tmp_path / "uploads/.incoming/cut.part").mkdir()
    library.sweep({"kept"})
    assert [path.name for path in (tmp_path / "uploads/.incoming").iterdir()] == ["kept"]


def test_an_index_that_was_lost_gets_its_uploads_back(
    library: Library, embedder: Failing, store: VectorStore, tmp_path: Path
) -> None:
    library.run(arrive(library, "j1", a="One.", b="Two."), nothing)
    assert run_orders(library) == []
    store.close()
    shutil.rmtree(tmp_path / "index")
    with closing(EdgeStore(tmp_path / "index")) as empty:
        index = Index(empty, embedder, chunking=Chunking(40, 0))
        restarted = Library(tmp_path / "uploads", lambda: index)
        assert run_orders(restarted) == [Order(RECHECK, "red", ("a.md", "b.md"))]
        assert texts(index) == {"One.", "Two."}
        assert run_orders(restarted) == []


def test_another_collection_gets_what_changed_since_it_was_left(library: Library, index: Index, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "own.txt").write_text("Own.")
    index.ingest(docs)
    library.run(arrive(library, "j1", a="One.", b="Two."), nothing)
    index.ingest(docs, rebuild=True)
    assert run_orders(library) == [Order(RECHECK, "red", ("a.md", "b.md"))]
    library.run(arrive(library, "j2", a="One, changed."), nothing)
    library.delete("red", "b.md")
    index.rollback()
    assert texts(index) == {"One."}
    assert run_orders(library) == [Order(RECHECK, "red", ("a.md",))]
    assert texts(index) == {"One, changed."}


def test_a_file_deleted_on_disk_only_by_a_kill_is_gone_at_the_next_look(library: Library, index: Index, tmp_path: Path) -> None:
    library.run(arrive(library, "j1", a="One."), nothing)
    (tmp_path / "uploads/red/a.md").unlink()
    assert library.needed({("red", "a.md")}) == [] and texts(index) == {"One."}
    assert run_orders(library) == [Order(RECHECK, "red", ("a.md",))]
    assert texts(index) == set() and not library.delete("red", "a.md")


def test_the_project_and_a_tenant_keep_their_files_apart(library: Library, index: Index, tmp_path: Path) -> None:
    for tenant, text in (("", "Own."), ("red", "Red.")):
        job = arrive(library, f"j{tenant}", a=text)
        library.run(Job(job.id, INGEST, tenant, job.files, ""), nothing)
    assert (tmp_path / "uploads/_project/a.md").read_text() == "Own." and (tmp_path / "uploads/red/a.md").read_text() == "Red."
    assert texts(index) == {"Red."} and {passage.text for passage in index.passages()} == {"Own."}
    assert library.delete("", "a.md") and texts(index) == {"Red."}


def test_a_file_read_in_while_another_collection_takes_the_name_is_in_that(
    library: Library, index: Index, embedder: Failing, tmp_path: Path
) -> None:
    """Its first collection stays the one that is remembered, so a look finds that files from before may be missing."""
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "own.txt").write_text("Own.")
    index.ingest(docs)
    job = arrive(library, "j1", a="One.", b="Two.")

    def switch(done: int, total: int, message: str) -> None:
        if done == 2 and index.info().collection == "passages-1":
            index.ingest(docs, rebuild=True)
            index.for_tenant("red").remove("a.md")  # as if it had come after all was carried over

    library.run(job, switch)
    assert index.info().collection == "passages-2" and texts(index) == {"Two."}
    assert run_orders(library) == [Order(RECHECK, "red", ("a.md", "b.md"))]
    assert texts(index) == {"One.", "Two."} and run_orders(library) == []


def test_a_recheck_takes_the_files_that_are_there_when_it_runs(library: Library, index: Index) -> None:
    library.run(arrive(library, "j1", a="One.", b="Two."), nothing)
    for name in ("a.md", "b.md"):
        index.for_tenant("red").remove(name)
    (order,) = library.needed(())
    library.delete("red", "b.md")
    library.run(arrive(library, "j2", c="Three."), nothing)
    index.for_tenant("red").remove("c.md")
    library.run(Job("r", order.kind, order.tenant, order.files, ""), nothing)
    assert texts(index) == {"One.", "Three."}
