"""The index over both stores: what ingest does to it, whom it lets search, and how a rebuild takes its place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from lorag.pipeline.errors import ConfigError, IndexMismatch, InputError, StoreError
from lorag.pipeline.records import Segment
from lorag.pipeline.retrieval.account import FileStatus
from lorag.pipeline.retrieval.bm25 import Bm25Encoder, Bm25Settings
from lorag.pipeline.retrieval.edge_store import EdgeStore
from lorag.pipeline.retrieval.embedder import HashingEmbedder, SentenceTransformerEmbedder, Vectors, passage_text
from lorag.pipeline.retrieval.index import Index
from lorag.pipeline.retrieval.ingest import Chunking, IngestReport
from lorag.pipeline.retrieval.store import VectorStore

FILES = {
    "procedures/ramps.md": "# Ramps\n\n## Limits\n\nThe axle limit at berth 2 is ten tonnes.\n\n## Pins\n\nFour lamps, then go.",
    "notices/pets.html": "<title>Pets</title><p>Dogs travel on the <b>car deck</b> at no charge.</p>",
    "notices/rows.jsonl": '{"id": "r1", "text": "Cats stay in a box.", "year": 2025}\n'
    '{"id": "r2", "text": "Horses need papers.", "year": 2026}\n',
}
CHUNKING = Chunking(60, 0)


class CountingEmbedder(HashingEmbedder):
    """Counts the passages it embeds, so that a test sees what was skipped."""

    def __init__(self, name: str = "hashing") -> None:
        super().__init__(64, name)
        self.passages: list[str] = []

    def embed_passages(self, texts: Sequence[str]) -> Vectors:
        self.passages += texts
        return super().embed_passages(texts)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / "docs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "docs"


@pytest.fixture
def embedder() -> CountingEmbedder:
    return CountingEmbedder()


@pytest.fixture
def index(store: VectorStore, embedder: CountingEmbedder) -> Index:
    return Index(store, embedder, chunking=CHUNKING)


def numbers(report: IngestReport) -> tuple[int, int, int, int, int]:
    return report.added, report.changed, report.unchanged, report.removed, report.passages


def test_ingest_adds_skips_replaces_and_removes(index: Index, embedder: CountingEmbedder, folder: Path) -> None:
    assert numbers(index.ingest(folder)) == (4, 0, 0, 0, 5)
    embedder.passages.clear()
    assert numbers(index.ingest(folder)) == (0, 0, 4, 0, 5)
    assert embedder.passages == []
    (folder / "procedures/ramps.md").write_text("# Ramps\n\n## Limits\n\nThe axle limit at berth 2 is nine tonnes.\n")
    (folder / "notices/pets.html").unlink()
    (folder / "new.txt").write_text("A new sentence.")
    assert numbers(index.ingest(folder)) == (1, 1, 2, 1, 4)
    assert sorted(embedder.passages) == ["Ramps > Limits\nThe axle limit at berth 2 is nine tonnes.", "new\nA new sentence."]
    assert sorted(p.text for p in index.passages()) == [
        "A new sentence.",
        "Cats stay in a box.",
        "Horses need papers.",
        "The axle limit at berth 2 is nine tonnes.",
    ]


def test_a_moved_folder_is_not_embedded_again_and_shows_its_new_place(
    index: Index, embedder: CountingEmbedder, folder: Path
) -> None:
    index.ingest(folder)
    embedder.passages.clear()
    moved = folder.rename(folder.with_name("moved"))
    assert numbers(index.ingest(moved)) == (0, 0, 4, 0, 5)
    assert embedder.passages == []
    assert {passage.source for passage in index.passages()} == {
        str(moved / name) for name in ("procedures/ramps.md", "notices/pets.html", "notices/rows.jsonl")
    }
    best = index.search("What is the axle limit at berth 2?", 1)[0].passage
    assert (best.section, best.source) == ("Limits", str(moved / "procedures/ramps.md"))


def test_only_the_row_that_changed_is_embedded_again(index: Index, embedder: CountingEmbedder, folder: Path) -> None:
    index.ingest(folder)
    embedder.passages.clear()
    rows = folder / "notices/rows.jsonl"
    rows.write_text(rows.read_text().replace("papers", "passports"))
    assert numbers(index.ingest(folder)) == (0, 1, 3, 0, 5)
    assert embedder.passages == ["r2\nHorses need passports."]


def test_other_chunk_sizes_count_as_a_change(store: VectorStore, index: Index, embedder: CountingEmbedder, folder: Path) -> None:
    index.ingest(folder)
    coarse = Index(store, embedder, chunking=Chunking(700, 100))
    assert numbers(coarse.ingest(folder)) == (0, 4, 0, 0, 4)
    assert numbers(coarse.ingest(folder)) == (0, 0, 4, 0, 4)


def test_a_file_that_cannot_be_read_any_more_keeps_its_passages(index: Index, folder: Path) -> None:
    index.ingest(folder)
    (folder / "notices/rows.jsonl").write_text("{broken")
    (folder / "procedures/ramps.md").write_bytes(b"\0")
    (folder / "rules.md").write_text("---\n")
    report = index.ingest(folder)
    assert numbers(report) == (0, 0, 1, 0, 5)
    assert [(file.path, file.status) for file in report.files] == [
        ("notices/pets.html", FileStatus.READ),
        ("notices/rows.jsonl", FileStatus.KEPT),
        ("procedures/ramps.md", FileStatus.KEPT),
        ("rules.md", FileStatus.LEFT_ALONE),
    ]
    assert [file.documents for file in report.files] == [1, 2, 1, 0]


def test_progress_counts_documents_to_do(index: Index, folder: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    index.ingest(folder, on_progress=lambda *step: seen.append(step))
    assert seen == [
        (1, 4, "notices/pets.html"),
        (2, 4, "notices/rows.jsonl#r1"),
        (3, 4, "notices/rows.jsonl#r2"),
        (4, 4, "procedures/ramps.md"),
    ]
    seen.clear()
    index.ingest(folder, on_progress=lambda *step: seen.append(step))
    assert seen == []


@pytest.mark.parametrize("hybrid", [True, False])
def test_search_gives_whole_passages_best_first(index: Index, folder: Path, hybrid: bool) -> None:
    index.ingest(folder)
    hits = index.search("What is the axle limit at\nberth 2?", 3, hybrid=hybrid)
    assert [hit.passage.document_id for hit in hits][0] == "procedures/ramps.md" and len(hits) == 3
    best = hits[0].passage
    assert (best.title, best.section, best.text) == ("Ramps", "Limits", "The axle limit at berth 2 is ten tonnes.")
    assert best.source == str(folder / "procedures/ramps.md")
    assert FILES["procedures/ramps.md"][best.start : best.end] == best.text
    assert best.metadata == {"format": "md", "folder": "procedures"}
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_words_lift_what_vectors_miss(store: VectorStore, tmp_path: Path) -> None:
    """With every vector the same only BM25 can tell the passages apart."""

    class Blind(HashingEmbedder):
        def _embed(self, texts: Sequence[str]) -> Vectors:
            return super()._embed(["same"] * len(texts))

    (tmp_path / "many").mkdir()
    for number in range(20):
        (tmp_path / f"many/{number:02}.txt").write_text(f"The form carries number AX-{1000 + number} in its corner.")
    index = Index(store, Blind(16))
    index.ingest(tmp_path / "many")
    assert index.search("Which is 1017?", 1)[0].passage.document_id == "17.txt"


def test_hits_keep_the_map_to_the_raw_page(index: Index, folder: Path) -> None:
    index.ingest(folder)
    passage = index.search("dogs on the car deck", 1)[0].passage
    raw = FILES["notices/pets.html"]
    assert passage.segments[1] == Segment(19, raw.index("car deck"), 8)


@pytest.mark.parametrize(
    ("filter", "documents"),
    [
        ({"folder": "procedures"}, {"procedures/ramps.md"}),
        ({"format": ["html", "md"]}, {"procedures/ramps.md", "notices/pets.html"}),
        ({"year": 2026}, {"notices/rows.jsonl#r2"}),
        ({"document_id": ["notices/pets.html"]}, {"notices/pets.html"}),
        ({"title": "Ramps", "folder": "notices"}, set()),
    ],
)
def test_filters_by_field_and_metadata(index: Index, folder: Path, filter: dict[str, object], documents: set[str]) -> None:
    index.ingest(folder)
    found = index.search("cats dogs horses axle pins", 10, filter=filter)  # type: ignore[arg-type]
    assert {hit.passage.document_id for hit in found} == documents
    assert {passage.document_id for passage in index.passages(filter)} == documents  # type: ignore[arg-type]


def test_search_many_equals_search_one_by_one(index: Index, folder: Path) -> None:
    index.ingest(folder)
    questions = ["cats", "What about horses?", "four lamps"]
    assert index.search_many(questions, 2) == [index.search(question, 2) for question in questions]
    assert index.search_many([], 2) == []


def test_questions_that_cannot_be_asked(index: Index, folder: Path) -> None:
    with pytest.raises(StoreError, match="run `lorag ingest` first"):
        index.search("anything", 1)
    index.ingest(folder)
    for question, k, filter, complaint in (
        (" \n", 1, None, "question is empty"),
        ("x", 0, None, "at least one"),
        ("x", 1, {"folder": 1.5}, "filter"),
        ("x", 1, {'fol"der': "a"}, "quotes"),
        ("x", 1, "folder=a", "mapping"),
    ):
        with pytest.raises(InputError, match=complaint):
            index.search(question, k, filter=filter)  # type: ignore[arg-type]


def test_another_encoder_is_refused_until_a_rebuild_and_rollback_brings_the_old_one_back(
    store: VectorStore, index: Index, folder: Path
) -> None:
    index.ingest(folder)
    other = Index(store, CountingEmbedder("other"), chunking=CHUNKING)
    for action in (lambda: other.search("x", 1), lambda: other.ingest(folder)):
        with pytest.raises(IndexMismatch, match=r"filled by hashing \(.*searched by other \(.*lorag ingest --rebuild") as error:
            action()
        assert "\n" not in str(error.value)
    assert index.search("cats", 1)
    report = other.ingest(folder, rebuild=True)
    assert report.added == 4 and other.search("cats", 1)[0].passage.text == "Cats stay in a box."
    with pytest.raises(IndexMismatch):
        Index(store, HashingEmbedder(64, "third")).search("cats", 1)
    info = other.info()
    assert (info.collection, info.previous, info.encoder.model, info.passages) == ("passages-2", "passages-1", "other", 5)
    assert index.rollback() == "passages-1" and index.search("cats", 1)
    assert index.rollback() == "passages-2" and other.search("cats", 1)


def test_an_encoder_finds_the_collection_that_it_filled_whatever_has_the_name(
    store: VectorStore, index: Index, folder: Path
) -> None:
    """A rollback of the encoder that was cut short before the index followed: each encoder has its own passages."""
    index.ingest(folder)
    other = Index(store, CountingEmbedder("other"), chunking=CHUNKING)
    other.ingest(folder, rebuild=True)
    back = Index(store, HashingEmbedder(64), chunking=CHUNKING)
    for _ in range(2):
        assert back.search("cats", 1)[0].passage == other.search("cats", 1)[0].passage
        assert (back.info().collection, back.info().previous) == ("passages-1", "passages-2")
        assert (other.info().collection, other.info().previous) == ("passages-2", "passages-1")
        assert back.files() == other.files() and len(list(back.passages())) == 5
        assert store.aliases()["passages"] == "passages-2"  # reading changes nothing
    (folder / "new.txt").write_text("A new sentence.")
    assert numbers(back.ingest(folder)) == (1, 0, 4, 0, 6)
    assert dict(store.aliases()) == {"passages": "passages-1", "passages.previous": "passages-2"}
    assert other.info().passages == 5
    assert other.is_searchable() and back.is_searchable() and not Index(store, CountingEmbedder("third")).is_searchable()


def test_settling_gives_the_name_to_the_collection_of_the_encoder(store: VectorStore, index: Index, folder: Path) -> None:
    assert index.is_searchable() and index.switch_to_searchable() == ""  # nothing there yet
    index.ingest(folder)
    other = Index(store, CountingEmbedder("other"), chunking=CHUNKING)
    assert other.switch_to_searchable() == "" and not other.is_searchable()
    other.ingest(folder, rebuild=True)
    assert index.switch_to_searchable() == "passages-1" and index.switch_to_searchable() == ""
    assert store.aliases()["passages"] == "passages-1"


def test_rebuilds_by_the_same_encoder_keep_the_collection_of_the_one_before(
    store: VectorStore, index: Index, folder: Path
) -> None:
    """A rollback of the encoder finds its passages, however often its successor rebuilt its own."""
    index.ingest(folder)
    other = Index(store, CountingEmbedder("other"), chunking=CHUNKING)
    for _ in range(3):
        other.ingest(folder, rebuild=True)
    assert store.names() == ("passages-1", "passages-3", "passages-4")
    kept = {"passages": "passages-4", "passages.previous": "passages-3", "passages.other": "passages-1"}
    assert dict(store.aliases()) == kept
    assert (index.switch_to_searchable(), other.switch_to_searchable()) == ("passages-1", "passages-4")
    assert index.switch_to_searchable() == "passages-1" and index.search("cats", 1) and other.search("cats", 1)
    index.ingest(folder, rebuild=True)
    assert index.info().collection == "passages-5" and other.info().collection == "passages-4"
    third = Index(store, CountingEmbedder("third"), chunking=CHUNKING)
    third.ingest(folder, rebuild=True)
    assert dict(store.aliases()) == {"passages": "passages-6", "passages.previous": "passages-5"}
    assert store.names() == ("passages-5", "passages-6") and not other.is_searchable()


def test_a_rebuild_keeps_one_earlier_collection_and_goes_on_after_an_interruption(
    store: VectorStore, index: Index, embedder: CountingEmbedder, folder: Path
) -> None:
    index.ingest(folder)
    with pytest.raises(StoreError, match="no earlier collection"):
        index.rollback()

    def interrupt(done: int, total: int, name: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index.ingest(folder, rebuild=True, on_progress=interrupt)
    assert index.info().collection == "passages-1" and index.search("cats", 1)
    embedder.passages.clear()
    index.ingest(folder, rebuild=True)
    assert embedder.passages == [] and index.info().collection == "passages-2"
    index.ingest(folder, rebuild=True)
    assert store.names() == ("passages-2", "passages-3")
    assert dict(store.aliases()) == {"passages": "passages-3", "passages.previous": "passages-2"}


def test_other_bm25_settings_are_refused(store: VectorStore, index: Index, embedder: CountingEmbedder, folder: Path) -> None:
    index.ingest(folder)
    with pytest.raises(IndexMismatch, match="BM25"):
        Index(store, embedder, bm25=Bm25Settings(language="german")).search("x", 1)
    with pytest.raises(ConfigError, match="klingon"):
        Bm25Encoder(Bm25Settings(language="klingon")).query("x")


def test_a_collection_that_does_not_say_what_filled_it_is_refused(store: VectorStore, index: Index) -> None:
    store.create("stranger", 64, {}, {})
    store.set_aliases({"passages": "stranger"})
    with pytest.raises(StoreError, match="does not say what filled it"):
        index.search("x", 1)


def test_a_bad_folder_leaves_the_index_as_it_was(store: VectorStore, index: Index, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        index.ingest(tmp_path / "nowhere")
    assert store.names() == ()
    index.ingest(folder)
    with pytest.raises(InputError):
        index.ingest(tmp_path / "nowhere", rebuild=True)
    assert store.names() == ("passages-1",) and index.info().passages == 5


def test_bm25_weights_follow_the_formula() -> None:
    """`ferry ferry boat`, 3 words, mean 6: length part 1.2 (0.25 + 0.75 · 3/6) = 0.75; f 2.2 / (f + 0.75)."""
    encoder = Bm25Encoder(Bm25Settings(average_words=6))
    vector = encoder.passage("Ferry ferry, the boat")
    assert sorted(vector.values) == pytest.approx([2.2 / 1.75, 4.4 / 2.75])
    query = encoder.query("ferries of the boats")
    assert set(query.indices) == set(vector.indices) and set(query.values) == {1.0}
    assert encoder.query("of the").indices == ()


def test_real_minilm_finds_what_shares_no_word(tmp_path: Path, folder: Path) -> None:
    store = EdgeStore(tmp_path / "real")
    index = Index(store, SentenceTransformerEmbedder())
    index.ingest(folder)
    assert index.search("May I bring my puppy?", 1)[0].passage.document_id == "notices/pets.html"
    best = index.search("kitten", 1, hybrid=False)[0]
    assert best.passage.document_id == "notices/rows.jsonl#r1"
    embedder = SentenceTransformerEmbedder()
    cosine = float((embedder.embed_queries(["kitten"]) @ embedder.embed_passages([passage_text(best.passage)]).T)[0, 0])
    assert best.score == pytest.approx(cosine, abs=1e-5)
    index.close()
