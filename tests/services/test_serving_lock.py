"""One server a project, and what the commands that write say while it runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import ConfigError
from services.serving_lock import refuse_while_served, serving

HOLD = """
import sys, time
from pathlib import Path
from services.serving_lock import serving
with serving(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_project_is_served_once_and_free_after(tmp_path: Path) -> None:
    refuse_while_served(tmp_path)
    with serving(tmp_path):
        with pytest.raises(ConfigError, match=rf"open in `lorag serve` \(process {os.getpid()}\)"), serving(tmp_path):
            pytest.fail("served twice")
        with pytest.raises(ConfigError, match="add documents through it"):
            refuse_while_served(tmp_path)
    refuse_while_served(tmp_path)
    with serving(tmp_path):
        pass


def test_a_killed_server_holds_nothing(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        with pytest.raises(ConfigError, match=f"process {process.pid}"):
            refuse_while_served(tmp_path)
        process.send_signal(signal.SIGKILL)
    refuse_while_served(tmp_path)


def test_ingest_is_refused_in_one_line_while_the_project_is_served(project: Any, lorag: Any) -> None:
    assert lorag("ingest", "--project", project.folder).code == 0
    before = project.files()
    with serving(project.folder):
        for options in ((), ("--rebuild",)):
            done = lorag("ingest", *options, "--project", project.folder)
            assert done.code == 2 and "open in `lorag serve`" in done.error_line
    after = {name: content for name, content in project.files().items() if not name.endswith("serve.lock")}
    assert after == before
    assert lorag("ingest", "--project", project.folder).code == 0
