"""ALCE's citation recall and precision (Gao et al. 2023): does what is cited entail each statement, and is each citation needed.

A statement is a sentence with its own marks. If all marks stand behind the last sentence, as the contract's targets have them,
they hold for every sentence. Recall of a statement is 1 if its cited passages together entail it. A citation counts for precision
if its statement is entailed and it is not irrelevant: it entails the statement alone, or the others do not without it. Any
entailment model will do: the judge, or the rule by words as a floor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from lorag.pipeline.contracts.citations import find_marks
from lorag.pipeline.contracts.context import PassageText
from lorag.pipeline.contracts.judge import SUPPORT, JudgeInputs
from lorag.pipeline.evaluation.support import unsupported, words_of
from lorag.pipeline.records import Outcome, Passage, Response
from lorag.pipeline.retrieval.sentences import sentences
from lorag.pipeline.stages import Judge

Key = tuple[str, str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Claim:
    """A statement of an answer to `question`, and passages that may entail it."""

    question: str
    statement: str
    passages: tuple[Passage, ...]

    @property
    def key(self) -> Key:
        return self.question, self.statement, tuple(passage.id for passage in self.passages)


class Entailment(Protocol):
    """Decides whether passages fully support a statement."""

    @property
    def name(self) -> str: ...

    def entails(self, claims: Sequence[Claim]) -> list[bool | None]:
        """One verdict a claim, in order; None if there is none."""
        ...


@dataclass(frozen=True, slots=True)
class ByWords:
    """The rule of `support`: no model."""

    name: str = "words"

    def entails(self, claims: Sequence[Claim]) -> list[bool | None]:
        return [not unsupported(each.statement, [words_of(passage) for passage in each.passages]) for each in claims]


@dataclass(frozen=True, slots=True)
class ByJudge:
    """The judge's label for support: `supported` entails, `partly` and `unsupported` do not."""

    judge: Judge
    name: str = "judge"

    def entails(self, claims: Sequence[Claim]) -> list[bool | None]:
        inputs = [
            JudgeInputs(question=each.question, answer=each.statement, passages=tuple(map(PassageText.of, each.passages)))
            for each in claims
        ]
        full = next(iter(SUPPORT.labels))
        return [each.label == full if each.outcome is Outcome.OK else None for each in self.judge.judge(SUPPORT, inputs)]


@dataclass(frozen=True, slots=True)
class Statement:
    """A sentence of an answer, and the numbers of its marks."""

    text: str
    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class AlceScores:
    """Means over `answers` that make a claim; `unjudged` had a statement without a verdict and are left out."""

    configuration: str
    entailment: str
    answers: int
    recall: float | None
    precision: float | None
    unjudged: tuple[str, ...]


def statements_of(reply: str) -> tuple[Statement, ...]:
    """The sentences of `reply`, each with the numbers of its marks, also of those that name no passage."""
    plain, marks, at = "", list[tuple[int, tuple[int, ...]]](), 0
    for mark in find_marks(reply):
        plain += reply[at : mark.start]
        marks.append((max(len(plain.rstrip()) - 1, 0), mark.numbers))
        at = mark.end
    plain += reply[at:]
    found = []
    for at, (start, end) in enumerate(sentences(plain)):
        low = start if at else 0  # marks before the first sentence are its own
        held = [number for place, numbers in marks if low <= place < end for number in numbers]
        found.append(Statement(plain[start:end], tuple(dict.fromkeys(held))))
    if len(found) > 1 and not any(each.numbers for each in found[:-1]):
        found = [Statement(each.text, found[-1].numbers) for each in found]
    return tuple(each for each in found if any(letter.isalnum() for letter in each.text))


def alce_scores(configuration: str, responses: Mapping[str, Response], entailment: Entailment) -> AlceScores:
    """Score the answers of `responses` that make a claim. A refusal and a failed or empty answer make none."""
    claiming = {id_: _cited(response) for id_, response in responses.items() if _claims(response)}
    wanted = {claim.key: claim for cited in claiming.values() for each in cited for claim in each.needed()}
    verdicts = dict(zip(wanted, entailment.entails(list(wanted.values())), strict=True))
    scored, unjudged = [], []
    for id_, cited in claiming.items():
        if any(verdicts[claim.key] is None for each in cited for claim in each.needed()):
            unjudged.append(id_)
        else:
            scored.append(_score(cited, verdicts))
    recall, precision = (sum(column) / len(scored) for column in zip(*scored, strict=True)) if scored else (None, None)
    return AlceScores(configuration, entailment.name, len(scored), recall, precision, tuple(unjudged))


@dataclass(frozen=True, slots=True)
class _Cited:
    """A statement with the passages it cites; `unknown` marks name none."""

    question: str
    statement: str
    passages: tuple[Passage, ...]
    unknown: int

    def claim(self, passages: tuple[Passage, ...]) -> Claim:
        return Claim(self.question, self.statement, passages)

    def without(self, passage: Passage) -> Claim:
        return self.claim(tuple(each for each in self.passages if each is not passage))

    def needed(self) -> list[Claim]:
        """Every claim that a verdict may be needed for."""
        found = [self.claim(self.passages)] if self.passages else []
        if len(self.passages) > 1:
            found += [claim for each in self.passages for claim in (self.claim((each,)), self.without(each))]
        return found


def _cited(response: Response) -> list[_Cited]:
    shown = {number: hit.passage for number, hit in enumerate(response.trace.hits, 1)}
    answer = response.answer
    found = []
    for each in statements_of(answer.reply or answer.text):
        numbers = each.numbers if answer.reply else tuple(citation.number for citation in answer.citations)
        passages = tuple(shown[number] for number in numbers if number in shown)
        found.append(_Cited(response.rewrite.question, each.text, passages, len(numbers) - len(passages)))
    return found


def _score(cited: Sequence[_Cited], verdicts: Mapping[Key, bool | None]) -> tuple[float, float]:
    entailed = [bool(each.passages) and bool(verdicts[each.claim(each.passages).key]) for each in cited]
    useful = total = 0
    for each, holds in zip(cited, entailed, strict=True):
        total += len(each.passages) + each.unknown
        for passage in each.passages if holds else ():
            alone = len(each.passages) == 1
            useful += alone or bool(verdicts[each.claim((passage,)).key]) or not verdicts[each.without(passage).key]
    return sum(entailed) / len(entailed), useful / total if total else 0.0


def _claims(response: Response) -> bool:
    answer = response.answer
    return not answer.refused and answer.outcome is not Outcome.FAILED and any(each.isalnum() for each in answer.text)
