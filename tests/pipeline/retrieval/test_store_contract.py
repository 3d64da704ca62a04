"""What every vector store must do, run over Qdrant Edge, the client's memory mode and, where one is given, a real server."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lorag.pipeline.errors import InputError, StoreError
from lorag.pipeline.retrieval.client_store import ClientStore
from lorag.pipeline.retrieval.edge_store import EdgeStore
from lorag.pipeline.retrieval.store import MISSING, FieldKind, Point, Search, Sparse, VectorStore, filter_values

SERVER = os.environ.get("LORAG_QDRANT_URL", "")
FIELDS = {
    "document_id": FieldKind.KEYWORD,
    "metadata.year": FieldKind.INTEGER,
    "metadata.open": FieldKind.BOOL,
    "tenant": FieldKind.TENANT,
}


@pytest.fixture(params=["edge", "memory", "server"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[VectorStore]:
    made: VectorStore
    if request.param == "edge":
        made = EdgeStore(tmp_path / "index")
    elif request.param == "memory":
        made = ClientStore(":memory:")
    elif SERVER:
        made = ClientStore(SERVER, api_key=os.environ.get("LORAG_QDRANT_API_KEY"))
    else:
        pytest.skip("LORAG_QDRANT_URL names no server")
    yield made
    if request.param == "server":
        made.set_aliases({alias: None for alias, name in made.aliases().items() if name.startswith("contract-")})
        for name in made.names():
            if name.startswith("contract-"):
                made.drop(name)
    made.close()


@pytest.fixture
def name(store: VectorStore) -> str:
    made = f"contract-{uuid.uuid4().hex[:8]}"
    store.create(made, 2, {"encoder": {"model": "m"}}, FIELDS)
    return made


def ident(number: int) -> str:
    return str(uuid.UUID(int=number))


def point(number: int, degrees: float, words: dict[int, float], document: str = "a", **metadata: object) -> Point:
    angle = math.radians(degrees)
    sparse = Sparse(tuple(words), tuple(words.values()))
    return Point(ident(number), [math.cos(angle), math.sin(angle)], sparse, {"document_id": document, "metadata": metadata})


POINTS = [
    point(1, 0, {7: 1.0}, "a", year=2024, open=True, tags=["x", "y"]),
    point(2, 30, {7: 1.0, 8: 1.0}, "a", year=2025, open=False, tags=["y"]),
    point(3, 60, {8: 1.0}, "b", year=2025, open=True),
    point(4, 90, {9: 1.0}, "c", year=2026, tags=["z"]),
]


def test_payload_keys_are_replaced_and_the_rest_of_a_point_stays(store: VectorStore, name: str) -> None:
    store.upsert(name, POINTS)
    store.set_payload(name, [ident(1), ident(3)], {"document_id": "moved"})
    store.set_payload(name, [], {"document_id": "nowhere"})
    assert {each.id: each.payload["document_id"] for each in store.scroll(name)} == {
        ident(1): "moved",
        ident(2): "a",
        ident(3): "moved",
        ident(4): "c",
    }
    assert store.count(name, {"document_id": "moved"}) == 2
    (found,) = store.search(name, [Search([1.0, 0.0])], 1)
    assert found[0].payload == {"document_id": "moved", "metadata": {"year": 2024, "open": True, "tags": ["x", "y"]}}


def test_dense_search_gives_cosines_best_first_with_the_payload(store: VectorStore, name: str) -> None:
    store.upsert(name, POINTS)
    (found,) = store.search(name, [Search([1.0, 0.0])], 3)
    assert [f.id for f in found] == [ident(1), ident(2), ident(3)]
    assert [f.score for f in found] == pytest.approx([1.0, math.sqrt(3) / 2, 0.5], abs=1e-6)
    assert found[0].payload == POINTS[0].payload


def test_the_engine_weighs_words_by_inverse_document_frequency(store: VectorStore, name: str) -> None:
    """Word 7 stands in three points with weight 2, word 9 in one with weight 1. The IDF, ln(1 + (4 - n + .5) / (n + .5)),
    is .36 and 1.20, so word 9 wins, 1.20 to .71. Without the IDF word 7 would."""
    store.upsert(name, [point(n, 10 * n, {7: 2.0}) for n in (1, 2, 3)] + [point(4, 40, {9: 1.0})])
    (found,) = store.search(name, [Search([1.0, 0.0], Sparse((7, 9), (1.0, 1.0)))], 4)
    scores = {f.id: f.score for f in found}
    # Half the cosine, and half of BM25 divided by the best.
    assert scores[ident(4)] == pytest.approx(math.cos(math.radians(40)) / 2 + 1 / 2, rel=1e-4)
    seven, nine = 2 * math.log(1 + 1.5 / 3.5), math.log(1 + 3.5 / 1.5)
    assert scores[ident(1)] == pytest.approx(math.cos(math.radians(10)) / 2 + seven / nine / 2, rel=1e-4)


def test_hybrid_search_sums_cosine_and_words_by_their_shares(store: VectorStore, name: str) -> None:
    """By hand: cosines 1, √3/2, 1/2 and 0; by words 2 and 3 are equal and the best, so 1 each. Words count a quarter."""
    store.upsert(name, POINTS)
    (found,) = store.search(name, [Search([1.0, 0.0], Sparse((8,), (1.0,)), 0.25)], 4)
    expected = [(2, 0.75 * math.sqrt(3) / 2 + 0.25), (1, 0.75), (3, 0.75 / 2 + 0.25), (4, 0.0)]
    assert [(f.id, f.score) for f in found] == [(ident(n), pytest.approx(score, abs=1e-6)) for n, score in expected]
    assert [f.payload for f in found] == [POINTS[n - 1].payload for n, _ in expected]


def test_a_query_without_words_is_dense(store: VectorStore, name: str) -> None:
    store.upsert(name, POINTS)
    assert store.search(name, [Search([0.0, 1.0], Sparse((), ()))], 2) == store.search(name, [Search([0.0, 1.0])], 2)


def test_many_searches_are_answered_in_order(store: VectorStore, name: str) -> None:
    store.upsert(name, POINTS)
    found = store.search(name, [Search([0.0, 1.0]), Search([1.0, 0.0])], 1)
    assert [[f.id for f in one] for one in found] == [[ident(4)], [ident(1)]]
    assert store.search(name, [], 1) == []


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        ({"document_id": "a"}, {1, 2}),
        ({"document_id": ["b", "c"]}, {3, 4}),
        ({"metadata.year": 2025}, {2, 3}),
        ({"metadata.year": (2024, 2026)}, {1, 4}),
        ({"metadata.open": True}, {1, 3}),
        ({"metadata.open": [True, False]}, {1, 2, 3}),
        ({"metadata.tags": "y"}, {1, 2}),
        ({"metadata.open": MISSING}, {4}),
        ({"metadata.tags": MISSING, "document_id": ["b", "c"]}, {3}),
        ({"tenant": MISSING}, {1, 2, 3, 4}),
        ({"document_id": "a", "metadata.year": 2025}, {2}),
        ({"document_id": "nobody"}, set()),
        ({}, {1, 2, 3, 4}),
    ],
)
def test_filters_hold_everywhere(store: VectorStore, name: str, filter: dict[str, object], expected: set[int]) -> None:
    store.upsert(name, POINTS)
    wanted = {ident(number) for number in expected}
    for search in (Search([1.0, 0.0]), Search([1.0, 0.0], Sparse((7, 8, 9), (1.0, 1.0, 1.0)))):
        assert {f.id for f in store.search(name, [search], 10, filter=filter)[0]} == wanted  # type: ignore[arg-type]
    assert store.count(name, filter) == len(wanted)  # type: ignore[arg-type]
    assert {p.id for p in store.scroll(name, filter=filter)} == wanted  # type: ignore[arg-type]


def test_upsert_replaces_and_delete_takes_away(store: VectorStore, name: str) -> None:
    store.upsert(name, POINTS)
    store.upsert(name, [point(1, 90, {9: 1.0}, "z")])
    assert store.count(name) == 4 and store.count(name, {"document_id": "z"}) == 1
    assert store.search(name, [Search([1.0, 0.0])], 1)[0][0].id == ident(2)
    store.delete(name, [ident(2), ident(99)])
    store.delete(name, [])
    assert [p.id for p in store.scroll(name)] == [ident(1), ident(3), ident(4)]


def test_scroll_goes_on_past_one_page_and_reads_only_what_is_asked(store: VectorStore, name: str) -> None:
    store.upsert(name, [point(n, n % 90, {n: 1.0}, f"d{n}") for n in range(1, 1203)])
    points = list(store.scroll(name, keys=("document_id",)))
    assert [p.id for p in points] == [ident(n) for n in range(1, 1203)]
    assert points[0].payload == {"document_id": "d1"}


def test_metadata_is_merged_by_top_level_key(store: VectorStore, name: str) -> None:
    store.set_metadata(name, {"more": [1, 2]})
    store.set_metadata(name, {"encoder": {"digest": "d"}})
    assert store.metadata(name) == {"encoder": {"digest": "d"}, "more": [1, 2]}


def test_aliases_change_together(store: VectorStore, name: str) -> None:
    other = f"contract-{uuid.uuid4().hex[:8]}"
    now, before = f"{name}.now", f"{name}.before"
    store.create(other, 2, {}, {})
    store.set_aliases({now: name})
    store.set_aliases({now: other, before: name, f"{name}.never": None})
    assert {a: n for a, n in store.aliases().items() if a.startswith(name)} == {now: other, before: name}
    with pytest.raises(StoreError, match="no collection"):
        store.set_aliases({now: "contract-missing"})
    assert store.aliases()[now] == other
    store.set_aliases({now: None})
    assert now not in store.aliases()


def test_collections_come_and_go(store: VectorStore, name: str) -> None:
    assert store.exists(name) and name in store.names()
    with pytest.raises(StoreError, match="exists already"):
        store.create(name, 2, {}, {})
    store.add_fields(name, {"metadata.tags": FieldKind.KEYWORD, **FIELDS})
    store.optimise(name)
    store.flush(name)
    store.drop(name)
    store.drop("contract-never-was")
    assert not store.exists(name) and name not in store.names()


def test_what_the_engine_refuses_is_one_line_that_names_the_place(store: VectorStore, name: str) -> None:
    for action in (
        lambda: store.search(name, [Search([1.0, 0.0, 0.0])], 1),
        lambda: store.count("contract-missing"),
        lambda: store.metadata("contract-missing"),
        lambda: store.upsert("contract-missing", POINTS),
    ):
        with pytest.raises(StoreError) as error:
            action()
        assert store.location in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("bad", ["", "a/b", "../up", ".hidden", "a b", "x" * 129])
def test_bad_collection_names_are_refused(store: VectorStore, bad: str) -> None:
    with pytest.raises(InputError, match="collection name"):
        store.create(bad, 2, {}, {})


@pytest.mark.parametrize(
    "bad",
    [
        {"": "x"},
        {3: "x"},
        {"k": []},
        {"k": 1.5},
        {"k": None},
        {"k": ["a", 1]},
        {"k": [True, 1]},
        {"k": {"a": 1}},
        {"k": b"x"},
        "k",
    ],
)
def test_bad_filters_are_refused(bad: object) -> None:
    with pytest.raises(InputError, match="filter"):
        filter_values(bad)  # type: ignore[arg-type]


def test_edge_keeps_everything_over_a_restart(tmp_path: Path) -> None:
    first = EdgeStore(tmp_path)
    first.create("c", 2, {"a": 1}, FIELDS)
    first.upsert("c", POINTS)
    first.set_aliases({"now": "c"})
    first.close()
    second = EdgeStore(tmp_path)
    assert (second.aliases(), second.metadata("c"), second.count("c", {"metadata.year": 2025})) == ({"now": "c"}, {"a": 1}, 2)
    second.close()


OPEN = """
import sys
from pathlib import Path
from lorag.pipeline.retrieval.edge_store import EdgeStore
store = EdgeStore(Path(sys.argv[1]), patience=float(sys.argv[2]))
print(store.count("c"))
"""

LOAD = """
import sys
import qdrant_edge
qdrant_edge.EdgeShard.load(sys.argv[1])
"""
"""What a program that knows nothing of LoRAG's lock does. It is refused, and has removed files of the open shard by then."""


