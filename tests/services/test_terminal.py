"""What is printed: text made safe, commands to go on with, the pace of a stage, and progress where there is no terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer

from lorag.services import terminal
from lorag.services.cli import app
from lorag.services.terminal import Pace, ProgressBars, command, for_project, progress_bars, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ünïcödé 日本\n\ttab", "plain ünïcödé 日本\n\ttab"),
        ("a\r\nb", "a\nb"),
        ("a\rb", "a\\rb"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("\x9b31m", "\\x9b31m"),
        ("abc\u202egpj.exe", "abc\\u202egpj.exe"),
        ("half \udcff", "half \\udcff"),
    ],
)
def test_visible(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_pace_counts_from_the_first_call() -> None:
    times = iter([100.0, 110.0, 130.0])
    pace = Pace(clock=lambda: next(times))
    assert pace.left(40, 100) is None  # a resumed run begins here
    assert pace.left(50, 100) == pytest.approx(50.0)  # 10 items in 10 s, 50 to go
    assert pace.left(60, 100) == pytest.approx(60.0)  # 20 items in 30 s, 40 to go


def test_pace_begins_again_with_the_stage() -> None:
    times = iter([0.0, 10.0, 500.0, 510.0, 600.0, 620.0])
    pace = Pace(clock=lambda: next(times))
    assert [pace.left(done, 20) for done in (5, 20)] == [None, 0.0]
    assert [pace.left(done, 40) for done in (30, 35)] == [None, pytest.approx(10.0)]  # after the last item: 5 in 10 s, 5 to go
    assert [pace.left(done, 40) for done in (8, 12)] == [None, pytest.approx(140.0)]  # fewer than before: 4 in 20 s, 28 to go


def test_without_a_terminal_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    monkeypatch.setattr(terminal.time, "monotonic", lambda: now)
    monkeypatch.setattr(terminal, "PLAIN_EVERY", 30.0)
    bars = ProgressBars(None)
    for step in range(1, 101):
        now = step * 1.0
        bars.update("rewriter", step, 200, f"loss {step}", seconds_left=200.0 - step)
    assert capsys.readouterr().err.splitlines() == [
        "rewriter: 30/200, 2:50 left, loss 30",
        "rewriter: 60/200, 2:20 left, loss 60",
        "rewriter: 90/200, 1:50 left, loss 90",
    ]


def test_on_a_terminal_one_bar_a_stage(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with progress_bars() as bars:
        bars.begin("documents")
        bars.update("documents", 1, 2, "a[b].md", seconds_left=61)
        bars.update("texts", 3, 3)
    captured = capsys.readouterr()
    assert captured.out == ""
    for piece in ("documents", "1/2", "1:01 left", "a[b].md", "texts", "3/3"):
        assert piece in captured.err


def test_a_stage_that_begins_again_is_timed_anew(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    monkeypatch.setattr(terminal, "Pace", lambda: Pace(lambda: now))
    monkeypatch.setattr(terminal, "PLAIN_EVERY", 0.0)
    bars = ProgressBars(None)
    for began, total in ((0.0, 10), (1000.0, 20)):
        now = began
        bars.begin("questions")
        now = began + 5.0
        bars.update("questions", 5, total)
    assert capsys.readouterr().err.splitlines() == ["questions: 5/10, 0:05 left", "questions: 5/20, 0:15 left"]


def test_a_command_to_go_on_with_names_the_project_unless_the_shell_stands_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    elsewhere = Path("my project")
    assert command("ingest", project=Path()) == command("ingest", project=tmp_path) == "lorag ingest"
    assert command("ingest", project=elsewhere) == "lorag ingest --project 'my project'"
    assert command("eval", "adapter", "judge", "--data", Path("a b"), project=elsewhere) == (
        "lorag eval adapter judge --data 'a b' --project 'my project'"
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("run `lorag ingest` first", "run `lorag ingest --project p` first"),
        ("run `lorag ingest --rebuild`, or", "run `lorag ingest --rebuild --project p`, or"),
        ("`lorag eval adapter embedder`; `lorag train`", "`lorag eval adapter embedder --project p`; `lorag train --project p`"),
        ("`lorag keys add NAME --scope ask`", "`lorag keys add NAME --scope ask --project p`"),
        ("is open in `lorag serve`", "is open in `lorag serve`"),  # the process that runs
        ("make one with `lorag init PROJECT --docs FOLDER`", "make one with `lorag init PROJECT --docs FOLDER`"),
        ("as `lorag eval compare` reads it", "as `lorag eval compare` reads it"),  # it takes no --project
        ("the lorag ingest of yesterday", "the lorag ingest of yesterday"),
    ],
)
def test_commands_in_a_message_are_written_for_the_project(
    text: str, shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert for_project(text, Path("p")) == shown
    assert for_project(text, Path()) == for_project(text, None) == text


def test_a_project_with_strange_letters_is_quoted_and_made_visible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert for_project("`lorag ask`", Path("a\\1\x1b[2Jb")) == r"`lorag ask --project 'a\1\x1b[2Jb'`"


def leaves(group: Any, *words: str) -> list[tuple[tuple[str, ...], Any]]:
    """Each command of the command line, by its words."""
    if not hasattr(group, "commands"):
        return [(words, group)]
    return [leaf for name, inner in group.commands.items() for leaf in leaves(inner, *words, name)]


def test_hints_know_every_command_that_takes_a_project() -> None:
    commands = leaves(typer.main.get_command(app))
    takes = {words for words, made in commands if any("--project" in option.opts for option in made.params)}
    named = {words for words, _ in commands if for_project(f"`lorag {' '.join(words)}`", Path("p")).endswith(" --project p`")}
    assert len(takes) > 15
    assert takes - named == {("serve",)}
    assert named - takes == set()
