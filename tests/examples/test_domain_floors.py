"""The floors of the example domain on fixed test items: what a chain must beat there, without any model."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import pytest

from lorag.evaluating.figures import shown_metrics
from lorag.evaluating.testset import Sizes, read_examples, read_tests
from lorag.pipeline.engine.scripted import ScriptedEngine
from lorag.pipeline.evaluation.ablation import LOWER_IS_BETTER, NDCG, RECALL, Measured, TestSet, interval, mean
from lorag.pipeline.evaluation.answers import CITATION_RECALL, SQUAD_F1
from lorag.pipeline.evaluation.bench import Bench, Parts
from lorag.pipeline.evaluation.floors.best import WITHOUT_FLOOR, best_floors
from lorag.pipeline.evaluation.floors.systems import (
    BEST_SENTENCE,
    BM25,
    BM25_HISTORY,
    MAJORITY,
    OVERLAP,
    UNCHANGED,
    floor_systems,
)
from lorag.pipeline.evaluation.floors.words import WordSearcher
from lorag.pipeline.evaluation.judge_metrics import TASKS_F1, task_f1
from lorag.pipeline.evaluation.rewrites import ROUGE_1
from lorag.pipeline.records import Passage
from lorag.pipeline.stages import Retriever
from lorag.training.dataset import DataFolder
from tests.examples.kelder import FOLDER, INTENTS, passages

SIZES = Sizes(questions=66, unanswerable=18, turns=48, judgments=36)
"""360 items to search for: those that figures of the training log are of."""


@cache
def measured() -> tuple[TestSet, Mapping[str, Measured]]:
    """Every floor, by name, measured by the bench as a configuration of the chain is."""
    data = DataFolder(FOLDER, INTENTS)
    tests = read_tests(data, SIZES)
    shown = [Passage(row.id, row.id, row.id, row.title, "", row.text, 0, len(row.text)) for row in passages().values()]
    bench = Bench(Parts(ScriptedEngine(), {}, Retriever(WordSearcher(shown))), tests)
    found = [bench.run(system) for system in floor_systems(tests, shown, read_examples(data))]
    return tests, {each.configuration.name: each for each in found}


@pytest.mark.parametrize(
    ("name", "metric", "value", "n"),
    [
        (BM25, NDCG, 0.705, 360),
        (BM25, RECALL, 0.801, 360),
        (BM25_HISTORY, NDCG, 0.753, 360),
        (BM25_HISTORY, RECALL, 0.863, 360),
        (BEST_SENTENCE, SQUAD_F1, 0.154, 48),
        (BEST_SENTENCE, CITATION_RECALL, 0.5, 48),
        (UNCHANGED, ROUGE_1, 0.709, 48),
    ],
)
def test_the_floors_of_the_example_are_what_independent_code_finds(name: str, metric: str, value: float, n: int) -> None:
    """The retrieval figures are those of a plain BM25 with dictionaries, the history's words before the question; `best
    sentence` is the sentence with most shared stems of its first three passages."""
    found = interval(measured()[1][name], metric)
    assert found is not None
    assert (found.value, found.n) == (pytest.approx(value, abs=0.0006), n)
    assert found.low < found.value < found.high and found.groups > 8


def test_the_history_before_the_question_finds_what_the_question_alone_does_not() -> None:
    """On the items without a history both floors are one search."""
    tests, found = measured()
    alone = {item.gold.id for item in tests.chain if not item.query.history}
    plain, with_history = (found[name].retrieval.values(NDCG) for name in (BM25, BM25_HISTORY))
    changed = {id_ for id_, value in plain.items() if value != with_history[id_]}
    assert changed and not changed & alone
    turns = [id_ for id_ in plain if id_ not in alone]
    assert sum(with_history[id_] for id_ in turns) > sum(plain[id_] for id_ in turns) + 0.2 * len(turns)


def test_every_metric_of_the_table_has_a_floor_or_a_reason() -> None:
    tests, found = measured()
    wanted = shown_metrics(tests)
    best = best_floors(list(found.values()), wanted, LOWER_IS_BETTER)
    assert [metric for metric in wanted if metric not in best and metric not in WITHOUT_FLOOR] == []
    assert [metric for metric in wanted if metric in best and metric in WITHOUT_FLOOR] == []


def test_the_judges_floors_are_rules_fitted_on_the_training_rows() -> None:
    """Word overlap knows the tasks with passages; each floor is better than a constant label, or the constant is the floor."""
    tests, found = measured()
    assert {each.gold.partition(": ")[0] for each in found[OVERLAP].judgments} == {"relevance", "answerability", "support"}
    tasks = ("intent", "relevance", "answerability", "support")
    best = best_floors(list(found.values()), [TASKS_F1, *map(task_f1, tasks)], ())
    each = [best[task_f1(task)][1].value for task in tasks]
    assert best[TASKS_F1][1].value == pytest.approx(sum(each) / 4)
    assert all(value >= (mean(found[MAJORITY], task_f1(task)) or 0) for task, value in zip(tasks, each, strict=True))
