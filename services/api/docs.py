"""`GET /openapi.json` and `GET /docs`: the API's description, for programs and for people. No script and no other host."""

from __future__ import annotations

import json
from html import escape
from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, JSONResponse

from lorag.services.api.access import needs
from lorag.services.api.keys import Scope

router = APIRouter(include_in_schema=False, dependencies=[Depends(needs(Scope.ASK))])

STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}"
    "pre{overflow:auto;padding:.75rem;border:1px solid;border-radius:4px;font-size:.85rem}code{font-size:.95em}"
)


@router.get("/openapi.json")
async def openapi(request: Request) -> JSONResponse:
    """The OpenAPI document."""
    return JSONResponse(request.app.openapi())


@router.get("/docs")
async def docs(request: Request) -> HTMLResponse:
    """The same as a page."""
    return HTMLResponse(page(request.app.openapi()))


def page(document: dict[str, Any]) -> str:
    """Each operation with its description and examples."""
    info = document["info"]
    parts = [_operation(method, path, found) for path, methods in document["paths"].items() for method, found in methods.items()]
    head = f"<meta charset=utf-8><meta name=viewport content='width=device-width'><title>{escape(info['title'])}</title>"
    intro = f"<h1>{escape(info['title'])} {escape(info['version'])}</h1><p>{escape(info.get('description', ''))}</p>"
    return f"<!doctype html><html lang=en><head>{head}<style>{STYLE}</style></head><body>{intro}{''.join(parts)}</body></html>"


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    words = escape(operation.get("description", "")).replace("\n\n", "</p><p>")
    content = operation.get("requestBody", {}).get("content", {})
    examples = [example for kind in content.values() for example in kind.get("examples", {}).values()]
    shown = "".join(
        f"<p>{escape(example['summary'])}</p><pre>{escape(json.dumps(example['value'], indent=2, ensure_ascii=False))}</pre>"
        for example in examples
    )
    return f"<h2><code>{method.upper()} {escape(path)}</code></h2><p>{words}</p>{shown}"
