"""Never asks an engine the same thing twice: systems that share work in an ablation share it here.

Only greedy requests are remembered, since only those are the same each time. Knows no model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lorag.pipeline.engine.layer import Request, Result
from lorag.pipeline.engine.protocol import ChoiceRequest, Generation

SLICE = 24
"""Requests passed on at a time: enough to batch by length, few enough to show progress."""


def _repeats(request: Generation | ChoiceRequest) -> bool:
    """Whether the answer is the same each time."""
    return isinstance(request, ChoiceRequest) or request.sampling.temperature <= 0


class Memo:
    """The `Answer` of a `Layer`: each distinct request is passed on once. `on_request(n)` is called as n more are answered."""

    def __init__(self, on_request: Callable[[int], None] = lambda _: None) -> None:
        self._on_request = on_request
        self._known: dict[Generation | ChoiceRequest, Any] = {}

    def __call__(self, requests: Sequence[Request], ask: Callable[[Sequence[Request]], list[Result]]) -> list[Result]:
        repeated = [request for request in requests if _repeats(request)]
        new = [request for request in dict.fromkeys(repeated) if request not in self._known]
        self._on_request(len(repeated) - len(new))
        for start in range(0, len(new), SLICE):
            part = new[start : start + SLICE]
            self._known.update(zip(part, ask(part), strict=True))
            self._on_request(len(part))
        once = [request for request in requests if not _repeats(request)]
        drawn = iter(ask(once) if once else ())
        return [self._known[request] if _repeats(request) else next(drawn) for request in requests]
