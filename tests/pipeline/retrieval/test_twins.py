"""Identical passages share a place; `k` counts different texts; every source is kept."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

from lorag.pipeline.records import Answer, Citation, Hit, Outcome, Passage, Response, Rewrite, Trace
from lorag.pipeline.response_json import response_json
from lorag.pipeline.retrieval.client_store import ClientStore
from lorag.pipeline.retrieval.edge_store import EdgeStore
from lorag.pipeline.retrieval.embedder import HashingEmbedder
from lorag.pipeline.retrieval.index import Index
from lorag.pipeline.retrieval.ingest import Chunking
from lorag.pipeline.retrieval.loading import load_file
from lorag.pipeline.retrieval.store import VectorStore
from lorag.pipeline.retrieval.twins import LONG, fold_twins, quote_place, twin_key
from lorag.services.answer_view import show_answer, show_trace

LEASE = (
    "The tenant keeps the lock of the pump room oiled, reports each flood to the harbour office within two days, and leaves the "
    "key with the porter when the water stands higher than the second mark on the quay wall, in every month of the year."
)


def passage(id: str, text: str = LEASE, title: str = "Lease", section: str = "") -> Passage:
    return Passage(id, id.partition("#")[0], f"docs/{id}", title, section, text, 0, len(text))


def ids(hits: list[Hit]) -> list[tuple[str, ...]]:
    return [hit.ids for hit in hits]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (passage("a"), passage("b"), True),
        (passage("a"), passage("b", title="Lease (copy)", section="Annex"), True),
        (passage("a"), passage("b", LEASE.replace(" ", "\n", 7) + "\u00a0\n"), True),
        (passage("a", f"Café {LEASE}"), passage("b", unicodedata.normalize("NFD", f"Café {LEASE}")), True),
        (passage("a"), passage("b", LEASE.upper()), False),
        (passage("a"), passage("b", LEASE.replace("two", "ten")), False),
        (passage("a"), passage("b", LEASE.replace(",", "")), False),
        (passage("a", "Open from 9 to 5.", "Pool"), passage("b", "Open  from 9 to 5.", "Pool"), True),
        (passage("a", "Open from 9 to 5.", "Pool"), passage("b", "Open from 9 to 5.", "Library"), False),
        (passage("a", "Open from 9 to 5.", "City", "Pool"), passage("b", "Open from 9 to 5.", "City", "Library"), False),
    ],
)
def test_what_is_the_same_text(one: Passage, other: Passage, same: bool) -> None:
    assert len(LEASE) >= LONG
    assert (twin_key(one) == twin_key(other)) is same


def test_a_text_has_its_best_place_and_score_and_all_its_passages() -> None:
    other = passage("x", "Something else.")
    hits = [Hit(passage("c"), 0.9), Hit(other, 0.8), Hit(passage("a"), 0.7), Hit(passage("b"), 0.6)]
    folded = fold_twins(hits)
    assert ids(folded) == [("c", "a", "b"), ("x",)]
    assert [hit.score for hit in folded] == [0.9, 0.8]
    assert fold_twins(folded) == folded
    assert fold_twins([]) == [] and fold_twins(hits[:2]) == hits[:2]


def test_where_a_quote_stands_in_a_twin() -> None:
    assert quote_place(passage("a", f"So:  {LEASE}"), "The tenant keeps") == (5, 21)
    assert quote_place(passage("a", LEASE.replace("The tenant", "The\ntenant")), "The tenant keeps") is None
    assert quote_place(passage("a"), "") is None


# --- in an index ---


@pytest.fixture(params=["edge", "memory"])
def index(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Index]:
    store: VectorStore = EdgeStore(tmp_path / "index") if request.param == "edge" else ClientStore(":memory:")
    made = Index(store, HashingEmbedder(64), chunking=Chunking(400, 0))
    yield made
    made.close()


@pytest.mark.parametrize("copies", [8, 60])
def test_one_text_in_many_folders_leaves_room_for_others(index: Index, tmp_path: Path, copies: int) -> None:
    for number in range(copies):
        (tmp_path / f"docs/{number:02}").mkdir(parents=True)
        (tmp_path / f"docs/{number:02}/lease.md").write_text(f"# Lease\n\n{LEASE}\n")
    for number in range(5):
        (tmp_path / f"docs/note-{number}.md").write_text(f"# Note {number}\n\nThe porter, too, has a key to room {number}.\n")
    index.ingest(tmp_path / "docs")
    for hybrid in (True, False):
        hits = index.search("Who has the key of the pump room when the water stands high?", 4, hybrid=hybrid)
        assert len(hits) == 4 and len({twin_key(hit.passage) for hit in hits}) == 4
        (lease,) = (hit for hit in hits if hit.passage.text == LEASE)
        found = {Path(each.source).parent.name for each in (lease.passage, *lease.twins)}
        assert found == {f"{number:02}" for number in range(copies)}
    assert len(index.search("the key", 50)) == 6
    assert len(index.search("the key", 4, filter={"folder": "03"})) == 1


def test_another_tenants_copy_is_no_twin(index: Index, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/lease.md").write_text(f"# Lease\n\n{LEASE}\n")
    index.ingest(tmp_path / "docs")
    index.for_tenant("acme").put("lease.md", load_file(tmp_path / "docs/lease.md", tmp_path / "docs"))
    assert index.search("the key", 4)[0].twins == () == index.for_tenant("acme").search("the key", 4)[0].twins


# --- as a response is shown ---


def answered(hits: list[Hit], citations: list[Citation]) -> Response:
    answer = Answer("The tenant.", False, tuple(citations), Outcome.OK, "The tenant. [1]")
    return Response("Who?", Rewrite("Who?", Outcome.OK), answer, trace=Trace(hits=tuple(hits)))


def test_a_citation_names_every_source(capsys: pytest.CaptureFixture[str]) -> None:
    quote = "The tenant keeps the lock of the pump room oiled"
    broken = passage("c", LEASE.replace("The tenant", "The\ntenant"))
    hit = Hit(passage("a"), 0.5, (passage("b", f"So: {LEASE}"), broken))
    response = answered([hit], [Citation(1, "a", "docs/a", quote, 0, len(quote))])
    shown = response_json(response)
    assert shown["citations"][0]["also"] == [
        {"passage_id": "b", "source": "docs/b", "start": 4, "end": 4 + len(quote)},
        {"passage_id": "c", "source": "docs/c", "start": None, "end": None},
    ]
    assert [each["source"] for each in shown["trace"]["hits"][0]["also"]] == ["docs/b", "docs/c"]
    alone = response_json(answered([Hit(passage("a"), 0.5)], [Citation(1, "a", "docs/a", quote, 0, len(quote))]))
    show_answer(response)
    show_trace(response)
    out = capsys.readouterr().out
    assert f"also docs/b:4–{4 + len(quote)}" in out and "also docs/c\n" in out and out.count("also docs/b") == 2
    assert "also" not in alone["citations"][0] and "also" not in alone["trace"]["hits"][0]
