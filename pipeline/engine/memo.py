"""Caches an engine's answers, so that configurations of an ablation share equal requests.

Only deterministic requests are cached: greedy generations and scored choices. Knows no model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lorag.pipeline.engine.layer import Request, Result
from lorag.pipeline.engine.protocol import ChoiceRequest, Generation

SLICE = 24
"""Requests passed on at a time: enough to batch by length, few enough to show progress."""


def _is_deterministic(request: Generation | ChoiceRequest) -> bool:
    """Whether the answer is the same each time."""
    return isinstance(request, ChoiceRequest) or request.sampling.temperature <= 0


class Memo:
    """The `Answer` of a `Layer`: passes each distinct request on once. `on_request(n)` is called when n more are answered."""

    def __init__(self, on_request: Callable[[int], None] = lambda _: None) -> None:
        self._on_request = on_request
        self._known: dict[Generation | ChoiceRequest, Any] = {}

    def __call__(self, requests: Sequence[Request], ask: Callable[[Sequence[Request]], list[Result]]) -> list[Result]:
        deterministic = [request for request in requests if _is_deterministic(request)]
        new = [request for request in dict.fromkeys(deterministic) if request not in self._known]
        self._on_request(len(deterministic) - len(new))
        for start in range(0, len(new), SLICE):
            part = new[start : start + SLICE]
            self._known.update(zip(part, ask(part), strict=True))
            self._on_request(len(part))
        sampled = [request for request in requests if not _is_deterministic(request)]
        sampled_answers = iter(ask(sampled) if sampled else ())
        return [self._known[request] if _is_deterministic(request) else next(sampled_answers) for request in requests]
