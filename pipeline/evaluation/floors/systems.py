"""The floors of a test set, as systems for the bench. Knows no settings and no file."""

from __future__ import annotations

from collections.abc import Sequence

from lorag.pipeline.evaluation.ablation import Configuration, JudgeItem, TestSet
from lorag.pipeline.evaluation.bench import Labeller, System
from lorag.pipeline.evaluation.floors.labels import NEIGHBOURS, MajorityLabel, NearestLabels
from lorag.pipeline.evaluation.floors.overlap import WordOverlap
from lorag.pipeline.evaluation.floors.stages import AlwaysRefusing, BestSentence, HistoryFirst, Unchanged
from lorag.pipeline.evaluation.floors.vectors import VectorIndex
from lorag.pipeline.evaluation.floors.words import WordSearcher
from lorag.pipeline.records import Passage
from lorag.pipeline.retrieval.embedder import Embedder
from lorag.pipeline.stages import Retriever

UNCHANGED, HISTORY = "question unchanged", "history before the question"
BM25, BM25_HISTORY = "BM25", "BM25 with the history"
MAJORITY, OVERLAP = "most frequent label", "word overlap"
NEAREST, NEAREST_BY_VECTOR = f"nearest {NEIGHBOURS} training rows by words", f"nearest {NEIGHBOURS} training rows by the encoder"
BEST_SENTENCE, ALWAYS_REFUSING = "best sentence", "always refusing"

READ = 3
"""The passages, of the best by words, that the best sentence is taken from."""


def floor_systems(
    tests: TestSet, passages: Sequence[Passage], examples: Sequence[JudgeItem] = (), encoder: Embedder | None = None
) -> tuple[System, ...]:
    """The floors that `tests` can measure. `passages` are those of the index, `examples` the judge's training rows. `encoder` is
    the frozen one; without it no rows are compared by vectors."""
    return (*_chain_floors(tests, passages), *_label_floors(tests.judgments, examples, encoder))


def raw_search_systems(retriever: Retriever) -> tuple[System, ...]:
    """The chain's own search without a rewriter: by the question as it is, and by the conversation before it."""
    return (
        _system(UNCHANGED, "retrieval", Unchanged(), retriever),
        _system(HISTORY, "retrieval", HistoryFirst(), retriever),
    )


def _chain_floors(tests: TestSet, passages: Sequence[Passage]) -> list[System]:
    by_words = Retriever(WordSearcher(passages), k=READ, encoder=BM25)
    found: list[System] = []
    if tests.rewrites:
        found += [
            _system(UNCHANGED, "rewrites", Unchanged()),
            _system(HISTORY, "rewrites", HistoryFirst()),
        ]
    if any(item.gold.answerable and item.gold.passage_ids for item in tests.chain):
        found.append(_system(BM25, "retrieval", Unchanged(), by_words))
        if any(item.query.history for item in tests.chain):
            found.append(_system(BM25_HISTORY, "retrieval", HistoryFirst(), by_words))
    if any(item.answered for item in tests.chain):
        found += [
            _system(BEST_SENTENCE, "answers", HistoryFirst(), by_words, BestSentence()),
            _system(ALWAYS_REFUSING, "answers", HistoryFirst(), by_words, AlwaysRefusing()),
        ]
    return found


def _label_floors(judgments: Sequence[JudgeItem], examples: Sequence[JudgeItem], encoder: Embedder | None) -> list[System]:
    """Rules that need training rows are left out of tasks without any. The most frequent label is then the test's own, which
    favours the floor. Vectors are compared in tasks without passages: of longer texts an encoder reads the first part alone."""
    taught = {item.schema.task for item in examples} & {item.schema.task for item in judgments}
    if not judgments:
        return []
    rows = [*examples, *(item for item in judgments if item.schema.task not in taught)]
    found = [_labeller(MAJORITY, MajorityLabel(rows), None)]
    if taught:
        found.append(_labeller(NEAREST, NearestLabels(examples), frozenset(taught)))
    short = taught - {item.schema.task for item in examples if item.inputs.passages}
    if short and encoder is not None:
        by_vector = NearestLabels(examples, lambda texts: VectorIndex(texts, encoder))
        found.append(_labeller(NEAREST_BY_VECTOR, by_vector, frozenset(short)))
    overlap = WordOverlap(examples)
    if fit := overlap.tasks & taught:
        found.append(_labeller(OVERLAP, overlap, fit))
    return found


def _labeller(name: str, judge: Labeller, tasks: frozenset[str] | None) -> System:
    return System(Configuration(name, frozenset()), judge=judge, parts=frozenset({"judgments"}), tasks=tasks)


def _system(name: str, part: str, *stages: Unchanged | Retriever | BestSentence | AlwaysRefusing) -> System:
    return System(Configuration(name, frozenset()), stages, parts=frozenset({part}))
