"""Server-sent events in OpenAI's form: `data: JSON`, and `data: [DONE]` at the end. Knows no model and no body."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Send

from lorag.services.api.errors import api_error

Chunks = AsyncGenerator[Mapping[str, Any]]


class EventStream(StreamingResponse):
    """Sends `chunks`. An error in the middle is sent as the last event, without `[DONE]`. `chunks` is closed in every case."""

    media_type = "text/event-stream"

    def __init__(self, chunks: Chunks) -> None:
        self._events = _events(chunks)
        super().__init__(self._events, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})

    async def stream_response(self, send: Send) -> None:
        async with aclosing(self._events):
            await super().stream_response(send)


async def _events(chunks: Chunks) -> AsyncGenerator[str]:
    async with aclosing(chunks):
        try:
            async for chunk in chunks:
                yield _event(json.dumps(chunk, ensure_ascii=False, allow_nan=False))
        except Exception as error:
            yield _event(json.dumps(api_error(error).body(), ensure_ascii=False))
            return
    yield _event("[DONE]")


def _event(data: str) -> str:
    return f"data: {data}\n\n"
