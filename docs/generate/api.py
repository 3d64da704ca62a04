"""The reference of the HTTP API, from its OpenAPI document."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

from docs.generate.markdown import cell, code, name, page, table
from lorag.services.api.app import create_app
from lorag.services.api.runtime import Runtime
from lorag.services.api.state import ServiceState

Schema = Mapping[str, Any]


def document() -> dict[str, Any]:
    """The OpenAPI document. The routes alone are asked: nothing is opened, so the application needs no state."""

    def never() -> Runtime:
        raise AssertionError("the documentation starts no service")

    return create_app(cast(ServiceState, None), open_runtime=never).openapi()


def api() -> str:
    """Each route with its parameters, body, examples and replies."""
    found = document()
    routes = [
        part
        for path, methods in found["paths"].items()
        for method, operation in methods.items()
        for part in _operation(method, path, operation)
    ]
    shapes = [part for title, schema in found["components"]["schemas"].items() for part in _shape(title, schema)]
    return page(
        "# HTTP API",
        found["info"]["description"],
        "`GET /openapi.json` gives the same to a program.",
        *routes,
        "## Shapes",
        *shapes,
    )


def _operation(method: str, path: str, operation: Schema) -> Iterator[str]:
    yield f"## {method.upper()} {path}"
    yield from (" ".join(part.split()) for part in operation.get("description", "").split("\n\n"))
    rows = (
        [name(each["name"]), each["in"], cell(_kind(each["schema"])), cell(each.get("description", ""))]
        for each in operation.get("parameters", ())
    )
    yield table(["parameter", "in", "type", "meaning"], rows)
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"Body, `{media}`: {_kind(content.get('schema', {}))}"
        for example in content.get("examples", {}).values():
            yield f"{example['summary']}:"
            yield code(json.dumps(example["value"], indent=2, ensure_ascii=False), "json")
    for status, reply in operation["responses"].items():
        kinds = [f"`{media}` {_kind(content.get('schema', {}))}" for media, content in reply.get("content", {}).items()]
        yield f"{status}: {reply['description']}{' — ' if kinds else ''}{', '.join(kinds)}"


def _shape(title: str, schema: Schema) -> Iterator[str]:
    yield f"### {title}"
    yield " ".join(schema.get("description", "").split())
    if "enum" in schema:
        yield ", ".join(f"`{each}`" for each in schema["enum"])
    required = set(schema.get("required", ()))
    rows = (
        [name(key), cell(_kind(of)), "yes" if key in required else "", cell(of.get("description", ""))]
        for key, of in schema.get("properties", {}).items()
    )
    yield table(["key", "type", "required", "meaning"], rows)


def _kind(schema: Schema) -> str:
    """A schema in words; what is a shape of its own is a link to it."""
    if "$ref" in schema:
        shape = schema["$ref"].rsplit("/", 1)[1]
        return f"[{shape}](#{shape.lower()})"
    for joined in ("anyOf", "oneOf"):
        if joined in schema:
            return " or ".join(_kind(each) for each in schema[joined])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{each}`" for each in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    return str(schema.get("type", "any"))
