"""Imports public or own data sets into a data folder that training and evaluation read. Knows no terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lorag.pipeline.storage.jsonl import file_digests
from lorag.training.data.formats.folder import ImportReport, Options, write_folder
from lorag.training.data.formats.reading import read_files


def import_data(kind: str, files: Sequence[Path], folder: Path, options: Options) -> ImportReport:
    """Read `files` of the format `kind` and make the data folder, which records the files' digests.

    Raises DataError for rows of another form, InputError for files or a folder that cannot be used.
    """
    source = read_files(kind, files)
    origin = {Path(path).name: digest for path, digest in file_digests(files).items()}
    return write_folder(source, folder, options, {"format": kind, **origin})