def in_another_process(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)


def files_of(folder: Path) -> dict[str, tuple[int, int, int]]:
    found = {str(path): path.stat() for path in folder.rglob("*")}
    return {path: (stat.st_ino, stat.st_mtime_ns, stat.st_size) for path, stat in found.items()}


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[EdgeStore]:
    store = EdgeStore(tmp_path / "index", name="lorag serve")
    store.create("c", 2, {}, {})
    store.upsert("c", POINTS)
    store.flush("c")
    yield store
    store.close()


def test_a_second_process_is_refused_and_leaves_the_first_whole(tmp_path: Path, serving: EdgeStore) -> None:
    before = files_of(tmp_path)
    told = in_another_process(OPEN, tmp_path / "index", 60)
    said = f"StoreError: index {tmp_path / 'index'} is open in `lorag serve` (process {os.getpid()}); ask it where"
    assert told.returncode != 0 and said in told.stderr.splitlines()[-1]
    assert files_of(tmp_path) == before
    for step in range(2):
        serving.upsert("c", [Point(ident(100 + step), [1, 0], Sparse((1,), (1.0,)), {})])
        serving.flush("c")
        serving.delete("c", [ident(100 + step)])
        serving.flush("c")
    assert serving.count("c") == len(POINTS)


def test_a_shard_that_another_program_has_damaged_is_opened_again_with_all_that_was_written(
    tmp_path: Path, serving: EdgeStore, caplog: pytest.LogCaptureFixture
) -> None:
    serving.upsert("c", [Point(ident(100), [1, 0], Sparse((1,), (1.0,)), {})])
    assert "WouldBlock" in in_another_process(LOAD, tmp_path / "index/collections/c/shard").stderr
    serving.upsert("c", [Point(ident(101), [1, 0], Sparse((1,), (1.0,)), {})])
    serving.flush("c")
    assert "could not be flushed" in caplog.text
    serving.delete("c", [ident(101)])
    serving.flush("c")
    serving.close()
    again = EdgeStore(tmp_path / "index")
    assert {point.id for point in again.scroll("c")} == {point.id for point in POINTS} | {ident(100)}
    again.close()


