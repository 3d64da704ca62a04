"""An engine that wraps another one and changes one thing: how batches are answered, or the requests. Knows no model.

The memo, the journal and a client's limits are such layers. A layer that works inside a stream is an `Engine` of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Protocol, TypeVar

from lorag.pipeline.engine.protocol import ChoiceRequest, Completion, Engine, Generation

Request = TypeVar("Request", Generation, ChoiceRequest)
Result = TypeVar("Result", Completion, tuple[float, ...])


class Answer(Protocol):
    """Answers a batch of requests of one kind, in their order; `ask` passes requests on to the wrapped engine."""

    def __call__(self, requests: Sequence[Request], ask: Callable[[Sequence[Request]], list[Result]], /) -> list[Result]: ...


def _pass_on(requests: Sequence[Request], ask: Callable[[Sequence[Request]], list[Result]]) -> list[Result]:
    return ask(requests)


class Layer:
    """An `Engine` over `engine`: `change` is applied to each request for text, then `answer` to each batch.

    A stream is the wrapped engine's, for the changed request.
    """

    def __init__(
        self, engine: Engine, answer: Answer = _pass_on, *, change: Callable[[Generation], Generation] = lambda request: request
    ) -> None:
        self._engine, self._answer, self._change = engine, answer, change

    @property
    def adapters(self) -> tuple[str, ...]:
        return self._engine.adapters

    def generate(self, requests: Sequence[Generation]) -> list[Completion]:
        return self._answer([self._change(request) for request in requests], self._engine.generate)

    def stream(self, request: Generation) -> Generator[str, None, Completion]:
        return self._engine.stream(self._change(request))

    def choice_probabilities(self, requests: Sequence[ChoiceRequest]) -> list[tuple[float, ...]]:
        return self._answer(requests, self._engine.choice_probabilities)
