"""Which reader reads which kind of file. Libraries for a kind are loaded at its first file. Knows nothing of folders."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

from lorag.pipeline.retrieval import html_text
from lorag.pipeline.retrieval.blocks import heading_of
from lorag.pipeline.retrieval.decoding import declared_charset
from lorag.pipeline.retrieval.file_content import Content, Extracted, File
from lorag.pipeline.retrieval.json_rows import read_rows
from lorag.pipeline.retrieval.titles import useful_title

_FENCE = re.compile(r"\s{0,3}(```|~~~)")


def _read_text(file: File) -> Content:
    decoded = file.decoded()
    return file.content(Extracted("", decoded.text), decoded)


def _read_markdown(file: File) -> Content:
    decoded = file.decoded()
    return file.content(Extracted(_markdown_title(decoded.text), decoded.text), decoded)


def _markdown_title(text: str) -> str:
    fenced = False
    for line in text.split("\n"):
        if _FENCE.match(line):
            fenced = not fenced
        elif not fenced and line.startswith("# ") and (heading := heading_of(line.rstrip())) and heading[1]:
            return heading[1]
    return ""


def _read_html(file: File) -> Content:
    decoded = file.decoded(declared_charset(file.data))
    page = html_text.extract(decoded.text)
    title = useful_title(page.title) or _markdown_title(page.text)
    return file.content(Extracted(title, page.text, page.segments, missing=page.missing), decoded)


def _read_pdf(file: File) -> Content:
    from lorag.pipeline.retrieval.pdf_text import extract

    return file.content(extract(file.data, str(file.path)))


def _read_csv(file: File) -> Content:
    from lorag.pipeline.retrieval.delimited import extract

    decoded = file.decoded()
    return file.content(extract(decoded.text, str(file.path)), decoded)


def _read_tsv(file: File) -> Content:
    from lorag.pipeline.retrieval.delimited import extract

    decoded = file.decoded()
    return file.content(extract(decoded.text, str(file.path), "\t"), decoded)


def _read_docx(file: File) -> Content:
    from lorag.pipeline.retrieval.word_text import extract

    return file.content(extract(file.data, str(file.path)))


def _read_pptx(file: File) -> Content:
    from lorag.pipeline.retrieval.slides import extract

    return file.content(extract(file.data, str(file.path)))


def _read_xlsx(file: File) -> Content:
    from lorag.pipeline.retrieval.workbook import extract

    return file.content(extract(file.data, str(file.path)))


def _read_epub(file: File) -> Content:
    from lorag.pipeline.retrieval.epub_text import extract

    return file.content(extract(file.data, str(file.path)))


def _read_rtf(file: File) -> Content:
    from lorag.pipeline.retrieval.rtf_text import extract

    return file.content(extract(file.data, str(file.path)))


def _read_eml(file: File) -> Content:
    from lorag.pipeline.retrieval.mail_text import extract

    return file.content(extract(file.data, str(file.path)))


READERS: Mapping[str, Callable[[File], Content]] = MappingProxyType(
    {
        ".txt": _read_text,
        ".md": _read_markdown,
        ".markdown": _read_markdown,
        ".html": _read_html,
        ".htm": _read_html,
        ".xhtml": _read_html,
        ".pdf": _read_pdf,
        ".docx": _read_docx,
        ".pptx": _read_pptx,
        ".xlsx": _read_xlsx,
        ".csv": _read_csv,
        ".tsv": _read_tsv,
        ".epub": _read_epub,
        ".rtf": _read_rtf,
        ".eml": _read_eml,
        ".jsonl": read_rows,
    }
)
"""Suffix, in lower case, → reader. A reader raises InputError for a file that it cannot read."""

KINDS = tuple(READERS)
"""Suffixes of the files that are read."""
