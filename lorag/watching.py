"""Progress of long work: the protocol that receives it, a receiver that shows nothing, and the text of a duration."""

from __future__ import annotations

from typing import Protocol


class ProgressListener(Protocol):
    """Receives the progress of a piece of work, in the thread that does it."""

    def begin(self, stage: str) -> None:
        """A stage begins; no item is done yet."""
        ...

    def update(self, stage: str, done: int, total: int, note: str = "", seconds_left: float | None = None) -> None:
        """`done` of `total` items of `stage`. `seconds_left` is set if the work estimates better than the pace so far."""
        ...

    def notice(self, line: str) -> None:
        """One line for a person to read."""
        ...


class SilentListener:
    """A `ProgressListener` that shows nothing."""

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
