"""One server a project, and what the commands that write say while it runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lorag.pipeline.errors import ConfigError
from lorag.pipeline.retrieval.loading import load_folder
from lorag.serving_lock import ingesting, serving

HOLD = """
import sys, time
from pathlib import Path
from lorag.serving_lock import serving
with serving(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_project_is_served_once_and_free_after(tmp_path: Path) -> None:
    with serving(tmp_path):
        with pytest.raises(ConfigError, match=rf"open in `lorag serve` \(process {os.getpid()}\)"), serving(tmp_path):
            pytest.fail("served twice")
        with pytest.raises(ConfigError, match="add documents through it"), ingesting(tmp_path):
            pytest.fail("written while it is served")
    with serving(tmp_path):
        pass


def test_nothing_serves_a_project_while_documents_are_read_in(tmp_path: Path) -> None:
    with ingesting(tmp_path):
        for other in (serving, ingesting):
            with pytest.raises(ConfigError, match=rf"read in by `lorag ingest` \(process {os.getpid()}\)"), other(tmp_path):
                pytest.fail("opened while documents are read in")
    with serving(tmp_path):
        pass


def test_ingest_holds_the_project_until_it_is_done(project: Any, lorag: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    refused: list[ConfigError] = []

    def serve_meanwhile(folder: Path) -> Any:
        with pytest.raises(ConfigError, match="lorag ingest") as caught, serving(project.folder):
            pytest.fail("served while documents are read in")
        refused.append(caught.value)
        return load_folder(folder)

    monkeypatch.setattr("lorag.pipeline.retrieval.index.load_folder", serve_meanwhile)
    assert lorag("ingest", "--project", project.folder).code == 0
    assert len(refused) == 1


def test_a_killed_server_holds_nothing(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        with pytest.raises(ConfigError, match=f"process {process.pid}"), ingesting(tmp_path):
            pytest.fail("written while it is served")
        process.send_signal(signal.SIGKILL)
    with ingesting(tmp_path):
        pass


def test_ingest_is_refused_in_one_line_while_the_project_is_served(project: Any, lorag: Any) -> None:
    assert lorag("ingest", "--project", project.folder).code == 0
    before = project.files()
    with serving(project.folder):
        for options in ((), ("--rebuild",)):
            done = lorag("ingest", *options, "--project", project.folder)
            assert done.code == 2 and "open in `lorag serve`" in done.error_line
    assert project.files() == before
    assert lorag("ingest", "--project", project.folder).code == 0
