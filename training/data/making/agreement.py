"""The vote: does a question have the answer that it was written to? Two of three voters must say so.

The reader answers from the gold passage among distractors; the judge says whether the passage holds an answer, and, if those two
disagree, whether it supports this one. Then other passages that hold the answer are looked at: the judge makes them positives, or
they are barred from the negatives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from lorag.pipeline.contracts.judge import ANSWERABILITY, RELEVANCE, SUPPORT, JudgeInputs, LabelSchema
from lorag.pipeline.evaluation.quantities import Reading, read_quantities
from lorag.pipeline.evaluation.quantity import NUMBER
from lorag.pipeline.evaluation.quantity_match import quantity_f1, states
from lorag.pipeline.evaluation.text import normalize_answer
from lorag.pipeline.records import Answer, Hit, Outcome, Verdict
from lorag.pipeline.stages import Judge, Synthesizer
from lorag.training.data.making.records import Accepted, Filter, Rejected, Scores, placed
from lorag.training.data.making.round_trip import Found
from lorag.training.data.making.settings import MakingSettings
from lorag.training.data.making.words import content_words, share_in
from lorag.training.data.making.writing import Progress, units
from lorag.training.data.negatives import near_duplicate
from lorag.training.data.rows import PassageRow
from lorag.training.passage_search import as_passage

ANSWERS = "3"
"""The label of relevance for a passage that answers."""
_LONG = 8
"""Words from which on an answer is a sentence: a reader that gives its heart back is right."""


@dataclass(frozen=True, slots=True)
class Voters:
    """The reader and the judge that serve, or the starters."""

    reader: Synthesizer
    judge: Judge


def vote(
    found: Sequence[Found],
    passages: Mapping[str, PassageRow],
    voters: Voters,
    settings: MakingSettings,
    on_progress: Progress | None = None,
) -> tuple[list[Found], list[Rejected]]:
    """Those on which two of three voters agree, with their scores, and the others."""
    kept: list[Found] = []
    rejected: list[Rejected] = []
    done = 0
    for unit in units(found):
        scored = _scored(unit, passages, voters, settings)
        for each, scores in zip(unit, scored, strict=True):
            if sum(_votes(scores, settings)) >= 2:
                kept.append(replace(each, scores=scores))
            else:
                rejected.append(Rejected(each.candidate, Filter.AGREEMENT, _no(scores)))
        done += len(unit)
        if on_progress is not None:
            on_progress("votes", done, len(found))
    return kept, rejected


def _scored(unit: Sequence[Found], passages: Mapping[str, PassageRow], voters: Voters, settings: MakingSettings) -> list[Scores]:
    """The scores with the votes of reader and judge; the third vote only where the first two disagree."""
    questions = [each.candidate.question for each in unit]
    shown = [[passages[name] for name in _shown(each, settings)] for each in unit]
    hits = [tuple(Hit(as_passage(row), 1.0) for row in rows) for rows in shown]
    answers = voters.reader.answer(questions, hits)
    gold = [passages[each.candidate.span.passage_id].shown() for each in unit]
    asked = [JudgeInputs(question=text, passages=(row,)) for text, row in zip(questions, gold, strict=True)]
    answerable = _probabilities(voters.judge, ANSWERABILITY, asked, "answerable")
    scored = [
        replace(each.scores, reader_f1=reader_score(answer, each.candidate.span.text), answerable=probability)
        for each, answer, probability in zip(unit, answers, answerable, strict=True)
    ]
    split = [at for at, scores in enumerate(scored) if sum(_votes(scores, settings)) == 1]
    claims = [replace(asked[at], answer=unit[at].candidate.span.text) for at in split]
    for at, probability in zip(split, _probabilities(voters.judge, SUPPORT, claims, "supported"), strict=True):
        scored[at] = replace(scored[at], supported=probability)
    return scored


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


def _votes(scores: Scores, settings: MakingSettings) -> list[bool]:
    bounds = (
        (scores.reader_f1, settings.reader_f1),
        (scores.answerable, settings.answerable),
        (scores.supported, settings.supported),
    )
    return [value is not None and value >= bound for value, bound in bounds]


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


def with_others(
    found: Sequence[Found],
    passages: Mapping[str, PassageRow],
    judge: Judge,
    settings: MakingSettings,
    on_progress: Progress | None = None,
) -> tuple[list[Accepted], list[Rejected]]:
    """Each question with the other passages that answer it; one that too many may answer is dropped.

    Of the first `found`, passages that hold the answer are no negatives. Those that have half of the question's words too are
    judged, and copies of the gold passage answer without being judged.
    """
    accepted: list[Accepted] = []
    rejected: list[Rejected] = []
    done = 0
    for unit in units(found):
        holders = [_holders(each, passages, settings) for each in unit]
        likely = [[name for name in names if _speaks_of(passages[name], each)] for names, each in zip(holders, unit, strict=True)]
        asked = [(at, name) for at, names in enumerate(likely) if len(names) <= settings.ambiguous for name in names]
        inputs = [JudgeInputs(question=unit[at].candidate.question, passages=(passages[name].shown(),)) for at, name in asked]
        labels = {
            key: verdict.label for key, verdict in zip(asked, judge.judge(RELEVANCE, inputs) if inputs else [], strict=True)
        }
        for at, each in enumerate(unit):
            if len(likely[at]) > settings.ambiguous:
                reason = f"{len(likely[at])} other passages may answer it"
                rejected.append(Rejected(each.candidate, Filter.AMBIGUOUS, reason))
                continue
            gold = passages[each.candidate.span.passage_id].text
            also = tuple(n for n in holders[at] if labels.get((at, n)) == ANSWERS or near_duplicate(passages[n].text, gold))
            barred = tuple(name for name in holders[at] if name not in also)
            accepted.append(Accepted(each.candidate, each.scores, also, barred, each.ranking))
        done += len(unit)
        if on_progress is not None:
            on_progress("other passages", done, len(found))
    return accepted, rejected


def _speaks_of(passage: PassageRow, found: Found) -> bool:
    """Whether a passage has half of the question's content words."""
    return share_in(content_words(found.candidate.question), content_words(f"{passage.title} {passage.text}")) >= 0.5


def _holders(found: Found, passages: Mapping[str, PassageRow], settings: MakingSettings) -> list[str]:
    """Other passages among the first `found` that hold the answer, or nearly all of the gold passage's text."""
    gold = found.candidate.span
    return [
        name
        for name in found.ranking[: settings.found]
        if name != gold.passage_id
        and (holds(passages[name].text, gold.text) or near_duplicate(passages[name].text, passages[gold.passage_id].text))
    ]


def holds(text: str, answer: str) -> bool:
    """Whether a text holds an answer: its words in a row, or if it is a quantity with a unit that value in any form."""
    words = _normalised(answer)
    if words.strip() and words in _normalised(text):
        return True
    claim = _quantities(answer)
    plain = all(each.kind == NUMBER for each in claim.quantities)
    if plain or any(letter.isalpha() for letter in claim.rest):
        return False
    source = _quantities(text)
    return all(states(source, quantity) for quantity in claim.quantities)


@lru_cache(maxsize=4096)
def _quantities(text: str) -> Reading:
    return read_quantities(text)


@lru_cache(maxsize=4096)
def _normalised(text: str) -> str:
    return f" {normalize_answer(text)} "
