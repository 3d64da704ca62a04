"""The embedder's rows as pairs: which passages answer a query, and which hard negatives it is trained against.

Mining follows NV-Retriever (arXiv 2407.15831): the passages most similar to the query. Passages almost as similar as the
positive are left out, since they may answer it as well. Vectors are given, so this knows no model.
`sentence_transformers.util.mine_hard_negatives` does the same, but without ids, a row's own negatives and near-duplicates, and
it drops a pair with too few negatives.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from lorag.pipeline.contracts import embed
from lorag.pipeline.errors import TrainingError
from lorag.training.data.rows import EmbedRow, PassageRow

Vectors = NDArray[np.float32]

CANDIDATES = 100
"""Candidate passages per query, best first. Beyond these a mined negative is no harder than a random one."""

NEAR_DUPLICATE = 0.8
"""Two passages count as the same text if one holds this share of the shorter one's word trigrams."""

FREQUENT = 64
"""Trigrams that more gold passages than this share name no candidates for near-duplicates: there are too many."""

_CELLS = 1 << 24
"""Similarities in memory at a time: 64 MiB of float32, for any number of rows and passages."""

_WORDS = re.compile(r"\w+")


class Negatives(StrEnum):
    """The source of hard negatives: none (in-batch ones only), random, or the row's own and then mined ones."""

    NONE = "none"
    RANDOM = "random"
    MINED = "mined"


@dataclass(frozen=True, slots=True)
class Pair:
    """A query, one passage that answers it, and passages it must rank below that one. All pairs have equally many.

    `answer_ids` are all passages that are known to answer it: none of them is its negative, in the batch neither.
    """

    query_id: str
    query: str
    positive_id: str
    negative_ids: tuple[str, ...] = ()
    answer_ids: tuple[str, ...] = ()


def make_pairs(
    rows: Sequence[EmbedRow],
    passages: Sequence[PassageRow],
    mode: Negatives,
    count: int,
    *,
    query_vectors: Vectors | None = None,
    passage_vectors: Vectors | None = None,
    relative_margin: float = 0.95,
    seed: int = 0,
) -> tuple[Pair, ...]:
    """One pair per row and positive, each with `count` negatives (with `NONE`: without).

    `MINED` takes the row's own `negative_ids` first, then passages by falling similarity below `relative_margin` times that
    of the positive. It needs unit vectors, one per row and per passage in their order. Missing ones are drawn at random.
    Positives of any row with the same query, and near-duplicates of them, are never taken (`answer_ids`).

    Raises TrainingError if a row names an unknown passage or the corpus is too small.
    """
    by_id = {passage.id: passage for passage in passages}
    _require_known(rows, by_id)
    answers = _answers(rows, passages)
    if mode is Negatives.NONE or count == 0:
        return tuple(_pair(row, positive, (), answers) for row in rows for positive in row.positive_ids)
    ranked: Iterator[_Ranked]
    if mode is Negatives.RANDOM:
        ranked = (_Ranked((), {}) for _ in rows)
    elif query_vectors is None or passage_vectors is None:
        raise TrainingError("mined negatives need the vectors of queries and passages; give both, or use random ones")
    else:
        ranked = _rank(rows, passages, query_vectors, passage_vectors)
    random_passages = _RandomPassages(passages, seed)
    pairs = []
    for row, candidates in zip(rows, ranked, strict=True):
        excluded = answers[embed.query_text(row.query)]
        own = row.negative_ids if mode is Negatives.MINED else ()
        for positive in row.positive_ids:
            mined = candidates.below(relative_margin, positive)
            chosen = _first_allowed(count, (*own, *mined), excluded) if own or mined else []
            chosen += random_passages.sample(count - len(chosen), chosen, excluded)
            pairs.append(_pair(row, positive, tuple(chosen), answers))
    return tuple(pairs)


def _pair(row: EmbedRow, positive: str, negatives: tuple[str, ...], answers: Mapping[str, frozenset[str]]) -> Pair:
    return Pair(row.query_id, row.query, positive, negatives, tuple(sorted(answers[embed.query_text(row.query)])))


def near_duplicate(one: str, other: str) -> bool:
    """Whether two texts are nearly the same, or one holds nearly all of the other."""
    return _alike(_trigrams(one), _trigrams(other))


def _alike(a: Set[tuple[str, ...]], b: Set[tuple[str, ...]]) -> bool:
    return bool(a and b) and len(a & b) / min(len(a), len(b)) >= NEAR_DUPLICATE


