"""The vector store on disk, in this process: Qdrant Edge, one shard a collection.

    FOLDER/aliases.json                         alias → collection, replaced in one rename
    FOLDER/collections/NAME/shard/              Qdrant's own files, write-ahead log and lock included
    FOLDER/collections/NAME/metadata.json       replaced in one rename
    FOLDER/lock                                 held by the process that has shards open, or writes

One process at a time may have shards open. `EdgeShard.load` writes before it looks for Edge's own lock: a second process that it
refuses has removed files which the first one needs to flush. So a lock of our own is taken before any shard is opened. A shard
that cannot be flushed is opened again from its write-ahead log. Knows nothing of documents or text.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lorag.pipeline.errors import LoragError, StoreError
from lorag.pipeline.retrieval.edge_forms import FLAGS, conditions, edge_point, plain_payload, requests, schema
from lorag.pipeline.retrieval.fusion import best_of
from lorag.pipeline.retrieval.store import DENSE, SPARSE, FieldKind, Filter, Found, Point, Search, StoredPoint, check_name
from lorag.pipeline.storage.atomic import make_folder, new_folder, write_file
from lorag.pipeline.storage.locks import Holder, NamedLock

PATIENCE = 120.0
"""Seconds to wait for another process that has the index open: a question takes seconds, an ingest longer."""
LASTING = frozenset({"lorag serve"})
"""Holders of the lock that do not end by themselves: nobody waits for them."""
DRAIN = 30.0
"""Seconds that a shard's closing waits for the threads that use it."""
_LOOK_AGAIN = 0.1
_PAGE = 1000

log = logging.getLogger("lorag")


