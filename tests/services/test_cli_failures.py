"""Where errors end: one line, the right exit code, no traceback unless asked for; and what the real process does."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from lorag.pipeline.errors import ConfigError, LoragError, StoreError
from lorag.services import cli
from lorag.services.failures import CommandGroup, Interrupted
from tests.test_structure import ROOT


def full_disk() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "run/loss.jsonl")


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (LoragError("no such thing; make one"), 2, "error: no such thing; make one"),
        (StoreError("a\n  b\tc"), 2, "error: a b c"),
        (ConfigError("file: 2 problems\n  line 1: a"), 2, "error: file: 2 problems\n  line 1: a"),
        (LoragError("bad \x1b[31mname\u202e"), 2, "error: bad \\x1b[31mname\\u202e"),
        (full_disk(), 2, "error: run/loss.jsonl: No space left on device"),
        (PermissionError(errno.EACCES, "Permission denied", "x"), 2, "error: x: Permission denied"),
        (OSError("made by a\nlibrary"), 2, "error: made by a library"),
        (MemoryError(), 2, "error: memory ran out; close other programs, or choose a smaller base, batch or max_length"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (Interrupted("stopped; go on with --resume"), 130, "stopped; go on with --resume"),
    ],
)
@pytest.mark.parametrize("depth", ["command", "group"])
def test_known_errors(error: BaseException, code: int, line: str, depth: str) -> None:
    app, group = typer.Typer(cls=CommandGroup), typer.Typer()

    def fail() -> None:
        raise error

    app.command("command")(fail)
    group.command("command")(fail)
    app.add_typer(group, name="group")
    result = CliRunner().invoke(app, [depth, "command"] if depth == "group" else [depth])
    assert (result.exit_code, result.stdout, result.stderr) == (code, "", f"{line}\n")


def raise_surprise(*_: object, **__: object) -> None:
    raise ZeroDivisionError("division\nby zero")


@pytest.mark.parametrize("debug", [None, "1"])
def test_a_bug_is_one_line_unless_debugging(
    debug: str | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "app", raise_surprise)
    monkeypatch.delenv("LORAG_DEBUG", raising=False)
    if debug:
        monkeypatch.setenv("LORAG_DEBUG", debug)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    err = capsys.readouterr().err
    if debug:
        assert err.startswith("Traceback (most recent call last)")
        assert "raise_surprise" in err
    else:
        expected = "error: ZeroDivisionError: division by zero; this is a bug in LoRAG, LORAG_DEBUG=1 shows where it happened"
        assert err == f"{expected}: please report it\n"


def test_a_stopped_demo_says_that_it_goes_on(lorag, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(out: Path, full: bool, from_starters: bool, progress: object) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr("lorag.demo.run_demo", stopped)
    done = lorag("demo", "--out", tmp_path)
    assert done.code == 130
    assert done.error_line == f"the demo stopped; what is finished stays in {tmp_path}, run it again and it goes on from there"


def process(*arguments: str, folder: Path, **options: object) -> subprocess.Popen[str]:
    code = "from lorag.services.cli import main; main()"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,  # type: ignore[call-overload]
    )


def test_a_reader_that_leaves_is_no_error(tmp_path: Path) -> None:
    started = process("--help", folder=tmp_path)
    assert started.stdout is not None
    assert started.stderr is not None
    started.stdout.close()
    started.wait(30)
    assert started.stderr.read() == ""
    started.stderr.close()


def test_a_question_of_broken_bytes_is_refused_in_one_line(tmp_path: Path) -> None:
    started = process("ask", "Who\udcff?", folder=tmp_path)
    out, err = started.communicate(timeout=30)
    assert (started.returncode, out) == (2, "")
    assert err == "error: the question holds U+DCFF, which is no text character; remove it\n"


def test_settings_are_checked_without_a_model_library(tmp_path: Path) -> None:
    (tmp_path / "lorag.yaml").write_text("documents: docs\nsed: 1\n")
    code = """
import sys
from lorag.services.cli import main
sys.argv = ["lorag", "ask", "Who?"]
try:
    main()
except SystemExit as ended:
    print(ended.code, [name for name in ("torch", "transformers", "sentence_transformers", "peft") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.stdout == "2 []\n"
    assert done.stderr == "error: lorag.yaml:2: sed: unknown key; did you mean 'seed'?\n"
