"""What a role is stopped by, on scripted engines: hand-worked figures of the same metrics that the evaluation reports."""

from __future__ import annotations

import pytest

from lorag.pipeline.contracts import judge, synthesize
from lorag.pipeline.contracts.judge import BUILT_IN, JudgeInputs
from lorag.pipeline.engine.protocol import ChoiceRequest, Generation
from lorag.pipeline.engine.scripted import ScriptedEngine
from lorag.pipeline.errors import EngineError, TrainingError
from lorag.pipeline.records import Speaker, Turn
from lorag.training.data.rows import JudgeRow, PassageRow, QuestionRow, RewriteRow
from lorag.training.dev_metric import answer_dev, judge_dev, rewrite_dev, sample_questions

HISTORY = (Turn(Speaker.USER, "Where is the ferry?"),)


def turn(number: int, rewrite: str, history: tuple[Turn, ...] = HISTORY) -> RewriteRow:
    return RewriteRow(f"t{number}", history, "And when?", rewrite)


def test_rewrites_are_measured_by_rouge_1_and_exact_match() -> None:
    dev = rewrite_dev([turn(1, "When does it leave?"), turn(2, "When is the ferry?"), turn(3, "When?", ())], 9)
    assert dev.metric == "ROUGE-1" and len(dev.rows) == 2  # a turn without history is not asked
    engine = ScriptedEngine(["When does it leave?", "When is it?"], adapters=("default",))
    figures = dev.measure(engine, "default")
    # 1, and 2 shared of 3 and of 4 words: P 2/3, R 2/4.
    assert figures == {"ROUGE-1": pytest.approx((1 + 4 / 7) / 2), "EM": 0.5}
    assert all(isinstance(request, Generation) and request.adapter == "default" for request in engine.requests)


def test_answers_are_measured_by_words_citations_and_refusals() -> None:
    passages = {p: PassageRow(p, p, f"The {p} holds the key.") for p in ("a#1", "b#2", "c#3")}
    rows = [
        QuestionRow("right", "Who?", ("the porter",), True, passage_ids=("a#1",)),
        QuestionRow("wrong place", "Who?", ("the porter",), True, passage_ids=("a#1",)),
        QuestionRow("none", "Who else?", (), False),
    ]
    dev = answer_dev(rows, passages, {row.id: ("b#2", "a#1", "c#3") for row in rows}, k=2)
    assert [[p.id for p in dev.shown[row.id]] for row in rows] == [["b#2", "a#1"]] * 2 + [["b#2", "a#1"]]
    replies = [synthesize.target("the porter", [2]), synthesize.target("the porter", [1]), synthesize.target("", [])]
    figures = dev.measure(ScriptedEngine(replies, adapters=("default",)), "default")
    assert figures["F1"] == figures["EM"] == 1.0
    assert figures["citation precision"] == figures["citation recall"] == 0.5
    assert figures["right refusals"] == 1.0
    assert figures[dev.metric] == pytest.approx((1.0 + 0.5 + 1.0) / 3)


def test_judgments_are_measured_by_macro_f1_each_task_alike() -> None:
    inputs = JudgeInputs(question="Who?", answer="the porter", passages=(PassageRow("p", "", "The porter keeps it.").shown(),))
    rows = [JudgeRow(f"s{n}", "support", inputs, label) for n, label in enumerate(("supported", "supported", "unsupported"))]
    dev = judge_dev(rows, BUILT_IN, 9)
    liked = judge.target(BUILT_IN["support"], "supported")

    def choice_probabilities(request: ChoiceRequest) -> list[float]:
        return [0.9 if choice == liked else 0.1 for choice in request.choices]

    figures = dev.measure(ScriptedEngine(scorer=choice_probabilities, adapters=("default",)), "default")
    # supported: 2 hits of 3 given, 2 gold: F1 .8; unsupported: never given, F1 0.
    f1 = pytest.approx(0.4)
    assert figures == {"macro-F1": f1, "macro-F1, support": f1, "accuracy": pytest.approx(2 / 3)}


