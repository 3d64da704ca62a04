"""The formats by name, and reading files of one format as one source."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lorag.pipeline.errors import InputError
from lorag.training.data.formats.mtrag import read_mtrag
from lorag.training.data.formats.own import read_own
from lorag.training.data.formats.public import read_public
from lorag.training.data.formats.rewriting import read_rewriting
from lorag.training.data.formats.source import Source, merged
from lorag.training.data.formats.squad import read_squad


def _each(read: Callable[[Path], Source]) -> Callable[[Sequence[Path]], Source]:
    return lambda paths: merged(read(path) for path in paths)


FORMATS: Mapping[str, Callable[[Sequence[Path]], Source]] = {
    "squad": _each(read_squad),
    "rewriting": _each(read_rewriting),
    "mtrag": lambda paths: read_mtrag(*paths),
    "public": _each(read_public),
    "own": _each(read_own),
}


def read_files(name: str, paths: Sequence[Path]) -> Source:
    """Read `paths`, all of format `name`.

    Raises DataError, with file and line, for a row that does not fit, InputError for an unknown format.
    """
    if name not in FORMATS:
        raise InputError(f"format {name!r} is not known; known: {', '.join(FORMATS)}")
    return FORMATS[name](paths)
