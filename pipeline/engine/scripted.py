"""A fake engine that ships with the library: replies come from a function or a list. For tests and dry runs; no model."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

from lorag.pipeline.engine.protocol import ChoiceRequest, Completion, Finish, Generation
from lorag.pipeline.engine.stopping import cut, settled
from lorag.pipeline.errors import EngineError

Script = Callable[[Generation], str]
ChoiceScorer = Callable[[ChoiceRequest], Sequence[float]]


def _uniform(request: ChoiceRequest) -> Sequence[float]:
    return [1.0] * len(request.choices)


class ScriptedEngine:
    """Replies by script and records the requests in `requests`.

    `replies` is either a function of the request or a list consumed in order; a list that runs out raises EngineError.
    Tokens are counted as words.
    """

    def __init__(
        self, replies: Script | Sequence[str] = (), *, scorer: ChoiceScorer = _uniform, adapters: Sequence[str] = ()
    ) -> None:
        self._script = replies if callable(replies) else None
        self._queue = [] if callable(replies) else list(replies)
        self._scorer = scorer
        self._adapters = tuple(adapters)
        self.requests: list[Generation | ChoiceRequest] = []

    @property
    def adapters(self) -> tuple[str, ...]:
        return self._adapters

    def _reply(self, request: Generation) -> str:
        self.requests.append(request)
        if self._script is not None:
            return self._script(request)
        if not self._queue:
            raise EngineError(f"scripted engine: no reply left for request {len(self.requests)}; give more replies")
        return self._queue.pop(0)

    def generate(self, requests: Sequence[Generation]) -> list[Completion]:
        return [_completion(request, self._reply(request)) for request in requests]

    def stream(self, request: Generation) -> Generator[str, None, Completion]:
        completion = _completion(request, self._reply(request))
        pending = ""
        for index, word in enumerate(completion.text.split(" ")):
            pending += word if index == 0 else f" {word}"
            if sure := settled(pending, request.stop):
                yield pending[:sure]
                pending = pending[sure:]
        if pending:
            yield pending
        return completion

    def choice_probabilities(self, requests: Sequence[ChoiceRequest]) -> list[tuple[float, ...]]:
        results = []
        for request in requests:
            self.requests.append(request)
            scores = [float(score) for score in self._scorer(request)]
            total = sum(scores) if request.relative else 1.0
            results.append(tuple(score / total for score in scores))
        return results


def _completion(request: Generation, reply: str) -> Completion:
    text = cut(reply, request.stop)
    prompt_words = sum(len(message.content.split()) for message in request.messages)
    return Completion(text, prompt_words, len(text.split()), Finish.STOP)
