"""A `tune` that is killed again and again, wherever it is, ends as one that was not: nothing is lost and nothing done twice."""

from __future__ import annotations

import multiprocessing
import os
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest

import lorag
import lorag.closed_loop.loop
import lorag.closed_loop.plan
from lorag.closed_loop.loop import tune
from lorag.closed_loop.state import LOOPS, ORDER, LoopSpec
from lorag.watching import SilentListener
from tests.lorag.tiny_domain import lay_example, tiny_recipe

KILLS = (1, 3, 5, 8, 4, 9)
"""In each process, the number of the event of progress at which it is killed."""


@dataclass
class Killed(SilentListener):
    """Kills its process at an event of progress."""

    at: int

    def begin(self, stage: str) -> None:
        self._count()

    def update(self, stage: str, done: int, total: int, note: str = "", seconds_left: float | None = None) -> None:
        self._count()

    def notice(self, line: str) -> None:
        self._count()

    def _count(self) -> None:
        self.at -= 1
        if self.at == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def run(domain: Path, kill_at: int) -> None:
    with lorag.open(domain) as project:
        tune(project, LoopSpec(str(domain)), Killed(kill_at))


def test_killed_at_many_moments_it_ends_as_if_it_had_not_been(
    tiny_base: Path, tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORAG_CACHE", str(tmp_path / "cache"))
    for module in (lorag.closed_loop.loop, lorag.closed_loop.plan):
        monkeypatch.setattr(module, "load_recipe", tiny_recipe)
    domain = lay_example(tmp_path / "tiny", tiny_base, tiny_encoder)
    with lorag.open(domain) as project:
        project.ingest()
    context = multiprocessing.get_context("fork")
    for kill_at in KILLS:
        process = context.Process(target=run, args=(domain, kill_at))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        with lorag.open(domain) as project:
            assert project.ask("Where is the bridge?").answer is not None
    run(domain, 0)
    assert [path.name for path in (domain / LOOPS).iterdir()] == ["0001"]
    with lorag.open(domain) as project:
        for role in ORDER:
            assert len(project.registry.list(role)) == len(project.registry.looks(role)) == 1
