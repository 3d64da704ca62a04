"""The rows of a run that was given none: made from the project's documents, within their share of the time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from lorag.closed_loop.budget import EVALUATE, INDEX, MAKE, share_of
from lorag.closed_loop.state import LoopRun
from lorag.making import MakingSpec, make_rows, state_of
from lorag.pipeline.errors import NothingIngested
from lorag.project import Project
from lorag.training.dataset import DataFolder
from lorag.watching import ProgressListener


def made_rows(project: Project, run: LoopRun, progress: ProgressListener) -> DataFolder:
    """The rows of a run that makes them, made now if they are not there. The documents are ingested first if they never were."""
    _ingested(project, progress)
    folder, spec = run.folder / MAKE, run.state.spec
    if not folder.is_dir():
        minutes = None
        if spec.minutes:
            left = [MAKE, *(role.value for role in spec.roles), EVALUATE, INDEX]
            minutes = run.state.making or share_of(MAKE, left, 60 * spec.minutes, run.state.spent) / 60
            run.update(making=minutes)
        project.parts.release_models()
        progress.begin(MAKE)
        making = MakingSpec(folder, minutes=minutes, seed=project.settings.seed, resume=state_of(folder).is_dir())
        with timed(run, MAKE):
            made = make_rows(project.settings, making, lambda step, done, total: progress.update(MAKE, done, total, step))
        progress.notice(f"made {sum(made.counts()['train'].values())} training rows from the documents: {folder / 'README.md'}")
    return DataFolder(folder, project.settings.judge.intents)


def _ingested(project: Project, progress: ProgressListener) -> None:
    """Ingest the documents if the project has no index yet."""
    try:
        project.index.info()
    except NothingIngested:
        progress.begin(INDEX)
        project.ingest(on_progress=lambda done, total, name: progress.update(INDEX, done, total, name))


@contextmanager
def timed(run: LoopRun, stage: str) -> Iterator[None]:
    """Within: the time counts for `stage`, also if it ends with an error."""
    started = time.monotonic()
    try:
        yield
    finally:
        run.add_seconds(stage, time.monotonic() - started)
