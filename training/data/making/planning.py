"""Plans what is asked: the orders of questions, in the order in which they are written, and how many fit into a time.

First one span of each passage, then the second of each, so that a short time still asks about all documents. Depends on the
passages and the settings alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from lorag.pipeline.contracts.question import Manner
from lorag.pipeline.errors import DataError
from lorag.training.data.making.grouping import Grouping
from lorag.training.data.making.records import Order, Span, digest, draw
from lorag.training.data.making.settings import MakingSettings
from lorag.training.data.making.spans import choose_spans, small_words
from lorag.training.data.rows import PassageRow


@dataclass(frozen=True, slots=True)
class Rates:
    """What a machine does in a second, measured on a few texts: tokens read, tokens written, passages encoded."""

    read: float
    written: float
    encoded: float = inf


CHARS_A_TOKEN = 4.0
_PROMPT, _REPLY = 40, 14
_AGAIN, _VOTED, _READ = 0.89, 0.43, 0.9
"""Shares on the example's documents (training/LOG.md): of the spans whose first question is dropped, so that another is written;
of the questions that reach the votes; of those, of the ones that the reader is asked too."""


def plan_spans(passages: Sequence[PassageRow], grouping: Grouping, settings: MakingSettings) -> tuple[Span, ...]:
    """The spans to ask about, the first of each passage before the second of any.

    Raises DataError if there are too few.
    """
    asked = [each for each in passages if each.id not in grouping.boilerplate and grouping.split_of(each.id)]
    small = small_words(passages)
    chosen = {passage.id: choose_spans(passage, settings, small) for passage in asked}
    ranked = sorted(
        ((slot, digest(settings.seed, "turn", name), span) for name, spans in chosen.items() for slot, span in enumerate(spans)),
        key=lambda each: each[:2],
    )
    if len(ranked) < settings.min_spans:
        raise DataError(
            f"{len(asked)} passages hold {len(ranked)} spans to ask about, too few to make rows of; at least "
            f"{settings.min_spans} are needed: add documents, or longer ones"
        )
    return tuple(span for _, _, span in ranked)


def orders_of(spans: Sequence[Span], settings: MakingSettings) -> tuple[Order, ...]:
    """`samples` questions a span, some of them terse. Those of one passage stand together, so that they share its prefix."""
    passages = {span.passage_id: at for at, span in reversed(list(enumerate(spans)))}
    ranked = sorted(spans, key=lambda span: (passages[span.passage_id], span.start))
    return tuple(Order(span, _manner(span, sample, settings), sample) for span in ranked for sample in range(settings.samples))


def _manner(span: Span, sample: int, settings: MakingSettings) -> Manner:
    place = (span.passage_id, span.start, span.end, sample)
    return Manner.TERSE if draw(settings.seed, "manner", *place) < settings.terse else Manner.FULL


def minutes_for(spans: Sequence[Span], passages: Sequence[PassageRow], settings: MakingSettings, rates: Rates) -> float:
    """Minutes that the models will take, about. The encoder reads all passages for their vectors, and again for their tokens'.

    The writer reads each passage once for all its spans in a round of questions; then once for a question's votes, with a prompt
    for each span that is compared; then the reader reads it with distractors.
    """
    lengths = {passage.id: (len(passage.title) + len(passage.text)) / CHARS_A_TOKEN for passage in passages}
    rounds = 1 + _AGAIN * (settings.samples - 1)
    asked = rounds * len(spans)
    voted, answered = _VOTED * asked, _READ * _VOTED * asked
    once = sum(lengths[name] for name in {span.passage_id for span in spans})
    mean = sum(lengths[span.passage_id] for span in spans) / max(len(spans), 1)
    read = rounds * once + asked * _PROMPT
    read += voted * (mean + (settings.rivals + 1) * (_PROMPT + _REPLY))
    read += answered * ((settings.distractors + 1) * mean + _PROMPT)
    written = (asked + answered) * _REPLY
    return (read / rates.read + written / rates.written + 2 * len(passages) / rates.encoded) / 60


def within(minutes: float, spans: Sequence[Span], passages: Sequence[PassageRow], settings: MakingSettings, rates: Rates) -> int:
    """How many of the spans fit into the time. Raises DataError if those are too few."""
    whole = minutes_for(spans, passages, settings, rates)
    before = minutes_for((), passages, settings, rates)
    a_span = (whole - before) / len(spans)
    fit = len(spans) if whole <= minutes else max(0, int((minutes - before) / a_span))
    if fit < settings.min_spans:
        raise DataError(
            f"{minutes:g} minutes are enough for {fit} spans here, and at least {settings.min_spans} are needed: "
            f"give at least {before + a_span * settings.min_spans:.0f} minutes"
        )
    return fit
