"""Rows to training examples: what is shown, what is learnt, and that the numbers in a target name the gold passages."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from lorag.pipeline.contracts import judge, rewrite, synthesize
from lorag.pipeline.contracts.judge import BUILT_IN, JudgeInputs, intent_schema
from lorag.pipeline.errors import DataError, InputError
from lorag.pipeline.records import Role, Speaker, Turn
from lorag.training.data.rows import JudgeRow, PassageRow, QuestionRow, RewriteRow
from lorag.training.examples import judge_examples, mix, rewrite_examples, support_examples, synthesize_examples
from lorag.training.recipe import JudgeRecipe, load_recipe
from lorag.training.sft import Example

HISTORY = (Turn(Speaker.USER, "Who keeps the key?"), Turn(Speaker.ASSISTANT, "The porter."))
PASSAGES = {f"d{n}#p": PassageRow(f"d{n}#p", f"Title {n}", f"Text {n}.") for n in range(8)}
RANKING = [f"d{n}#p" for n in (3, 1, 5, 0, 2, 7, 6, 4)]
SHOWN = re.compile(r"^\[(\d+)\] Title (\d+)\nText \2\.$", re.MULTILINE)


def question(*gold: str, answerable: bool = True, standalone: str = "") -> QuestionRow:
    return QuestionRow("q", "And when?", ("at 07:40", "07:40"), answerable, passage_ids=gold, standalone=standalone)


def synthesized(row: QuestionRow, *, k: int = 3, missing: float = 0.0, shuffled: float = 0.0, seed: int = 0) -> Example:
    rankings = {"q": RANKING}
    return synthesize_examples([row], PASSAGES, rankings, k=k, missing_gold=missing, shuffled=shuffled, seed=seed)[0]


def shown(example: Example) -> list[str]:
    """The ids of the passages in the prompt, in order; their numbers must count from 1."""
    found = SHOWN.findall(example.messages[-1].content)
    assert [int(number) for number, _ in found] == list(range(1, len(found) + 1))
    return [f"d{title}#p" for _, title in found]


def test_a_rewrite() -> None:
    row = RewriteRow("r", HISTORY, "And at night?", "Who keeps\nthe key at night?")
    assert rewrite_examples([row]) == [Example("r", rewrite.messages(HISTORY, "And at night?"), "Who keeps the key at night?")]


def test_turns_that_the_rewriter_is_never_asked_about_are_left_out() -> None:
    rows = [
        RewriteRow("first", (), "Who?", "Who?"),
        RewriteRow("blank", HISTORY, " ", "Who?"),
        RewriteRow("r", HISTORY, "a", "b"),
    ]
    assert [example.id for example in rewrite_examples(rows)] == ["r"]


def test_a_judgment() -> None:
    inputs = JudgeInputs(question="When?", passages=(PASSAGES["d1#p"].shown(),))
    row = JudgeRow("j", "answerability", inputs, "unanswerable")
    assert judge_examples([row], BUILT_IN) == [
        Example("j", judge.messages(BUILT_IN["answerability"], inputs), "unanswerable"),
    ]


def test_a_judgment_outside_the_schemas_is_refused() -> None:
    row = JudgeRow("j7", "intent", JudgeInputs(message="Hi"), "greeting")
    with pytest.raises(DataError, match="row 'j7': no schema for judge task 'intent'; known: relevance, answerability, support"):
        judge_examples([row], BUILT_IN)
    with pytest.raises(InputError, match="label 'greeting' is not in the schema"):
        judge_examples([row], {"intent": intent_schema({"a": "x", "b": "y"})})


@pytest.mark.parametrize(
    ("gold", "k", "expected", "target"),
    [
        (["d3#p"], 3, ["d3#p", "d1#p", "d5#p"], "at 07:40 [1]"),
        (["d5#p"], 3, ["d3#p", "d1#p", "d5#p"], "at 07:40 [3]"),
        (["d4#p"], 3, ["d3#p", "d1#p", "d4#p"], "at 07:40 [3]"),  # ranked last: takes the last distractor's place
        (["d5#p", "d3#p"], 3, ["d3#p", "d1#p", "d5#p"], "at 07:40 [1][3]"),
        (["d4#p", "d6#p", "d7#p"], 2, ["d6#p", "d4#p"], "at 07:40 [1][2]"),  # more gold than room
        (["d0#p"], 1, ["d0#p"], "at 07:40 [1]"),
        (["d1#p"], 20, RANKING, "at 07:40 [2]"),
    ],
)
def test_gold_stands_among_the_nearest_in_their_order(gold: list[str], k: int, expected: list[str], target: str) -> None:
    example = synthesized(question(*gold), k=k)
    assert (shown(example), example.target) == (expected, target)
    assert example.messages == synthesize.messages("And when?", [PASSAGES[p].shown() for p in expected])


def test_a_gold_passage_that_the_ranking_cut_off_comes_last() -> None:
    examples = synthesize_examples([question("d4#p")], PASSAGES, {"q": RANKING[:3]}, k=3, missing_gold=0, shuffled=0)
    assert shown(examples[0]) == ["d3#p", "d1#p", "d4#p"]


def test_hidden_gold_teaches_refusal() -> None:
    example = synthesized(question("d3#p", "d5#p"), missing=1.0)
    assert shown(example) == ["d1#p", "d0#p", "d2#p"]
    assert example.target == synthesize.REFUSAL


def test_unanswerable_is_refused_without_the_misleading_passage() -> None:
    example = synthesized(question("d3#p", answerable=False))
    assert shown(example) == ["d1#p", "d5#p", "d0#p"]
    assert example.target == synthesize.REFUSAL


def test_shuffled_numbers_still_name_the_gold() -> None:
    orders = set()
    for seed in range(20):
        example = synthesized(question("d5#p", "d4#p"), k=4, shuffled=1.0, seed=seed)
        passages = shown(example)
        reply = synthesize.parse(example.target, len(passages))
        assert {passages[n - 1] for n in reply.numbers} == {"d5#p", "d4#p"}
        assert set(passages) == {"d3#p", "d1#p", "d5#p", "d4#p"}
        orders.add(tuple(passages))
    assert len(orders) > 10


def test_shares_are_met_and_the_seed_fixes_them() -> None:
    rows = [QuestionRow(f"q{n}", "When?", ("x",), True, passage_ids=("d5#p",)) for n in range(400)]
    rankings = {row.id: RANKING for row in rows}

    def make(seed: int) -> list[Example]:
        return synthesize_examples(rows, PASSAGES, rankings, k=3, missing_gold=0.25, shuffled=0.5, seed=seed)

    examples = make(1)
    assert examples == make(1) != make(2)
    refused = sum(example.target == synthesize.REFUSAL for example in examples)
    in_order = sum(shown(example) in (["d3#p", "d1#p", "d5#p"], ["d3#p", "d1#p", "d0#p"]) for example in examples)
    assert 75 <= refused <= 125  # 100 expected, deviation 8.7
    assert 200 <= in_order <= 266  # half of them, and a sixth of the shuffled: 233 expected, deviation 9.9


def test_the_standalone_question_is_shown_where_there_is_one() -> None:
    assert (
        "Question: When does it leave?\n" in synthesized(question("d1#p", standalone="When does it leave?")).messages[0].content
    )


def test_a_gold_passage_that_is_not_there_is_refused() -> None:
    with pytest.raises(DataError, match=r"row 'q': passage 'd9#p' is not in passages\.jsonl"):
        synthesized(question("d1#p", "d9#p"))


def judged(task: str, count: int) -> list[JudgeRow]:
    label = {"support": "partly", "relevance": "2"}[task]
    return [JudgeRow(f"{task}-{n}", task, JudgeInputs(question="Where?", answer=f"Room {n}."), label) for n in range(count)]


def test_a_mixture_shows_each_task_as_often_as_it_says() -> None:
    rows = [*judged("support", 8), *judged("relevance", 3)]
    mixed = mix(rows, {"support": 2.25}, seed=1)
    assert Counter(row.task for row in mixed) == {"support": 18, "relevance": 3}
    assert len({row.id for row in mixed}) == len(mixed)
    assert mixed == mix(rows, {"support": 2.25}, seed=1)
    assert [row for row in mix(rows, {"relevance": 0}) if row.task == "relevance"] == []


def test_a_mixture_of_an_unknown_task_is_refused() -> None:
    with pytest.raises(DataError, match=r"'intents' is no judge task; there are: relevance, .*support, intent$"):
        mix(judged("support", 1), {"intents": 2})


def test_the_bundled_recipe_trains_a_judge_without_intents() -> None:
    """Its mixture names the task `intent`, whose labels only some projects have."""
    rows, recipe = judged("support", 2), load_recipe(Role.JUDGE)
    assert isinstance(recipe, JudgeRecipe) and "intent" in recipe.data.mixture
    assert mix(rows, recipe.data.mixture) == rows


def test_support_examples_are_labelled_by_where_the_answer_stands() -> None:
    passages = {f"p{n}": PassageRow(f"p{n}", "Keys", f"The key hangs in room {n}40.") for n in range(1, 5)}
    rows = [
        QuestionRow(f"q{n}", f"Where is key {n}?", (f"room {n}40",), True, passage_ids=(f"p{n}",), group="g") for n in range(1, 5)
    ]
    examples = support_examples(rows, passages, limit=4)
    assert Counter(example.target for example in examples) == {"supported": 2, "unsupported": 2}
    for example in examples:
        prompt = example.messages[0].content
        passage, answer = prompt.split("\n\n")[0], prompt.split("Answer: ")[1].split("\n")[0]
        assert (answer in passage) == (example.target == "supported")
    assert len(support_examples(rows, passages, limit=2)) == 2


def test_an_answer_that_is_removed_is_cut_out_of_what_is_shown_and_refused() -> None:
    row = QuestionRow("q", "When?", (), False, passage_ids=("d5#p",), removed=("Text 5",))
    passages = PASSAGES | {"d5#p": PassageRow("d5#p", "Title 5", "It is late. Text 5. More.")}
    found = synthesize_examples([row], passages, {"q": RANKING}, k=3, missing_gold=0.0, shuffled=0.0)[0]
    assert found.target == synthesize.REFUSAL
    assert "[3] Title 5\nIt is late. . More." in found.messages[-1].content
