"""Floors worked by hand: what systems without any training score, measured by the bench as the chain is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from lorag.pipeline.contracts.context import PassageText
from lorag.pipeline.contracts.judge import JudgeInputs, LabelSchema
from lorag.pipeline.engine.scripted import ScriptedEngine
from lorag.pipeline.evaluation.ablation import (
    NDCG,
    REWRITE_EM,
    ChainItem,
    JudgeItem,
    Measured,
    RewriteItem,
    TestSet,
    mean,
)
from lorag.pipeline.evaluation.answers import (
    CITATION_PRECISION,
    CITATION_RECALL,
    EM,
    F1,
    RIGHT_REFUSALS,
    WRONG_REFUSALS,
    GoldAnswer,
)
from lorag.pipeline.evaluation.bench import Bench, Parts
from lorag.pipeline.evaluation.floors.systems import (
    ALWAYS_REFUSING,
    BEST_SENTENCE,
    BM25,
    BM25_HISTORY,
    HISTORY,
    MAJORITY,
    NEAREST,
    NEAREST_BY_VECTOR,
    OVERLAP,
    UNCHANGED,
    floor_systems,
)
from lorag.pipeline.evaluation.floors.words import WordSearcher
from lorag.pipeline.evaluation.judge_metrics import MACRO_F1
from lorag.pipeline.evaluation.rewrites import ROUGE_1, GoldRewrite
from lorag.pipeline.records import Passage, Query, Speaker, Turn
from lorag.pipeline.retrieval.embedder import HashingEmbedder
from lorag.pipeline.stages import Retriever

HISTORY_TURNS = (Turn(Speaker.USER, "Who keeps the key?"),)
COLOUR = LabelSchema("colour", "Is it red?", {"yes": "red", "no": "not red"})
SIZE = LabelSchema("size", "Is it large?", {"yes": "large", "no": "small"})

PASSAGES = tuple(
    Passage(id_, "d.md", "docs/d.md", "", "", text, 0, len(text))
    for id_, text in (
        ("key#1", "The porter keeps the key. It hangs in room four."),
        ("bell#1", "The bell is rung at night. Nobody rings it by day."),
        ("fog#1", "In fog the boats stay. The signal is two short blasts."),
    )
)


def measure(tests: TestSet, examples: Sequence[JudgeItem] = (), passages: Sequence[Passage] = PASSAGES) -> Mapping[str, Measured]:
    bench = Bench(Parts(ScriptedEngine(), {}, Retriever(WordSearcher(passages))), tests)
    return {system.configuration.name: bench.run(system) for system in floor_systems(tests, passages, examples)}


def question(id_: str, asked: str, answer: str, *gold: str, history: tuple[Turn, ...] = (), answered: bool = True) -> ChainItem:
    gold_answer = GoldAnswer(id_, (answer,) if gold else (), bool(gold), gold, group=id_)
    return ChainItem(Query(asked, history), gold_answer, answered=answered)


def label(id_: str, schema: LabelSchema, message: str, chosen: str) -> JudgeItem:
    return JudgeItem(id_, schema, JudgeInputs(message=message), chosen, id_)


def test_the_unchanged_question_as_a_rewrite() -> None:
    """`and then` against `and then where`: precision 1, recall 2/3, F 0.8; the second turn stands alone."""
    turns = (("t1", "and then?", "and then where?"), ("t2", "who was it?", "who was it?"))
    tests = TestSet(
        (), tuple(RewriteItem(Query(raw, HISTORY_TURNS), GoldRewrite(id_, raw, (gold,))) for id_, raw, gold in turns), ()
    )
    found = measure(tests)
    assert list(found) == [UNCHANGED, HISTORY]
    assert (mean(found[UNCHANGED], ROUGE_1), mean(found[UNCHANGED], REWRITE_EM)) == (pytest.approx(0.9), 0.5)
    # `who keeps the key` before both: of 6 words 2, of 3 gold ones 2; of 7 words 3 or, `who` being in the history too, 3 of 3.
    assert found[HISTORY].rewrites.values(ROUGE_1) == {"t1": pytest.approx(4 / 9), "t2": pytest.approx(6 / 10)}


def test_the_history_before_the_question_finds_what_the_question_does_not_name() -> None:
    turn = question("t", "And where is it?", "room four", "key#1", history=HISTORY_TURNS, answered=False)
    found = measure(TestSet((turn,), (), ()))
    assert list(found) == [BM25, BM25_HISTORY]
    assert (mean(found[BM25], NDCG), mean(found[BM25_HISTORY], NDCG)) == (0, 1)


def test_without_a_history_both_searches_are_one() -> None:
    assert list(measure(TestSet((question("q", "bell?", "x", "bell#1", answered=False),), (), ()))) == [BM25]


def test_the_best_sentence_and_its_passage() -> None:
    """`The bell is rung at night.` shares bell and rung, its passage is gold; `Nobody rings it by day.` shares less.

    Without articles it is 5 words, and `at night` 2 of them: F1 2 · 2 / (5 + 2).
    """
    tests = TestSet(
        (question("q", "When is the bell rung?", "at night", "bell#1"), question("u", "Who feeds the porter?", "")), (), ()
    )
    found = measure(tests)[BEST_SENTENCE]
    answer = found.responses["q"].answer
    assert (answer.text, answer.citations[0].quote) == ("The bell is rung at night.",) * 2
    assert [mean(found, m) for m in (EM, F1, CITATION_PRECISION, CITATION_RECALL, WRONG_REFUSALS, RIGHT_REFUSALS)] == [
        0,
        pytest.approx(4 / 7),
        1,
        1,
        0,
        0,
    ]


def test_where_nothing_was_found_even_the_best_sentence_is_a_refusal() -> None:
    found = measure(TestSet((question("q", "Why?", "because", "bell#1"),), (), ()))[BEST_SENTENCE]
    assert found.responses["q"].answer.refused and mean(found, F1) == 0


def test_always_refusing_is_right_and_wrong_about_everything() -> None:
    tests = TestSet(
        (question("q", "When is the bell rung?", "at night", "bell#1"), question("u", "Who feeds the porter?", "")), (), ()
    )
    found = measure(tests)[ALWAYS_REFUSING]
    assert [mean(found, m) for m in (RIGHT_REFUSALS, WRONG_REFUSALS, F1, CITATION_RECALL)] == [1, 1, 0, 0]


def test_the_most_frequent_label_is_that_of_the_training_rows() -> None:
    """Trained on `colour: no`; the test's own majority is `yes`, which must not matter. Size was not trained: its own one."""
    examples = [label(f"e{n}", COLOUR, "m", each) for n, each in enumerate(("no", "no", "yes"))]
    judged = (
        label("a", COLOUR, "m", "yes"),
        label("b", COLOUR, "m", "yes"),
        label("c", COLOUR, "m", "no"),
        label("d", SIZE, "m", "no"),
    )
    found = measure(TestSet((), (), judged), examples)
    assert [each.label for each in found[MAJORITY].judgments] == ["colour: no"] * 3 + ["size: no"]
    assert found[MAJORITY].judgments[0].probabilities == {"colour: yes": pytest.approx(1 / 3), "colour: no": pytest.approx(2 / 3)}
    assert [each.id for each in found[NEAREST].judgments] == ["a", "b", "c"]


