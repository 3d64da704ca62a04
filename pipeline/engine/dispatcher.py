"""The one thread that runs the shared base for many callers, a step at a time.

A step scores some of the waiting choices, lets waiting rows join the running batch, and decodes one token for every row of it.
At most `prefill_tokens` of either kind of prompt (or one longer prompt) are read between two tokens. So running replies
continue while new requests arrive.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lorag.pipeline.engine.decoding import ChoiceRow, Row, RunningBatch
from lorag.pipeline.engine.local import BATCH_TOKENS, LocalEngine, choice_cost, engine_errors
from lorag.pipeline.engine.waiting import Ticket, WaitingQueue
from lorag.pipeline.errors import AdapterError, EngineError, LoragError, Overloaded, ShuttingDown

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits on what runs and waits at once.

    `waiting`: calls that wait, whole or in part, before another is refused. `rows`, `tokens`: of a batch, tokens counted with
    padding. `prefill_tokens`: prompt tokens between two tokens of running replies.
    """

    waiting: int = 64
    rows: int = 8
    tokens: int = BATCH_TOKENS
    prefill_tokens: int = 1024


@dataclass(frozen=True, slots=True)
class EngineStep:
    """Counts of a step: requests waiting and rows running after it, choices scored and rows begun, prompt tokens read, tokens
    written. `seconds` is wall time."""

    waiting: int
    running: int
    scored: int
    begun: int
    prompt_tokens: int
    tokens: int
    seconds: float


