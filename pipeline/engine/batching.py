"""The shared base for many threads at once: an `Engine` whose requests run in one batch, for any mix of adapters.

Callers submit and wait; one thread owns the model (`dispatcher`). Batching is continuous, as in Orca (OSDI 2022): a row joins
between two tokens of others and leaves when it ends. A short reply never waits for a long one, and a stream is a row like any
other. Rejected: a batch per call, collected in a short window. That is less code, but every request waits for the longest of
its batch, and a stream runs alone. Rejected too: a queue for each adapter, which saves peft's routing of rows but lets a busy
adapter delay a rare one.

Callers set a deadline and a cancel event by `limits.limited`. Neither is an argument of the protocol, since stages and chain
are in between. A greedy reply equals that of the local engine, up to the rounding of a batch of another shape.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager

from lorag.pipeline.engine.decoding import ChoiceRow, Row
from lorag.pipeline.engine.dispatcher import Bounds, Dispatcher, EngineStep
from lorag.pipeline.engine.limits import current_limits
from lorag.pipeline.engine.local import LocalEngine
from lorag.pipeline.engine.protocol import ChoiceRequest, Completion, Generation, completed
from lorag.pipeline.engine.waiting import Ticket, Work

__all__ = ["BatchingEngine", "Bounds", "EngineStep"]


class BatchingEngine:
    """An `Engine` over a local one. Adapters are loaded and unloaded on `local`, at any time.

    Besides the protocol's errors its calls raise Overloaded, DeadlinePassed, Cancelled and ShuttingDown. `on_step` is called
    after each step, in the dispatcher's thread.
    """

    def __init__(
        self, local: LocalEngine, bounds: Bounds | None = None, *, on_step: Callable[[EngineStep], None] | None = None
    ) -> None:
        self.local = local
        self._dispatcher = Dispatcher(local, bounds or Bounds(), on_step)

    @property
    def adapters(self) -> tuple[str, ...]:
        return self.local.adapters

    @property
    def waiting(self) -> int:
        """Requests that have not begun."""
        return self._dispatcher.waiting

    def generate(self, requests: Sequence[Generation]) -> list[Completion]:
        with self._submitted([self.local.row(request) for request in requests], self._dispatcher.submit_rows) as tickets:
            return [completed(self._text_pieces(r, ticket)) for r, ticket in zip(requests, tickets, strict=True)]

    def stream(self, request: Generation) -> Generator[str, None, Completion]:
        with self._submitted([self.local.row(request)], self._dispatcher.submit_rows) as (ticket,):
            return (yield from self._text_pieces(request, ticket))

    def _text_pieces(self, request: Generation, ticket: Ticket[Row]) -> Generator[str, None, Completion]:
        return self.local.text_pieces(ticket.work, request.stop, ticket.items())

    def choice_probabilities(self, requests: Sequence[ChoiceRequest]) -> list[tuple[float, ...]]:
        rows: list[ChoiceRow] = [self.local.choice_row(request) for request in requests]
        with self._submitted(rows, self._dispatcher.submit_choices) as tickets:
            return [probabilities for ticket in tickets for probabilities in ticket.items()]

    @contextmanager
    def _submitted(
        self, works: Sequence[Work], submit: Callable[[Sequence[Ticket[Work]]], None]
    ) -> Iterator[Sequence[Ticket[Work]]]:
        """The tickets of these, under the current limits. A caller that leaves early cancels what is not done."""
        limits = current_limits()
        for work in works:
            self.local.require(work.adapter)
        if (error := limits.over()) is not None:
            raise error
        tickets = [Ticket(work, limits) for work in works]
        try:
            if tickets:
                submit(tickets)
            yield tickets
        finally:
            for ticket in tickets:
                ticket.cancel()

    def close(self, grace: float | None = None) -> None:
        """Refuse new requests and finish the accepted ones; after `grace` seconds the rest fail with ShuttingDown."""
        self._dispatcher.close(grace)

    def __enter__(self) -> BatchingEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
