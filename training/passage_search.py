"""The passages that serving would show for a question, from a data folder: with the same index, retriever stage and encoder.

The data folder's passages are embedded once, into a temporary index. Knows no settings: the caller makes a `Retrieval`, which
says how the project retrieves.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol, Self

from lorag.pipeline.errors import LoragError
from lorag.pipeline.records import Hit, Passage
from lorag.pipeline.retrieval.weights import SearchWeights
from lorag.pipeline.stages.retriever import DEPTH
from lorag.training.data.rows import PassageRow, document_of

if TYPE_CHECKING:
    from lorag.pipeline.retrieval.embedder import Embedder
    from lorag.pipeline.retrieval.index import Index
    from lorag.pipeline.retrieval.store import Filter
    from lorag.pipeline.stages import Retriever
    from lorag.pipeline.stages.retriever import Searcher

HELD_OUT = "held_out"
"""Metadata of a passage in the temporary index: whether training may not show it."""

QUERY_BATCH = 256
"""Questions searched for at a time, whose hits with texts are in memory together."""


@dataclass(frozen=True, slots=True)
class Retrieval:
    """How the project retrieves when it serves; `k` passages go to the synthesizer.

    Encoder and retriever stage are opened if they are needed, and closed before a model trains. `weights` gives those
    of the index's scores, `language` is that of its words.
    """

    k: int
    open_embedder: Callable[[], Embedder]
    open_retriever: Callable[[Searcher], Retriever]
    weights: Callable[[Embedder], SearchWeights] = lambda embedder: SearchWeights()
    language: str = "english"


def plain_retrieval(model: str, k: int) -> Retrieval:
    """Hybrid search by the bare encoder `model`, without a reranker: how a project without adapters serves."""

    def open_embedder() -> Embedder:
        from lorag.pipeline.retrieval.sentence_encoder import SentenceTransformerEmbedder

        return SentenceTransformerEmbedder(model)

    def open_retriever(index: Searcher) -> Retriever:
        from lorag.pipeline.stages import Retriever

        return Retriever(index, k=k)

    return Retrieval(k, open_embedder, open_retriever)


class PassageFinder(Protocol):
    def find(self, questions: Sequence[str], k: int, *, training: bool) -> list[list[str]]:
        """For each question the ids of at most `k` passages, best first; with `training`, of those that training may show."""
        ...


class PassageSearch:
    """A `PassageFinder` over `passages`, of which training may not show `held_out`. Use it in a `with` statement.

    The index is filled at the first question. Raises as `Index` and the encoder do.
    """

    def __init__(self, passages: Mapping[str, PassageRow], retrieval: Retrieval, held_out: Collection[str] = ()) -> None:
        self._passages = passages
        self._retrieval = retrieval
        self._held_out = held_out
        self._opened = ExitStack()
        self._retriever: Retriever | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._retriever = None
        self._opened.close()

    def find(self, questions: Sequence[str], k: int, *, training: bool) -> list[list[str]]:
        if not self._passages:
            return [[] for _ in questions]
        retriever = self._retriever = self._retriever or self._open()
        found: list[list[str]] = []
        for start in range(0, len(questions), QUERY_BATCH):
            part = questions[start : start + QUERY_BATCH]
            found += _found(retriever, part, k, {HELD_OUT: False} if training else None)
        return found

    def _open(self) -> Retriever:
        passages = [as_passage(row, held_out=row.id in self._held_out) for row in self._passages.values()]
        return self._retrieval.open_retriever(open_temporary_index(passages, self._retrieval, self._opened))


def open_temporary_index(
    passages: Sequence[Passage], retrieval: Retrieval, opened: ExitStack, on_added: Callable[[int, int], None] | None = None
) -> Index:
    """An index of the passages, searched as the project retrieves, until `opened` is closed. `on_added` counts passages."""
    from lorag.pipeline.retrieval.bm25 import Bm25Settings
    from lorag.pipeline.retrieval.edge_store import EdgeStore
    from lorag.pipeline.retrieval.index import Index

    folder = opened.enter_context(tempfile.TemporaryDirectory(prefix="lorag-"))
    embedder = retrieval.open_embedder()
    words = Bm25Settings(language=retrieval.language)
    index = Index(EdgeStore(Path(folder)), embedder, bm25=words, weights=retrieval.weights(embedder))
    opened.callback(index.close)
    index.replace_all(passages, on_added)
    return index


def _found(retriever: Retriever, questions: Sequence[str], k: int, filter: Filter | None) -> list[list[str]]:
    """The ids of at most `k` passages a question. Those that serving finds come first, in its order.

    A deeper search may order them otherwise, and a reranker would choose from more, so it only adds what is missing.
    """
    found = _ids(retriever.rank(questions, filter=filter))
    if k > max(DEPTH, retriever.k):
        deeper = _ids(retriever.rank(questions, k=k, filter=filter))
        found = [list(dict.fromkeys([*served, *more])) for served, more in zip(found, deeper, strict=True)]
    return [each[:k] for each in found]


def _ids(rankings: Sequence[tuple[Hit, ...] | LoragError]) -> list[list[str]]:
    """The ids of each ranking. Raises the first error."""
    found = []
    for ranking in rankings:
        if isinstance(ranking, LoragError):
            raise ranking
        found.append([id_ for hit in ranking for id_ in hit.ids])
    return found


def as_passage(row: PassageRow, **metadata: bool) -> Passage:
    """The passage of a data row; its document's name is the id's, and its title holds the section too."""
    marks = MappingProxyType(metadata)
    return Passage(row.id, document_of(row.id), "", row.title, "", row.text, 0, len(row.text), metadata=marks)
