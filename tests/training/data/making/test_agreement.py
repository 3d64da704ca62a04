"""The round trip and the vote, on a search and an engine that are scripted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from lorag.pipeline.engine.protocol import ChoiceRequest, Generation
from lorag.pipeline.engine.scripted import ScriptedEngine
from lorag.pipeline.records import Answer, Outcome
from lorag.pipeline.stages import Judge, Synthesizer
from lorag.training.data.making.agreement import Voter, Voters, reader_score, vote
from lorag.training.data.making.others import holds, with_others
from lorag.training.data.making.records import Filter, Scores
from lorag.training.data.making.round_trip import Found, round_trip
from lorag.training.data.making.settings import MakingSettings
from lorag.training.data.making.writing import Writer
from tests.training.data.making.made import candidate, passage, span

SETTINGS = MakingSettings()
POOL = passage("pool.md#1", "The pool is emptied every March. It holds 440 m³ of sea water.", "Town pool")
OTHERS = [passage(f"{n}.md#1", f"Nothing of the kind {n}.") for n in range(4)]
PASSAGES = {row.id: row for row in (POOL, *OTHERS)}
ASKED = candidate(span(POOL, "440 m³"), "How much does the town pool hold?")


class Ranked:
    """A search that always gives the same rankings."""

    def __init__(self, hybrid: Sequence[str], words: Sequence[str]) -> None:
        self.hybrid, self.words = list(hybrid), list(words)

    def find(self, questions: Sequence[str], k: int) -> list[list[str]]:
        return [self.hybrid[:k] for _ in questions]

    def find_by_words(self, questions: Sequence[str], k: int) -> list[list[str]]:
        return [self.words[:k] for _ in questions]


@pytest.mark.parametrize(
    ("before", "scores", "reason"),
    [
        (0, Scores(1, 2), ""),
        (9, Scores(10, 2), ""),
        (10, None, "its passage is at rank 11"),
        (30, None, "not among the first 20"),
    ],
)
def test_the_round_trip_finds_the_passage_among_the_first_ten(before: int, scores: Scores | None, reason: str) -> None:
    search = Ranked([*(f"x{n}" for n in range(before)), POOL.id], ["0.md#1", POOL.id])
    found, rejected = round_trip([ASKED], search, SETTINGS)
    assert [each.scores for each in found] == ([scores] if scores else [])
    assert not rejected or (rejected[0].filter is Filter.ROUND_TRIP and reason in rejected[0].reason)


def voters(
    reply: str, labels: Mapping[str, Mapping[str, float]], own: float = 0.9, asked: Sequence[Voter] = tuple(Voter)
) -> tuple[Voters, ScriptedEngine]:
    """A reader that replies so, a judge with these probabilities a task, told by their first label, and a writer that gives the
    question's own span this share against one other."""

    def score(request: ChoiceRequest) -> list[float]:
        if request.stage == "questioner":
            return [own if "Answer: 440" in request.messages[-1].content else 1 - own]
        held = labels[request.choices[0]]
        rest = (1 - sum(held.values())) / max(1, len(request.choices) - len(held))
        return [held.get(choice, rest) for choice in request.choices]

    engine = ScriptedEngine(lambda request: reply, scorer=score)
    return Voters(Writer(engine), Synthesizer(engine), Judge(engine), tuple(asked)), engine


JUDGE = {"answerable": {"answerable": 0.9}, "supported": {"supported": 0.9}}
SILENT = "The passages do not say."


@pytest.mark.parametrize(
    ("own", "reply", "kept", "asked"),
    [
        (0.9, "440 m³ [1]", True, 3),  # two spans are scored, and the reader answers
        (0.9, SILENT, False, 3),
        (0.4, "440 m³ [1]", False, 2),  # the writer has decided: nobody reads
    ],
)
def test_writer_and_reader_must_agree(own: float, reply: str, kept: bool, asked: int) -> None:
    panel, engine = voters(reply, JUDGE, own, (Voter.WRITER, Voter.READER))
    found = [Found(ASKED, Scores(1, 1), (POOL.id, "0.md#1", "1.md#1", "2.md#1", "3.md#1"))]
    left, rejected = vote(found, PASSAGES, panel, replace(SETTINGS, rivals=1))
    assert bool(left) is kept is not bool(rejected)
    assert len(engine.requests) == asked
    assert not rejected or f"own span {own:.2f}" in rejected[0].reason
    for reader in (each for each in engine.requests if isinstance(each, Generation)):
        shown = reader.messages[-1].content
        assert POOL.text in shown
        assert sum(f"Nothing of the kind {n}" in shown for n in range(4)) == 3


