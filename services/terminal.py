"""Output of commands: results on stdout, everything else on stderr, and no control characters from documents.

Imports rich inside the functions that draw with it, so `lorag --help` stays fast. Knows no command.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorag.watching import duration

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID
    from rich.table import Table

PLAIN_EVERY = 30.0
"""Seconds between two lines of progress if stderr is no terminal: a log shows progress and stays short."""

PLAIN_WIDTH = 160
"""Columns of a table if the output is no terminal."""

# Control characters except tab and line feed, bidirectional overrides, halves of surrogate pairs.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

_OF_A_PROJECT = re.compile(
    r"`lorag (?:ingest|ask|chat|train|tune|tune-search|doctor|keys|feedback|adapters|"
    r"data make|eval (?:chain|adapter|ablation|retrieval))\b[^`]*`"
)
"""Commands that take `--project`. Without `lorag serve`, because messages name it as the running process."""


def visible(text: str) -> str:
    """`text` with control characters escaped: a document must not move the cursor or recolour the terminal."""
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text.replace("\r\n", "\n"))


def out() -> Console:
    """The console of results."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)


def err() -> Console:
    """The console of progress and notices."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def say(text: str) -> None:
    """One notice on stderr, unwrapped."""
    print(visible(text), file=sys.stderr, flush=True)


def show(text: str = "", style: str | None = None) -> None:
    """A line of the result on stdout, unwrapped and literal."""
    out().print(visible(text), style=style, markup=False, soft_wrap=True)


def show_styled(*parts: tuple[str, str]) -> None:
    """A line of the result on stdout, of pieces of text with a style each; as literal as with `show`."""
    from rich.text import Text

    out().print(Text.assemble(*((visible(text), style) for text, style in parts)), soft_wrap=True)


def command(*words: object, project: Path) -> str:
    """A next command as the user types it: with `--project` unless the project is the current folder."""
    return shlex.join(["lorag", *map(str, words), *_option(project)])


def for_project(text: str, project: Path | None) -> str:
    """`text` with `--project` added to the commands in backticks, such as `lorag ingest`, unless it is the current folder."""
    option = "" if project is None else shlex.join(_option(project))
    return _OF_A_PROJECT.sub(lambda found: f"{found[0][:-1]} {visible(option)}`", text) if option else text


def _option(project: Path) -> list[str]:
    return [] if project.resolve() == Path.cwd() else ["--project", str(project)]


def show_json(value: Any) -> None:
    """`value` as JSON, the only output on stdout."""
    print(json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False))


def table(*columns: str, title: str | None = None) -> Table:
    """An empty table in the project's style. A column whose name begins with `>` is right-aligned."""
    from rich import box
    from rich.table import Table

    made = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
        show_header=any(columns),
    )
    for column in columns:
        made.add_column(column.removeprefix(">"), justify="right" if column.startswith(">") else "left", overflow="fold")
    return made


def cell(value: object) -> str:
    """A table cell without rich markup."""
    from rich.markup import escape

    return escape(visible(str(value)))


@contextmanager
def working(what: str) -> Iterator[None]:
    """Within: a spinner, if stderr is a terminal."""
    console = err()
    if not console.is_terminal:
        yield
        return
    with console.status(what):
        yield


class Pace:
    """Seconds left of one stage, from the speed of its items in this process. `clock` returns seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began: tuple[int, float] | None = None
        self._last, self._ended = -1, False

    def left(self, done: int, total: int) -> float | None:
        """None until at least one item is done since the first call. Fewer done than before, or news after the last item: the
        stage has begun again."""
        now = self._clock()
        if self._began is None or done < self._last or self._ended:
            self._began = (done, now)
        self._last, self._ended = done, 0 < total <= done
        first, then = self._began
        return (now - then) / (done - first) * (total - done) if done > first else None


class ProgressBars:
    """One bar per stage, in the order in which they begin. If `bars` is None (stderr is no terminal), lines are printed."""

    def __init__(self, bars: Progress | None) -> None:
        self._bars = bars
        self._paces: dict[str, Pace] = {}
        self._tasks: dict[str, TaskID] = {}
        self._last_line = time.monotonic()

    def begin(self, stage: str) -> None:
        """Start the clock of a stage before its first item, and show it; again if it comes again with other items."""
        self._paces.pop(stage, None)
        self._pace(stage).left(0, 0)
        if self._bars is not None:
            self._task(self._bars, stage)

    def update(self, stage: str, done: int, total: int, note: str = "", seconds_left: float | None = None) -> None:
        """`done` of `total` items of `stage`. `seconds_left` replaces the estimate from the pace so far."""
        estimate = self._pace(stage).left(done, total)
        left = estimate if seconds_left is None else seconds_left
        rest = f"{duration(left)} left" if left is not None and done < total else ""
        if self._bars is not None:
            task = self._task(self._bars, stage)
            self._bars.update(task, completed=done, total=total, count=f"{done}/{total}", left=rest, note=visible(note))
        elif time.monotonic() - self._last_line >= PLAIN_EVERY:
            self._last_line = time.monotonic()
            say(", ".join(part for part in (f"{stage}: {done}/{total}", rest, note) if part))

    def notice(self, line: str) -> None:
        """A line above the bars."""
        say(line)

    def _pace(self, stage: str) -> Pace:
        return self._paces.setdefault(stage, Pace())

    def _task(self, bars: Progress, stage: str) -> TaskID:
        if stage not in self._tasks:
            self._tasks[stage] = bars.add_task(visible(stage), total=None, count="", left="", note="")
        return self._tasks[stage]


@contextmanager
def progress_bars() -> Iterator[ProgressBars]:
    """Bars with the time left if stderr is a terminal, else a line now and then."""
    console = err()
    if not console.is_terminal:
        yield ProgressBars(None)
        return
    from rich.progress import BarColumn, Progress, TextColumn

    fields = [TextColumn(f"{{task.fields[{name}]}}", markup=False) for name in ("count", "left", "note")]
    with Progress(TextColumn("{task.description}", markup=False), BarColumn(), *fields, console=console) as bars:
        yield ProgressBars(bars)
