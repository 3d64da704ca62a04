"""Who is told of long work, and how a duration is written."""

from __future__ import annotations

import pytest

from lorag.watching import Nobody, duration


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0:00"), (-3, "0:00"), (7.4, "0:07"), (200, "3:20"), (3600, "1:00:00"), (3730, "1:02:10")]
)
def test_duration(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_nobody_keeps_everything_to_itself(capsys: pytest.CaptureFixture[str]) -> None:
    nobody = Nobody()
    nobody.begin("ingest")
    nobody.update("ingest", 1, 2, "a.md", 3.0)
    nobody.notice("done")
    assert capsys.readouterr() == ("", "")
