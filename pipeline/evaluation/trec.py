"""Runs and relevance judgments, and their TREC text formats.

A run has a retriever's ranking for each query; qrels have the judged relevance of passages. This module orders, reads and
writes them. It knows no metric and no retriever.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lorag.pipeline.errors import DataError, InputError


@dataclass(frozen=True, slots=True)
class Scored:
    """A retrieved passage id with its score; higher is better."""

    passage_id: str
    score: float


Run = Mapping[str, tuple[Scored, ...]]
"""Query id → ranking, best first. A query without results has an empty ranking or none."""

Qrels = Mapping[str, Mapping[str, int]]
"""Query id → passage id → relevance; 0 and below mean not relevant."""


def rank(scored: Iterable[Scored]) -> tuple[Scored, ...]:
    """Order by score, best first; equal scores by passage id, largest first.

    That is trec_eval's order, so a written run gives the same figures in any tool with trec_eval's rules.
    """
    by_id = sorted(scored, key=lambda item: item.passage_id, reverse=True)
    return tuple(sorted(by_id, key=lambda item: -item.score))


def untied(ranking: Iterable[Scored]) -> tuple[Scored, ...]:
    """The ranking in its order, with scores that fall strictly in single precision, which is trec_eval's.

    A score that would tie or rise is lowered to the next number below the one before it. Readers sort by score and each breaks
    ties in its own way, so without this the same file gives other figures in other tools.
    """
    found, last = list[Scored](), np.float32(np.inf)
    for each in ranking:
        single = np.float32(each.score)
        if single < last:
            found.append(each)
        else:
            single = np.nextafter(last, np.float32(-np.inf))
            found.append(Scored(each.passage_id, float(single)))
        last = single
    return tuple(found)


def read_run(path: Path) -> dict[str, tuple[Scored, ...]]:
    """Read a TREC run: `query Q0 passage rank score tag` a line. Order comes from the scores; the rank column is not used.

    Raises DataError, naming file and line, for a malformed line, a score that is no finite number or a repeated passage.
    """
    found: dict[str, dict[str, float]] = {}
    for where, (query, _, passage, _, score, _) in _fields(path, 6, "query Q0 passage rank score tag"):
        ranking = found.setdefault(query, {})
        if passage in ranking:
            raise DataError(f"{where}: passage {passage!r} is listed twice for query {query!r}; keep one line of it")
        ranking[passage] = _score(score, where)
    return {query: rank(Scored(passage, score) for passage, score in ranking.items()) for query, ranking in found.items()}


def write_run(run: Run, path: Path, tag: str = "lorag") -> None:
    """Write a TREC run, ranks from 1, scores with all their digits.

    Raises InputError for an id with white space, and for scores that rise down a ranking, since readers sort by score.
    """
    _require_words([tag, *run, *(scored.passage_id for ranking in run.values() for scored in ranking)])
    for query, ranking in run.items():
        for before, after in itertools.pairwise(ranking):
            if after.score > before.score:
                raise InputError(f"query {query!r}: passage {after.passage_id!r} scores more than the one before it; sort first")
    lines = (
        f"{query} Q0 {scored.passage_id} {place} {scored.score!r} {tag}\n"
        for query, ranking in run.items()
        for place, scored in enumerate(ranking, start=1)
    )
    path.write_text("".join(lines), encoding="utf-8")


def read_qrels(path: Path) -> dict[str, dict[str, int]]:
    """Read TREC judgments: `query iteration passage relevance` a line.

    Raises DataError, naming file and line, for a malformed line, a relevance that is no integer or a repeated judgment.
    """
    qrels: dict[str, dict[str, int]] = {}
    for where, (query, _, passage, relevance) in _fields(path, 4, "query iteration passage relevance"):
        add_judgment(qrels, query, passage, relevance, where)
    return qrels


def write_qrels(qrels: Qrels, path: Path) -> None:
    """Write TREC judgments, iteration 0. Raises InputError for an id with white space."""
    _require_words([*qrels, *(passage for judged in qrels.values() for passage in judged)])
    lines = (f"{query} 0 {passage} {relevance}\n" for query, judged in qrels.items() for passage, relevance in judged.items())
    path.write_text("".join(lines), encoding="utf-8")


def add_judgment(qrels: dict[str, dict[str, int]], query: str, passage: str, relevance: str, where: str) -> None:
    """Add one judgment read at `where` (`file:line`) to `qrels`. Raises DataError if it is no integer or repeated."""
    judged = qrels.setdefault(query, {})
    if passage in judged:
        raise DataError(f"{where}: passage {passage!r} is judged twice for query {query!r}; keep one line of it")
    try:
        judged[passage] = int(relevance)
    except ValueError:
        raise DataError(f"{where}: relevance {relevance!r} is not an integer") from None


def read_lines(path: Path) -> Iterator[tuple[str, str]]:
    """Yield `(file:line, text)` for each line that is not blank. Raises DataError for a file that is missing or not UTF-8."""
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield f"{path}:{number}", line.rstrip("\r\n")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error.reason}); convert it to UTF-8") from error


def _fields(path: Path, count: int, shape: str) -> Iterator[tuple[str, list[str]]]:
    for where, line in read_lines(path):
        fields = line.split()
        if len(fields) != count:
            raise DataError(f"{where}: {len(fields)} fields where `{shape}` has {count}")
        yield where, fields


def _score(text: str, where: str) -> float:
    try:
        score = float(text)
    except ValueError:
        raise DataError(f"{where}: score {text!r} is not a number") from None
    if not math.isfinite(score):
        raise DataError(f"{where}: score {text!r} is not finite, so it cannot be ranked")
    return score


def _require_words(ids: Iterable[str]) -> None:
    for name in ids:
        if not name or name.split() != [name]:
            raise InputError(f"id {name!r} is empty or has white space in it, which TREC files cannot hold; rename it")
