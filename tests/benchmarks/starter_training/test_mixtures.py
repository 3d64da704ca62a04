"""What the starters learn from: labels and answers that are true of what is shown, the same rows each time, and no leak.

With LORAG_PUBLIC_DATA set to the folder of the public sets, the leak tests run on the real mixtures too.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.starter_training import invented, judgments
from benchmarks.starter_training.grounded import contexts, crop
from benchmarks.starter_training.mixtures import (
    intent_meanings,
    judge_examples,
    questioner_examples,
    rewriter_examples,
    synthesizer_examples,
)
from benchmarks.starter_training.questions import keywords, put, stands_alone
from benchmarks.starter_training.replies import extract
from benchmarks.starter_training.rewriting import follow_up_examples
from benchmarks.starter_training.sets import read_labels
from benchmarks.starter_training.sources import BY_TITLE, SourceQuestion, Split, read_corpus, read_turns
from lorag.pipeline.contracts import judge, synthesize
from lorag.pipeline.contracts.question import Manner
from lorag.pipeline.retrieval.sentences import sentences
from lorag.training.sft import Example

MEASURED_READING = ("squad_newwiki", "squad_reddit", "qed_nq", "pubmedqa")
MEASURED_REWRITING = ("rewrite_canard", "rewrite_cast", "rewrite_ikat23")
DOMAIN = Path("examples/kelder-sound-line")
BUILDERS: dict[str, Callable[[Path, Split, int], list[Example]]] = {
    "rewriter": rewriter_examples,
    "synthesizer": synthesizer_examples,
    "judge": judge_examples,
    "questioner": questioner_examples,
}

PUBLIC = pytest.param(
    "real",
    marks=pytest.mark.skipif(
        "LORAG_PUBLIC_DATA" not in os.environ,
        reason="set LORAG_PUBLIC_DATA to the folder of the public sets to check the real mixtures",
    ),
)


@pytest.fixture(params=["miniature", PUBLIC])
def sets(request: pytest.FixtureRequest, data: Path) -> Path:
    return Path(os.environ["LORAG_PUBLIC_DATA"]) if request.param == "real" else data


def prompt(example: Example) -> str:
    return example.messages[-1].content


def squeezed(text: str) -> str:
    return " ".join(text.casefold().split())


def digests(text: str) -> set[str]:
    """Hashes of the sentences of a text, in small letters and single blanks; those too short to tell a source are left out."""
    pieces = (squeezed(text[start:end]) for start, end in sentences(text))
    return {hashlib.sha256(piece.encode()).hexdigest() for piece in pieces if len(re.findall(r"\w+", piece)) >= 12}


@pytest.mark.parametrize("role", BUILDERS)
def test_the_same_seed_makes_the_same_rows_and_ids_are_unique(role: str, data: Path) -> None:
    first, second = (BUILDERS[role](data, "train", 3) for _ in range(2))
    assert first == second != BUILDERS[role](data, "train", 4)
    assert max(Counter(example.id for example in first).values()) == 1


@pytest.mark.parametrize("role", BUILDERS)
def test_nothing_that_is_measured_on_and_nothing_of_the_example_domain_is_learnt(role: str, sets: Path) -> None:
    learnt = {d for example in BUILDERS[role](sets, "train", 0) for d in digests(prompt(example)) | digests(example.target)}
    held: set[str] = set()
    splits: tuple[Split, ...] = ("dev", "test")
    for split in splits:
        for name in MEASURED_READING:
            whole = read_corpus(sets, name, split, by_title=name in BY_TITLE)
            held |= {d for passage in whole.passages.values() for d in digests(passage.text)}
        for name in MEASURED_REWRITING:
            held |= {d for turn in read_turns(sets, name, split) for d in digests(turn.rewrites[0])}
    rows = (json.loads(line) for file in DOMAIN.rglob("*.jsonl") for line in file.read_text(encoding="utf-8").splitlines())
    domain = {d for row in rows for text in strings(row) for d in digests(text)}
    assert held and domain and learnt
    assert not learnt & held
    assert not learnt & domain


def strings(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for item in items for text in strings(item)]


def test_an_extracted_answer_stands_in_the_passage_it_cites_and_a_refused_question_has_none(data: Path) -> None:
    corpus = read_corpus(data, "squad_newwiki", "train", by_title=True)
    answers = {question.question: question.answers for question in corpus.questions}
    made = contexts(corpus, extract, 3, random.Random(0))
    asked = [(context, *one) for context in made for one in context.asked]
    assert sum(number == 0 for _, _, number, _ in asked) >= 10 and sum(number > 0 for _, _, number, _ in asked) >= 100
    for context, question, number, reply in asked:
        if number:
            assert reply in context.passages[number - 1].text and reply in answers[question.question]
        else:
            shown = " ".join(passage.text for passage in context.passages)
            assert not any(answer in shown for answer in answers[question.question])


def test_the_answer_that_people_agree_on_is_learnt() -> None:
    question = SourceQuestion("q", "Who?", ("the tall miller of Arvik", "miller", "tall miller", "baker"), "p")
    assert extract(question, "It was the tall miller of Arvik.") == "tall miller"
    assert extract(question, "Nobody knows.") == ""


def test_a_cut_passage_is_a_window_of_whole_sentences() -> None:
    text = " ".join(f"Sentence number {n} has some more words in it." for n in range(60))
    for seed in range(20):
        cut = crop(text, random.Random(seed))
        assert cut in text and 500 < len(cut) <= 700 and cut.startswith("Sentence") and cut.endswith(".")


def test_an_invented_answer_stands_in_its_passage_and_only_what_is_said_is_answered() -> None:
    rng = random.Random(1)
    refused = answered = 0
    for _ in range(200):
        sheet = invented.sheet(rng)
        for asked in sheet.asked:
            if asked.number:
                assert asked.reply in sheet.passages[asked.number - 1].text
                assert asked.reply in asked.statement
                answered += 1
            else:
                refused += 1
    assert 0.2 < refused / (refused + answered) < 0.36


def test_invented_values_are_of_many_kinds() -> None:
    rng = random.Random(2)
    replies = {asked.reply for _ in range(300) for asked in invented.sheet(rng).asked if asked.number}
    assert len(replies) > 1500
    for pattern in (r"\d\d:\d\d", r"[€$£]\d", r"\d{4}-\d\d-\d\d", r"[A-Z]{1,3}[-/ ]?\d{2,5}", r"°C", r"day"):
        assert any(re.search(pattern, reply) for reply in replies), pattern


def test_a_follow_up_names_what_the_conversation_is_about() -> None:
    for example in follow_up_examples(200, random.Random(3)):
        names = re.findall(r"\b[A-Z][\w/.-]+", example.target.split(" ", 1)[1])
        assert names == [] or any(name.casefold() in prompt(example).casefold() for name in names), example


def test_judgments_come_in_every_label_and_tell_the_truth(data: Path) -> None:
    made = judge_examples(data, "train", 0)
    tasks: dict[str, Counter[str]] = {}
    for example in made:
        task = next(
            t for t in (*judge.BUILT_IN, "intent") if f"-{t}" in example.id or (t == "support" and "-statement" in example.id)
        )
        tasks.setdefault(task, Counter())[example.target] += 1
    assert set(tasks["relevance"]) == {"0", "1", "2", "3"}
    assert set(tasks["support"]) == {"supported", "partly", "unsupported"}
    assert tasks["answerability"]["answerable"] == tasks["answerability"]["unanswerable"]
    assert judgments.NONE_OF_THESE[0] in tasks["intent"]


def test_a_wrong_statement_differs_from_the_right_one_in_its_value() -> None:
    rng = random.Random(4)
    labels: Counter[str] = Counter()
    for number in range(60):
        sheet = invented.sheet(rng)
        shown = "\n".join(passage.text for passage in sheet.passages)
        true = {asked.statement for asked in sheet.asked}
        for example in judgments.statement_examples(f"s{number}", sheet, rng):
            answer = re.search(r"Answer: (.*)", prompt(example))
            assert answer is not None and shown
            assert (answer[1] in {" ".join(s.split()) for s in true}) == (example.target == "supported")
            labels[example.target] += 1
    assert min(labels[label] for label in judge.SUPPORT.labels) > 20


def test_every_clinc150_intent_has_a_meaning_and_a_schema_holds_the_label(data: Path) -> None:
    meanings = intent_meanings()
    assert len(meanings) == 151 and all(isinstance(text, str) and text for text in (*meanings, *meanings.values()))
    rows = read_labels(data, "intent_clinc150", "train")
    for example in judgments.intent_examples(rows, meanings, 80, random.Random(5)):
        assert f"\n{example.target}: " in prompt(example)


def test_a_refusal_is_learnt_where_no_passage_answers(data: Path) -> None:
    made = synthesizer_examples(data, "train", 0)
    refused = [example for example in made if example.target == synthesize.REFUSAL]
    assert 0.1 < len(refused) / len(made) < 0.4


def test_labels_keep_their_own_split(data: Path) -> None:
    assert {row.text.split()[0] for row in read_labels(data, "intent_clinc150", "dev")} == {"val"}


def test_a_questioner_that_leaves_a_set_out_has_nothing_of_it(data: Path) -> None:
    learnt = questioner_examples(data, "train", 0)
    left = questioner_examples(data, "train", 0, without=("squad_newwiki", "rewrite_cast"))
    assert any("the set squad_newwiki" in prompt(example) for example in learnt)
    assert not any("the set squad_newwiki" in prompt(example) for example in left)
    assert {example.id for example in left} < {example.id for example in learnt}


def test_a_questioner_learns_questions_whose_span_stands_in_the_passage(data: Path) -> None:
    asked = [example for example in questioner_examples(data, "train", 0) if "\n\nAnswer: " in prompt(example)]
    for example in asked:
        shown, _, rest = prompt(example).rpartition("\n\nAnswer: ")
        assert squeezed(rest.split("\n\n")[0]) in squeezed(shown)
    assert {"Ask", "Search"} <= {prompt(example).rpartition("\n\n")[2].split()[0] for example in asked}


def test_a_questioner_says_a_turn_as_the_user_said_it(data: Path) -> None:
    turns = {turn.rewrites[0]: turn.question for turn in read_turns(data, "rewrite_cast", "train")}
    said = [example for example in questioner_examples(data, "train", 0) if "next turn" in prompt(example)]
    known = [example for example in said if example.id.startswith("cast")]
    assert known and all(turns[prompt(each).rpartition("Question: ")[2].split("\n")[0]] == each.target for each in known)


@pytest.mark.parametrize(
    ("asked", "alone"),
    [
        ("When was the mill of Arvik built?", True),
        ("how many episodes are there in dragon ball z", True),
        ("When was it built by the guild?", False),
        ("What does the author ask for?", False),
        ("Did the church of Sis move?", False),
        ("Which mill?", False),
    ],
)
def test_a_question_that_leans_on_its_passage_is_not_learnt(asked: str, alone: bool) -> None:
    assert stands_alone(asked) is alone


def test_manners() -> None:
    assert keywords("When does the reading room of the town library close?") == "reading room town library close"
    assert keywords("What is it?") == ""
    assert put("who built the mill ?", Manner.FULL) == "Who built the mill?"
    assert put(" who built the mill", Manner.TERSE) == "who built the mill"
