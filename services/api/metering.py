"""The engine as one request sees it: it counts tokens, remembers replies and stops where nobody waits any more."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Sequence
from contextlib import closing

from lorag.pipeline.engine.layer import Layer
from lorag.pipeline.engine.limits import current_limits
from lorag.pipeline.engine.protocol import ChoiceRequest, Completion, Engine, Finish, Generation, completed
from lorag.services.api.metrics import Metrics
from lorag.services.api.replies import Replies, Reply


@dataclasses.dataclass(slots=True)
class Usage:
    """What a request has read and written so far, in tokens, remembered replies included, and how its last text ended.

    Labels are scored, not written: what the judge reads is not in here.
    """

    prompt: int = 0
    completion: int = 0
    finish: Finish = Finish.STOP


class RequestEngine:
    """An `Engine` over `engine` for one request of `tenant`. Requests of one call run one after another: a request of the
    service asks one thing at a time, and its neighbours share the batch below.

    Raises Cancelled and DeadlinePassed, between two tokens, as the limits of the calling thread say.
    """

    def __init__(self, engine: Engine, replies: Replies, metrics: Metrics, tenant: str) -> None:
        self._engine, self._replies, self._metrics, self._tenant = engine, replies, metrics, tenant
        self.usage = Usage()

    @property
    def adapters(self) -> tuple[str, ...]:
        return self._engine.adapters

    def generate(self, requests: Sequence[Generation]) -> list[Completion]:
        return [completed(self.stream(request)) for request in requests]

    def stream(self, request: Generation) -> Generator[str, None, Completion]:
        greedy = request.sampling.temperature <= 0
        known = self._known(request) if greedy else None
        if isinstance(known, Completion):
            if known.text:
                yield known.text
            self._count(known)
            return known
        completion = yield from self._work(request)
        self._metrics.tokens.labels("prompt").inc(completion.prompt_tokens)
        self._metrics.tokens.labels("completion").inc(completion.completion_tokens)
        if greedy:
            self._replies.put((self._tenant, request), completion)
        self._count(completion)
        return completion

    def choice_probabilities(self, requests: Sequence[ChoiceRequest]) -> list[tuple[float, ...]]:
        weights = []
        for request in requests:
            known = self._known(request)
            if not isinstance(known, tuple):
                _require_wanted()
                (known,) = self._engine.choice_probabilities([request])
                self._replies.put((self._tenant, request), known)
            weights.append(known)
        return weights

    def _work(self, request: Generation) -> Generator[str, None, Completion]:
        _require_wanted()
        with closing(self._engine.stream(request)) as pieces:
            while True:
                try:
                    piece = next(pieces)
                except StopIteration as end:
                    completion: Completion = end.value
                    return completion
                _require_wanted()
                yield piece

    def _known(self, request: Generation | ChoiceRequest) -> Reply | None:
        known = self._replies.get((self._tenant, request))
        self._metrics.cache.labels("miss" if known is None else "hit").inc()
        return known

    def _count(self, completion: Completion) -> None:
        self.usage.prompt += completion.prompt_tokens
        self.usage.completion += completion.completion_tokens
        self.usage.finish = completion.finish


def bounded(engine: Engine, max_tokens: int | None, stop: tuple[str, ...]) -> Layer:
    """`engine`, whose texts end after `max_tokens` or at a stop text: what a client asks of the answer alone."""

    def bound(request: Generation) -> Generation:
        most = request.max_tokens if max_tokens is None else min(request.max_tokens, max_tokens)
        return dataclasses.replace(request, max_tokens=most, stop=stop)

    return Layer(engine, change=bound)


def _require_wanted() -> None:
    """Raises Cancelled or DeadlinePassed where nobody waits any more."""
    reason = current_limits().over()
    if reason is not None:
        raise reason
