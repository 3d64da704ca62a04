"""Prompts that are too long for the engine are asked again with fewer of their parts: passages, or turns of the conversation.

One part that is too long so costs its own place, not the answer. Knows no stage and no contract.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic

from lorag.pipeline.errors import LoragError, PromptTooLong
from lorag.pipeline.stages.attempts import Request, Result, ask

MARGIN = 0.95
"""Share of the room that is used: parts of equal length in characters differ in tokens."""


@dataclass(frozen=True, slots=True)
class Fitted(Generic[Request, Result]):
    """A request, its reply or error, and the numbers of those of its `parts` that it has, from 0."""

    request: Request | LoragError | None
    reply: Result | LoragError | None
    kept: tuple[int, ...]
    parts: int = 0


def ask_fitting(
    call: Callable[[Sequence[Request]], Sequence[Result]],
    sizes: Sequence[Sequence[int]],
    build: Callable[[int, tuple[int, ...]], Request | LoragError | None],
    names: Sequence[str],
) -> list[Fitted[Request, Result]]:
    """As `ask`, with `build(item, kept)` as the requests. `sizes` are the lengths in characters of each item's parts, best first.

    An item that fits with none of its parts keeps its first error: then something else in it is too long.
    """
    all_parts = [tuple(range(len(each))) for each in sizes]
    requests = [build(item, kept) for item, kept in enumerate(all_parts)]
    replies = ask(call, requests, names)
    return [
        _shrunk(call, sizes[item], partial(build, item), name, Fitted(request, reply, kept, len(kept)))
        for item, (request, reply, kept, name) in enumerate(zip(requests, replies, all_parts, names, strict=True))
    ]


def _shrunk(
    call: Callable[[Sequence[Request]], Sequence[Result]],
    sizes: Sequence[int],
    build: Callable[[tuple[int, ...]], Request | LoragError | None],
    name: str,
    first: Fitted[Request, Result],
) -> Fitted[Request, Result]:
    last = first
    while isinstance(last.reply, PromptTooLong):
        kept = fewer(sizes, last.kept, last.reply)
        if not kept:
            return first
        request = build(kept)
        (reply,) = ask(call, [request], [name])
        last = Fitted(request, reply, kept, len(sizes))
    return last


def fewer(sizes: Sequence[int], kept: Sequence[int], error: PromptTooLong) -> tuple[int, ...]:
    """The parts to ask with after `error`: the best that have room, at least one fewer."""
    room = sum(sizes[number] for number in kept) * error.fits * MARGIN
    chosen: list[int] = []
    for number in kept:
        if sizes[number] <= room:
            chosen.append(number)
            room -= sizes[number]
    if chosen and len(chosen) == len(kept):
        chosen.remove(max(chosen, key=lambda number: (sizes[number], number)))
    return tuple(chosen)