def test_a_damaged_shard_is_opened_again_while_other_threads_search(tmp_path: Path, serving: EdgeStore) -> None:
    stop, errors = threading.Event(), []

    def search() -> None:
        while not stop.is_set():
            try:
                assert serving.search("c", [Search([1, 0])], 1)[0]
            except Exception as error:
                errors.append(error)

    threads = [threading.Thread(target=search) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        in_another_process(LOAD, tmp_path / "index/collections/c/shard")
        serving.upsert("c", [Point(ident(101), [1, 0], Sparse((1,), (1.0,)), {})])
        serving.flush("c")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not errors


def test_a_process_waits_for_another_that_will_soon_be_done(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first, second = (EdgeStore(tmp_path, name=name) for name in ("lorag ask", "lorag ingest"))
    first.create("c", 2, {}, {})
    first.upsert("c", POINTS)
    with pytest.raises(StoreError, match="open already in this process"):
        second.count("c")
    first.release()
    assert second.count("c") == len(POINTS)
    second.release()
    code = OPEN + "import time; time.sleep(1); store.close()"
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path), "60"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == f"{len(POINTS)}\n"
        assert first.count("c") == len(POINTS)
    assert f"(process {process.pid}); waiting for it" in caplog.text
    first.close()


def test_a_held_store_is_not_released_and_names_its_holder(tmp_path: Path) -> None:
    store = EdgeStore(tmp_path, name="a script")
    store.create("c", 2, {}, {})
    store.upsert("c", POINTS)
    store.hold("lorag serve")
    for _ in range(2):
        assert "is open in `lorag serve`" in in_another_process(OPEN, tmp_path, 60).stderr
        store.release()
    assert store.count("c") == len(POINTS)
    store.close()
    assert in_another_process(OPEN, tmp_path, 0).stdout == f"{len(POINTS)}\n"


def test_who_does_not_end_in_time_is_named(tmp_path: Path) -> None:
    first = EdgeStore(tmp_path, name="lorag ingest")
    first.create("c", 2, {}, {})
    told = in_another_process(OPEN, tmp_path, 0.2)
    assert f"is open in `lorag ingest` (process {os.getpid()})" in told.stderr.splitlines()[-1]
    first.close()
    assert in_another_process(OPEN, tmp_path, 0).stdout == "0\n"


def test_a_release_while_a_thread_reads_closes_nothing(tmp_path: Path, serving: EdgeStore) -> None:
    with serving._shard("c"):
        serving.release()
        assert "is open in" in in_another_process(OPEN, tmp_path / "index", 0).stderr
    serving.release()
    assert in_another_process(OPEN, tmp_path / "index", 0).stdout == f"{len(POINTS)}\n"


def test_a_store_whose_lock_cannot_be_written_says_so(tmp_path: Path, serving: EdgeStore) -> None:
    serving.close()
    (tmp_path / "index/lock").unlink()
    (tmp_path / "index/lock").mkdir()
    with pytest.raises(StoreError, match=r"cannot lock it .*directory.*; check disk and permissions"):
        EdgeStore(tmp_path / "index").count("c")


def test_damaged_edge_files_are_named(tmp_path: Path) -> None:
    store = EdgeStore(tmp_path)
    store.create("c", 2, {}, {})
    store.set_aliases({"now": "c"})
    (tmp_path / "aliases.json").write_text("{")
    (tmp_path / "collections/c/metadata.json").write_text("")
    with pytest.raises(StoreError, match="aliases.json"):
        store.aliases()
    with pytest.raises(StoreError, match="metadata.json"):
        store.metadata("c")
    store.close()


def test_a_half_made_edge_collection_is_not_there_and_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "collections/.c/shard").mkdir(parents=True)
    store = EdgeStore(tmp_path)
    assert store.names() == () and not store.exists("c")
    store.create("c", 2, {}, {})
    assert store.names() == ("c",)
    store.close()


