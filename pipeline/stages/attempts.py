"""Runs a batch so that one bad item fails alone: its error is in its place, and names stage, adapter and item."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from lorag.pipeline.engine.protocol import ChoiceRequest, Generation
from lorag.pipeline.errors import EngineError, LoragError, PromptTooLong

Item = TypeVar("Item")
Result = TypeVar("Result")
Request = TypeVar("Request", Generation, ChoiceRequest)

BASE = "base"
"""What a trace calls the model without an adapter."""

ITEM_CHARS = 60


def ask(
    call: Callable[[Sequence[Request]], Sequence[Result]], requests: Sequence[Request | LoragError | None], names: Sequence[str]
) -> list[Result | LoragError | None]:
    """An engine's answer to each request of one stage and adapter, or its error. An element that is not a request is returned
    as it is.

    `names` are what errors call the items.
    """
    asked = [(each, name) for each, name in zip(requests, names, strict=True) if isinstance(each, Generation | ChoiceRequest)]
    stage, adapter = (asked[0][0].stage, asked[0][0].adapter) if asked else ("", None)
    found = iter(attempt(stage, adapter, asked, lambda batch: call([each for each, _ in batch]), lambda pair: pair[1]))
    return [next(found) if isinstance(each, Generation | ChoiceRequest) else each for each in requests]


def attempt(
    stage: str,
    adapter: str | None,
    items: Sequence[Item],
    run: Callable[[Sequence[Item]], Sequence[Result]],
    name: Callable[[Item], str],
) -> list[Result | LoragError]:
    """`run(items)`, or the error of each item that cannot be run, in item order.

    A batch that fails is halved until the items at fault are alone. If the error says `retry` (a server is unavailable), all
    items get it at once, since more calls would only wait again. An item's error keeps its class and its cause.
    """
    if not items:
        return []
    try:
        return list(run(items))
    except (LoragError, RuntimeError, MemoryError, OSError) as error:
        if len(items) == 1 or (isinstance(error, LoragError) and error.retry):
            return [named(error, stage, adapter, name(item)) for item in items]
    middle = len(items) // 2
    return [
        *attempt(stage, adapter, items[:middle], run, name),
        *attempt(stage, adapter, items[middle:], run, name),
    ]


def named(error: Exception, stage: str, adapter: str | None, item: str) -> LoragError:
    """`error` with stage, adapter and item in front: same class and `retry`, or EngineError for a library's error; `error` is
    its cause."""
    shown = item if len(item) <= ITEM_CHARS else item[: ITEM_CHARS - 1] + "…"
    reason = str(error).partition("\n")[0] or type(error).__name__
    kind = type(error) if isinstance(error, LoragError) else EngineError
    named = kind(f"{stage} ({adapter or BASE}), question {shown!r}: {reason}")
    if isinstance(error, PromptTooLong) and isinstance(named, PromptTooLong):
        named.fits = error.fits
    named.retry = isinstance(error, LoragError) and error.retry
    named.__cause__ = error
    return named
