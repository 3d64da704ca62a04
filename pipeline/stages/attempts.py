"""Runs a batch so that one bad item costs only itself: its error is kept in its place, named by stage, adapter and item."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from lorag.pipeline.errors import EngineError, LoragError

Item = TypeVar("Item")
Result = TypeVar("Result")

BASE = "base"
"""What a trace calls the model where no adapter is on it."""

ITEM_CHARS = 60


def attempt(
    stage: str,
    adapter: str | None,
    items: Sequence[Item],
    run: Callable[[Sequence[Item]], Sequence[Result]],
    name: Callable[[Item], str],
) -> list[Result | LoragError]:
    """`run(items)`, or the error of each item that cannot be run, in item order.

    A batch that fails is halved until the items at fault stand alone; where the error says `retry` (a server is away) all
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
    """`error` with its place in front: same class and `retry`, EngineError where it is a library's own; cause kept."""
    shown = item if len(item) <= ITEM_CHARS else item[: ITEM_CHARS - 1] + "…"
    reason = str(error).partition("\n")[0] or type(error).__name__
    kind = type(error) if isinstance(error, LoragError) else EngineError
    named = kind(f"{stage} ({adapter or BASE}), question {shown!r}: {reason}")
    named.retry = isinstance(error, LoragError) and error.retry
    named.__cause__ = error
    return named