def test_a_failed_verdict_has_no_label_and_is_counted() -> None:
    inputs = [JudgeInputs(question=question, answer="yes") for question in ("a", "b", "broken")]
    rows = [JudgeRow(str(n), "support", each, "supported") for n, each in enumerate(inputs)]
    answerable = [JudgeRow("none came", "answerability", JudgeInputs(question="broken"), "answerable")]
    liked = judge.target(BUILT_IN["support"], "supported")

    def choice_probabilities(request: ChoiceRequest) -> list[float]:
        if "broken" in request.messages[-1].content:
            raise EngineError("out of memory")
        return [0.9 if choice == liked else 0.1 for choice in request.choices]

    engine = ScriptedEngine(scorer=choice_probabilities, adapters=("default",))
    figures = judge_dev([*rows, *answerable], BUILT_IN, 9).measure(engine, "default")
    assert figures == {"macro-F1": 1.0, "macro-F1, support": 1.0, "accuracy": 1.0, "failed": 2.0}
    with pytest.raises(TrainingError, match=r"'macro-F1' has no value: none of 1 dev items .* such as: .*out of memory"):
        judge_dev(answerable, BUILT_IN, 9).measure(engine, "default")


def test_a_failed_rewrite_and_a_failed_answer_are_counted_and_no_zero() -> None:
    def reply(request: Generation) -> str:
        if "broken" in request.messages[-1].content:
            raise EngineError("out of memory")
        return "When does it leave?" if "And when?" in request.messages[-1].content else synthesize.target("the porter", [1])

    engine = ScriptedEngine(reply, adapters=("default",))
    turns = [turn(1, "When does it leave?"), RewriteRow("t2", HISTORY, "broken?", "What is broken?")]
    assert rewrite_dev(turns, 9).measure(engine, "default") == {"ROUGE-1": 1.0, "EM": 1.0, "failed": 1.0}
    passages = {"a#1": PassageRow("a#1", "a", "The porter holds the key.")}
    rows = [
        QuestionRow("right", "Who?", ("the porter",), True, passage_ids=("a#1",)),
        QuestionRow("answerable", "broken who?", ("the porter",), True, passage_ids=("a#1",)),
        QuestionRow("unanswerable", "broken when?", (), False),
    ]
    dev = answer_dev(rows, passages, {row.id: ("a#1",) for row in rows}, k=1)
    whole = {"F1": 1.0, "EM": 1.0, "citation precision": 1.0, "citation recall": 1.0, "F1 with citations": 1.0}
    assert dev.measure(engine, "default") == {**whole, "failed": 2.0}
    by_words = answer_dev(rows[1:], passages, {row.id: ("a#1",) for row in rows}, k=1, metric="F1")
    with pytest.raises(TrainingError, match="'F1' has no value: none of 2 dev items"):
        by_words.measure(engine, "default")


def test_few_judgments_are_drawn_from_every_task_and_always_the_same() -> None:
    inputs = JudgeInputs(question="Who?")
    rows = [JudgeRow(f"{task}{n}", task, inputs, "x") for task, count in (("a", 50), ("b", 3), ("c", 20)) for n in range(count)]
    chosen = judge_dev(rows, {}, 12).rows
    counts = {task: sum(row.task == task for row in chosen) for task in "abc"}
    assert counts == {"a": 4, "b": 3, "c": 5} and chosen == judge_dev(rows, {}, 12).rows
    questions = [QuestionRow(f"q{n}", "?", ("a",), True) for n in range(9)]
    assert len(sample_questions(questions, 4)) == 4 and sample_questions(questions, 99) == tuple(questions)


def test_a_metric_of_another_role_and_an_empty_split_are_refused() -> None:
    with pytest.raises(TrainingError, match="dev.metric 'macro-F1': the rewriter is stopped by one of ROUGE-1, EM"):
        rewrite_dev([turn(1, "When?")], 3, "macro-F1")
    with pytest.raises(TrainingError, match="no dev row to stop by: add rows to the dev split, or take `dev` out"):
        rewrite_dev([turn(1, "When?", ())], 3)
