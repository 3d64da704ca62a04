"""Who is told how long work goes on: a terminal's bars, or nobody. Knows no terminal."""

from __future__ import annotations

from typing import Protocol


class Watcher(Protocol):
    """Is told of the stages of a piece of work, in the thread that does it."""

    def begin(self, stage: str) -> None:
        """A stage begins; its first item is still to come."""
        ...

    def update(self, stage: str, done: int, total: int, note: str = "", seconds_left: float | None = None) -> None:
        """`done` of `total` items of `stage`; `seconds_left` if the work knows them better than the pace so far."""
        ...

    def notice(self, line: str) -> None:
        """One line that a person should read."""
        ...


class Nobody:
    """A `Watcher` that keeps everything to itself."""

    def begin(self, stage: str) -> None:
        pass

    def update(self, stage: str, done: int, total: int, note: str = "", seconds_left: float | None = None) -> None:
        pass

    def notice(self, line: str) -> None:
        pass


def duration(seconds: float) -> str:
    """`0:07`, `3:20` or `1:02:10`."""
    whole = max(0, round(seconds))
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"
