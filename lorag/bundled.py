"""Finds the files that ship with the code: the example domain. Reads none of them."""

from __future__ import annotations

from pathlib import Path

from lorag.pipeline.errors import InputError

EXAMPLE = "kelder-sound-line"
"""The domain that `lorag demo` runs on."""


def example_folder(name: str = EXAMPLE) -> Path:
    """The folder of an example domain: inside an installed wheel, or at the top of a checkout.

    Raises InputError with the known names if `name` is none of them.
    """
    here = Path(__file__).resolve().parent
    # The wheel's own folder comes first: next to an installed package, `examples` may belong to another one.
    roots = [root for root in (here / "examples", here.parent / "examples") if root.is_dir()]
    known = sorted(entry.name for entry in roots[0].iterdir() if entry.is_dir()) if roots else []
    if name not in known:
        raise InputError(f"no example domain {name!r}; there is: {', '.join(known) or 'none (reinstall lorag)'}")
    return roots[0] / name
