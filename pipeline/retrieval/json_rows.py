"""Reads .jsonl files: one document a row. Knows nothing of folders or other kinds."""

from __future__ import annotations

import codecs
import hashlib
import json
import math
from types import MappingProxyType
from typing import Any

from lorag.pipeline.errors import DataError
from lorag.pipeline.records import Document
from lorag.pipeline.retrieval.file_content import MAX_TITLE, Content, File

MAX_ID, MAX_KEYS, MAX_METADATA = 200, 32, 4096
"""Maximum characters of a row's id, keys and JSON bytes of its metadata: every passage has a copy of all."""

NAMED = 5
"""Rows that cannot be used and are named, of one file."""

MAX_DEPTH = 16
"""Maximum levels of lists and objects in a row's metadata. A store that was given 128 could not be read any more."""


def read_rows(file: File) -> Content:
    """One document a row. Rows that cannot be used are left out and named.

    Raises:
        DataError: no row can be used; names file and line of the first.
    """
    documents: dict[str, Document] = {}
    wrong: list[DataError] = []
    for number, line in enumerate(_utf8(file.data).split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            document = _row_document(file, line, f"{file.path}:{number}")
            if document.id in documents:
                row_id = document.id.removeprefix(f"{file.relative}#")
                raise DataError(f"{file.path}:{number}: id {row_id!r} stands twice; ids must differ")
        except DataError as error:
            wrong.append(error)
        else:
            documents[document.id] = document
    if wrong and not documents:
        raise wrong[0]
    missing = [str(error).replace(f"{file.path}:", "line ", 1) for error in wrong[:NAMED]]
    more = [f"and {len(wrong) - NAMED} more rows like these"] if len(wrong) > NAMED else []
    return Content(tuple(documents.values()), (*missing, *more))


def _row_document(file: File, line: bytes, where: str) -> Document:
    try:
        row = json.loads(line, parse_constant=_refuse, parse_float=_finite)
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{where}: holds half of a surrogate pair; write the character whole") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not JSON ({error})") from error
    if not isinstance(row, dict):
        raise DataError(f'{where}: not an object; a row is {{"id": …, "title": …, "text": …}}')
    row_id, title, text = row.pop("id", None), row.pop("title", ""), row.pop("text", None)
    if isinstance(row_id, bool) or not isinstance(row_id, str | int) or row_id == "":
        raise DataError(f'{where}: "id" must be a non-empty string or a number')
    if not isinstance(text, str) or not text.strip():
        raise DataError(f'{where}: "text" must be a non-empty string')
    if not isinstance(title, str):
        raise DataError(f'{where}: "title" must be a string')
    _check_size(str(row_id), title, row, where)
    metadata = MappingProxyType({**row, **file.metadata()})
    digest = hashlib.sha256(line.strip()).hexdigest()
    return Document(f"{file.relative}#{row_id}", title or str(row_id), text, str(file.path), digest, metadata)


def _check_size(row_id: str, title: str, metadata: dict[str, Any], where: str) -> None:
    if len(row_id) > MAX_ID:
        raise DataError(f'{where}: "id" has {len(row_id)} characters; {MAX_ID} are the most')
    if len(title) > MAX_TITLE:
        raise DataError(f'{where}: "title" has {len(title)} characters; {MAX_TITLE} are the most')
    if _depth(metadata) > MAX_DEPTH:
        raise DataError(f"{where}: lists and objects in more than {MAX_DEPTH} levels; write them flat")
    size = len(json.dumps(metadata, ensure_ascii=False).encode())
    if len(metadata) > MAX_KEYS or size > MAX_METADATA:
        what = f"{len(metadata)} keys and {size} bytes beside id, title and text; {MAX_KEYS} and {MAX_METADATA} are the most"
        raise DataError(f"{where}: {what}, since every passage holds them again: put what is to be found into the text")


def _depth(value: Any) -> int:
    """Levels of lists and objects, counted to one more than are allowed."""
    levels, inside = 0, [value]
    while inside and levels <= MAX_DEPTH:
        members = [list(each.values()) if isinstance(each, dict) else each for each in inside if isinstance(each, dict | list)]
        levels += bool(members)
        inside = [member for each in members for member in each]
    return levels


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{number[:40]} is too large a number")
    return value


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")


def _utf8(data: bytes) -> bytes:
    """The bytes as UTF-8 without a byte order mark. JSON is UTF-8; with a mark, UTF-16 is read too."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", "replace").encode("utf-8", "surrogatepass")
    return data.removeprefix(codecs.BOM_UTF8)