def test_a_server_that_does_not_answer_is_named_without_the_key() -> None:
    store = ClientStore("https://user:word@127.0.0.1:1", api_key="top-secret-key", timeout=2)
    with pytest.raises(StoreError, match="Qdrant at https://127.0.0.1:1") as error:
        store.names()
    assert error.value.retry
    assert "top-secret-key" not in str(error.value) and "word" not in str(error.value) and "\n" not in str(error.value)


@pytest.fixture
def wire() -> Iterator[tuple[str, list[tuple[str, str, bytes]]]]:
    """A server that lets every collection be made: its address, and the requests that it got."""
    seen: list[tuple[str, str, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            seen.append((self.command, self.path, self.rfile.read(int(self.headers.get("Content-Length", 0)))))
            params = {"vectors": {}}
            info = {
                "status": "green",
                "optimizer_status": "ok",
                "segments_count": 1,
                "payload_schema": {},
                "config": {
                    "params": params,
                    "hnsw_config": {"m": 16, "ef_construct": 100, "full_scan_threshold": 10000},
                    "optimizer_config": {
                        "deleted_threshold": 0.2,
                        "vacuum_min_vector_number": 1000,
                        "default_segment_number": 0,
                        "flush_interval_sec": 5,
                    },
                },
            }
            results = {"GET": {"exists": False} if self.path.endswith("/exists") else info, "PUT": True}
            body = json.dumps({"result": results[self.command], "status": "ok", "time": 0.0}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = _answer

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", seen
        server.shutdown()
        thread.join()


def test_a_collection_is_made_with_the_shards_and_replicas_of_the_settings(
    wire: tuple[str, list[tuple[str, str, bytes]]],
) -> None:
    url, seen = wire
    store = ClientStore(url, shards=6, replicas=2)
    store.create("c", 2, {}, {})
    store.close()
    (body,) = [json.loads(body) for method, path, body in seen if (method, path.split("?")[0]) == ("PUT", "/collections/c")]
    assert (body["shard_number"], body["replication_factor"]) == (6, 2)
