"""A fake engine that ships with the library: replies come from a function or a list. For tests and dry runs; no model."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

from lorag.pipeline.engine.protocol import ChoiceRequest, Completion, Finish, Generation
from lorag.pipeline.engine.stopping import cut, settled
from lorag.pipeline.errors import EngineError

Script = Callable[[Generation], str]
Weigher = Callable[[ChoiceRequest], Sequence[float]]


def _uniform(request: ChoiceRequest) -> Sequence[float]:
    return [1.0] * len(request.choices)


class ScriptedEngine:
    """Replies by script and remembers what it was asked, in `requests`.

    `replies` is either a function of the request or a list consumed in order; a list that runs out raises EngineError.
    Tokens are counted as words.
    """

    def __init__(
        self, replies: Script | Sequence[str] = (), *, weigher: Weigher = _uniform, adapters: Sequence[str] = ()
    ) -> None:
        self._script = replies if callable(replies) else None
        self._queue = [] if callable(replies) else list(replies)
        self._weigher = weigher
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
        held = ""
        for index, word in enumerate(completion.text.split(" ")):
            held += word if index == 0 else f" {word}"
            if sure := settled(held, request.stop):
                yield held[:sure]
                held = held[sure:]
        if held:
            yield held
        return completion

    def choice_probabilities(self, requests: Sequence[ChoiceRequest]) -> list[tuple[float, ...]]:
        results = []
        for request in requests:
            self.requests.append(request)
            weights = [float(w) for w in self._weigher(request)]
            total = sum(weights)
            results.append(tuple(w / total for w in weights))
        return results


def _completion(request: Generation, reply: str) -> Completion:
    text = cut(reply, request.stop)
    prompt_words = sum(len(message.content.split()) for message in request.messages)
    return Completion(text, prompt_words, len(text.split()), Finish.STOP)
