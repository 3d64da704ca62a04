"""The reference of `lorag.yaml`: the keys from the settings records, their meaning from the comments of the template."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel

from docs.generate.fields import allowed, default, record_of
from docs.generate.markdown import cell, code, name, page, table
from lorag.pipeline.config import TEMPLATE, Settings

INTRODUCTION = (
    "`lorag init` writes `lorag.yaml` into the project folder, with all of these. Relative paths count from that folder. A key "
    "that is left out has its default; an unknown key is an error. Made from the settings records and the file's own comments."
)


def comments(template: str) -> dict[str, str]:
    """Dotted key → the comment above it. Raises ValueError if a comment stands above no key."""
    found: dict[str, str] = {}
    above: list[str] = []
    path: list[str] = []
    for line in template.splitlines():
        text = line.strip()
        if text.startswith("#"):
            above.append(text.lstrip("# "))
        elif text:
            depth = (len(line) - len(line.lstrip())) // 2
            path = [*path[:depth], text.split(":", 1)[0]]
            found[".".join(path)] = " ".join(above)
            above = []
        elif above:
            above = []  # a comment on its own is about the whole file
    if above:
        raise ValueError(f"a comment above no key: {above}")
    return found


def settings() -> str:
    """Every key of `lorag.yaml`."""
    said = comments(TEMPLATE)
    tops = [(key, field) for key, field in Settings.model_fields.items() if record_of(field) is None]
    rows = [[name(key), cell(allowed(field)), name(default(field)), cell(said[key])] for key, field in tops]
    sections = [
        part
        for key, field in Settings.model_fields.items()
        if (record := record_of(field))
        for part in (f"## {key}", " ".join((record.__doc__ or "").split()), _keys(record, f"{key}.", said))
    ]
    return page("# Settings", INTRODUCTION, _table(rows), *sections, "## The file as it is written", code(TEMPLATE, "yaml"))


def _keys(record: type[BaseModel], prefix: str, said: Mapping[str, str]) -> str:
    return _table(_rows(record, prefix, said))


def _rows(record: type[BaseModel], prefix: str, said: Mapping[str, str]) -> list[list[str]]:
    rows = []
    for key, field in record.model_fields.items():
        if (inner := record_of(field)) is not None:
            rows += _rows(inner, f"{prefix}{key}.", said)
        else:
            rows.append([name(prefix + key), cell(allowed(field)), name(default(field)), cell(said[prefix + key])])
    return rows


def _table(rows: list[list[str]]) -> str:
    return table(["key", "allowed", "default", "meaning"], rows)
