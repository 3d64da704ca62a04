"""How often a voter is right when it votes for a question, by rows that people wrote: one that is not often right is not asked.

A person's question with its own answer is sound; with the answer of another question, on that one's passage, it is not. There is
one of each for every question, so a voter that always says yes has a precision of a half.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from lorag.pipeline.contracts.question import Manner
from lorag.training.data.making.agreement import Voter, Voters, scored_by, votes
from lorag.training.data.making.records import Candidate, Order, Scores, Span, SpanKind, shuffled
from lorag.training.data.making.round_trip import DEPTH, CorpusSearch, Found
from lorag.training.data.making.settings import MakingSettings
from lorag.training.data.making.writing import units
from lorag.training.data.rows import PassageRow, QuestionRow, document_of

LEAST = 20
"""Human questions from which on anything is said of a voter."""
_MOST = 64


@dataclass(frozen=True, slots=True)
class VoterPrecision:
    """Of `said` votes for a question `right` were for a sound one."""

    voter: Voter
    right: int
    said: int

    @property
    def precision(self) -> float:
        """0 for a voter that never voted for anything: it decides nothing."""
        return self.right / self.said if self.said else 0.0

    def sentence(self, least: float) -> str:
        """The figure in words, as terminal and card say it; below the precision `least` it is not asked."""
        asked = "" if self.precision >= least else f" Below {least:g} a voter is not asked."
        return (
            f"The vote of {self.voter.value} on human rows: right {self.right} of the {self.said} times that it was yes.{asked}"
        )


def precise_voters(
    rows: Sequence[QuestionRow],
    passages: Mapping[str, PassageRow],
    voters: Voters,
    search: CorpusSearch,
    settings: MakingSettings,
) -> tuple[Voters, tuple[VoterPrecision, ...]]:
    """The voters without those that are less precise than `settings.voter` on these human rows, and the figures of all.

    With fewer than `LEAST` answered rows all are asked, and there are no figures.
    """
    held = shuffled(filter(_is_quoted, rows), lambda row: (settings.seed, row.id))[:_MOST]
    if len(held) < LEAST:
        return voters, ()
    rankings = search.find([row.question for row in held], DEPTH)
    pairs = [*zip(held, held, rankings, strict=True), *zip(held, _others(held), rankings, strict=True)]
    found = [_found(asked, answered, ranking) for asked, answered, ranking in pairs]
    figures = []
    for voter in Voter:
        alone = replace(voters, asked=(voter,))
        scores = [each for unit in units(found) for each in scored_by(alone, unit, passages, settings)]
        yes = [votes(each, settings)[voter] for each in scores]
        figures.append(VoterPrecision(voter, sum(yes[: len(held)]), sum(yes)))
    kept = tuple(each.voter for each in figures if each.precision >= settings.voter)
    return replace(voters, asked=kept), tuple(figures)


def _is_quoted(row: QuestionRow) -> bool:
    return row.answerable and bool(row.answers) and bool(row.passage_ids)


def _others(rows: Sequence[QuestionRow]) -> list[QuestionRow]:
    """For each row one on another passage, of the same document if there is one."""
    chosen = []
    for at, row in enumerate(rows):
        unlike = [each for each in (*rows[at + 1 :], *rows[:at]) if not set(each.passage_ids) & set(row.passage_ids)]
        documents = {document_of(name) for name in row.passage_ids}
        near = [each for each in unlike if document_of(each.passage_ids[0]) in documents]
        chosen.append(next(iter((*near, *unlike)), row))
    return chosen


def _found(asked: QuestionRow, answered: QuestionRow, ranking: Sequence[str]) -> Found:
    """The question of one row, as if it were written to the answer of the other."""
    answer = answered.answers[0]
    span = Span(answered.passage_ids[0], answer, 0, len(answer), SpanKind.SENTENCE)
    gold = {*asked.passage_ids, *answered.passage_ids}
    others = tuple(name for name in ranking if name not in gold)
    return Found(Candidate(Order(span, Manner.FULL, 0), 0, asked.question), Scores(), others)
