"""The vector store on disk, in this process: Qdrant Edge, one shard a collection.

    FOLDER/aliases.json                         alias → collection, replaced in one rename
    FOLDER/collections/NAME/shard/              Qdrant's own files, write-ahead log and lock included
    FOLDER/collections/NAME/metadata.json       replaced in one rename

One process at a time may hold a collection open. Knows nothing of documents or text.
"""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lorag.pipeline.errors import LoragError, StoreError
from lorag.pipeline.retrieval.edge_forms import FLAGS, conditions, edge_point, plain_payload, requests, schema
from lorag.pipeline.retrieval.fusion import best_of
from lorag.pipeline.retrieval.store import DENSE, SPARSE, FieldKind, Filter, Found, Point, Search, StoredPoint, check_name
from lorag.pipeline.storage.atomic import new_folder, write_file

_PAGE = 1000


class EdgeStore:
    """A `VectorStore` in `folder`, made at the first write. Safe to use from several threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._shards: dict[str, Any] = {}
        self._lock = threading.RLock()
        self._closed = False

    @property
    def location(self) -> str:
        return str(self._folder)

    def create(self, name: str, dimension: int, metadata: Mapping[str, Any], fields: Mapping[str, FieldKind]) -> None:
        import qdrant_edge as edge

        check_name(name)
        with self._lock, self._reporting(f"create collection {name}"):
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
        with self._lock, self._reporting(f"drop collection {name}"):
            if not self.exists(name):
                return
            self._shard(name).close()
            del self._shards[name]
            aside = self._path(f".dropped-{name}")
            shutil.rmtree(aside, ignore_errors=True)
            self._path(name).rename(aside)
            shutil.rmtree(aside)

    def upsert(self, name: str, points: Sequence[Point]) -> None:
        import qdrant_edge as edge

        with self._reporting(f"write {len(points)} points"):
            made = [edge_point(point) for point in points]
            if made:
                self._shard(name).update(edge.UpdateOperation.upsert_points(made))

    def delete(self, name: str, ids: Sequence[str]) -> None:
        import qdrant_edge as edge

        with self._reporting(f"delete {len(ids)} points"):
            if ids:
                self._shard(name).update(edge.UpdateOperation.delete_points(list(ids)))

    def set_payload(self, name: str, ids: Sequence[str], payload: Mapping[str, Any]) -> None:
        import qdrant_edge as edge

        with self._reporting(f"change {len(ids)} points"):
            if ids:
                self._shard(name).update(edge.UpdateOperation.set_payload(list(ids), dict(payload)))

    def count(self, name: str, filter: Filter | None = None) -> int:
        import qdrant_edge as edge

        with self._reporting("count points"):
            return int(self._shard(name).count(edge.CountRequest(exact=True, filter=conditions(filter))))

    def scroll(self, name: str, *, keys: Sequence[str] | None = None, filter: Filter | None = None) -> Iterator[StoredPoint]:
        import qdrant_edge as edge

        matching, wanted, offset = conditions(filter), True if keys is None else list(keys), None
        while True:
            with self._reporting("read points"):
                scroll_request = edge.ScrollRequest(
                    offset=offset, limit=_PAGE, filter=matching, with_payload=wanted, with_vector=False
                )
                page, offset = self._shard(name).scroll(scroll_request)
            yield from (StoredPoint(str(record.id), plain_payload(record.payload)) for record in page)
            if offset is None:
                return

    def search(self, name: str, searches: Sequence[Search], k: int, *, filter: Filter | None = None) -> list[list[Found]]:
        import qdrant_edge as edge

        with self._reporting("search"):
            matching, shard = conditions(filter), self._shard(name)
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
        with self._lock, self._reporting(f"write metadata of {name}"):
            _write_json(self._path(name) / "metadata.json", {**self.metadata(name), **metadata})

    def add_fields(self, name: str, fields: Mapping[str, FieldKind]) -> None:
        import qdrant_edge as edge

        with self._reporting("index payload fields"):
            known = self._shard(name).info().payload_schema
            for key, kind in fields.items():
                if key not in known:
                    self._shard(name).update(edge.UpdateOperation.create_field_index(key, schema(kind)))

    def aliases(self) -> Mapping[str, str]:
        path = self._folder / "aliases.json"
        return _read_json(path) if path.exists() else {}

    def set_aliases(self, changes: Mapping[str, str | None]) -> None:
        with self._lock, self._reporting("change aliases"):
            for name in changes.values():
                if name is not None and not self.exists(name):
                    raise self._missing(name)
            merged = {**self.aliases(), **changes}
            _write_json(self._folder / "aliases.json", {alias: name for alias, name in merged.items() if name is not None})

    def flush(self, name: str) -> None:
        with self._reporting("flush"):
            self._shard(name).flush()

    def optimise(self, name: str) -> None:
        with self._reporting("optimise"):
            self._shard(name).optimize()

    def close(self) -> None:
        with self._lock, self._reporting("close"):
            self._closed = True
            while self._shards:
                _, shard = self._shards.popitem()
                shard.flush()
                shard.close()

    def _path(self, name: str) -> Path:
        return self._folder / "collections" / name

    def _missing(self, name: str) -> StoreError:
        return StoreError(f"index {self._folder}: no collection {name}; run `lorag ingest` first")

    def _shard(self, name: str) -> Any:
        """The open shard. Edge locks its write-ahead log, so a second process gets an error and cannot damage the index."""
        import qdrant_edge as edge

        with self._lock:
            if name not in self._shards:
                if self._closed:  # opened again, it would keep other processes out with nobody left to close it
                    raise StoreError(f"index {self._folder} is closed here; open the project again")
                if not self.exists(name):
                    raise self._missing(name)
                try:
                    self._shards[name] = edge.EdgeShard.load(str(self._path(name) / "shard"))
                except Exception as error:
                    if "WouldBlock" in str(error):
                        advice = "close that one, ask it where it is `lorag serve`, or let both use a Qdrant server (store.url)"
                        raise StoreError(f"index {self._folder} is open already, here or in another process; {advice}") from error
                    raise
            return self._shards[name]

    @contextmanager
    def _reporting(self, action: str) -> Iterator[None]:
        try:
            yield
        except LoragError:
            raise
        except Exception as error:  # Edge raises plain Exception and ValueError; the file system OSError
            reason = " ".join(str(error).split())[:300]
            raise StoreError(f"index {self._folder}: cannot {action} ({reason}); check disk and permissions") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: not readable ({error}); restore it, or delete the index folder and ingest again") from error
    return content


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    write_file(path, json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False))
