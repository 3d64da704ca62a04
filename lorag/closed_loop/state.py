"""What a run of the closed loop has done so far, in its folder: a run that was killed goes on from there.

    PROJECT/.lorag/tune/0001/state.json     what was asked for, and what is done
    PROJECT/.lorag/tune/0001/runs/ROLE      checkpoints and loss curve of a training
    PROJECT/.lorag/tune/0001/rows           rows made from the documents
    PROJECT/.lorag/tune/0001/evaluation     replies of the evaluation

Knows no stage.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from lorag.pipeline.errors import InputError
from lorag.pipeline.records import Role
from lorag.pipeline.storage.atomic import write_file
from lorag.pipeline.storage.strict_json import build, dump_json, load_json

LOOPS = Path(".lorag/tune")
STATE_FILE = "state.json"
MAX_BYTES = 1 << 20

ORDER = (Role.EMBEDDER, Role.REWRITER, Role.SYNTHESIZER, Role.JUDGE)
"""The order of training: what is trained later sees the passages that the tuned embedder finds."""

_NUMBER = re.compile(r"(\d{4,})")


@dataclass(frozen=True, slots=True)
class LoopSpec:
    """What the loop is to do. `data` is a folder of rows; empty: they are made from the project's documents.

    `minutes` is the time that it may take, 0 without a limit. With `accept_made`, made rows may promote: the user's own word.
    With `from_starters`, training goes on from the version that serves.
    """

    data: str = ""
    minutes: float = 0.0
    roles: tuple[Role, ...] = ORDER
    accept_made: bool = False
    from_starters: bool = True


@dataclass(frozen=True, slots=True)
class LoopState:
    """What is done. `seconds` are those of each stage, all processes together; `rows` the rows each training may read (0: all).

    `known` are the versions of a role before its training, `versions` the one that it published. `encoder` is the tuned embedder,
    if it finds no less on dev questions than what serves. `serving` is what served when the evaluation began. `outcomes` say for
    each role whether it was promoted, or why not. `making` is the time for making rows, in minutes.
    """

    spec: LoopSpec
    seconds: Mapping[str, float] = field(default_factory=dict)
    rows: Mapping[str, int] = field(default_factory=dict)
    known: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    encoder: str = ""
    serving: Mapping[str, str] = field(default_factory=dict)
    outcomes: Mapping[str, str] = field(default_factory=dict)
    making: float = 0.0
    finished: bool = False

    @property
    def spent(self) -> float:
        """Seconds so far."""
        return sum(self.seconds.values())


class LoopRun:
    """The folder of one run and its state, which is written at each change."""

    def __init__(self, folder: Path, state: LoopState) -> None:
        self.folder, self.state = folder, state

    def update(self, **changes: object) -> None:
        """Change fields of the state; mappings get the new entries beside the old ones."""
        merged = {
            name: MappingProxyType({**getattr(self.state, name), **value}) if isinstance(value, Mapping) else value
            for name, value in changes.items()
        }
        self.state = replace(self.state, **merged)  # type: ignore[arg-type]
        write_file(self.folder / STATE_FILE, dump_json(self.state, STATE_FILE))

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Within: the time counts for `stage`, also if it ends with an error."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.add_seconds(stage, time.monotonic() - started)

    def add_seconds(self, stage: str, seconds: float) -> None:
        """Add the time of one process to a stage."""
        self.update(seconds={stage: self.state.seconds.get(stage, 0.0) + seconds})


def open_run(project: Path, spec: LoopSpec) -> LoopRun:
    """The newest run if it is not finished, else a new one. Raises InputError if that run was asked for something else."""
    newest = _newest(project)
    if newest is not None:
        state = build(LoopState, load_json(newest / STATE_FILE, limit=MAX_BYTES), str(newest / STATE_FILE))
        if not state.finished:
            if state.spec != spec:
                raise InputError(
                    f"a tuning with other options was stopped in {newest}; run it again with its own options to go on, or delete "
                    "that folder"
                )
            return LoopRun(newest, state)
    number = 1 if newest is None else int(newest.name) + 1
    run = LoopRun(project / LOOPS / f"{number:04d}", LoopState(spec))
    run.update()
    return run


def _newest(project: Path) -> Path | None:
    folder = project / LOOPS
    found = [path for path in folder.iterdir() if _NUMBER.fullmatch(path.name)] if folder.is_dir() else []
    kept = [path for path in found if (path / STATE_FILE).is_file()]
    return max(kept, key=lambda path: int(path.name), default=None)
