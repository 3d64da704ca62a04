"""What training shows for a question is what serving finds: one index code, one encoder, and each passage embedded once."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from lorag.pipeline.errors import LoragError
from lorag.pipeline.records import Hit
from lorag.pipeline.retrieval.edge_store import EdgeStore
from lorag.pipeline.retrieval.embedder import HashingEmbedder, Vectors
from lorag.pipeline.retrieval.index import Index
from lorag.pipeline.retrieval.ingest import Chunking
from lorag.pipeline.stages import Retriever
from lorag.pipeline.stages.retriever import Searcher
from lorag.training import passage_search
from lorag.training.data.rows import PassageRow, QuestionRow
from lorag.training.examples import rank_for, shown_passages, synthesize_examples
from lorag.training.passage_search import PassageSearch, Retrieval

WORDS = ("ferry", "crane", "pilot", "porter", "quay", "lock", "tug", "bridge", "lamp", "rope")
QUESTIONS = [f"Where is the {one} beside the {other}?" for one, other in itertools.combinations(WORDS, 2)]


class CountingEmbedder(HashingEmbedder):
    def __init__(self) -> None:
        super().__init__(256)
        self.passages: list[str] = []
        self.questions: list[str] = []

    def embed_passages(self, texts: Sequence[str]) -> Vectors:
        self.passages += texts
        return super().embed_passages(texts)

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        self.questions += texts
        return super().embed_queries(texts)


class Longest:
    """A reranker that prefers long passages: an order that no vector gives."""

    def rerank(self, question: str, hits: Sequence[Hit], k: int) -> list[Hit]:
        return sorted(hits, key=lambda hit: -len(hit.passage.text))[:k]


STAGES: Mapping[str, Callable[[Searcher], Retriever]] = {
    "hybrid": lambda index: Retriever(index, k=3),
    "dense": lambda index: Retriever(index, k=3, hybrid=False),
    "reranked": lambda index: Retriever(index, k=3, reranker=Longest()),
}


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    folder = tmp_path / "documents"
    folder.mkdir()
    for n, (one, other) in enumerate(itertools.permutations(WORDS, 2)):
        text = f"# {one}\n\n## {other}\n\nThe {one} lies at the {other}, place {n}. {prose(n)}\n"
        (folder / f"{one}-{other}.md").write_text(text)
    return folder


def prose(seed: int) -> str:
    """Words by chance, as many as chance says: so that no two passages are equally like a question."""
    rng = random.Random(seed)
    return " ".join(rng.choice((*WORDS, f"word{rng.randrange(300)}")) for _ in range(rng.randrange(5, 40)))


def rows_of(index: Index) -> dict[str, PassageRow]:
    """A data folder's passages, as they are made from the documents that the index was filled from."""
    passages = sorted(index.passages(), key=lambda each: each.id)
    return {p.id: PassageRow(p.id, " > ".join(filter(None, (p.title, p.section))), p.text) for p in passages}


def searching(
    passages: Mapping[str, PassageRow], stage: str = "hybrid", held_out: Sequence[str] = ()
) -> tuple[PassageSearch, CountingEmbedder]:
    embedder = CountingEmbedder()
    return PassageSearch(passages, Retrieval(3, lambda: embedder, STAGES[stage]), held_out), embedder


@pytest.mark.parametrize("stage", STAGES)
def test_training_finds_what_serving_finds(stage: str, documents: Path, tmp_path: Path) -> None:
    serving = Index(EdgeStore(tmp_path / "index"), HashingEmbedder(256), chunking=Chunking(700, 0))
    serving.ingest(documents)
    served = STAGES[stage](serving).retrieve(QUESTIONS)
    passages = rows_of(serving)
    serving.close()
    search, _ = searching(passages, stage)
    with search:
        found = search.find(QUESTIONS, 3, training=False)
    assert found == [[hit.passage.id for hit in hits] for hits in served]
    assert len({tuple(ids) for ids in found}) > 30


@pytest.mark.parametrize(("k", "wanted"), [(6, 8), (12, 15)])
@pytest.mark.parametrize("reranks", [False, True], ids=["hybrid", "reranked"])
def test_more_passages_than_are_served_begin_with_those(
    k: int, wanted: int, reranks: bool, documents: Path, tmp_path: Path
) -> None:
    """A row whose gold passage is not shown needs one more: not out of a larger pool, of which a reranker likes others best."""

    def stage(index: Searcher) -> Retriever:
        return Retriever(index, k=k, reranker=Longest() if reranks else None)

    serving = Index(EdgeStore(tmp_path / "index"), HashingEmbedder(256), chunking=Chunking(700, 0))
    serving.ingest(documents)
    served, passages = stage(serving).retrieve(QUESTIONS), rows_of(serving)
    serving.close()
    with PassageSearch(passages, Retrieval(k, lambda: HashingEmbedder(256), stage)) as search:
        found = search.find(QUESTIONS, wanted, training=False)
    assert [ids[:k] for ids in found] == [[hit.passage.id for hit in hits] for hits in served]
    assert all(len(ids) == len(set(ids)) == wanted for ids in found)


