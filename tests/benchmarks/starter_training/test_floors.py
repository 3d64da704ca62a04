"""Rules on the starters' items, on a miniature of the public sets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.starter_floors import NamedLabel, frequent_answer, of_answers, of_labels
from benchmarks.starter_training.held_out import public_tasks
from lorag.pipeline.contracts.judge import JudgeInputs, intent_schema
from lorag.pipeline.evaluation.ablation import mean
from lorag.pipeline.evaluation.floors.systems import ALWAYS_REFUSING, BEST_SENTENCE, MAJORITY, OVERLAP
from lorag.pipeline.records import Role
from lorag.training.transfer.measuring import tasks


def test_a_constant_answer_is_right_as_often_as_its_label(data: Path) -> None:
    assert frequent_answer(data, "pubmedqa") == "maybe" and frequent_answer(data, "qed_nq") == ""
    task = public_tasks(Role.SYNTHESIZER, data, 10)[-1]
    floors = {each.configuration.name: each for each in of_answers(task, "maybe")}
    assert list(floors) == [BEST_SENTENCE, ALWAYS_REFUSING, "always “maybe”"]
    assert mean(floors["always “maybe”"], "F1") == 1.0  # the miniature says maybe everywhere
    first = [item.hits[0].passage.id in item.gold.passage_ids for item in task.answered if item.gold.answerable]
    assert mean(floors["always “maybe”"], "citation recall") == pytest.approx(sum(first) / len(first))
    assert mean(floors[ALWAYS_REFUSING], "right refusals") == 1.0


def test_a_judge_task_has_the_most_frequent_label_and_overlap_fitted_on_other_rows() -> None:
    task = next(each for each in tasks(Role.JUDGE, 40) if each.name.startswith("answerability"))
    (alone,) = of_labels(task, [])
    assert (alone.configuration.name, len({item.label for item in alone.judgments})) == (MAJORITY, 1)
    majority, overlap = of_labels(replace(task, judged=task.judged[20:]), task.judged[:20])
    assert (majority.configuration.name, overlap.configuration.name) == (MAJORITY, OVERLAP)
    assert len(overlap.judgments) == len(task.judged) - 20


def test_a_label_is_chosen_by_the_words_of_its_name() -> None:
    schema = intent_schema({"play_music": "play music", "set_alarm": "set alarm"})
    asked = [JudgeInputs(message=text) for text in ("wake me with an alarm", "some music please", "hello")]
    assert [each.label for each in NamedLabel().judge(schema, asked)] == ["set_alarm", "play_music", "play_music"]