def test_without_training_rows_the_most_frequent_label_is_the_tests_own() -> None:
    """Always `colour: yes` (F1 2·2/(2+3)), never `colour: no` (0), always `size: no` (1): (0.8 + 0 + 1) / 3."""
    labels = (("j1", COLOUR, "yes"), ("j2", SIZE, "no"), ("j3", COLOUR, "yes"), ("j4", COLOUR, "no"))
    found = measure(TestSet((), (), tuple(label(id_, schema, "m", each) for id_, schema, each in labels)))
    assert list(found) == [MAJORITY]
    assert mean(found[MAJORITY], MACRO_F1) == pytest.approx(0.6)


def test_the_nearest_rows_vote() -> None:
    """Rows that share no word have no vote. Nothing is near `fog`, so it gets the most frequent label of all."""
    told = [("sunset one", "yes"), ("sunset two", "yes"), ("sunset three", "no"), ("grass four", "no"), ("grass five", "no")]
    examples = [label(f"e{n}", COLOUR, text, each) for n, (text, each) in enumerate(told)]
    asked = (label("a", COLOUR, "a sunset", "yes"), label("b", COLOUR, "some grass", "no"), label("c", COLOUR, "fog", "yes"))
    found = measure(TestSet((), (), asked), examples)[NEAREST].judgments
    assert [each.label for each in found] == ["colour: yes", "colour: no", "colour: no"]
    assert found[0].probabilities == {"colour: yes": pytest.approx(2 / 3), "colour: no": pytest.approx(1 / 3)}


def test_rows_with_passages_are_compared_by_all_their_text() -> None:
    def shown(id_: str, text: str, chosen: str) -> JudgeItem:
        return JudgeItem(id_, COLOUR, JudgeInputs(question="q", passages=(PassageText("", text),)), chosen, id_)

    found = measure(TestSet((), (), (shown("a", "roses", "yes"),)), [shown("e1", "moss", "no"), shown("e2", "a rose", "yes")])
    assert found[NEAREST].judgments[0].label == "colour: yes"


def test_what_is_not_measured_has_no_floor() -> None:
    assert measure(TestSet((), (), ())) == {}


def test_vectors_are_compared_in_tasks_without_passages_if_there_is_an_encoder() -> None:
    """`sunset` has the vector of the row with that word; word overlap is a rule of tasks with passages alone."""
    examples = [label("e1", COLOUR, "sunset", "yes"), *(label(f"e{n}", COLOUR, f"moss {n}", "no") for n in range(2, 9))]
    shown = JudgeInputs(question="sunset?", passages=(PassageText("", "The sunset."),))
    examples += [JudgeItem(f"s{n}", SIZE, shown, "yes", f"s{n}") for n in range(3)]
    tests = TestSet((), (), (label("a", COLOUR, "sunset", "yes"), JudgeItem("b", SIZE, shown, "yes", "b")))
    bench = Bench(Parts(ScriptedEngine(), {}, Retriever(WordSearcher(PASSAGES))), tests)
    systems = {each.configuration.name: each for each in floor_systems(tests, (), examples, HashingEmbedder())}
    assert systems[NEAREST_BY_VECTOR].tasks == {"colour"} and systems[OVERLAP].tasks == {"size"}
    (judged,) = bench.run(systems[NEAREST_BY_VECTOR]).judgments
    assert judged.probabilities == {"colour: yes": pytest.approx(1 / 5), "colour: no": pytest.approx(4 / 5)}
    assert NEAREST_BY_VECTOR not in {each.configuration.name for each in floor_systems(tests, (), examples)}