@dataclass(frozen=True, slots=True)
class _Ranked:
    """Passages by falling similarity to one query, and the similarity of its positives."""

    candidates: tuple[tuple[str, float], ...]
    positives: Mapping[str, float]

    def below(self, margin: float, positive_id: str) -> list[str]:
        if positive_id not in self.positives:
            return []
        bound = margin * self.positives[positive_id]
        return [passage_id for passage_id, similarity in self.candidates if similarity < bound]


class _RandomPassages:
    """Passages at random, the same for the same seed."""

    def __init__(self, passages: Sequence[PassageRow], seed: int) -> None:
        self._ids = [passage.id for passage in passages]
        self._random = np.random.default_rng(seed)

    def sample(self, count: int, taken: Iterable[str], excluded: Set[str]) -> list[str]:
        if count <= 0:
            return []
        taken = set(taken)
        # A small sample nearly always suffices; the whole corpus is shuffled only if nearly all of it is excluded.
        for size in (min(len(self._ids), 8 * count), len(self._ids)):
            order = (self._ids[index] for index in self._random.choice(len(self._ids), size, replace=False))
            drawn = _first_allowed(count, (passage_id for passage_id in order if passage_id not in taken), excluded)
            if len(drawn) == count:
                return drawn
        wanted = count + len(taken)
        raise TrainingError(
            f"{len(self._ids)} passages are too few for {wanted} negatives per query: ask for fewer, or add passages"
        )


def _answers(rows: Sequence[EmbedRow], passages: Sequence[PassageRow]) -> dict[str, frozenset[str]]:
    """Query text → the passages that answer it by any row, and their near-duplicates."""
    gold: dict[str, set[str]] = {}
    for row in rows:
        gold.setdefault(embed.query_text(row.query), set()).update(row.positive_ids)
    twins = _twins(passages, frozenset().union(*gold.values()))
    return {query: frozenset(ids).union(*(twins[name] for name in ids)) for query, ids in gold.items()}


def _twins(passages: Sequence[PassageRow], wanted: Set[str]) -> dict[str, set[str]]:
    """The near-duplicates of the `wanted` passages. Candidates are those that share a trigram which is not too frequent."""
    trigrams = {passage.id: _trigrams(passage.text) for passage in passages}
    holders: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for name in sorted(wanted):
        for trigram in trigrams[name]:
            holders[trigram].append(name)
    twins: dict[str, set[str]] = {name: set() for name in wanted}
    for name, held in trigrams.items():
        found = [holders[trigram] for trigram in held if trigram in holders]
        for other in {each for names in found if len(names) <= FREQUENT for each in names}:
            if _alike(held, trigrams[other]):
                twins[other].add(name)
    return twins


def _first_allowed(count: int, ids: Iterable[str], excluded: Set[str]) -> list[str]:
    chosen: list[str] = []
    for passage_id in ids:
        if len(chosen) == count:
            break
        if passage_id not in chosen and passage_id not in excluded:
            chosen.append(passage_id)
    return chosen


def _rank(
    rows: Sequence[EmbedRow], passages: Sequence[PassageRow], query_vectors: Vectors, passage_vectors: Vectors
) -> Iterator[_Ranked]:
    """Exhaustive search, in blocks of rows: at most `_CELLS` similarities at a time, or those of one row."""
    ids = [passage.id for passage in passages]
    place = {passage_id: index for index, passage_id in enumerate(ids)}
    depth = min(CANDIDATES, len(ids))
    step = max(1, _CELLS // max(1, len(ids)))
    for start in range(0, len(rows), step):
        similarities = query_vectors[start : start + step] @ passage_vectors.T
        for row, line in zip(rows[start : start + step], similarities, strict=True):
            top = np.argpartition(-line, depth - 1)[:depth]
            top = top[np.lexsort((top, -line[top]))]
            candidates = tuple((ids[index], float(line[index])) for index in top)
            yield _Ranked(candidates, {positive: float(line[place[positive]]) for positive in row.positive_ids})


def _require_known(rows: Sequence[EmbedRow], by_id: Mapping[str, PassageRow]) -> None:
    for row in rows:
        for passage_id in (*row.positive_ids, *row.negative_ids):
            if passage_id not in by_id:
                raise TrainingError(f"row {row.query_id!r} names passage {passage_id!r}, which the passages do not hold")


def _trigrams(text: str) -> set[tuple[str, ...]]:
    words = _WORDS.findall(text.casefold())
    if len(words) < 3:
        return {tuple(words)} if words else set()
    return {(a, b, c) for a, b, c in zip(words, words[1:], words[2:], strict=False)}
