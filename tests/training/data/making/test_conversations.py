"""Conversations of questions of one document, and which turns are kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from lorag.pipeline.engine.scripted import ScriptedEngine
from lorag.pipeline.records import Speaker
from lorag.training.data.making.conversations import MOST_UNCHANGED, rewriter_rows
from lorag.training.data.making.corpus import Corpus
from lorag.training.data.making.grouping import Grouping
from lorag.training.data.making.records import Accepted, MadeRow, Scores
from lorag.training.data.making.writing import Writer
from lorag.training.data.rows import RewriteRow
from tests.training.data.making.made import accepted, passage

THINGS = ("anchor", "capstan", "davit", "hoist")
PASSAGES = [
    passage(f"d{n}.md#{at}", f"The {thing} of ship D{n} weighs {n}{at}0 kg.")
    for n in range(20)
    for at, thing in enumerate(THINGS)
]
SPLIT = {f"d{n}.md": "train" if n < 14 else "test" for n in range(20)}
CORPUS = Corpus({row.id: row for row in PASSAGES}, Grouping({name: name for name in SPLIT}, SPLIT, frozenset()))
ASKED = [
    replace(
        accepted(row, row.text.split("weighs ")[1].rstrip("."), f"How heavy is the {THINGS[at % 4]} of ship D{at // 4}?"),
        scores=Scores(2, 2),
    )
    for at, row in enumerate(PASSAGES)
]


class Search:
    """Finds everything, or nothing."""

    def __init__(self, finds: bool) -> None:
        self.found = [row.id for row in PASSAGES] if finds else []

    def find(self, questions: Sequence[str], k: int) -> list[list[str]]:
        return [list(self.found) for _ in questions]

    find_by_words = find


def made(finds: bool = False, reply: str = "Answer: none", asked: Sequence[Accepted] = ASKED) -> list[tuple[MadeRow, RewriteRow]]:
    rows = rewriter_rows(asked, CORPUS, Search(finds), Writer(ScriptedEngine(lambda request: reply)))
    return [(each, each.row) for each in rows if isinstance(each.row, RewriteRow)]


def test_turns_are_shortened_and_the_whole_question_is_the_gold_rewrite() -> None:
    rows = made()
    short = [row for each, row in rows if each.how == "by rule"]
    assert len(short) > 15
    assert {row.question for row in short} <= {f"And the {thing}?" for thing in THINGS}
    questions = {each.candidate.question for each in ASKED}
    assert all(row.rewrite in questions for _, row in rows)
    first = next(row for row in short if len(row.history) == 2)
    user, reply = first.history
    assert (user.speaker, reply.speaker) == (Speaker.USER, Speaker.ASSISTANT)
    assert reply.text.startswith("The ") and reply.text.endswith(" kg.")


def test_each_conversation_has_its_id_its_turns_and_one_side() -> None:
    rows = made()
    by_talk: dict[str, list[RewriteRow]] = {}
    for each, row in rows:
        by_talk.setdefault(row.conversation, []).append(row)
        assert CORPUS.grouping.split_of(row.passage_ids[0]) == each.split
    for name, turns in by_talk.items():
        assert [row.id for row in turns] == [f"{name}-t{n + 1}" for n in range(len(turns))]
        assert 2 <= len(turns) <= 4
        assert [len(row.history) for row in turns] == [2 * n for n in range(len(turns))]
        for before, after in zip(turns, turns[1:], strict=False):
            assert after.history[len(before.history)].text == before.question


def test_about_a_third_of_the_later_turns_stand_alone() -> None:
    later = Counter(each.how for each, row in made() if row.history)
    share = (later["standalone"] + later["new subject"]) / later.total()
    assert 0.15 <= share <= MOST_UNCHANGED


def test_a_turn_that_finds_its_passage_as_well_is_not_kept() -> None:
    """Then no turn is shortened, and conversations of unchanged turns alone are none."""
    found_late = [replace(each, scores=Scores(100, 100)) for each in ASKED]
    assert made(finds=True, asked=found_late) == []


def test_the_questioner_may_only_leave_words_out() -> None:
    hows = Counter(each.how for each, _ in made(reply="How heavy is that?"))
    assert hows["by the questioner"] > 5
    assert Counter(each.how for each, _ in made(reply="How heavy is the winch?"))["by the questioner"] == 0


def test_the_order_of_the_questions_does_not_matter() -> None:
    assert made() == made(asked=ASKED[::-1])
