"""An engine that never answers the same request twice: systems that share work in an ablation share it here.

Only greedy requests are remembered, since only those are the same each time. Knows no model.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TypeVar

from lorag.pipeline.engine.protocol import ChoiceRequest, Completion, Engine, Generation

Request = TypeVar("Request", Generation, ChoiceRequest)
Result = TypeVar("Result")

SLICE = 24
"""Requests passed on at a time: enough to batch by length, few enough to show progress."""


def _is_greedy(request: Generation) -> bool:
    return request.sampling.temperature <= 0


class MemoEngine:
    """Passes requests on to `engine`, each distinct one once. `on_request(n)` is called as n more requests are answered."""

    def __init__(self, engine: Engine, on_request: Callable[[int], None] | None = None) -> None:
        self._engine = engine
        self._on_request = on_request or (lambda _: None)
        self._completions: dict[Generation, Completion] = {}
        self._weights: dict[ChoiceRequest, tuple[float, ...]] = {}

    @property
    def adapters(self) -> tuple[str, ...]:
        return self._engine.adapters

    def generate(self, requests: Sequence[Generation]) -> list[Completion]:
        greedy = [request for request in requests if _is_greedy(request)]
        self._fill(greedy, self._completions, self._engine.generate)
        drawn = iter(self._engine.generate([request for request in requests if not _is_greedy(request)]))
        return [self._completions[r] if _is_greedy(r) else next(drawn) for r in requests]

    def choice_probabilities(self, requests: Sequence[ChoiceRequest]) -> list[tuple[float, ...]]:
        self._fill(requests, self._weights, self._engine.choice_probabilities)
        return [self._weights[request] for request in requests]

    def stream(self, request: Generation) -> Generator[str, None, Completion]:
        return self._engine.stream(request)

    def _fill(
        self, requests: Sequence[Request], known: dict[Request, Result], answer: Callable[[Sequence[Request]], list[Result]]
    ) -> None:
        new = [request for request in dict.fromkeys(requests) if request not in known]
        self._on_request(len(requests) - len(new))
        for start in range(0, len(new), SLICE):
            part = new[start : start + SLICE]
            known.update(zip(part, answer(part), strict=True))
            self._on_request(len(part))
