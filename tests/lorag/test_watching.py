"""Progress listeners, and how a duration is written."""

from __future__ import annotations

import pytest

from lorag.watching import SilentListener, duration


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0:00"), (-3, "0:00"), (7.4, "0:07"), (200, "3:20"), (3600, "1:00:00"), (3730, "1:02:10")]
)
def test_duration(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_a_silent_listener_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    listener = SilentListener()
    listener.begin("ingest")
    listener.update("ingest", 1, 2, "a.md", 3.0)
    listener.notice("done")
    assert capsys.readouterr() == ("", "")
