"""How often a voter is right when it votes for a question, by rows that people wrote: one that is not often right is not asked.

A person's question with its own answer is sound; with another span of the same passage, of the answer's kind if there is one, it
is not. There is one of each for every question, so a voter that always says yes has a precision of a half.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from lorag.pipeline.contracts.question import Manner
from lorag.training.data.making.agreement import Voter, Voters, scored_by, votes
from lorag.training.data.making.channel import rivals
from lorag.training.data.making.records import Candidate, Order, Scores, Span, SpanKind, shuffled
from lorag.training.data.making.round_trip import DEPTH, CorpusSearch, Found
from lorag.training.data.making.settings import MakingSettings
from lorag.training.data.making.spans import find_spans
from lorag.training.data.making.writing import units
from lorag.training.data.rows import PassageRow, QuestionRow

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

    With fewer than `LEAST` answered rows the voters are asked that were before, and there are no figures.
    """
    located = (_found(row, passages) for row in shuffled(rows, lambda row: (settings.seed, row.id)))
    pairs = [(each, _wrong(each, passages, settings)) for each in located if each is not None]
    held = [(right, wrong) for right, wrong in pairs if wrong is not None][:_MOST]
    if len(held) < LEAST:
        return voters, ()
    rankings = search.find([right.candidate.question for right, _ in held], DEPTH)
    found = [
        replace(each, ranking=tuple(ranking))
        for side in zip(*held, strict=True)
        for each, ranking in zip(side, rankings, strict=True)
    ]
    figures = []
    for voter in Voter:
        alone = replace(voters, asked=(voter,))
        scores = [each for unit in units(found) for each in scored_by(alone, unit, passages, settings)]
        yes = [votes(each, settings)[voter] for each in scores]
        figures.append(VoterPrecision(voter, sum(yes[: len(held)]), sum(yes)))
    kept = tuple(each.voter for each in figures if each.precision >= settings.voter)
    return replace(voters, asked=kept), tuple(figures)


def _found(row: QuestionRow, passages: Mapping[str, PassageRow]) -> Found | None:
    """The question as if it were written to its answer, or to the words that support it; None if its passage holds neither."""
    if not (row.answerable and row.passage_ids and row.passage_ids[0] in passages):
        return None
    passage = passages[row.passage_ids[0]]
    words = next((each for each in (*row.answers[:1], *row.quotes) if each and each in passage.text), None)
    if words is None:
        return None
    start = passage.text.index(words)
    end = start + len(words)
    around = [span for span in find_spans(passage) if span.start < end and start < span.end]
    kind = min(around, key=lambda span: abs(len(span.text) - len(words))).kind if around else SpanKind.NAME
    return _asked(row.question, Span(passage.id, words, start, end, kind))


def _wrong(found: Found, passages: Mapping[str, PassageRow], settings: MakingSettings) -> Found | None:
    """The question as if it were written to another span of its passage; None if there is none."""
    span = found.candidate.span
    others = rivals(span, passages[span.passage_id], settings)
    return _asked(found.candidate.question, others[0]) if others else None


def _asked(question: str, span: Span) -> Found:
    return Found(Candidate(Order(span, Manner.FULL, 0), 0, question), Scores(), ())