class Dispatcher:
    """Runs submitted requests. The thread starts with the first one and ends with `close`."""

    def __init__(self, engine: LocalEngine, bounds: Bounds, on_step: Callable[[EngineStep], None] | None = None) -> None:
        self._engine, self._bounds, self._on_step = engine, bounds, on_step
        self._changed = threading.Condition()
        self._rows, self._choices = WaitingQueue[Row](), WaitingQueue[ChoiceRow]()
        self._running: RunningBatch[Ticket[Row]] = engine.running_batch()
        self._thread: threading.Thread | None = None
        self._closing = self._abandoning = False

    @property
    def waiting(self) -> int:
        """Requests that have not begun."""
        return len(self._rows) + len(self._choices)

    def submit_rows(self, tickets: Sequence[Ticket[Row]]) -> None:
        """Queue them. Raises Overloaded, ShuttingDown."""
        self._submit(self._rows, tickets)

    def submit_choices(self, tickets: Sequence[Ticket[ChoiceRow]]) -> None:
        """As `submit_rows`."""
        self._submit(self._choices, tickets)

    def _submit(self, queue: WaitingQueue[Any], tickets: Sequence[Ticket[Any]]) -> None:
        with self._changed:
            if self._closing:
                raise ShuttingDown("the engine is shutting down; ask again when it is back")
            calls = self._rows.calls + self._choices.calls
            if calls >= self._bounds.waiting:
                raise Overloaded(f"{calls} calls wait already; ask again in a moment")
            queue.put(tickets)
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="lorag-engine", daemon=True)
                self._thread.start()
            self._changed.notify()

    def close(self, grace: float | None = None) -> None:
        """Refuse new requests and return when the accepted ones are done; after `grace` seconds the rest fail with
        ShuttingDown."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(grace)
            self._abandoning = True
            self._thread.join()

    def _serve(self) -> None:
        try:
            while self._await_work():
                self._step_once()
        except BaseException as error:  # a bug here must not leave a caller waiting
            with self._changed:
                self._closing = True
            _fail([*self._running.rows, *self._rows.take(_all), *self._choices.take(_all)], error, "the engine's thread ended")
            raise

    def _await_work(self) -> bool:
        """Wait for requests; False if the dispatcher closes and none is left."""
        with self._changed:
            while not (busy := bool(self.waiting or self._running.rows)) and not self._closing:
                self._changed.wait()
            return busy

    def _step_once(self) -> None:
        started = time.perf_counter()
        self._end_unwanted()
        scoring, joining = self._admit()
        self._score(scoring)
        tokens = self._join(joining) + self._step()
        if self._on_step is not None:
            read = sum(len(ticket.work.ids) for ticket in scoring) + sum(len(ticket.work.ids) for ticket in joining)
            seconds = time.perf_counter() - started
            step = EngineStep(self.waiting, len(self._running.rows), len(scoring), len(joining), read, tokens, seconds)
            try:
                self._on_step(step)
            except Exception:  # a failing callback must not stop the engine
                _LOG.exception("the callback for a step of the engine failed")

    def _end_error(self, ticket: Ticket[Any]) -> LoragError | None:
        """The error that ends a request which cannot begin or continue; None if it can."""
        if self._abandoning:
            return ShuttingDown("the engine has shut down before this request was done; ask again when it is back")
        try:
            self._engine.require(ticket.work.adapter)
        except AdapterError as error:
            return error
        return ticket.caller_gone_error()

    def _end_unwanted(self) -> bool:
        """End the requests that cannot begin or continue; True if any of them was running."""
        with self._changed:
            ended = self._choices.remove(self._end_error)
            leaving = [(ticket, error) for ticket in self._running.rows if (error := self._end_error(ticket)) is not None]
            waiting = self._rows.remove(self._end_error)
        if leaving:
            self._running.drop({ticket for ticket, _ in leaving})
        for choice, error in ended:
            choice.fail(error)
        for row, error in (*leaving, *waiting):
            row.fail(error)
        return bool(leaving)

    def _admit(self) -> tuple[list[Ticket[ChoiceRow]], list[Ticket[Row]]]:
        running_rows, width = len(self._running.rows), self._running.width
        most, budget = self._bounds.rows, self._bounds.prefill_tokens if running_rows else self._bounds.tokens

        def scores(taken: Sequence[Ticket[ChoiceRow]], ticket: Ticket[ChoiceRow]) -> bool:
            costs = [choice_cost(t.work) for t in (*taken, ticket)]
            return not taken or (len(costs) <= most and len(costs) * max(costs) <= budget)

        def joins(taken: Sequence[Ticket[Row]], ticket: Ticket[Row]) -> bool:
            lengths = [len(t.work.ids) for t in (*taken, ticket)]
            rows = running_rows + len(lengths)
            holds = rows == 1 or (rows <= most and rows * max(width, *lengths) <= self._bounds.tokens)
            return holds and (not taken or len(lengths) * max(lengths) <= budget)

        with self._changed:
            return self._choices.take(scores), self._rows.take(joins)

    def _score(self, tickets: Sequence[Ticket[ChoiceRow]]) -> None:
        if not tickets:
            return
        try:
            probabilities = self._engine.row_probabilities([ticket.work for ticket in tickets])
        except Exception as error:  # an error of any library ends these requests, not the thread
            _fail(tickets, error, "scoring failed")
            return
        for ticket, row in zip(tickets, probabilities, strict=True):
            ticket.send(row)
            ticket.finish()

    def _join(self, tickets: Sequence[Ticket[Row]]) -> int:
        """Begin these; returns how many tokens were written."""
        if not tickets:
            return 0
        try:
            with engine_errors("generation", len(tickets)):
                tokens = self._running.join({ticket: ticket.work for ticket in tickets})
        except Exception as error:  # as above; running rows continue
            _fail(tickets, error, "generation failed")
            return 0
        return self._deliver(tokens)

    def _step(self) -> int:
        """One more token for every running row; returns how many tokens were written."""
        tickets = list(self._running.rows)
        try:
            with engine_errors("generation", len(tickets)):
                tokens = self._running.step()
        except Exception as error:
            if isinstance(error, AdapterError) and self._end_unwanted():
                return 0  # the adapter was unloaded after the check: its rows have left, and nothing has run
            self._running = self._engine.running_batch()
            _fail(tickets, error, "generation failed")
            return 0
        return self._deliver(tokens)

    def _deliver(self, tokens: Mapping[Ticket[Row], int]) -> int:
        running = self._running.rows
        for ticket, token in tokens.items():
            ticket.send(token)
            if ticket not in running:
                ticket.finish()
        return len(tokens)


def _all(taken: Sequence[object], ticket: object) -> bool:
    return True


def _fail(tickets: Iterable[Ticket[Any]], error: BaseException, what: str) -> None:
    """End these requests with `error`, or with an EngineError that has it for a cause."""
    reported = error if isinstance(error, LoragError) else EngineError(f"{what}: {type(error).__name__}: {error}")
    if reported is not error:
        reported.__cause__ = error
    for ticket in tickets:
        ticket.fail(reported)
