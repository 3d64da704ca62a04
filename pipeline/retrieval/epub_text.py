"""Reads .epub: its chapters in reading order, each an HTML page. Knows nothing of folders."""

from __future__ import annotations

import posixpath
import zipfile
from collections.abc import Iterator
from urllib.parse import unquote
from xml.etree import ElementTree

from lorag.pipeline.errors import InputError
from lorag.pipeline.retrieval import html_text
from lorag.pipeline.retrieval.decoding import declared_charset, decode
from lorag.pipeline.retrieval.file_content import Extracted
from lorag.pipeline.retrieval.titles import useful_title
from lorag.pipeline.retrieval.zip_limits import member, open_archive

_PAGES = frozenset({"application/xhtml+xml", "text/html", "application/xml"})


def extract(data: bytes, name: str) -> Extracted:
    """The book's title and the text of all chapters.

    Raises:
        InputError: damaged, protected against copying, or no book.
    """
    with open_archive(data, name) as archive:
        package = _package_path(archive, name)
        book = _xml(archive, package, name)
        folder = posixpath.dirname(package)
        chapters = [posixpath.normpath(posixpath.join(folder, path)) for path in _spine(book)]
        if locked := _encrypted(archive, name) & set(chapters):
            raise InputError(f"{name}: {len(locked)} of {len(chapters)} chapters are protected against copying (DRM)")
        texts, missing = [], []
        for path in chapters:
            try:
                raw = member(archive, path, name)
            except InputError:
                missing.append(f"chapter {path} missing or damaged")
                continue
            texts.append(html_text.extract(decode(raw, name, declared_charset(raw)).text).text)
    title = next((each.text or "" for each in book.iter() if each.tag.endswith("}title")), "")
    return Extracted(useful_title(title), "\n\n".join(text for text in texts if text.strip()), missing=tuple(missing))


def _package_path(archive: zipfile.ZipFile, name: str) -> str:
    container = _xml(archive, "META-INF/container.xml", name)
    found = next((each.get("full-path") for each in container.iter() if each.tag.endswith("}rootfile")), None)
    if not found:
        raise InputError(f"{name}: names no contents; save it anew")
    return found


def _spine(book: ElementTree.Element) -> Iterator[str]:
    """The paths of the chapters, relative to the package file."""
    items = {each.get("id"): each for each in book.iter() if each.tag.endswith("}item")}
    for each in book.iter():
        item = items.get(each.get("idref")) if each.tag.endswith("}itemref") else None
        if item is not None and item.get("media-type") in _PAGES and item.get("href"):
            yield unquote(item.get("href", "")).partition("#")[0]


def _encrypted(archive: zipfile.ZipFile, name: str) -> set[str]:
    """The members that are encrypted. Fonts often are, and do not matter."""
    if "META-INF/encryption.xml" not in archive.namelist():
        return set()
    listed = _xml(archive, "META-INF/encryption.xml", name).iter()
    return {unquote(each.get("URI", "")) for each in listed if each.tag.endswith("}CipherReference")}


def _xml(archive: zipfile.ZipFile, path: str, name: str) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(member(archive, path, name))
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise InputError(f"{name}: damaged ({path}: {error}); save it anew") from error
