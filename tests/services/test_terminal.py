"""What is printed: text made safe, durations, the pace of a stage, and progress where there is no terminal."""

from __future__ import annotations

import pytest

from lorag.services import terminal
from lorag.services.terminal import Pace, ProgressBars, progress_bars, visible
from lorag.watching import duration


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


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0:00"), (-3, "0:00"), (7.4, "0:07"), (200, "3:20"), (3600, "1:00:00"), (3730, "1:02:10")]
)
def test_duration(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_pace_counts_from_the_first_call() -> None:
    times = iter([100.0, 110.0, 130.0])
    pace = Pace(clock=lambda: next(times))
    assert pace.left(40, 100) is None  # a resumed run begins here
    assert pace.left(50, 100) == pytest.approx(50.0)  # 10 items in 10 s, 50 to go
    assert pace.left(60, 100) == pytest.approx(60.0)  # 20 items in 30 s, 40 to go


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
