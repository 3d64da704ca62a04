"""Plans what is asked: the orders of questions, in the order in which they are written, and how many fit into a time.

First one span of each passage, then the second of each, so that a short time still asks about all documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from lorag.pipeline.contracts.question import Manner
from lorag.pipeline.errors import DataError
from lorag.training.data.making.grouping import Grouping
from lorag.training.data.making.records import Order, Span, digest, draw
from lorag.training.data.making.settings import MakingSettings
from lorag.training.data.making.spans import choose_spans, small_words
from lorag.training.data.rows import PassageRow


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds that a making takes: for each passage that is put into its index, and for each span with all that follows."""

    a_passage: float
    a_span: float

    def minutes(self, passages: int, spans: int) -> float:
        return (self.a_passage * passages + self.a_span * spans) / 60


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


def within(minutes: float, spans: int, passages: int, pace: Pace, settings: MakingSettings) -> int:
    """How many of the spans fit into the time. Raises DataError if those are too few."""
    left = 60 * (minutes - pace.minutes(passages, 0))
    fit = min(spans, max(0, int(left / pace.a_span))) if pace.a_span else spans
    if fit < settings.min_spans:
        raise DataError(
            f"{minutes:.0f} minutes are enough for {fit} spans here, and at least {settings.min_spans} are needed: "
            f"give at least {ceil(pace.minutes(passages, settings.min_spans))} minutes"
        )
    return fit
