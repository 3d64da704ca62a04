"""The reference of recipes: their keys from the recipe's records, and the bundled files as they are."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from pydantic import BaseModel

from docs.generate.fields import allowed, default, record_of
from docs.generate.markdown import cell, code, name, page, table
from lorag.training.recipe import FORMS

INTRODUCTION = (
    "A recipe is a YAML file that says how a role is trained; `lorag train ROLE --recipe FILE` takes one, or a bundled "
    "one by name. An unknown key is an error. Made from the recipe's records and the bundled files."
)


def recipes() -> str:
    """Every key, then every bundled file."""
    folder = Path(str(resources.files("lorag.training") / "recipes"))
    files = sorted(path for path in folder.glob("*.yaml"))
    shown = [part for path in files for part in (f"### {path.stem}", code(path.read_text(encoding="utf-8"), "yaml"))]
    return page(
        "# Recipes", INTRODUCTION, *(part for form in FORMS.values() for part in _form(form)), "## Bundled recipes", *shown
    )


def _form(record: type[BaseModel]) -> list[str]:
    """A section for each record within `record`, the plain keys first."""
    plain = {key: field for key, field in record.model_fields.items() if record_of(field) is None}
    rows = ([name(key), cell(allowed(field)), name(default(field))] for key, field in plain.items())
    parts = [f"## {record.__name__}", _said(record), table(["key", "allowed", "default"], rows)]
    for key, field in record.model_fields.items():
        if (inner := record_of(field)) is not None:
            inside = ([name(f"{key}.{each}"), cell(allowed(of)), name(default(of))] for each, of in inner.model_fields.items())
            parts += [f"### {key}", _said(inner), table(["key", "allowed", "default"], inside)]
    return parts


def _said(record: type[BaseModel]) -> str:
    return "\n\n".join(" ".join(part.split()) for part in (record.__doc__ or "").split("\n\n"))
