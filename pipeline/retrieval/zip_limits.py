"""Opens files that are ZIP archives inside (.docx, .pptx, .xlsx, .epub), within bounds. Knows nothing of what they hold."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager

from lorag.pipeline.errors import HoldsNoText, InputError
from lorag.pipeline.retrieval.decoding import OLE

MAX_UNPACKED = 512 * 2**20
"""Maximum bytes of all members together, unpacked."""
MAX_RATIO = 300
"""Maximum of unpacked bytes a packed byte, of members above a megabyte: text packs to a tenth, a bomb to a thousandth."""
MAX_MEMBERS = 20_000
_LOCK = "~$"


def open_archive(data: bytes, name: str) -> zipfile.ZipFile:
    """The archive, whose members may all be read.

    Raises:
        HoldsNoText: a lock file, which office programs leave beside an open document.
        InputError: no archive, damaged, with a password, or too large when unpacked.
    """
    if name.replace("\\", "/").rpartition("/")[2].startswith(_LOCK):
        raise HoldsNoText(f"{name}: a lock file of an office program, no document")
    if data.startswith(OLE):
        if "EncryptedPackage".encode("utf-16-le") in data:
            raise InputError(f"{name}: protected by a password; save it without one")
        raise InputError(f"{name}: an old office format inside, whatever its name says; save it anew in the present one")
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise InputError(f"{name}: damaged, or not what its name says ({error}); save it anew") from error
    members = archive.infolist()
    if any(member.flag_bits & 1 for member in members):
        raise InputError(f"{name}: protected by a password; save it without one")
    unpacked = sum(member.file_size for member in members)
    bombs = [m for m in members if m.file_size > 2**20 and m.file_size > MAX_RATIO * max(m.compress_size, 1)]
    if len(members) > MAX_MEMBERS or unpacked > MAX_UNPACKED or bombs:
        raise InputError(
            f"{name}: unpacks to {unpacked} bytes in {len(members)} members; {MAX_UNPACKED} bytes, {MAX_MEMBERS} members and "
            f"{MAX_RATIO} bytes a packed one are the most: split it"
        )
    return archive


@contextmanager
def parsing(name: str, fault: str) -> Iterator[None]:
    """Within: an error of the office library becomes an InputError that calls the file by its `fault`."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # they raise many classes for damaged files
        raise InputError(f"{name}: {fault} ({type(error).__name__}: {error}); save it anew") from error


def member(archive: zipfile.ZipFile, path: str, name: str) -> bytes:
    """The bytes of a member. Raises InputError if it is missing or damaged."""
    try:
        return archive.read(path)
    except Exception as error:  # zipfile and the decompressors below it raise many classes
        raise InputError(f"{name}: damaged ({path}: {error}); save it anew") from error
