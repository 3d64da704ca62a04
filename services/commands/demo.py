"""`lorag demo`: the whole path on the bundled example domain."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lorag.services.failures import Interrupted
from lorag.services.terminal import progress_bars


def demo(
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where report.html and report.json go.")] = Path(
        "demo-out"
    ),
    full: Annotated[
        bool, typer.Option("--full", help="Train on all rows and measure all test items, not a part of them.")
    ] = False,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Train from the bare base, not on from the bundled adapters.")
    ] = False,
) -> None:
    """See it work: documents in, four adapters trained here, a table of what each one bought, three answers."""
    from lorag.demo import run_demo

    try:
        with progress_bars() as bars:
            run_demo(out, full, from_starters=not from_scratch, progress=bars)
    except KeyboardInterrupt:
        raise Interrupted(f"the demo stopped; what is finished stays in {out}, run it again and it goes on from there") from None
