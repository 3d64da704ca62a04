"""pydantic's errors for a settings file → readable lines: place, what is wrong, what is allowed.

Values are never repeated, since a secret may be in the place of its variable's name.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from lorag.pipeline.engine.weights import OWN_TYPE, Precision
from lorag.pipeline.yaml_text import KeyPath, ParsedYaml

Explain = Callable[[str, KeyPath], str | None]

_TYPES = {
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "path_type": "must be a path",
    "model_type": "must be a group of `key: value` lines",
    "dict_type": "must be a group of `label: meaning` lines",
}


def require_compute(precision: Precision, compute: str) -> None:
    """Raises pydantic's error if weights of this precision compute in a type of their own, and `compute` names another."""
    own = OWN_TYPE.get(precision, compute)
    if compute not in ("auto", own):
        raise PydanticCustomError(
            "compute",
            "`compute` {compute} does nothing for {precision} weights, which compute in {own}; remove it",
            {"compute": compute, "precision": precision.value, "own": own},
        )


def describe_problems(
    error: ValidationError,
    model: type[BaseModel],
    parsed: ParsedYaml,
    name: str,
    explain: Explain = lambda kind, path: None,
) -> str:
    """One message: a single line if there is one problem, else a heading and a line a problem, in file order.

    `explain` gets pydantic's kind of problem and its place. It returns a text that only the caller can give, or None.
    """
    problems = sorted(
        (parsed.line(path), f"{_dotted(path)}: {explain(detail['type'], path) or _reason(detail, path, model)}")
        for detail in error.errors(include_url=False, include_input=False)
        for path in [tuple(detail["loc"])]
    )
    if len(problems) == 1:
        line, text = problems[0]
        return f"{name}:{line}: {text}"
    return "\n".join([f"{name}: {len(problems)} problems", *(f"  line {line}: {text}" for line, text in problems)])


def _dotted(path: KeyPath) -> str:
    return ".".join(str(part) for part in path) or "the file"


def _reason(detail: ErrorDetails, path: KeyPath, model: type[BaseModel]) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown(str(path[-1]), _model_at(model, path[:-1]))
    if kind == "missing":
        return "is missing; add it"
    if kind in ("literal_error", "enum"):
        return f"must be one of {context['expected'].replace(' or ', ', ').replace(chr(39), '')}"
    if kind in ("string_pattern_mismatch", "string_type") and (allowed := _allowed(model, path)):
        return f"must be {allowed}"
    if kind in _TYPES:
        return f"{_TYPES[kind]}{_or_null(model, path)}"
    if kind in ("greater_than_equal", "less_than_equal"):
        return f"must be at {'least' if 'ge' in context else 'most'} {context.get('ge', context.get('le'))}"
    return detail["msg"]  # our own validators write readable messages


def _unknown(key: str, model: type[BaseModel]) -> str:
    known = list(model.model_fields)
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    return f"unknown key; did you mean {close[0]!r}?" if close else f"unknown key; known here: {', '.join(known)}"


def _model_at(model: type[BaseModel], path: KeyPath) -> type[BaseModel]:
    """The settings record at `path`, or the nearest one above if the path continues into plain values."""
    for part in path:
        field = model.model_fields.get(str(part))
        if field is None or not isinstance(field.annotation, type) or not issubclass(field.annotation, BaseModel):
            break
        model = field.annotation
    return model


def _allowed(model: type[BaseModel], path: KeyPath) -> str:
    """The field's `allowed` text, or ''."""
    field = _model_at(model, path[:-1]).model_fields.get(str(path[-1]))
    extra = field.json_schema_extra if field else None
    return str(extra["allowed"]) if isinstance(extra, dict) and "allowed" in extra else ""


def _or_null(model: type[BaseModel], path: KeyPath) -> str:
    field = _model_at(model, path[:-1]).model_fields.get(str(path[-1]))
    return " or null" if field is not None and type(None) in get_args(field.annotation) else ""
