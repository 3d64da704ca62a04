"""From spans to accepted questions: written, filtered, searched for, voted on, and chosen.

If too few pass, the filters are relaxed in steps: how many may be easy, how much may be copied; never form, leak or duplicates.
What was searched for and voted on once is not asked again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lorag.pipeline.evaluation.text import normalize_answer
from lorag.training.data.making import filters
from lorag.training.data.making.agreement import Voters, vote
from lorag.training.data.making.corpus import Corpus
from lorag.training.data.making.funnel import Funnel, funnel_of
from lorag.training.data.making.others import with_others
from lorag.training.data.making.planning import orders_of
from lorag.training.data.making.records import Accepted, Candidate, Filter, Rejected, Span
from lorag.training.data.making.round_trip import CorpusSearch, round_trip
from lorag.training.data.making.selection import Embed, Selected, within_quotas, without_duplicates
from lorag.training.data.making.settings import MakingSettings
from lorag.training.data.making.writing import Progress, Writer, write_questions


@dataclass(frozen=True, slots=True)
class Tools:
    """What making rows uses: those that vote, of which one writes, the search that serves, and unit vectors of questions."""

    voters: Voters
    search: CorpusSearch
    embed: Embed

    @property
    def writer(self) -> Writer:
        return self.voters.writer


@dataclass(frozen=True, slots=True)
class Questions:
    """The questions that passed, those that did not, the funnel, and in words what was relaxed."""

    accepted: tuple[Accepted, ...]
    rejected: tuple[Rejected, ...]
    funnel: Funnel
    relaxed: tuple[str, ...] = ()


_RELAXED = (
    ("easy", "easy questions", 0.75),
    ("copied", "copied words", 0.8),
    ("easy", "easy questions", 1.0),
    ("copied", "copied words", 1.0),
)
"""What is relaxed, in this order: of questions that copy their sentence few are sound, so those come late."""


def make_questions(
    spans: Sequence[Span], corpus: Corpus, tools: Tools, settings: MakingSettings, on_progress: Progress | None = None
) -> Questions:
    """Questions on the spans that passed all filters, in the order of their ids.

    A span's next question is written only if the one before was dropped.
    """
    orders = orders_of(spans, settings)
    asked, readable, dropped, passed = 0, list[Candidate](), list[Rejected](), list[Accepted]()
    for sample in range(settings.samples):
        answered = {each.candidate.span for each in passed}
        wanted = [order for order in orders if order.sample == sample and order.span not in answered]
        candidates = write_questions(wanted, corpus.passages, tools.writer, settings, on_progress)
        fresh, unread = _readable(candidates, readable, corpus, settings)
        more, failed = _judged(_not_copied(fresh, corpus, settings)[0], corpus, tools, settings, on_progress)
        asked, readable = asked + len(wanted), [*readable, *fresh]
        dropped += [*unread, *failed]
        passed += more
    relaxed: dict[str, str] = {}
    selected = _selected(passed, tools, settings)
    for level, change in _levels(settings):
        if len(selected.accepted) >= settings.least_yield * len(spans):
            break
        known = {each.id for each in (*(each.candidate for each in passed), *(each.candidate for each in dropped))}
        fresh = [each for each in _not_copied(readable, corpus, level)[0] if each.id not in known]
        more, failed = _judged(fresh, corpus, tools, level, on_progress)
        passed += more
        dropped += failed
        relaxed |= change
        settings, selected = level, _selected(passed, tools, level)
    rejected = (*dropped, *_not_copied(readable, corpus, settings)[1], *selected.rejected)
    return Questions(
        selected.accepted,
        _by_id(rejected),
        funnel_of(asked, len(spans), rejected),
        tuple(f"{what} {how}" for what, how in relaxed.items()),
    )


def _levels(settings: MakingSettings) -> list[tuple[MakingSettings, dict[str, str]]]:
    """The settings after each relaxation, with what it changes and how. Each keeps the ones before."""
    levels: list[tuple[MakingSettings, dict[str, str]]] = []
    for name, words, share in _RELAXED:
        before = levels[-1][0] if levels else settings
        strict = getattr(settings, name)
        if share > getattr(before, name):
            changed: Mapping[str, Any] = {name: share}
            levels.append((replace(before, **changed), {words: f"up to {share:.0%} instead of {strict:.0%}"}))
    return levels


def _readable(
    candidates: Sequence[Candidate], before: Sequence[Candidate], corpus: Corpus, settings: MakingSettings
) -> tuple[list[Candidate], list[Rejected]]:
    """Those that are questions on their passage, do not give the answer away, and were not among the span's `before`."""
    kept: list[Candidate] = []
    rejected: list[Rejected] = []
    said = {(each.span, normalize_answer(each.question)): each.id for each in before}
    for each in candidates:
        if same := said.get((each.span, normalize_answer(each.question))):
            rejected.append(Rejected(each, Filter.DUPLICATE, f"the same as {same}"))
        elif not each.question:
            rejected.append(Rejected(each, Filter.WRITTEN, "the reply is no question"))
        elif reason := filters.form(each, settings):
            rejected.append(Rejected(each, Filter.FORM, reason))
        elif reason := filters.leak(each, settings):
            rejected.append(Rejected(each, Filter.LEAK, reason))
        elif reason := filters.unfounded(each, corpus.passages[each.span.passage_id], settings):
            rejected.append(Rejected(each, Filter.UNFOUNDED, reason))
        else:
            kept.append(each)
    return kept, rejected


def _not_copied(
    candidates: Sequence[Candidate], corpus: Corpus, settings: MakingSettings
) -> tuple[list[Candidate], list[Rejected]]:
    reasons = [filters.copy(each, corpus.passages[each.span.passage_id], settings) for each in candidates]
    kept = [each for each, reason in zip(candidates, reasons, strict=True) if not reason]
    return kept, [Rejected(each, Filter.COPY, reason) for each, reason in zip(candidates, reasons, strict=True) if reason]


def _judged(
    candidates: Sequence[Candidate], corpus: Corpus, tools: Tools, settings: MakingSettings, on_progress: Progress | None
) -> tuple[list[Accepted], list[Rejected]]:
    """Those that find their passage, that reader and judge agree on, and that are answered on one side of the split alone."""
    found, lost = round_trip(candidates, tools.search, settings, on_progress)
    agreed, denied = vote(found, corpus.passages, tools.voters, settings, on_progress)
    accepted, ambiguous = with_others(agreed, corpus.passages, tools.voters.judge, settings, on_progress)
    kept = [each for each in accepted if corpus.is_one_sided(each)]
    crossing = [each for each in accepted if not corpus.is_one_sided(each)]
    reason = "a passage on the other side of the split answers it too"
    return kept, [*lost, *denied, *ambiguous, *(Rejected(each.candidate, Filter.AMBIGUOUS, reason) for each in crossing)]


def _selected(passed: Sequence[Accepted], tools: Tools, settings: MakingSettings) -> Selected:
    unlike = without_duplicates(passed, tools.embed, settings)
    chosen = within_quotas(unlike.accepted, settings)
    return Selected(chosen.accepted, (*unlike.rejected, *chosen.rejected))


def _by_id(rejected: Sequence[Rejected]) -> tuple[Rejected, ...]:
    return tuple(sorted(rejected, key=lambda each: each.candidate.id))