@pytest.mark.parametrize(
    ("own", "reply", "answerable", "supported", "kept", "asked"),
    [
        (0.9, "440 m³ [1]", 0.9, 0.9, True, 3),  # the first two agree: nobody asks the judge
        (0.1, SILENT, 0.9, 0.9, True, 5),
        (0.1, SILENT, 0.2, 0.9, False, 4),
        (0.9, SILENT, 0.2, 0.8, True, 5),
        (0.9, SILENT, 0.2, 0.2, False, 5),
    ],
)
def test_of_four_two_must_agree(own: float, reply: str, answerable: float, supported: float, kept: bool, asked: int) -> None:
    panel, engine = voters(reply, {"answerable": {"answerable": answerable}, "supported": {"supported": supported}}, own)
    left, _ = vote([Found(ASKED, Scores(1, 1), tuple(PASSAGES))], PASSAGES, panel, replace(SETTINGS, rivals=1))
    assert (bool(left), len(engine.requests)) == (kept, asked)


@pytest.mark.parametrize(("reply", "kept"), [("440 m³ [1]", True), (SILENT, False)])
def test_the_reader_decides_alone_if_the_passage_has_no_other_span(reply: str, kept: bool) -> None:
    lone = passage("lone.md#1", "440 m³")
    panel, _ = voters(reply, JUDGE, 0.0, (Voter.WRITER, Voter.READER))
    asked = candidate(span(lone, "440 m³"), "How much does the town pool hold?")
    left, _ = vote([Found(asked, Scores(1, 1), (lone.id,))], {lone.id: lone}, panel, SETTINGS)
    assert bool(left) is kept


@pytest.mark.parametrize(
    ("reply", "gold", "score"),
    [
        ("440 m³", "440 m³", 1.0),
        ("0.44 m³", "440 litres", 1.0),
        ("about 44 m³", "440 m³", 0.0),
        ("in March", "The pool is emptied every March by two people of the harbour office.", 0.0),  # one content word
        ("emptied every March", "The pool is emptied every March by two people of the harbour office.", 1.0),
        ("painted every March", "The pool is emptied every March by two people of the harbour office.", 2 / 3),
    ],
)
def test_the_readers_score(reply: str, gold: str, score: float) -> None:
    assert reader_score(Answer(reply, False, (), Outcome.OK), gold) == pytest.approx(score)
    assert reader_score(Answer(reply, True, (), Outcome.OK), gold) == 0.0


@pytest.mark.parametrize(
    ("text", "answer", "held"),
    [
        ("It holds 440 m³ of water.", "440 m³", True),
        ("It takes 90 minutes.", "1.5 hours", True),
        ("It takes 19 minutes.", "9 minutes", False),
        ("There are 440 boats.", "440 m³", False),
        ("Frame 61 is bent.", "61", True),
        ("The keeper is Elke Dray.", "Elke Dray", True),
        ("The keeper is Elke.", "Elke Dray", False),
    ],
)
def test_whether_a_passage_holds_an_answer(text: str, answer: str, held: bool) -> None:
    assert holds(text, answer) is held


TWIN = passage("twin.md#1", "The town pool holds 440 m³ by the plan.", "Town pool plan")
FAR = passage("far.md#1", "The dock needs 440 m³ of concrete.", "Dock")


@pytest.mark.parametrize(("label", "also", "barred"), [("3", (TWIN.id,), (FAR.id,)), ("1", (), (TWIN.id, FAR.id))])
def test_passages_that_hold_the_answer_become_positives_or_are_barred(
    label: str, also: tuple[str, ...], barred: tuple[str, ...]
) -> None:
    panel, engine = voters("", {"0": {label: 0.9}})
    found = [Found(ASKED, Scores(1, 1), (POOL.id, TWIN.id, "0.md#1", FAR.id))]
    accepted, rejected = with_others(found, PASSAGES | {TWIN.id: TWIN, FAR.id: FAR}, panel.judge, SETTINGS)
    assert not rejected
    assert (accepted[0].also, accepted[0].barred) == (also, barred)
    assert len(engine.requests) == 1  # the dock does not speak of the pool, so it is not judged


def test_a_question_that_many_passages_may_answer_is_dropped() -> None:
    twins = {f"t{n}.md#1": passage(f"t{n}.md#1", f"The town pool {n} holds 440 m³.") for n in range(4)}
    panel, engine = voters("", {"0": {"3": 0.9}})
    accepted, rejected = with_others([Found(ASKED, Scores(1, 1), (POOL.id, *twins))], PASSAGES | twins, panel.judge, SETTINGS)
    assert not accepted
    assert (rejected[0].filter, rejected[0].reason) == (Filter.AMBIGUOUS, "4 other passages may answer it")
    assert engine.requests == []
