"""Two projects on one store with one collection name: whose passages are whose, and what becomes of those of an older LoRAG."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lorag.pipeline.errors import IndexOwned, StoreError
from lorag.pipeline.records import Document
from lorag.pipeline.retrieval.embedder import HashingEmbedder
from lorag.pipeline.retrieval.index import Index
from lorag.pipeline.retrieval.ingest import Chunking
from lorag.pipeline.retrieval.store import VectorStore


@dataclass
class Project:
    """A project whose id is given from the start or made at the first write."""

    id: str
    is_made: bool = False
    told: list[str] = field(default_factory=list)
    file: Path = Path("somewhere/project.id")

    def current_id(self) -> str:
        return self.id if self.is_made else ""

    def ensure_id(self) -> str:
        self.is_made = True
        return self.id

    def on_adopted(self, collection: str) -> None:
        self.told.append(collection)


@pytest.fixture
def docs(tmp_path: Path) -> Callable[[str], Path]:
    """`docs(word)` → a folder with one document about it."""

    def make(word: str) -> Path:
        (tmp_path / word).mkdir(exist_ok=True)
        (tmp_path / word / f"{word}.txt").write_text(f"All about the {word}.")
        return tmp_path / word

    return make


def of(store: VectorStore, project: Project | None, encoder: str = "hashing") -> Index:
    return Index(store, HashingEmbedder(32, encoder), chunking=Chunking(60, 0), owner=project)


def uploaded() -> Document:
    return Document("up.txt", "up", "Uploaded words.", "up.txt", "0" * 64)


def everything(store: VectorStore) -> Any:
    points = {name: sorted(point.id for point in store.scroll(name)) for name in store.names()}
    return points, dict(store.aliases()), {name: dict(store.metadata(name)) for name in store.names()}


def test_another_projects_collection_is_refused_and_stays_as_it_is(store: VectorStore, docs: Callable[[str], Path]) -> None:
    ours, theirs = of(store, Project("a" * 32)), of(store, other := Project("b" * 32))
    ours.ingest(docs("ferry"))
    before = everything(store)
    calls: list[Callable[[], object]] = [
        lambda: theirs.ingest(docs("crane")),
        lambda: theirs.ingest(docs("crane"), rebuild=True),
        lambda: theirs.put("up.txt", [uploaded()]),
        lambda: theirs.remove("up.txt"),
        lambda: theirs.search("ferry", 1),
        lambda: list(theirs.passages()),
        theirs.files,
        theirs.info,
        theirs.pinned,
        theirs.for_tenant("red").files,
    ]
    for call in calls:
        with pytest.raises(IndexOwned) as caught:
            call()
        message = str(caught.value)
        assert "collection passages-1 is another project's; set `store.collection`" in message and "\n" not in message
        assert "a" * 32 in message and str(other.file) in message
    assert everything(store) == before
    assert ours.search("ferry", 1) and ours.ingest(docs("ferry")).unchanged == 1


def test_each_project_under_a_name_of_its_own_has_its_own(store: VectorStore, docs: Callable[[str], Path]) -> None:
    of(store, Project("a" * 32)).ingest(docs("ferry"))
    embedder = HashingEmbedder(32)
    theirs = Index(store, embedder, name="cranes", chunking=Chunking(60, 0), owner=Project("b" * 32))
    theirs.ingest(docs("crane"))
    assert [hit.passage.text for hit in theirs.search("ferry", 4)] == ["All about the crane."]


def test_what_another_project_is_filling_for_the_first_time_is_not_dropped(
    store: VectorStore, docs: Callable[[str], Path]
) -> None:
    def interrupt(done: int, total: int, name: str) -> None:
        raise KeyboardInterrupt

    ours = of(store, Project("a" * 32))
    with pytest.raises(KeyboardInterrupt):
        ours.ingest(docs("ferry"), on_progress=interrupt)
    for call in (lambda: of(store, Project("b" * 32)).ingest(docs("crane")),) * 2:
        with pytest.raises(IndexOwned):
            call()
    assert ours.ingest(docs("ferry")).unchanged == 1


@pytest.mark.parametrize("left", ["building", "kept"])
def test_leftovers_of_another_project_are_not_dropped(store: VectorStore, docs: Callable[[str], Path], left: str) -> None:
    """A collection of theirs that has no alias of the name, as after a change of aliases by hand."""
    ours = of(store, Project("a" * 32))
    ours.ingest(docs("ferry"))
    store.set_aliases({"passages": None, "passages.building": "passages-1" if left == "building" else None})
    with pytest.raises(IndexOwned):
        of(store, Project("b" * 32)).ingest(docs("crane"))
    assert store.count("passages-1") == 1


def test_a_collection_without_an_owner_goes_to_the_first_that_writes(store: VectorStore, docs: Callable[[str], Path]) -> None:
    of(store, None).ingest(docs("ferry"))
    assert "owner" not in store.metadata("passages-1")
    first, second = Project("a" * 32), Project("b" * 32)
    reader = of(store, second)
    assert reader.search("ferry", 1) and reader.info().passages == 1
    assert (second.is_made, "owner" in store.metadata("passages-1")) == (False, False)  # reading takes nothing
    assert of(store, first).ingest(docs("ferry")).unchanged == 1
    assert (store.metadata("passages-1")["owner"], first.told) == ("a" * 32, ["passages-1"])
    of(store, first).ingest(docs("ferry"))
    assert first.told == ["passages-1"]  # said once
    with pytest.raises(IndexOwned):
        of(store, second).search("ferry", 1)


def test_a_rebuild_of_a_collection_without_an_owner_keeps_it_for_a_rollback(
    store: VectorStore, docs: Callable[[str], Path]
) -> None:
    of(store, None).ingest(docs("ferry"))
    project = Project("a" * 32)
    rebuilt = of(store, project, "other")
    rebuilt.ingest(docs("ferry"), rebuild=True)
    assert rebuilt.rollback() == "passages-1"
    assert {store.metadata(name)["owner"] for name in store.names()} == {"a" * 32}
    assert project.told == ["passages-1"]


def test_two_that_adopt_at_once_end_with_one_owner(store: VectorStore, docs: Callable[[str], Path]) -> None:
    of(store, None).ingest(docs("ferry"))
    first, second = Project("a" * 32), Project("b" * 32)
    write = store.set_metadata

    def late(name: str, metadata: Any) -> None:
        write(name, metadata)
        write(name, {"owner": second.ensure_id()})

    store.set_metadata = late  # type: ignore[method-assign]
    with pytest.raises(IndexOwned):
        of(store, first).ingest(docs("crane"))
    assert first.told == [] and store.count("passages-1") == 1


@pytest.mark.parametrize("rebuild", [False, True])
def test_another_programs_collection_is_neither_dropped_nor_adopted(
    store: VectorStore, docs: Callable[[str], Path], rebuild: bool
) -> None:
    """A server may hold collections that no LoRAG made, under names such as a LoRAG gives or under its alias."""
    store.create("passages-3", 4, {}, {})
    ours = of(store, Project("a" * 32))
    ours.ingest(docs("ferry"))
    ours.ingest(docs("ferry"), rebuild=True)
    assert store.names() == ("passages-3", "passages-4", "passages-5")
    before = everything(store)
    theirs = Index(store, HashingEmbedder(32), name="precious", chunking=Chunking(60, 0), owner=Project("b" * 32))
    store.set_aliases({"precious": "passages-3"})
    with pytest.raises(StoreError, match="does not say what filled it; it may be another program's: set `store.collection`"):
        theirs.ingest(docs("crane"), rebuild=rebuild)
    store.set_aliases({"precious": None})
    assert everything(store) == before


def test_a_collection_with_the_name_itself_is_found_before_anything_is_embedded(
    store: VectorStore, docs: Callable[[str], Path]
) -> None:
    store.create("passages", 4, {}, {})
    with pytest.raises(StoreError, match="a collection is named passages already"):
        of(store, Project("a" * 32)).ingest(docs("ferry"))
    assert store.names() == ("passages",)
