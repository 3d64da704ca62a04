"""Voters on human rows, with an engine that is scripted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from lorag.pipeline.adapters.evidence import DataOrigin
from lorag.pipeline.engine.protocol import ChoiceRequest
from lorag.pipeline.engine.scripted import ScriptedEngine
from lorag.pipeline.stages import Judge, Synthesizer
from lorag.training.data.making.agreement import Voter, Voters, vote
from lorag.training.data.making.records import Scores
from lorag.training.data.making.round_trip import Found
from lorag.training.data.making.settings import MakingSettings
from lorag.training.data.making.voter_precision import LEAST, VoterPrecision, precise_voters
from lorag.training.data.making.writing import Writer
from lorag.training.data.rows import QuestionRow
from tests.training.data.making.made import candidate, passage, span

SETTINGS = MakingSettings()
TANKS = [
    passage(f"tanks.md#{n}", f"Tank {n} holds {100 + n} litres. It stands {200 + n} m away.", f"Tank {n}") for n in range(24)
]
PASSAGES = {row.id: row for row in TANKS}
ROWS = [
    QuestionRow(f"q{n}", f"How much does tank {n} hold?", (f"{100 + n} litres",), True, passage_ids=(row.id,))
    for n, row in enumerate(TANKS)
]


class Everything:
    """A search that always finds the same passages."""

    def find(self, questions: Sequence[str], k: int) -> list[list[str]]:
        return [[row.id for row in TANKS[:k]] for _ in questions]

    find_by_words = find


def number_of(prompt: str) -> int:
    """The tank that a prompt asks about, in its last line with a question mark."""
    return int(prompt[: prompt.rindex(" hold?")].rsplit(" ", 1)[-1])


def shares(request: ChoiceRequest, label: str, yes: bool) -> list[float]:
    first = 0.9 if yes else 0.1
    return [first if choice == label else (1 - first) / (len(request.choices) - 1) for choice in request.choices]


def panel(answerable_is_blind: bool, reads: bool = True) -> Voters:
    """A writer and a judge of support that see what is asked for, a reader that knows all tanks or none, a judge of
    answerability that sees or always says yes."""

    def score(request: ChoiceRequest) -> list[float]:
        prompt = request.messages[-1].content
        if request.stage == "questioner":
            return [0.02 if "litres" in prompt.partition("Answer:")[2] else 0.01]
        tank = number_of(prompt)
        if "answerable" in request.choices:
            yes = answerable_is_blind or TANKS[tank].text in prompt and tank % 2 == 0
            return shares(request, "answerable", yes)
        yes = f"{100 + tank} litres" in prompt.replace(TANKS[tank].text, "")
        return shares(request, "supported", yes)

    def reply(request: object) -> str:
        return f"{100 + number_of(request.messages[-1].content)} litres [1]" if reads else "The passages do not say."  # type: ignore[attr-defined]

    engine = ScriptedEngine(reply, scorer=score)
    return Voters(Writer(engine), Synthesizer(engine), Judge(engine), tuple(Voter))


def test_a_voter_that_always_says_yes_is_right_half_of_the_time_and_is_not_asked() -> None:
    kept, figures = precise_voters(ROWS, PASSAGES, panel(answerable_is_blind=True), Everything(), SETTINGS)
    assert [(each.voter, each.right, each.said) for each in figures] == [
        (Voter.WRITER, 24, 24),
        (Voter.READER, 24, 24),
        (Voter.ANSWERABLE, 24, 48),
        (Voter.SUPPORTED, 24, 24),
    ]
    assert [each.precision for each in figures] == [1.0, 1.0, 0.5, 1.0]
    assert kept.asked == (Voter.WRITER, Voter.READER, Voter.SUPPORTED)


def test_a_voter_that_never_says_yes_is_not_asked() -> None:
    kept, figures = precise_voters(ROWS, PASSAGES, panel(answerable_is_blind=False, reads=False), Everything(), SETTINGS)
    assert figures[1:3] == (VoterPrecision(Voter.READER, 0, 0), VoterPrecision(Voter.ANSWERABLE, 12, 24))
    assert kept.asked == (Voter.WRITER, Voter.SUPPORTED)


def test_too_few_human_rows_say_nothing() -> None:
    refused = [QuestionRow(f"u{n}", "Who?", (), False, origin=DataOrigin.HUMAN) for n in range(40)]
    voters = panel(answerable_is_blind=True)
    assert precise_voters([*ROWS[: LEAST - 1], *refused], PASSAGES, voters, Everything(), SETTINGS) == (voters, ())


@pytest.mark.parametrize(("question", "kept"), [(3, True), (4, False)])
def test_of_two_voters_both_must_agree(question: int, kept: bool) -> None:
    voters = replace(panel(True), asked=(Voter.READER, Voter.SUPPORTED))
    asked = candidate(span(TANKS[3], "103 litres"), f"How much does tank {question} hold?")
    left, rejected = vote([Found(asked, Scores(1, 1), tuple(PASSAGES))], PASSAGES, voters, SETTINGS)
    assert (bool(left), bool(rejected)) == (kept, not kept)
    assert not rejected or rejected[0].reason == "reader F1 0.00"
    assert not left or left[0].scores.answerable is None


def test_without_voters_nobody_is_asked() -> None:
    engine = ScriptedEngine(lambda request: "no")
    voters = Voters(Writer(engine), Synthesizer(engine), Judge(engine), ())
    asked = candidate(span(TANKS[3], "103 litres"), "How much does tank 3 hold?")
    left, _ = vote([Found(asked, Scores(1, 1), tuple(PASSAGES))], PASSAGES, voters, SETTINGS)
    assert len(left) == 1
    assert engine.requests == []
