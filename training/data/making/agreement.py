"""The vote: does a question have the answer that it was written to? Two voters must say so.

The model that wrote it says about which span of the passage it was asked (`channel`); the reader answers from the gold passage
among distractors. The judge can be asked too: whether the passage holds an answer, and whether it supports this one. Of public
questions with another answer of their passage the starter judge calls as many supported as with their own (AUC .51, the reader
.76, the writer .90: training/LOG.md), so it is not asked by default. A voter that human rows show to be wrong too often is not
asked either.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from typing import Any

from lorag.pipeline.contracts.judge import ANSWERABILITY, SUPPORT, JudgeInputs, LabelSchema
from lorag.pipeline.evaluation.quantity_match import quantity_f1
from lorag.pipeline.records import Answer, Hit, Outcome, Verdict
from lorag.pipeline.stages import Judge, Synthesizer
from lorag.training.data.making.channel import span_probabilities
from lorag.training.data.making.records import Filter, Rejected, Scores, placed
from lorag.training.data.making.round_trip import Found
from lorag.training.data.making.settings import MakingSettings
from lorag.training.data.making.words import content_words, share_in
from lorag.training.data.making.writing import Progress, Writer, units
from lorag.training.data.rows import PassageRow
from lorag.training.passage_search import as_passage

_LONG = 8
"""Words from which on an answer is a sentence: a reader that gives its heart back is right."""


class Voter(StrEnum):
    """Who votes, in the order in which they are asked: the cheapest first."""

    WRITER = "writer"
    READER = "reader"
    ANSWERABLE = "answerability"
    SUPPORTED = "support"


AGREE = 2
"""Votes that a question needs, if so many are cast."""


@dataclass(frozen=True, slots=True)
class Voters:
    """The model that wrote, the reader and the judge that serve, or the starters, and which votes are asked for."""

    writer: Writer
    reader: Synthesizer
    judge: Judge
    asked: tuple[Voter, ...] = (Voter.WRITER, Voter.READER)


_Ballot = Callable[[Voters, Sequence[Found], Mapping[str, PassageRow], MakingSettings], Sequence[float | None]]


def vote(
    found: Sequence[Found],
    passages: Mapping[str, PassageRow],
    voters: Voters,
    settings: MakingSettings,
    on_progress: Progress | None = None,
) -> tuple[list[Found], list[Rejected]]:
    """Those on which two voters agree, or the only one that votes, with their scores, and the others."""
    kept: list[Found] = []
    rejected: list[Rejected] = []
    done = 0
    for unit in units(found):
        for each, scores in zip(unit, scored_by(voters, unit, passages, settings), strict=True):
            if _passes(scores, (), settings):
                kept.append(replace(each, scores=scores))
            else:
                rejected.append(Rejected(each.candidate, Filter.AGREEMENT, _no(scores)))
        done += len(unit)
        if on_progress is not None:
            on_progress("votes", done, len(found))
    return kept, rejected


def scored_by(
    voters: Voters, unit: Sequence[Found], passages: Mapping[str, PassageRow], settings: MakingSettings
) -> list[Scores]:
    """The scores with the votes. A voter is asked about those questions alone that are not decided before its turn."""
    scored = [each.scores for each in unit]
    ballots: Mapping[Voter, _Ballot] = {
        Voter.WRITER: _writers,
        Voter.READER: _readers,
        Voter.ANSWERABLE: partial(_judges, ANSWERABILITY),
        Voter.SUPPORTED: partial(_judges, SUPPORT),
    }
    asked = [voter for voter in Voter if voter in voters.asked]
    for at, voter in enumerate(asked):
        undecided = [n for n, scores in enumerate(scored) if _passes(scores, asked[at:], settings) is None]
        values = ballots[voter](voters, [unit[n] for n in undecided], passages, settings) if undecided else []
        for n, value in zip(undecided, values, strict=True):
            cast: Mapping[str, Any] = {_SCORES[voter][0]: value}
            scored[n] = replace(scored[n], **cast)
    return scored


_SCORES = {
    Voter.WRITER: ("own_span", "own span"),
    Voter.READER: ("reader_f1", "reader F1"),
    Voter.ANSWERABLE: ("answerable", "answerable"),
    Voter.SUPPORTED: ("supported", "supported"),
}
"""Where a voter's score stands in `Scores` and its bound in the settings, and what it is called."""