class EdgeStore:
    """A `VectorStore` in `folder`, made at the first write. Safe to use from several threads.

    Other processes are told that `name` has it open, and are waited for at most `patience` seconds.
    """

    def __init__(self, folder: Path, *, name: str = "", patience: float = PATIENCE) -> None:
        self._folder = folder
        self._shards: dict[str, Any] = {}
        self._lock = threading.Condition(threading.RLock())
        self._own = NamedLock(folder / "lock", name)
        self._patience = patience
        self._users = 0
        self._draining = self._held = self._closed = False

    @property
    def location(self) -> str:
        return str(self._folder)

    def create(self, name: str, dimension: int, metadata: Mapping[str, Any], fields: Mapping[str, FieldKind]) -> None:
        import qdrant_edge as edge

        check_name(name)
        with self._alone(), self._reporting(f"create collection {name}"):
            if self.exists(name):
                raise StoreError(f"index {self._folder}: collection {name} exists already; drop it or take another name")
            config = edge.EdgeConfig(
                vectors={DENSE: edge.EdgeVectorParams(size=dimension, distance=edge.Distance.Cosine)},
                sparse_vectors={SPARSE: edge.EdgeSparseVectorParams(modifier=edge.Modifier.Idf)},
            )
            # Made under a temporary name and renamed, so a kill leaves no half collection.
            with new_folder(self._path(name)) as aside:
                (aside / "shard").mkdir()
                shard = edge.EdgeShard.create(str(aside / "shard"), config)
                for key, kind in {FLAGS: FieldKind.KEYWORD, **fields}.items():
                    shard.update(edge.UpdateOperation.create_field_index(key, schema(kind)))
                shard.flush()
                shard.close()
                _write_json(aside / "metadata.json", dict(metadata))

    def exists(self, name: str) -> bool:
        return self._path(name).is_dir()

    def names(self) -> tuple[str, ...]:
        root = self._folder / "collections"
        return tuple(sorted(path.name for path in root.iterdir() if path.name[0] != ".")) if root.is_dir() else ()

    def drop(self, name: str) -> None:
        if not self.exists(name):
            return
        with self._alone(), self._unused(), self._reporting(f"drop collection {name}"):
            if (shard := self._shards.pop(name, None)) is not None:
                shard.close()
            aside = self._path(f".dropped-{name}")
            shutil.rmtree(aside, ignore_errors=True)
            self._path(name).rename(aside)
            shutil.rmtree(aside)

    def upsert(self, name: str, points: Sequence[Point]) -> None:
        import qdrant_edge as edge

        with self._reporting(f"write {len(points)} points"):
            made = [edge_point(point) for point in points]
            if made:
                with self._shard(name) as shard:
                    shard.update(edge.UpdateOperation.upsert_points(made))

    def delete(self, name: str, ids: Sequence[str]) -> None:
        import qdrant_edge as edge

        with self._reporting(f"delete {len(ids)} points"):
            if ids:
                with self._shard(name) as shard:
                    shard.update(edge.UpdateOperation.delete_points(list(ids)))

    def set_payload(self, name: str, ids: Sequence[str], payload: Mapping[str, Any]) -> None:
        import qdrant_edge as edge

        with self._reporting(f"change {len(ids)} points"):
            if ids:
                with self._shard(name) as shard:
                    shard.update(edge.UpdateOperation.set_payload(list(ids), dict(payload)))

    def count(self, name: str, filter: Filter | None = None) -> int:
        import qdrant_edge as edge

        with self._reporting("count points"), self._shard(name) as shard:
            return int(shard.count(edge.CountRequest(exact=True, filter=conditions(filter))))

    def scroll(self, name: str, *, keys: Sequence[str] | None = None, filter: Filter | None = None) -> Iterator[StoredPoint]:
        import qdrant_edge as edge

        matching, wanted, offset = conditions(filter), True if keys is None else list(keys), None
        while True:
            with self._reporting("read points"), self._shard(name) as shard:
                scroll_request = edge.ScrollRequest(
                    offset=offset, limit=_PAGE, filter=matching, with_payload=wanted, with_vector=False
                )
                page, offset = shard.scroll(scroll_request)
            yield from (StoredPoint(str(record.id), plain_payload(record.payload)) for record in page)
            if offset is None:
                return

    def search(self, name: str, searches: Sequence[Search], k: int, *, filter: Filter | None = None) -> list[list[Found]]:
        import qdrant_edge as edge

        with self._reporting("search"), self._shard(name) as shard:
            matching = conditions(filter)
            requested = [each for search in searches for each in requests(search, k, matching)]
            ranked = shard.query_batch(edge.QueryBatchRequest(requested)) if requested else []
            best = best_of(searches, ([(str(point.id), float(point.score)) for point in one] for one in ranked), k)
            stored = shard.retrieve(list({id_ for found in best for id_, _ in found}), with_payload=True, with_vector=False)
            payloads = {str(record.id): plain_payload(record.payload) for record in stored}
            return [[Found(id_, score, payloads[id_]) for id_, score in found if id_ in payloads] for found in best]

    def metadata(self, name: str) -> Mapping[str, Any]:
        if not self.exists(name):
            raise self._missing(name)
        return _read_json(self._path(name) / "metadata.json")

    def set_metadata(self, name: str, metadata: Mapping[str, Any]) -> None:
        with self._alone(), self._reporting(f"write metadata of {name}"):
            _write_json(self._path(name) / "metadata.json", {**self.metadata(name), **metadata})

    def add_fields(self, name: str, fields: Mapping[str, FieldKind]) -> None:
        import qdrant_edge as edge

        with self._reporting("index payload fields"), self._shard(name) as shard:
            known = shard.info().payload_schema
            for key, kind in fields.items():
                if key not in known:
                    shard.update(edge.UpdateOperation.create_field_index(key, schema(kind)))

    def aliases(self) -> Mapping[str, str]:
        path = self._folder / "aliases.json"
        return _read_json(path) if path.exists() else {}

    def set_aliases(self, changes: Mapping[str, str | None]) -> None:
        with self._alone(), self._reporting("change aliases"):
            for name in changes.values():
                if name is not None and not self.exists(name):
                    raise self._missing(name)
            merged = {**self.aliases(), **changes}
            _write_json(self._folder / "aliases.json", {alias: name for alias, name in merged.items() if name is not None})

    def flush(self, name: str) -> None:
        with self._reporting("flush"):
            try:
                with self._shard(name) as shard:
                    shard.flush()
            except LoragError:
                raise
            except Exception as error:
                self._close_unflushed(name, error)
                with self._shard(name) as shard:
                    shard.flush()

    def optimise(self, name: str) -> None:
        with self._reporting("optimise"), self._shard(name) as shard:
            shard.optimize()

    def hold(self, name: str) -> None:
        with self._lock, self._unused(), self._reporting("open"):
            self._close_shards()
            self._own, self._held = NamedLock(self._folder / "lock", name), True
            self._own_the_folder()

    def release(self) -> None:
        with self._lock, self._reporting("close"):
            if not self._users and not self._held:
                self._close_shards()

    def close(self) -> None:
        with self._lock, self._reporting("close"):
            self._closed = True
            with self._unused():
                self._close_shards()

    def _close_shards(self) -> None:
        try:
            while self._shards:
                _, shard = self._shards.popitem()
                shard.flush()
                shard.close()
        finally:
            self._own.release()

    def _path(self, name: str) -> Path:
        return self._folder / "collections" / name

    def _missing(self, name: str) -> StoreError:
        return StoreError(f"index {self._folder}: no collection {name}; run `lorag ingest` first")

    @contextmanager
    def _shard(self, name: str) -> Iterator[Any]:
        """Within: the open shard, which nobody closes meanwhile. Not to be nested."""
        with self._lock:
            self._lock.wait_for(lambda: not self._draining)
            if name not in self._shards:
                if not self.exists(name):
                    raise self._missing(name)
                self._shards[name] = self._load(name)
            shard = self._shards[name]
            self._users += 1
        try:
            yield shard
        finally:
            with self._lock:
                self._users -= 1
                self._lock.notify_all()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Within: no other thread and no other process changes collections or aliases."""
        with self._lock:
            self._own_the_folder()
            yield

    def _load(self, name: str) -> Any:
        import qdrant_edge as edge

        self._own_the_folder()
        try:
            return edge.EdgeShard.load(str(self._path(name) / "shard"))
        except Exception as error:
            if "WouldBlock" in str(error):
                advice = "close it there, or let both use a Qdrant server (store.url)"
                raise StoreError(f"index {self._folder} is open already, in a program other than LoRAG; {advice}") from error
            raise

    def _own_the_folder(self) -> None:
        """Take the lock, and wait for a process that has it for a short time. Raises StoreError if it does not end in time."""
        if self._closed:  # opened again, it would keep other processes out with nobody left to close it
            raise StoreError(f"index {self._folder} is closed here; open the project again")
        if self._own.held:
            return
        with self._reporting("lock it"):
            make_folder(self._folder)
            end, told = time.monotonic() + self._patience, False
            while (holder := self._own.try_acquire()) is not None:
                if holder.process == os.getpid() or holder.name in LASTING or time.monotonic() > end:
                    raise self._open_elsewhere(holder)
                if not told and holder.process:
                    log.warning("index %s is open in %s; waiting for it", self._folder, holder)
                    told = True
                time.sleep(_LOOK_AGAIN)

    def _open_elsewhere(self, holder: Holder) -> StoreError:
        if holder.process == os.getpid():
            return StoreError(f"index {self._folder} is open already in this process; close that project or store first")
        advice = "ask it where it is `lorag serve`, close it, or let both use a Qdrant server (store.url)"
        return StoreError(f"index {self._folder} is open in {holder}; {advice}")

    def _close_unflushed(self, name: str, error: Exception) -> None:
        """Close a shard that cannot be flushed. The next use opens it from its write-ahead log, which has every write."""
        log.warning("index %s: %s could not be flushed (%s); it is opened again", self._folder, name, _line(error))
        with self._unused():
            if (shard := self._shards.pop(name, None)) is not None:
                with suppress(Exception):  # it flushes too
                    shard.close()

    @contextmanager
    def _unused(self) -> Iterator[None]:
        """Within: no thread uses a shard, and none begins to. Edge refuses to close a shard that is in use."""
        with self._lock:
            self._draining = True
            try:
                self._lock.wait_for(lambda: not self._users, timeout=DRAIN)
                yield
            finally:
                self._draining = False
                self._lock.notify_all()

    @contextmanager
    def _reporting(self, action: str) -> Iterator[None]:
        try:
            yield
        except LoragError:
            raise
        except Exception as error:  # Edge raises plain Exception and ValueError; the file system OSError
            raise StoreError(f"index {self._folder}: cannot {action} ({_line(error)}); check disk and permissions") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: not readable ({error}); restore it, or delete the index folder and ingest again") from error
    return content


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    write_file(path, json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False))
