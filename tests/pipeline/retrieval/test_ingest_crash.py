"""An ingest that is stopped anywhere and run again ends as a clean one does."""

from __future__ import annotations

import itertools
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from lorag.pipeline.retrieval.client_store import ClientStore
from lorag.pipeline.retrieval.edge_store import EdgeStore
from lorag.pipeline.retrieval.embedder import HashingEmbedder
from lorag.pipeline.retrieval.index import Index
from lorag.pipeline.retrieval.ingest import Chunking
from lorag.pipeline.retrieval.store import VectorStore

WRITES = ("create", "drop", "upsert", "delete", "set_metadata", "add_fields", "set_aliases", "flush", "optimise")


class Cut(Exception):
    """The plug is pulled."""


class CutStore:
    """Passes everything on until the write number `cut`, which happens or not, and then nothing any more."""

    def __init__(self, store: VectorStore, cut: int, after: bool) -> None:
        self._store, self._left, self._after = store, cut, after

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._store, name)
        if name not in WRITES:
            return real

        def call(*args: Any, **kwargs: Any) -> Any:
            self._left -= 1
            if self._left < 0 or (self._left == 0 and not self._after):
                raise Cut
            result = real(*args, **kwargs)
            if self._left == 0:
                raise Cut
            return result

        return call


def fill(folder: Path, version: int) -> None:
    """Version 2 changes, removes and adds documents of version 1; one of them has many passages."""
    folder.mkdir(exist_ok=True)
    for number in range(6):
        (folder / f"{number}.txt").write_text(f"Document {number} says {'old' if version == 1 or number > 2 else 'new'} things.")
    lines = [f"Line {n} of the long one in version {version if n % 3 else 0}." for n in range(80 + 20 * version)]
    (folder / "long.md").write_text("\n\n".join(lines))
    if version == 2:
        (folder / "5.txt").unlink()
        (folder / "fresh.txt").write_text("Something fresh.")


def index_of(store: Any) -> Index:
    return Index(store, HashingEmbedder(32), chunking=Chunking(60, 0))


def contents(store: VectorStore) -> tuple[dict[str, Mapping[str, Any]], list[str]]:
    """Every point with its payload, and how near each is to a question, which tells its vector."""
    index = index_of(store)
    points = {point.id: point.payload for point in store.scroll(index.info().collection)}
    found = [f"{hit.passage.id} {hit.score:.5f}" for hit in index.search("line 7 of the new fresh thing", 1000, hybrid=False)]
    return points, sorted(found)


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    fill(tmp_path / "docs", 1)
    return tmp_path / "docs"


def clean(documents: Path) -> tuple[dict[str, Mapping[str, Any]], list[str]]:
    store = ClientStore(":memory:")
    index_of(store).ingest(documents)
    return contents(store)


def cuts(make: Callable[[], VectorStore], documents: Path, rebuild: bool) -> Iterator[VectorStore]:
    """The store after an ingest that was cut before or after a write, for every write there is.

    In memory, where a hundred of these take seconds; what a kill does to files is tried on Edge below.
    """
    for after in (False, True):
        for cut in itertools.count(1):
            store = make()
            try:
                index_of(CutStore(store, cut, after)).ingest(documents, rebuild=rebuild)
            except Cut:
                yield store
            else:
                break


@pytest.mark.parametrize("rebuild", [False, True])
def test_cut_at_every_write_of_a_first_ingest(documents: Path, rebuild: bool) -> None:
    expected = clean(documents)
    tried = 0
    for store in cuts(lambda: ClientStore(":memory:"), documents, rebuild):
        index_of(store).ingest(documents)
        assert contents(store) == expected
        tried += 1
    assert tried > 12


@pytest.mark.parametrize("rebuild", [False, True])
def test_cut_at_every_write_of_an_update(documents: Path, rebuild: bool) -> None:
    def filled() -> VectorStore:
        store = ClientStore(":memory:")
        shutil.rmtree(documents)
        fill(documents, 1)
        index_of(store).ingest(documents)
        fill(documents, 2)
        return store

    before = contents(filled())
    expected = clean(documents)
    tried = 0
    for store in cuts(filled, documents, rebuild):
        if rebuild:
            # Until the alias is switched questions see the old index, whole.
            assert contents(store) in (before, expected)
        index_of(store).ingest(documents)
        assert contents(store) == expected
        tried += 1
    assert tried > 8


SCRIPT = """
import sys, time
from pathlib import Path
from lorag.pipeline.retrieval.edge_store import EdgeStore
from lorag.pipeline.retrieval.embedder import HashingEmbedder
from lorag.pipeline.retrieval.index import Index
from lorag.pipeline.retrieval.ingest import Chunking

class Slow(HashingEmbedder):
    def embed_passages(self, texts):  # longer in all than a kill waits, however fast the disk is
        time.sleep(0.004 * len(texts))
        return super().embed_passages(texts)

print("begin", flush=True)
store = EdgeStore(Path(sys.argv[2]))
Index(store, Slow(32), chunking=Chunking(60, 0)).ingest(Path(sys.argv[1]))
store.close()
print("end", flush=True)
"""


def test_killed_at_random_moments(documents: Path, tmp_path: Path) -> None:
    store = EdgeStore(tmp_path / "index")
    index_of(store).ingest(documents)
    store.close()
    fill(documents, 2)
    for number in range(60):
        (documents / f"more-{number}.txt").write_text(f"More of it, {number}. " * 20)
    generator, killed = random.Random(5), 0
    for _ in range(6):
        command = [sys.executable, "-c", SCRIPT, str(documents), str(tmp_path / "index")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None and process.stdout.readline() == "begin\n"
            time.sleep(generator.uniform(0.02, 0.35))
            process.send_signal(signal.SIGKILL)
            killed += "end" not in process.stdout.read()
    assert killed >= 2
    index_of(store := EdgeStore(tmp_path / "index")).ingest(documents)
    assert contents(store) == clean(documents)
    store.close()
