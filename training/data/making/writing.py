"""Writes the questions: one request an order, in units of a fixed size and composition.

A unit is one call of the engine, so a journal of its answers can continue a run that was killed: what a batch holds affects the
last digits of its logits, and so a draw. Seeds come from the place of the span. Knows no filter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from lorag.pipeline.contracts import PromptStyle, question
from lorag.pipeline.engine.protocol import Engine, Generation, Sampling
from lorag.training.data.making.records import Candidate, Order, digest
from lorag.training.data.making.settings import MakingSettings
from lorag.training.data.rows import PassageRow

UNIT = 32
"""Requests a unit: what a kill can lose, and enough to fill batches of similar length."""

Progress = Callable[[str, int, int], None]
"""Called with the step, the items done and their number."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Writer:
    """A model with the questioner adapter resident as `adapter`, or the bare base, which gets the plain prompt."""

    engine: Engine
    adapter: str | None = None

    @property
    def style(self) -> PromptStyle:
        return PromptStyle.TUNED if self.adapter else PromptStyle.PLAIN


def units(items: Sequence[_T]) -> Iterator[Sequence[_T]]:
    """The items in units of `UNIT`."""
    for start in range(0, len(items), UNIT):
        yield items[start : start + UNIT]


def write_questions(
    orders: Sequence[Order],
    passages: Mapping[str, PassageRow],
    writer: Writer,
    settings: MakingSettings,
    on_progress: Progress | None = None,
) -> list[Candidate]:
    """One candidate an order; its question is empty if the reply was none."""
    written: list[Candidate] = []
    for unit in units(orders):
        seeds = [seed_of(order, settings) for order in unit]
        requests = [_request(order, passages, writer, settings, seed) for order, seed in zip(unit, seeds, strict=True)]
        replies = writer.engine.generate(requests)
        for order, seed, reply in zip(unit, seeds, replies, strict=True):
            written.append(Candidate(order, seed, question.parse(reply.text).question))
        if on_progress is not None:
            on_progress("questions", len(written), len(orders))
    return written


def seed_of(order: Order, settings: MakingSettings) -> int:
    """The seed of a draw, from 0 to below 2⁶³."""
    span = order.span
    return int(digest(settings.seed, span.passage_id, span.start, span.end, order.manner, order.sample)[:16], 16) >> 1


def _request(order: Order, passages: Mapping[str, PassageRow], writer: Writer, settings: MakingSettings, seed: int) -> Generation:
    shown = passages[order.span.passage_id].shown()
    messages = question.messages(shown, order.span.text, order.manner, writer.style)
    sampling = Sampling(settings.temperature if order.sample else 0.0, settings.top_p, seed)  # the first is the likeliest
    return Generation(messages, writer.adapter, question.MAX_REPLY_TOKENS, sampling, ("\n",), stage="questioner")
