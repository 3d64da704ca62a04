"""The queue of requests for the shared base, and how their results come back. Knows no model and no thread."""

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
    """One submitted request: the dispatcher sends results, the calling thread reads them from `items`."""

    def __init__(self, work: Work, limits: CallLimits) -> None:
        self.work: Work = work
        self._limits = limits
        self._cancelled = False
        self._results: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def send(self, item: Any) -> None:
        self._results.put(item)

    def finish(self) -> None:
        self._results.put(_END)

    def fail(self, error: LoragError) -> None:
        self._results.put(error)

    def cancel(self) -> None:
        """Cancel the request: the caller reads no more results."""
        self._cancelled = True

    def caller_gone_error(self) -> Cancelled | DeadlinePassed | None:
        """Why the caller no longer waits for the result; None if it does."""
        return Cancelled("the request was given up") if self._cancelled else self._limits.over()

    def items(self) -> Iterator[Any]:
        """The results as they arrive: tokens, or the one tuple of probabilities. Raises the request's error, with its cause."""
        while True:
            try:
                item = self._results.get(timeout=self._limits.remaining())
            except queue.Empty:
                raise self._limits.over() or DeadlinePassed("the time given to this request is over") from None
            if item is _END:
                return
            if isinstance(item, LoragError):  # a new instance, since requests of one batch share the error
                raise type(item)(str(item)) from item
            yield item


class WaitingQueue(Generic[Work]):
    """Waiting tickets, served round robin by call: a call of a hundred requests delays no other. Not thread-safe."""

    def __init__(self) -> None:
        self._calls: deque[deque[Ticket[Work]]] = deque()

    def __len__(self) -> int:
        return sum(map(len, self._calls))

    @property
    def calls(self) -> int:
        """Calls with waiting requests."""
        return len(self._calls)

    def put(self, call: Sequence[Ticket[Work]]) -> None:
        self._calls.append(deque(call))

    def take(self, fits: Callable[[Sequence[Ticket[Work]], Ticket[Work]], bool]) -> list[Ticket[Work]]:
        """The next tickets, one of each call in turn, up to the first that does not fit with those taken."""
        taken: list[Ticket[Work]] = []
        while self._calls and fits(taken, self._calls[0][0]):
            call = self._calls.popleft()
            taken.append(call.popleft())
            if call:
                self._calls.append(call)
        return taken

    def remove(self, end_error: Callable[[Ticket[Work]], LoragError | None]) -> list[tuple[Ticket[Work], LoragError]]:
        """Remove the tickets for which `end_error` gives an error, and return them with it."""
        removed_pairs = [(ticket, error) for call in self._calls for ticket in call if (error := end_error(ticket)) is not None]
        if removed_pairs:
            removed = {ticket for ticket, _ in removed_pairs}
            remaining = (deque(ticket for ticket in call if ticket not in removed) for call in self._calls)
            self._calls = deque(call for call in remaining if call)
        return removed_pairs
