"""One collection, several owners: what each sees, and what an ingest, an upload or a rebuild of one does to the others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lorag.pipeline.errors import InputError, StoreError
from lorag.pipeline.records import Document
from lorag.pipeline.retrieval.embedder import HashingEmbedder
from lorag.pipeline.retrieval.index import Index, IndexedFile
from lorag.pipeline.retrieval.ingest import Chunking
from lorag.pipeline.retrieval.loading import load_file
from lorag.pipeline.retrieval.partition import PARTITION_FIELDS, Partition, check_tenant, partition_of
from lorag.pipeline.retrieval.store import MISSING, FieldKind, Point, Search, Sparse, VectorStore

CHUNKING = Chunking(60, 0)


@pytest.fixture
def index(store: VectorStore) -> Index:
    return Index(store, HashingEmbedder(64), chunking=CHUNKING)


@pytest.fixture
def write(tmp_path: Path) -> Any:
    """`write("red", keys="…")` → a folder that holds exactly keys.txt with that text."""

    def made(folder: str, **files: str) -> Path:
        path = tmp_path / folder
        path.mkdir(exist_ok=True)
        for old in path.iterdir():
            old.unlink()
        for name, text in files.items():
            (path / f"{name}.txt").write_text(text)
        return path

    return made


def texts(index: Index) -> list[str]:
    found = sorted(passage.text for passage in index.passages())
    for hybrid in (True, False):
        assert sorted({hit.passage.text for hit in index.search("the key is where", 100, hybrid=hybrid)}) == sorted({*found})
    return found


def put(index: Index, folder: Path, name: str) -> None:
    index.put(f"{name}.txt", load_file(folder / f"{name}.txt", folder))


def test_an_ingest_sees_and_changes_its_own_tenant_alone(index: Index, write: Any) -> None:
    """All three have a keys.txt; two of them word for word the same one."""
    red, blue = index.for_tenant("red"), index.for_tenant("blue")
    index.ingest(write("own", keys="The key is here.", other="The other key."))
    assert red.ingest(write("red", keys="The key is here.")).passages == 1
    blue.ingest(write("blue", keys="The key is blue."))
    assert texts(index) == ["The key is here.", "The other key."]
    assert (texts(red), texts(blue)) == (["The key is here."], ["The key is blue."])
    report = red.ingest(write("red", more="The key is red."))
    assert (report.added, report.removed, report.passages) == (1, 1, 1)
    assert index.ingest(write("own", keys="The key is here.")).removed == 1
    assert (texts(index), texts(red), texts(blue)) == (["The key is here."], ["The key is red."], ["The key is blue."])
    assert [view.info().passages for view in (index, red, blue)] == [1, 1, 1]


@pytest.mark.parametrize("filter", [{"tenant": "red"}, {"metadata.tenant": "red"}, {"origin": "upload"}, {"source": "keys.txt"}])
def test_no_filter_of_a_question_reaches_another_tenant(index: Index, write: Any, filter: Mapping[str, str]) -> None:
    index.ingest(write("own", own="The key is here."))
    put(index.for_tenant("red"), write("red", keys="The key is red."), "keys")
    for view in (index, index.for_tenant("blue")):
        assert view.search("key", 10, filter=filter) == [] == list(view.passages(filter))


def test_a_filter_narrows_within_the_tenant(index: Index, write: Any) -> None:
    red = index.for_tenant("red")
    red.ingest(write("red", a="The key is red.", b="The red key is gone."))
    index.ingest(write("own", a="The key is here."))
    assert [passage.text for passage in red.passages({"document_id": "a.txt"})] == ["The key is red."]
    assert [hit.passage.text for hit in index.search("key", 5, filter={"document_id": ["a.txt", "b.txt"]})] == [
        "The key is here."
    ]


def test_uploads_come_and_go_one_by_one(index: Index, write: Any) -> None:
    red, folder = index.for_tenant("red"), write("up", a="The key is red.", b="The red key. " * 9)
    put(red, folder, "a")
    put(red, folder, "b")
    index.ingest(write("own", a="The key is here."))
    assert red.files() == [IndexedFile("a.txt", "a.txt", "a", 1, 1, True), IndexedFile("b.txt", "b.txt", "b", 1, 3, True)]
    assert [(file.title, file.uploaded) for file in index.files()] == [("a", False)]
    put(red, write("up", a="The key is elsewhere now."), "a")
    assert "The key is elsewhere now." in texts(red) and "The key is red." not in texts(red)
    assert (red.remove("b.txt"), red.remove("b.txt"), red.remove("a")) == (3, 0, 0)
    assert index.remove("a.txt") == index.for_tenant("blue").remove("a.txt") == 0
    assert (texts(red), texts(index)) == (["The key is elsewhere now."], ["The key is here."])


def test_the_first_upload_makes_the_index(store: VectorStore, index: Index, write: Any) -> None:
    assert index.files() == []
    put(index.for_tenant("red"), write("up", a="The key is red."), "a")
    assert dict(store.aliases()) == {"passages": "passages-1"}
    assert index.files() == [] and texts(index.for_tenant("red")) == ["The key is red."]


def test_an_upload_without_a_passage_changes_nothing(index: Index, write: Any) -> None:
    put(index, write("up", a="The key is here."), "a")
    for documents in ((), (Document("a.txt", "a", "---\n", "a.txt", "0"),)):
        with pytest.raises(InputError, match="a.txt: holds no passage"):
            index.put("a.txt", documents)
    assert texts(index) == ["The key is here."]


def test_rows_that_a_new_version_lacks_are_gone(index: Index, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    for lines, expected in (
        ('{"id": 1, "text": "One key."}\n{"id": 2, "text": "Two keys."}', ["One key.", "Two keys."]),
        ('{"id": 2, "text": "Two keys."}\n{"id": 3, "text": "Three keys."}', ["Three keys.", "Two keys."]),
    ):
        rows.write_text(lines)
        index.put("rows.jsonl", load_file(rows, tmp_path))
        assert texts(index) == expected
    assert index.files() == [IndexedFile("rows.jsonl", "rows.jsonl", "", 2, 2, True)]
    assert index.remove("rows.jsonl") == 2


def test_a_rebuild_carries_over_uploads_and_other_tenants(store: VectorStore, index: Index, write: Any) -> None:
    index.ingest(write("own", keys="The key is here.", gone="The gone key."))
    put(index, write("up", keys="The uploaded key."), "keys")
    index.for_tenant("red").ingest(write("red", keys="The key is red."))
    put(index.for_tenant("blue"), write("up", keys="The key is blue."), "keys")
    other = Index(store, HashingEmbedder(32, "other"), chunking=CHUNKING)
    seen: list[tuple[int, int]] = []
    other.ingest(
        write("own", keys="The key is here."), rebuild=True, on_progress=lambda done, total, _: seen.append((done, total))
    )
    assert texts(other) == ["The key is here.", "The uploaded key."]
    assert (texts(other.for_tenant("red")), texts(other.for_tenant("blue"))) == (["The key is red."], ["The key is blue."])
    assert seen == [(1, 3), (2, 3), (3, 3), (1, 1)]
    other.for_tenant("red").ingest(write("red", keys="The key is crimson."), rebuild=True)
    assert texts(other) == ["The key is here.", "The uploaded key."]
    assert (texts(other.for_tenant("red")), texts(other.for_tenant("blue"))) == (["The key is crimson."], ["The key is blue."])


def test_a_rebuild_that_was_cut_short_brings_back_nothing_that_was_deleted_since(index: Index, write: Any) -> None:
    own, folder = write("own", keys="The key is here."), write("up", a="Key a.", b="Key b.", c="Key c.")
    index.ingest(own)
    for name in "abc":
        put(index, folder, name)

    def cut(done: int, total: int, document: str) -> None:
        if document.startswith("uploads/") and done == total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index.ingest(own, rebuild=True, on_progress=cut)
    index.remove("a.txt")
    put(index, write("up", b="Key b anew."), "b")
    index.ingest(own, rebuild=True)
    assert index.info().collection == "passages-2"
    assert texts(index) == ["Key b anew.", "Key c.", "The key is here."]


def test_what_was_deleted_stays_away_after_a_rollback(index: Index, write: Any) -> None:
    own = write("own", keys="The key is here.")
    index.ingest(own)
    put(index, write("up", a="A secret key."), "a")
    index.ingest(own, rebuild=True)
    index.remove("a.txt")
    index.rollback()
    assert texts(index) == ["The key is here."]


def test_what_was_deleted_stays_away_from_the_collection_of_the_encoder_before(
    store: VectorStore, index: Index, write: Any
) -> None:
    own = write("own", keys="The key is here.")
    index.ingest(own)
    put(index, write("up", a="A secret key."), "a")
    other = Index(store, HashingEmbedder(64, "other"), chunking=CHUNKING)
    for _ in range(2):
        other.ingest(own, rebuild=True)
    other.remove("a.txt")
    assert texts(index) == texts(other) == ["The key is here."]
    assert [store.count(name) for name in store.names()] == [1, 1, 1]


def test_a_collection_from_before_there_were_tenants_is_the_projects_own(store: VectorStore, index: Index, write: Any) -> None:
    """Points and payload indexes as they were written then: without tenant and origin."""
    own = write("own", keys="The key is here.")
    index.ingest(own)
    old = list(store.scroll("passages-1"))
    assert all(not {"tenant", "origin"} & point.payload.keys() for point in old)
    store.create("before", 64, store.metadata("passages-1"), {})
    vectors = HashingEmbedder(64).embed_passages([point.payload["text"] for point in old])
    points = zip(old, vectors, strict=True)
    store.upsert("before", [Point(point.id, vector.tolist(), Sparse((1,), (1.0,)), point.payload) for point, vector in points])
    store.set_aliases({"passages": "before"})
    assert texts(index) == ["The key is here."] and list(index.for_tenant("red").passages()) == []
    assert index.ingest(own).unchanged == 1
    put(index.for_tenant("red"), write("up", a="The key is red."), "a")
    assert (texts(index), texts(index.for_tenant("red"))) == (["The key is here."], ["The key is red."])


def test_the_filter_by_a_missing_key_holds_everywhere(store: VectorStore) -> None:
    ids = [f"00000000-0000-0000-0000-00000000000{n}" for n in range(4)]
    payloads: list[dict[str, Any]] = [{}, {"tenant": "red"}, {"tenant": "blue"}, {"other": 1}]
    store.create("c", 2, {}, {})
    points = [Point(id, [1.0, 0.0], Sparse((7,), (1.0,)), payload) for id, payload in zip(ids, payloads, strict=True)]
    store.upsert("c", points)
    for _ in range(2):  # without a payload index, then with it
        search = [Search([1.0, 0.0]), Search([1.0, 0.0], Sparse((7,), (1.0,)))]
        for found in store.search("c", search, 10, filter={"tenant": MISSING}):
            assert {point.id for point in found} == {ids[0], ids[3]}
        assert store.count("c", {"tenant": MISSING}) == 2 and store.count("c", {"tenant": MISSING, "other": 1}) == 1
        store.add_fields("c", PARTITION_FIELDS)
    assert [point.id for point in store.scroll("c", filter={"tenant": MISSING})] == [ids[0], ids[3]]


@pytest.mark.parametrize("tenant", ["A", "a/b", "../a", "a b", "-a", "_own", "a" * 64, "ü", "a\n", "a\0"])
def test_bad_tenants_are_refused(index: Index, tenant: str) -> None:
    for action in (lambda: index.for_tenant(tenant), lambda: check_tenant(tenant)):
        with pytest.raises(InputError, match="tenant"):
            action()


def test_ids_differ_by_tenant_and_origin_and_stay_what_they_were() -> None:
    shelves = [Partition(), Partition(uploaded=True), Partition("red"), Partition("red", True), Partition("blue", True)]
    assert len({partition.point_id("keys.txt#12345678") for partition in shelves}) == 5
    assert Partition().point_id("keys.txt#12345678") == "30698c63-8592-521d-8239-e06b33f52b2e"
    assert [partition_of(partition.marks()) for partition in shelves] == shelves


def test_nothing_ingested_is_told_to_every_tenant(index: Index) -> None:
    with pytest.raises(StoreError, match="lorag ingest"):
        index.for_tenant("red").search("x", 1)


def test_keys_of_an_upload_can_be_asked_for_and_make_no_index(store: VectorStore, tmp_path: Path, index: Index) -> None:
    added: set[str] = set()
    add_fields = store.add_fields

    def watched(name: str, fields: Mapping[str, FieldKind]) -> None:
        added.update(fields)
        add_fields(name, fields)

    store.add_fields = watched  # type: ignore[method-assign]
    for number, folder in enumerate(("docs", "sent")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "rows.jsonl").write_text(f'{{"id": 1, "text": "The key of {folder}.", "of{number}": "a"}}')
    index.ingest(tmp_path / "docs")
    red = index.for_tenant("red")
    red.put("rows.jsonl", load_file(tmp_path / "sent/rows.jsonl", tmp_path / "sent"))
    index.ingest(tmp_path / "docs", rebuild=True)
    assert {field for field in added if field.startswith("metadata")} == {"metadata.format", "metadata.folder", "metadata.of0"}
    assert [passage.text for passage in red.passages({"of1": "a"})] == ["The key of sent."]
    assert [hit.passage.text for hit in red.search("key", 3, filter={"of1": "a"})] == ["The key of sent."]
    assert red.search("key", 3, filter={"of1": "b"}) == []
