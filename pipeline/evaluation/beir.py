"""Reads a BEIR folder: corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv (Thakur et al. 2021, arXiv 2104.08663).

Strict: malformed data is refused with file and line, since a truncated download would look like a weak retriever. It knows
nothing of embedders or metrics.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lorag.pipeline.errors import DataError
from lorag.pipeline.evaluation.trec import Qrels, add_judgment, read_lines
from lorag.pipeline.storage import jsonl

QRELS_HEADER = ["query-id", "corpus-id", "score"]


@dataclass(frozen=True, slots=True)
class BeirCollection:
    """A test collection: passage id → text (title and text joined by a space, as BEIR embeds them), the judged queries
    (id → text) and their judgments."""

    passages: Mapping[str, str]
    queries: Mapping[str, str]
    qrels: Qrels


def read_beir(folder: Path, split: str = "test") -> BeirCollection:
    """Read a collection; of the queries, those judged in `split`.

    Raises DataError with file and line for a missing file, a row that is not in BEIR's format, or a repeated id. Also for a
    judgment of a missing query or passage.
    """
    passages = {row_id: _passage_text(row, where) for where, row_id, row in _rows(folder / "corpus.jsonl")}
    queries = {row_id: _text(row, "text", where) for where, row_id, row in _rows(folder / "queries.jsonl")}
    qrels = _read_qrels(_qrels_path(folder, split), queries, passages)
    return BeirCollection(passages, {query: queries[query] for query in qrels}, qrels)


def _rows(path: Path) -> Iterator[tuple[str, str, Mapping[str, object]]]:
    seen: set[str] = set()
    for line in jsonl.read_lines(path):
        row_id = _text(line.fields, "_id", line.where)
        if not row_id or row_id in seen:
            raise DataError(f"{line.where}: `_id` {row_id!r} is {'used twice' if row_id else 'empty'}")
        seen.add(row_id)
        yield line.where, row_id, line.fields


def _text(row: Mapping[str, object], key: str, where: str) -> str:
    value = row.get(key)
    if not isinstance(value, str):
        raise DataError(f"{where}: `{key}` must be a string, found {json.dumps(value)[:60]}")
    return value


def _passage_text(row: Mapping[str, object], where: str) -> str:
    title = _text(row, "title", where) if "title" in row else ""
    return f"{title} {_text(row, 'text', where)}".strip()


def _qrels_path(folder: Path, split: str) -> Path:
    path = folder / "qrels" / f"{split}.tsv"
    if not path.is_file():
        found = sorted(each.stem for each in path.parent.glob("*.tsv"))
        raise DataError(f"{path}: not found; splits here: {', '.join(found) or 'none'}")
    return path


def _read_qrels(path: Path, queries: Mapping[str, str], passages: Mapping[str, str]) -> Qrels:
    qrels: dict[str, dict[str, int]] = {}
    lines = read_lines(path)
    where, header = next(lines, (str(path), ""))
    if header.split("\t") != QRELS_HEADER:
        raise DataError(f"{where}: the first line must be `query-id<TAB>corpus-id<TAB>score`, found {header[:60]!r}")
    for where, line in lines:
        fields = line.split("\t")
        if len(fields) != len(QRELS_HEADER):
            raise DataError(f"{where}: {len(fields)} fields where `query-id<TAB>corpus-id<TAB>score` has {len(QRELS_HEADER)}")
        query, passage, relevance = fields
        if query not in queries:
            raise DataError(f"{where}: query {query!r} is not in queries.jsonl")
        if passage not in passages:
            raise DataError(f"{where}: passage {passage!r} is not in corpus.jsonl")
        add_judgment(qrels, query, passage, relevance, where)
    if not qrels:
        raise DataError(f"{path}: has no judgments")
    return qrels