def votes(scores: Scores, settings: MakingSettings) -> dict[Voter, bool]:
    """How each voter that voted did."""
    cast = {voter: (getattr(scores, field), getattr(settings, field)) for voter, (field, _) in _SCORES.items()}
    return {voter: value >= bound for voter, (value, bound) in cast.items() if value is not None}


def _passes(scores: Scores, left: Sequence[Voter], settings: MakingSettings) -> bool | None:
    """Whether a question passed; None while those `left` can still decide it."""
    cast = votes(scores, settings)
    needed, yes = min(AGREE, len(cast) + len(left)), sum(cast.values())
    if yes >= AGREE or not left:
        return yes >= needed
    return None if yes + len(left) >= needed else False


def _writers(
    voters: Voters, unit: Sequence[Found], passages: Mapping[str, PassageRow], settings: MakingSettings
) -> Sequence[float | None]:
    return span_probabilities([each.candidate for each in unit], passages, voters.writer, settings)


def _readers(
    voters: Voters, unit: Sequence[Found], passages: Mapping[str, PassageRow], settings: MakingSettings
) -> Sequence[float]:
    questions = [each.candidate.question for each in unit]
    answers = voters.reader.answer(questions, [_hits(each, passages, settings) for each in unit])
    return [reader_score(answer, each.candidate.span.text) for answer, each in zip(answers, unit, strict=True)]


def _judges(
    schema: LabelSchema, voters: Voters, unit: Sequence[Found], passages: Mapping[str, PassageRow], settings: MakingSettings
) -> Sequence[float]:
    inputs = [
        JudgeInputs(
            question=each.candidate.question,
            answer=each.candidate.span.text if schema is SUPPORT else "",
            passages=(passages[each.candidate.span.passage_id].shown(),),
        )
        for each in unit
    ]
    label = "supported" if schema is SUPPORT else "answerable"
    return [_probability(verdict, label) for verdict in voters.judge.judge(schema, inputs)]


def _hits(found: Found, passages: Mapping[str, PassageRow], settings: MakingSettings) -> tuple[Hit, ...]:
    return tuple(Hit(as_passage(passages[name]), 1.0) for name in _shown(found, settings))


def _shown(found: Found, settings: MakingSettings) -> list[str]:
    """The gold passage among the best distractors, at a place that the question determines."""
    gold = found.candidate.span.passage_id
    others = [name for name in found.ranking if name != gold][: settings.distractors]
    return placed(gold, others, found.candidate.id)


def _probability(verdict: Verdict, label: str) -> float:
    """A verdict that failed votes against."""
    return verdict.probabilities.get(label, 0.0) if verdict.outcome is Outcome.OK else 0.0


def _no(scores: Scores) -> str:
    shown = [(name, getattr(scores, field)) for field, name in _SCORES.values()]
    return ", ".join(f"{name} {value:.2f}" for name, value in shown if value is not None)


def reader_score(answer: Answer, gold: str) -> float:
    """F1 of the reader's answer, quantities as quantities; against a long gold answer the share of its content words there.

    A refusal, and a reply of one word for a sentence, is 0.
    """
    if answer.refused or answer.outcome is Outcome.FAILED or not answer.text.strip():
        return 0.0
    if len(gold.split()) <= _LONG:
        return quantity_f1(answer.text, (gold,))
    words = content_words(answer.text)
    return share_in(words, content_words(gold)) if len(words) > 1 else 0.0
