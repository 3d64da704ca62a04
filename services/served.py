"""The project of a command: through the `lorag serve` that has it open, else opened in this process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lorag.services.terminal import say

if TYPE_CHECKING:
    from lorag.project import Project
    from lorag.served_project import ServedProject


def open_project(folder: Path) -> Project | ServedProject:
    """The project in `folder`, to be closed. A line on stderr says that settings which changed since do not hold there."""
    import lorag
    from lorag.serving_lock import is_served

    if not is_served(folder):
        return lorag.open(folder)
    from lorag.served_project import ServedProject, open_or_served

    opened = open_or_served(folder)
    if isinstance(opened, ServedProject) and opened.has_other_settings:
        say("note: lorag.yaml has changed since `lorag serve` read it; the service answers by what it read")
    return opened
