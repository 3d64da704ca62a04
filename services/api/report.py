"""`GET /v1/report`: the newest evaluation report of the project, as the page that `lorag eval ablation` wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Response
from fastapi.responses import HTMLResponse

from lorag.services.api.access import State, needs
from lorag.services.api.errors import ApiError
from lorag.services.api.keys import Caller, Scope

FOLDERS = (Path(".lorag/ablation"), Path(".lorag/reports"))
"""Folders in the project: the command's default, and one for other reports (`--out PROJECT/.lorag/reports`)."""

POLICY = "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"
"""For a browser that opens the address itself: the report's script may search in the page but cannot reach the service."""

router = APIRouter(tags=["adapters"])


@router.get("/v1/report", response_class=Response, responses={200: {"content": {"text/html": {"schema": {"type": "string"}}}}})
def show_report(caller: Annotated[Caller, Depends(needs(Scope.ASK))], state: State) -> HTMLResponse:
    """One self-contained page. It quotes the project's documents, so other tenants do not see it (404)."""
    found = None if caller.tenant else newest_report(state.project.folder)
    if found is None:
        raise ApiError(404, "there is no evaluation report; `lorag eval ablation` makes one", code="no_report")
    return HTMLResponse(found, headers={"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"})


def newest_report(project: Path) -> str | None:
    """The newest report's page. None if there is none."""
    pages = [page for folder in FOLDERS for page in (project / folder).glob("*.html") if page.is_file()]
    return max(pages, key=lambda page: page.stat().st_mtime_ns).read_text(encoding="utf-8") if pages else None
