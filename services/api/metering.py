"""The engine of one request: it counts tokens, caches replies, and stops when the request is cancelled or timed out."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Sequence
from contextlib import closing

from lorag.pipeline.engine.layer import Layer
from lorag.pipeline.engine.limits import current_limits
from lorag.pipeline.engine.protocol import ChoiceRequest, Completion, Engine, Finish, Generation, completed
from lorag.services.api.metrics import Metrics
from lorag.services.api.replies import Reply, ReplyCache


@dataclasses.dataclass(slots=True)
class Usage:
    """The prompt and completion tokens of a request so far, cached replies included, and the finish of its last text.

    Labels are scored, not generated, so the judge's prompts are not counted.
    """

    prompt: int = 0
    completion: int = 0
    finish: Finish = Finish.STOP


class RequestEngine:
    """An `Engine` over `engine` for one HTTP request of `tenant`. It runs the requests of one call one by one: the inner engine
    batches them with those of other HTTP requests.

    Raises Cancelled and DeadlinePassed between two tokens, by the limits of the calling thread.
    """

    def __init__(self, engine: Engine, replies: ReplyCache, metrics: Metrics, tenant: str) -> None:
        self._engine, self._replies, self._metrics, self._tenant = engine, replies, metrics, tenant
        self.usage = Usage()

    @property
    def adapters(self) -> tuple[str, ...]:
        return self._engine.adapters

    def generate(self, requests: Sequence[Generation]) -> list[Completion]:
        return [completed(self.stream(request)) for request in requests]

    def stream(self, request: Generation) -> Generator[str, None, Completion]:
        greedy = request.sampling.temperature <= 0
        cached = self._cached(request) if greedy else None
        if isinstance(cached, Completion):
            if cached.text:
                yield cached.text
            self._count(cached)
            return cached
        completion = yield from self._generate(request)
        self._metrics.tokens.labels("prompt").inc(completion.prompt_tokens)
        self._metrics.tokens.labels("completion").inc(completion.completion_tokens)
        if greedy:
            self._replies.put((self._tenant, request), completion)
        self._count(completion)
        return completion

    def choice_probabilities(self, requests: Sequence[ChoiceRequest]) -> list[tuple[float, ...]]:
        probabilities = []
        for request in requests:
            cached = self._cached(request)
            if not isinstance(cached, tuple):
                _check_limits()
                (cached,) = self._engine.choice_probabilities([request])
                self._replies.put((self._tenant, request), cached)
            probabilities.append(cached)
        return probabilities

    def _generate(self, request: Generation) -> Generator[str, None, Completion]:
        _check_limits()
        with closing(self._engine.stream(request)) as pieces:
            while True:
                try:
                    piece = next(pieces)
                except StopIteration as end:
                    completion: Completion = end.value
                    return completion
                _check_limits()
                yield piece

    def _cached(self, request: Generation | ChoiceRequest) -> Reply | None:
        cached = self._replies.get((self._tenant, request))
        self._metrics.cache.labels("miss" if cached is None else "hit").inc()
        return cached

    def _count(self, completion: Completion) -> None:
        self.usage.prompt += completion.prompt_tokens
        self.usage.completion += completion.completion_tokens
        self.usage.finish = completion.finish


def bounded(engine: Engine, max_tokens: int | None, stop: tuple[str, ...]) -> Layer:
    """`engine` with texts that end after `max_tokens` or at a stop text. A client's limits apply to the answer alone."""

    def bound(request: Generation) -> Generation:
        most = request.max_tokens if max_tokens is None else min(request.max_tokens, max_tokens)
        return dataclasses.replace(request, max_tokens=most, stop=stop)

    return Layer(engine, change=bound)


def _check_limits() -> None:
    """Raises Cancelled or DeadlinePassed if the thread's request is cancelled or timed out."""
    reason = current_limits().over()
    if reason is not None:
        raise reason
