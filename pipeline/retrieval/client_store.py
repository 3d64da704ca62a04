"""The vector store on a Qdrant server or cluster, through qdrant-client; the URL `:memory:` is its local mode, for tests.

Knows nothing of documents or text. The API key never appears in a message.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from lorag.pipeline.errors import LoragError, StoreError
from lorag.pipeline.retrieval.fusion import best_of, fetched
from lorag.pipeline.retrieval.store import (
    DENSE,
    SPARSE,
    FieldKind,
    Filter,
    Found,
    Point,
    Search,
    StoredPoint,
    check_name,
    filter_values,
)

_PAGE = 1000
_BATCH = 64


class ClientStore:
    """A `VectorStore` at `url`. Connects at the first operation. `timeout` in seconds. Errors carry `retry = True`.

    In a cluster a new collection has `shards` parts, each in `replicas` copies; existing collections are unchanged.
    """

    def __init__(self, url: str, *, api_key: str | None = None, timeout: int = 30, shards: int = 1, replicas: int = 1) -> None:
        self._shards, self._replicas = shards, replicas
        self._url = url
        self._api_key = api_key
        self._timeout = timeout

    @property
    def location(self) -> str:
        return re.sub(r"//[^/@]*@", "//", self._url)

    @cached_property
    def _client(self) -> Any:
        from qdrant_client import QdrantClient

        if self._url == ":memory:":
            return QdrantClient(":memory:")
        return QdrantClient(url=self._url, api_key=self._api_key, timeout=self._timeout, check_compatibility=False)

    def create(self, name: str, dimension: int, metadata: Mapping[str, Any], fields: Mapping[str, FieldKind]) -> None:
        from qdrant_client import models

        check_name(name)
        with self._reporting(f"create collection {name}"):
            if self._client.collection_exists(name):
                raise StoreError(f"Qdrant at {self.location}: collection {name} exists already; drop it or take another name")
            self._client.create_collection(
                name,
                vectors_config={DENSE: models.VectorParams(size=dimension, distance=models.Distance.COSINE)},
                sparse_vectors_config={SPARSE: models.SparseVectorParams(modifier=models.Modifier.IDF)},
                metadata=dict(metadata),
                shard_number=self._shards,
                replication_factor=self._replicas,
            )
        self.add_fields(name, fields)

    def exists(self, name: str) -> bool:
        return name in self.names()

    def names(self) -> tuple[str, ...]:
        with self._reporting("list collections"):
            return tuple(sorted(found.name for found in self._client.get_collections().collections))

    def drop(self, name: str) -> None:
        with self._reporting(f"drop collection {name}"):
            self._client.delete_collection(name)

    def upsert(self, name: str, points: Sequence[Point]) -> None:
        from qdrant_client import models

        with self._reporting(f"write {len(points)} points"):
            for first in range(0, len(points), _BATCH):
                made = [
                    models.PointStruct(
                        id=point.id,
                        vector={
                            DENSE: [float(x) for x in point.dense],
                            SPARSE: models.SparseVector(indices=list(point.sparse.indices), values=list(point.sparse.values)),
                        },
                        payload=dict(point.payload),
                    )
                    for point in points[first : first + _BATCH]
                ]
                self._client.upsert(name, made, wait=True)

    def delete(self, name: str, ids: Sequence[str]) -> None:
        from qdrant_client import models

        with self._reporting(f"delete {len(ids)} points"):
            if ids:
                self._client.delete(name, models.PointIdsList(points=list(ids)), wait=True)

    def set_payload(self, name: str, ids: Sequence[str], payload: Mapping[str, Any]) -> None:
        with self._reporting(f"change {len(ids)} points"):
            if ids:
                self._client.set_payload(name, dict(payload), points=list(ids), wait=True)

    def count(self, name: str, filter: Filter | None = None) -> int:
        with self._reporting("count points"):
            return int(self._client.count(name, count_filter=_filter(filter), exact=True).count)

    def scroll(self, name: str, *, keys: Sequence[str] | None = None, filter: Filter | None = None) -> Iterator[StoredPoint]:
        matching, wanted, offset = _filter(filter), True if keys is None else list(keys), None
        while True:
            with self._reporting("read points"):
                page, offset = self._client.scroll(
                    name, scroll_filter=matching, limit=_PAGE, offset=offset, with_payload=wanted, with_vectors=False
                )
            yield from (StoredPoint(str(record.id), record.payload or {}) for record in page)
            if offset is None:
                return

    def search(self, name: str, searches: Sequence[Search], k: int, *, filter: Filter | None = None) -> list[list[Found]]:
        with self._reporting("search"):
            matching = _filter(filter)
            requests = [each for search in searches for each in _requests(search, k, matching)]
            answers = []
            for first in range(0, len(requests), _BATCH):
                answers += self._client.query_batch_points(name, requests[first : first + _BATCH])
            best = best_of(searches, ([(str(p.id), float(p.score)) for p in answer.points] for answer in answers), k)
            stored = self._client.retrieve(name, list({id_ for found in best for id_, _ in found}), with_payload=True)
            payloads = {str(record.id): record.payload or {} for record in stored}
            return [[Found(id_, score, payloads[id_]) for id_, score in found if id_ in payloads] for found in best]

    def metadata(self, name: str) -> Mapping[str, Any]:
        with self._reporting(f"read metadata of {name}"):
            return dict(self._client.get_collection(name).config.metadata or {})

    def set_metadata(self, name: str, metadata: Mapping[str, Any]) -> None:
        with self._reporting(f"write metadata of {name}"):
            self._client.update_collection(name, metadata={**self.metadata(name), **metadata})

    def add_fields(self, name: str, fields: Mapping[str, FieldKind]) -> None:

        with self._reporting("index payload fields"), warnings.catch_warnings():
            # The local mode warns that it has no payload indexes; it filters without them.
            warnings.filterwarnings("ignore", message="Payload indexes have no effect")
            known = self._client.get_collection(name).payload_schema
            for key, kind in fields.items():
                if key not in known:
                    self._client.create_payload_index(name, key, _schema(kind), wait=True)

    def aliases(self) -> Mapping[str, str]:
        with self._reporting("read aliases"):
            return {alias.alias_name: alias.collection_name for alias in self._client.get_aliases().aliases}

    def set_aliases(self, changes: Mapping[str, str | None]) -> None:
        from qdrant_client import models

        known = self.aliases()
        with self._reporting("change aliases"):
            steps: list[Any] = []
            for alias, name in changes.items():
                if alias in known:
                    steps.append(models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias)))
                if name is not None:
                    if not self._client.collection_exists(name):
                        raise StoreError(f"Qdrant at {self.location}: no collection {name}; run `lorag ingest` first")
                    steps.append(
                        models.CreateAliasOperation(create_alias=models.CreateAlias(collection_name=name, alias_name=alias))
                    )
            if steps:
                self._client.update_collection_aliases(steps)

    def flush(self, name: str) -> None:
        """Does nothing: every write has waited for the server."""

    def optimise(self, name: str) -> None:
        """Does nothing: the server optimises by itself."""

    def hold(self, name: str) -> None:
        """Does nothing: a server has many clients."""

    def release(self) -> None:
        """Does nothing: a server has many clients."""

    def close(self) -> None:
        if "_client" in self.__dict__:
            self._client.close()

    @contextmanager
    def _reporting(self, action: str) -> Iterator[None]:
        try:
            yield
        except LoragError:
            raise
        except Exception as error:  # HTTP, gRPC, pydantic and the local mode each raise classes of their own
            text = " ".join(str(error).split())
            secret = self._api_key is not None and self._api_key in text  # some proxies answer with the request's headers
            reason = (text.replace(self._api_key, "…") if secret and self._api_key else text)[:300]
            failure = StoreError(
                f"Qdrant at {self.location}: cannot {action} ({reason}); check that it runs and the key is right"
            )
            failure.retry = True
            raise failure from (None if secret else error)  # a cause would be printed with a traceback


def _schema(kind: FieldKind) -> Any:
    from qdrant_client import models

    if kind is FieldKind.TENANT:
        return models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=True)
    return models.PayloadSchemaType(kind.value)


def _filter(filter: Filter | None) -> Any:
    from qdrant_client import models

    must: list[Any] = []
    for key, values in filter_values({} if filter is None else filter).items():
        if not values:
            must.append(models.IsEmptyCondition(is_empty=models.PayloadField(key=key)))
        elif len(values) == 1:
            must.append(models.FieldCondition(key=key, match=models.MatchValue(value=values[0])))
        elif isinstance(values[0], bool):
            either: Any = [models.FieldCondition(key=key, match=models.MatchValue(value=value)) for value in values]
            must.append(models.Filter(should=either))
        else:
            several: Any = list(values)
            must.append(models.FieldCondition(key=key, match=models.MatchAny(any=several)))
    return models.Filter(must=must) if must else None


def _requests(search: Search, k: int, matching: Any) -> list[Any]:
    """A request by vector, and for a hybrid search one by words, each for the points needed to fuse `k`."""
    from qdrant_client import models

    queries: list[tuple[Any, str]] = [([float(x) for x in search.dense], DENSE)]
    if search.words is not None:
        words = models.SparseVector(indices=list(search.words.indices), values=list(search.words.values))
        queries.append((words, SPARSE))
    limit = fetched(search, k)
    return [models.QueryRequest(query=query, using=using, limit=limit, filter=matching) for query, using in queries]
