"""The vote: does a question have the answer that it was written to? Two of three voters must say so.

The reader answers from the gold passage among distractors; the judge says whether the passage holds an answer, and, if those two
disagree, whether it supports this one. A voter that human rows show to be wrong too often is not asked: of two both must agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from lorag.pipeline.contracts.judge import ANSWERABILITY, SUPPORT, JudgeInputs, LabelSchema
from lorag.pipeline.evaluation.quantity_match import quantity_f1
from lorag.pipeline.records import Answer, Hit, Outcome, Verdict
from lorag.pipeline.stages import Judge, Synthesizer
from lorag.training.data.making.records import Filter, Rejected, Scores, placed
from lorag.training.data.making.round_trip import Found
from lorag.training.data.making.settings import MakingSettings
from lorag.training.data.making.words import content_words, share_in
from lorag.training.data.making.writing import Progress, units
from lorag.training.data.rows import PassageRow
from lorag.training.passage_search import as_passage

_LONG = 8
"""Words from which on an answer is a sentence: a reader that gives its heart back is right."""


class Voter(StrEnum):
    """Who votes."""

    READER = "reader"
    ANSWERABLE = "answerability"
    SUPPORTED = "support"


@dataclass(frozen=True, slots=True)
class Voters:
    """The reader and the judge that serve, or the starters, and which votes are asked for."""

    reader: Synthesizer
    judge: Judge
    asked: tuple[Voter, ...] = tuple(Voter)


def vote(
    found: Sequence[Found],
    passages: Mapping[str, PassageRow],
    voters: Voters,
    settings: MakingSettings,
    on_progress: Progress | None = None,
) -> tuple[list[Found], list[Rejected]]:
    """Those on which two voters agree, or the only one that is asked, with their scores, and the others."""
    kept: list[Found] = []
    rejected: list[Rejected] = []
    done, needed = 0, min(2, len(voters.asked))
    for unit in units(found):
        scored = scored_by(voters, unit, passages, settings)
        for each, scores in zip(unit, scored, strict=True):
            if sum(votes(scores, settings).values()) >= needed:
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
    """The scores with the votes that are asked for. Of three, the third votes only if the first two disagree."""
    scored = [each.scores for each in unit]
    if Voter.READER in voters.asked:
        questions = [each.candidate.question for each in unit]
        answers = voters.reader.answer(questions, [_hits(each, passages, settings) for each in unit])
        f1 = [reader_score(answer, each.candidate.span.text) for answer, each in zip(answers, unit, strict=True)]
        scored = [replace(scores, reader_f1=value) for scores, value in zip(scored, f1, strict=True)]
    gold = [passages[each.candidate.span.passage_id].shown() for each in unit]
    asked = [JudgeInputs(question=each.candidate.question, passages=(row,)) for each, row in zip(unit, gold, strict=True)]
    if Voter.ANSWERABLE in voters.asked:
        found = _probabilities(voters.judge, ANSWERABILITY, asked, "answerable")
        scored = [replace(scores, answerable=value) for scores, value in zip(scored, found, strict=True)]
    if Voter.SUPPORTED in voters.asked:
        split = [at for at, scores in enumerate(scored) if _is_open(scores, voters, settings)]
        claims = [replace(asked[at], answer=unit[at].candidate.span.text) for at in split]
        for at, value in zip(split, _probabilities(voters.judge, SUPPORT, claims, "supported"), strict=True):
            scored[at] = replace(scored[at], supported=value)
    return scored


def votes(scores: Scores, settings: MakingSettings) -> dict[Voter, bool]:
    """How each voter that was asked voted."""
    bounds = {
        Voter.READER: (scores.reader_f1, settings.reader_f1),
        Voter.ANSWERABLE: (scores.answerable, settings.answerable),
        Voter.SUPPORTED: (scores.supported, settings.supported),
    }
    return {voter: value >= bound for voter, (value, bound) in bounds.items() if value is not None}


def _is_open(scores: Scores, voters: Voters, settings: MakingSettings) -> bool:
    """Whether the votes so far leave the decision to support."""
    return len(voters.asked) < len(Voter) or sum(votes(scores, settings).values()) == 1


def _hits(found: Found, passages: Mapping[str, PassageRow], settings: MakingSettings) -> tuple[Hit, ...]:
    return tuple(Hit(as_passage(passages[name]), 1.0) for name in _shown(found, settings))


def _shown(found: Found, settings: MakingSettings) -> list[str]:
    """The gold passage among the best distractors, at a place that the question determines."""
    gold = found.candidate.span.passage_id
    others = [name for name in found.ranking if name != gold][: settings.distractors]
    return placed(gold, others, found.candidate.id)


def _probabilities(judge: Judge, schema: LabelSchema, inputs: Sequence[JudgeInputs], label: str) -> list[float]:
    return [_probability(verdict, label) for verdict in judge.judge(schema, inputs)] if inputs else []


def _probability(verdict: Verdict, label: str) -> float:
    """A verdict that failed votes against."""
    return verdict.probabilities.get(label, 0.0) if verdict.outcome is Outcome.OK else 0.0


def _no(scores: Scores) -> str:
    shown = [
        f"{name} {value:.2f}"
        for name, value in (
            ("reader F1", scores.reader_f1),
            ("answerable", scores.answerable),
            ("supported", scores.supported),
        )
        if value is not None
    ]
    return ", ".join(shown)


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
