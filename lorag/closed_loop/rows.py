"""The rows of a run that was given none: made from the project's documents, within their share of the time."""

from __future__ import annotations

from pathlib import Path

from lorag.closed_loop.budget import EVALUATE, INDEX, MAKE, share_of
from lorag.closed_loop.state import LoopRun
from lorag.making import MakingSpec, make_rows, state_of
from lorag.pipeline.errors import DataError, InputError, NothingIngested
from lorag.pipeline.retrieval.account import remarks
from lorag.project import Project
from lorag.training.dataset import DataFolder
from lorag.watching import ProgressListener

FEEDBACK = "feedback"

PROVING_ROWS = 60
"""Test rows that people wrote, of one role, from which on they can be expected to show anything."""


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
        making = MakingSpec(
            folder,
            human=feedback_rows(project, run, progress),
            minutes=minutes,
            seed=project.settings.seed,
            resume=state_of(folder).is_dir(),
        )
        with run.timed(MAKE):
            made = make_rows(project.settings, making, lambda step, done, total: progress.update(MAKE, done, total, step))
        progress.notice(f"made {sum(made.counts()['train'].values())} training rows from the documents: {folder / 'README.md'}")
    return DataFolder(folder, project.settings.judge.intents)


def feedback_rows(project: Project, run: LoopRun, progress: ProgressListener) -> Path | None:
    """The rows that users' feedback gives, if they are enough to prove something with: then they are the test.

    Fewer are left alone, since a test of a few rows would take the place of the made ones and show nothing.
    """
    folder = run.folder / FEEDBACK
    if not folder.is_dir():
        try:
            project.feedback.rows(folder)
        except (InputError, DataError):  # there is none, or it makes no row
            return None
    data = DataFolder(folder, project.settings.judge.intents)
    most = max((len(data.rows("test", role)) for role in run.state.spec.roles if data.has("test", role)), default=0)
    if most >= PROVING_ROWS:
        return folder
    progress.notice(f"feedback gives {most} test rows; from {PROVING_ROWS} on they are what adapters are promoted by")
    return None


def _ingested(project: Project, progress: ProgressListener) -> None:
    """Ingest the documents if the project has no index yet. A service that has it open reads in what has changed."""
    from lorag.served_project import served_project

    if (served := served_project(project.folder, project.settings)) is not None:
        progress.begin(INDEX)
        with served:
            served.ingest(on_progress=lambda done, total, name: progress.update(INDEX, done, total, name))
        return
    try:
        project.index.info()
    except NothingIngested:
        progress.begin(INDEX)
        report = project.ingest(on_progress=lambda done, total, name: progress.update(INDEX, done, total, name))
        for line in remarks(report.files):
            progress.notice(line)
