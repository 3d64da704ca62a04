"""What an engine is: the outer edge between stages and a language model. Knows no model library."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, runtime_checkable

from lorag.pipeline.records import Message


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen. Temperature 0 is greedy and deterministic; above it `seed` fixes the draw."""

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0


GREEDY = Sampling()


@dataclass(frozen=True, slots=True)
class Generation:
    """A request for text. `adapter` names a resident adapter; None asks the bare base.

    The text ends before the first of the `stop` texts that the model writes. `ids`, if given, are the prompt as token ids and
    replace `messages`: another process has encoded them. `stage` names the calling stage for statistics only.
    """

    messages: tuple[Message, ...]
    adapter: str | None = None
    max_tokens: int = 96
    sampling: Sampling = GREEDY
    stop: tuple[str, ...] = ()
    ids: tuple[int, ...] = ()
    stage: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class ChoiceRequest:
    """A request to score a closed list of replies by their likelihood after the prompt. `stage` as in `Generation`.

    `relative` probabilities are those among the choices; the others are those among all that could be replied.
    """

    messages: tuple[Message, ...]
    choices: tuple[str, ...]
    adapter: str | None = None
    relative: bool = field(default=True, kw_only=True)
    stage: str = field(default="", compare=False)


class Finish(StrEnum):
    STOP = "stop"
    LENGTH = "length"


@dataclass(frozen=True, slots=True)
class Completion:
    """Generated text; token counts are those of the model's tokenizer, the end token included in the second."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    finish: Finish


def completed(pieces: Generator[str, None, Completion]) -> Completion:
    """The completion that a stream returns at its end; its pieces are discarded."""
    while True:
        try:
            next(pieces)
        except StopIteration as end:
            completion: Completion = end.value
            return completion


@runtime_checkable
class Engine(Protocol):
    """Generates and scores. Results come in request order; requests for different adapters may share a batch."""

    @property
    def adapters(self) -> tuple[str, ...]:
        """Names of the resident adapters."""
        ...

    def generate(self, requests: Sequence[Generation]) -> list[Completion]:
        """Complete each request. Raises PromptTooLong, EngineError."""
        ...

    def stream(self, request: Generation) -> Generator[str, None, Completion]:
        """Yield the completion of one request in pieces of text as they are decoded; closing the generator stops the work.

        The return value (`StopIteration.value`, or the value of `yield from`) is the whole completion with its token counts.
        """
        ...

    def choice_probabilities(self, requests: Sequence[ChoiceRequest]) -> list[tuple[float, ...]]:
        """Per request a probability for each choice; relative ones sum to 1. Raises PromptTooLong, EngineError."""
        ...
