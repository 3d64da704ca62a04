"""Requests that wait for their turn on the shared base, and how their results come back. Knows no model and no thread."""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from lorag.pipeline.engine.decoding import ChoiceRow, Row
from lorag.pipeline.engine.limits import CallLimits
from lorag.pipeline.errors import Cancelled, DeadlinePassed, LoragError

Work = TypeVar("Work", Row, ChoiceRow)

_END = object()


class Ticket(Generic[Work]):
    """One request on its way: the dispatcher sends results, the thread that asked reads them from `items`."""

    def __init__(self, work: Work, limits: CallLimits) -> None:
        self.work: Work = work
        self._limits = limits
        self._left = False
        self._mail: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def send(self, item: Any) -> None:
        self._mail.put(item)

    def finish(self) -> None:
        self._mail.put(_END)

    def fail(self, error: LoragError) -> None:
        self._mail.put(error)

    def leave(self) -> None:
        """The caller wants nothing more of it."""
        self._left = True

    def unwanted(self) -> Cancelled | DeadlinePassed | None:
        """Why nobody waits for the result any more, if so."""
        return Cancelled("the request was given up") if self._left else self._limits.over()

    def items(self) -> Iterator[Any]:
        """The results as they come: tokens, or the one tuple of weights. Raises what the request failed with, with its cause."""
        while True:
            try:
                item = self._mail.get(timeout=self._limits.remaining())
            except queue.Empty:
                raise self._limits.over() or DeadlinePassed("the time given to this request is over") from None
            if item is _END:
                return
            if isinstance(item, LoragError):  # a new one, since requests of one batch share the error
                raise type(item)(str(item)) from item
            yield item


class WaitingQueue(Generic[Work]):
    """Tickets that wait, each call in its turn: a call of a hundred requests holds nobody up. Not thread-safe."""

    def __init__(self) -> None:
        self._calls: deque[deque[Ticket[Work]]] = deque()

    def __len__(self) -> int:
        return sum(map(len, self._calls))

    @property
    def calls(self) -> int:
        """Calls of which requests wait."""
        return len(self._calls)

    def put(self, call: Sequence[Ticket[Work]]) -> None:
        self._calls.append(deque(call))

    def take(self, fits: Callable[[Sequence[Ticket[Work]], Ticket[Work]], bool]) -> list[Ticket[Work]]:
        """The next tickets, one of each call in turn, up to the first that does not fit beside those taken."""
        taken: list[Ticket[Work]] = []
        while self._calls and fits(taken, self._calls[0][0]):
            call = self._calls.popleft()
            taken.append(call.popleft())
            if call:
                self._calls.append(call)
        return taken

    def remove(self, objection: Callable[[Ticket[Work]], LoragError | None]) -> list[tuple[Ticket[Work], LoragError]]:
        """Take out those that there is an objection to, and return them with it."""
        refused = [(ticket, error) for call in self._calls for ticket in call if (error := objection(ticket)) is not None]
        if refused:
            gone = {ticket for ticket, _ in refused}
            kept = (deque(ticket for ticket in call if ticket not in gone) for call in self._calls)
            self._calls = deque(call for call in kept if call)
        return refused
