"""`lorag serve`: the HTTP service and the web page."""

from __future__ import annotations

from typing import Annotated

import typer

from lorag.services.options import HERE, Project
from lorag.services.terminal import say


def serve(
    project: Project = HERE,
    host: Annotated[str, typer.Option("--host", help="Address to listen on; another than loopback needs keys.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535)] = 8321,
    concurrency: Annotated[int, typer.Option("--concurrency", min=1, max=256, help="Requests the model works on at once.")] = 8,
    max_queue: Annotated[
        int, typer.Option("--max-queue", min=0, max=10_000, help="Requests that may wait for it; the next is refused (429).")
    ] = 64,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0.1, max=86_400, metavar="SECONDS", help="A request ends after this long (504).")
    ] = 120.0,
    max_body: Annotated[int, typer.Option("--max-body", min=1024, metavar="BYTES", help="Largest request.")] = 1 << 20,
    max_upload: Annotated[int, typer.Option("--max-upload", min=1024, metavar="BYTES", help="Largest upload.")] = 32 << 20,
    cache: Annotated[int, typer.Option("--cache", min=0, max=1_000_000, help="Replies of the model that are remembered.")] = 1024,
) -> None:
    """Serve the project over HTTP: an OpenAI-compatible API, and a web page at /."""
    import lorag

    with lorag.open(project) as opened:
        opened.serve(
            host,
            port,
            concurrency=concurrency,
            max_queue=max_queue,
            timeout=timeout,
            max_body=max_body,
            max_upload=max_upload,
            cache=cache,
            on_notice=say,
        )
