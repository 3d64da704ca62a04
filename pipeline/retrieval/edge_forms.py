"""Converts our records to Qdrant Edge's types and back. Knows nothing of folders, shards or locks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lorag.pipeline.retrieval.fusion import fetched
from lorag.pipeline.retrieval.store import (
    DENSE,
    SPARSE,
    FieldKind,
    Filter,
    FilterValue,
    Point,
    Search,
    filter_values,
    json_path,
)

FLAGS = "_flags"
"""Payload key under which a point's booleans are repeated as words such as `metadata.open=true`.

Edge 0.9 turns a bool of a filter into the number 1 or 0, which matches no bool, so filters use this key.
"""


def schema(kind: FieldKind) -> Any:
    import qdrant_edge as edge

    if kind is FieldKind.TENANT:
        return edge.KeywordIndexParams(is_tenant=True)
    types = edge.PayloadSchemaType
    return {FieldKind.KEYWORD: types.Keyword, FieldKind.INTEGER: types.Integer, FieldKind.BOOL: types.Bool}[kind]


def edge_point(point: Point) -> Any:
    import qdrant_edge as edge

    vectors: Any = {
        DENSE: [float(x) for x in point.dense],
        SPARSE: edge.SparseVector(list(point.sparse.indices), list(point.sparse.values)),
    }
    flags = list(_flags(point.payload, ()))
    return edge.Point(point.id, vectors, {**point.payload, FLAGS: flags} if flags else dict(point.payload))


def plain_payload(payload: Mapping[str, Any] | None) -> dict[str, Any]:
    """A payload as before `edge_point`."""
    return {key: value for key, value in (payload or {}).items() if key != FLAGS}


def conditions(filter: Filter | None) -> Any:
    """The filter in Edge's types; None if there is no condition.

    Raises:
        InputError: the filter is malformed.
    """
    import qdrant_edge as edge

    must: list[Any] = []
    for key, values in filter_values({} if filter is None else filter).items():
        if not values:
            must.append(edge.IsEmptyCondition(key))
            continue
        if isinstance(values[0], bool):
            key, values = FLAGS, tuple(_flag(key, value) for value in values)
        several: Any = list(values)
        match = edge.MatchValue(several[0]) if len(several) == 1 else edge.MatchAny(several)
        must.append(edge.FieldCondition(key, match=match))
    return edge.Filter(must=must) if must else None


def requests(search: Search, k: int, matching: Any) -> list[Any]:
    """A request by vector, and for a hybrid search one by words, each for the points needed to fuse `k`. No payload."""
    import qdrant_edge as edge

    queries = [edge.Query.Nearest([float(x) for x in search.dense], using=DENSE)]
    if search.words is not None:
        words = edge.SparseVector(list(search.words.indices), list(search.words.values))
        queries.append(edge.Query.Nearest(words, using=SPARSE))
    return [edge.QueryRequest(limit=fetched(search, k), query=query, filter=matching) for query in queries]


def _flags(value: Any, path: tuple[str, ...]) -> Iterator[str]:
    if isinstance(value, bool):
        yield _flag(json_path(*path), value)
    elif isinstance(value, list):
        for item in value:
            if isinstance(item, bool):
                yield from _flags(item, path)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            if key and '"' not in key:
                yield from _flags(inner, (*path, key))


def _flag(path: str, value: FilterValue) -> str:
    return f"{path}={str(value).lower()}"