def test_a_passage_is_embedded_once_whatever_is_asked() -> None:
    passages = {f"{word}.md#1": PassageRow(f"{word}.md#1", word, f"The {word} is here.") for word in WORDS}
    search, embedder = searching(passages, held_out=["lock.md#1", "tug.md#1"])
    with search:
        assert embedder.passages == []  # nothing is embedded before a question
        everything = search.find(["Where is the lock?"], 10, training=False)
        learnt = search.find(["Where is the lock?", "Where is the tug?"], 10, training=True)
    assert everything[0][0] == "lock.md#1" and set(everything[0]) == passages.keys()
    assert all(set(ids) == passages.keys() - {"lock.md#1", "tug.md#1"} for ids in learnt)
    assert sorted(embedder.passages) == sorted(f"{word}\nThe {word} is here." for word in WORDS)
    assert embedder.questions == ["Where is the lock?", "Where is the lock?", "Where is the tug?"]


def test_questions_are_searched_for_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passage_search, "QUERY_BATCH", 4)
    passages = {f"{word}.md#1": PassageRow(f"{word}.md#1", word, f"The {word} is here.") for word in WORDS}
    passages = {id_: replace(row, text=f"{row.text} {prose(n)}") for n, (id_, row) in enumerate(passages.items())}
    blocks: list[int] = []

    class Watched(Retriever):
        def rank(self, questions: Sequence[str], **options: object) -> list[tuple[Hit, ...] | LoragError]:
            blocks.append(len(questions))
            return super().rank(questions, **options)  # type: ignore[arg-type]

    questions = [f"Where is the {word}?" for word in WORDS]
    embedder = HashingEmbedder(256)
    with PassageSearch(passages, Retrieval(2, lambda: embedder, lambda index: Watched(index, k=2, hybrid=False))) as search:
        found = search.find(questions, 2, training=True)
    assert blocks == [4, 4, 2]
    monkeypatch.setattr(passage_search, "QUERY_BATCH", 99)
    with PassageSearch(passages, Retrieval(2, lambda: embedder, STAGES["dense"])) as search:
        assert search.find(questions, 2, training=True) == found


def test_without_passages_nothing_is_opened() -> None:
    search, embedder = searching({})
    with search:
        assert search.find(["Where?"], 3, training=True) == [[]]
    assert embedder.passages == embedder.questions == []


class Ranked:
    """Finds the same passages for every question, and tells how many were asked for."""

    def __init__(self, ranking: Sequence[str]) -> None:
        self.ranking, self.asked = list(ranking), list[tuple[str, int]]()

    def find(self, questions: Sequence[str], k: int, *, training: bool) -> list[list[str]]:
        self.asked += [(question, k) for question in questions]
        return [self.ranking[:k] for _ in questions]


def test_a_row_gets_as_many_passages_as_are_shown_and_taken_away() -> None:
    rows = [
        QuestionRow("shown", "Who?", ("a",), True, passage_ids=("p1", "p3")),
        QuestionRow("refused", "Who not?", (), False, passage_ids=("p0",)),
        QuestionRow("open", "Who never?", (), False),
    ]
    finder = Ranked([f"p{n}" for n in range(9)])
    rankings = rank_for(rows, finder, 3, training=True)
    assert sorted(finder.asked) == [("Who never?", 3), ("Who not?", 4), ("Who?", 3)]
    assert [shown_passages(row, rankings[row.id], 3) for row in rows] == [
        ["p0", "p1", "p3"],
        ["p1", "p2", "p3"],
        ["p0", "p1", "p2"],
    ]
    hidden = rank_for(rows[:1], finder, 3, training=True, missing_gold=1.0)
    assert shown_passages(rows[0], hidden["shown"], 3, hide=True) == ["p0", "p2", "p4"]


def test_what_answers_a_question_by_another_row_is_no_distractor_of_it() -> None:
    passages = {f"p{n}": PassageRow(f"p{n}", "", f"Text {n}.") for n in range(9)}
    rows = [
        QuestionRow("one", "Who keeps it?", ("a",), True, passage_ids=("p1",)),
        QuestionRow("other", "When?", ("a",), True, passage_ids=("p0",), standalone="Who  keeps it?"),
    ]
    rankings = rank_for(rows, Ranked(list(passages)), 3, training=True)
    texts = [
        example.messages[-1].content for example in synthesize_examples(rows, passages, rankings, k=3, missing_gold=0, shuffled=0)
    ]
    assert [[n for n in range(9) if f"Text {n}." in text] for text in texts] == [[1, 2, 3], [0, 2, 3]]
