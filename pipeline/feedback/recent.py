"""The traces of the newest answers, in memory and within bounds, so that feedback can find the answer it speaks of.

What people ask is written to disk only with feedback on it. A tenant finds its own traces alone, and no tenant can push out
another's. Knows no route.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict, deque
from dataclasses import dataclass, field, replace

from lorag.pipeline.contracts.citations import without_marks
from lorag.pipeline.contracts.context import one_line
from lorag.pipeline.feedback.records import AnswerTrace
from lorag.pipeline.storage.digests import text_digest
from lorag.pipeline.storage.strict_json import build, plain

TRACES = 1_000
"""Traces of one tenant."""
TENANT_BYTES = 8 << 20
"""Bytes of one tenant's traces, as JSON."""
TRACE_BYTES = 128 << 10
"""A trace larger than this loses its oldest turns, and is not kept if that is not enough."""


@dataclass(slots=True)
class _Tenant:
    """One tenant's traces as JSON, oldest first, and the conversation of each exchange, by a digest of its words."""

    traces: OrderedDict[str, bytes] = field(default_factory=OrderedDict)
    size: int = 0
    conversations: OrderedDict[str, str] = field(default_factory=OrderedDict)


class RecentTraces:
    """Keeps the newest traces of each tenant. Safe for several threads."""

    def __init__(self, traces: int = TRACES, tenant_bytes: int = TENANT_BYTES, trace_bytes: int = TRACE_BYTES) -> None:
        self._most, self._tenant_bytes, self._trace_bytes = traces, tenant_bytes, trace_bytes
        self._tenants: dict[str, _Tenant] = {}
        self._lock = threading.Lock()

    def keep(self, trace: AnswerTrace) -> None:
        """Keep a trace, with the conversation that it continues. The tenant's oldest traces make room."""
        with self._lock:
            held = self._tenants.setdefault(trace.tenant, _Tenant())
            trace = replace(trace, conversation=_continued(trace, held) or trace.conversation)
            held.conversations[_exchange(trace.question, trace.answer)] = trace.conversation
            if len(held.conversations) > self._most:
                held.conversations.popitem(last=False)
            if (data := _small_enough(trace, self._trace_bytes)) is None:
                return
            held.traces[trace.id] = data
            held.size += len(data)
            while len(held.traces) > self._most or held.size > self._tenant_bytes:
                _, oldest = held.traces.popitem(last=False)
                held.size -= len(oldest)

    def get(self, tenant: str, id: str) -> AnswerTrace | None:
        """None if there is none, if it is another tenant's, or if it had to make room."""
        with self._lock:
            held = self._tenants.get(tenant)
            data = held.traces.get(id) if held else None
        return None if data is None else build(AnswerTrace, json.loads(data), id)


def _continued(trace: AnswerTrace, held: _Tenant) -> str:
    """The conversation that the trace's last exchange belongs to. Empty if the service does not know it."""
    *_, said, replied = ("", "", *trace.history)
    if not (said.startswith("User: ") and replied.startswith("Assistant: ")):
        return ""
    return held.conversations.get(_exchange(said.removeprefix("User: "), replied.removeprefix("Assistant: ")), "")


def _exchange(question: str, answer: str) -> str:
    """A key for a question and its answer; clients send answers back with their citation marks or without."""
    return text_digest(f"{one_line(question)}\n{one_line(without_marks(answer))}")


def _small_enough(trace: AnswerTrace, most: int) -> bytes | None:
    turns: deque[str] = deque(trace.history)
    while True:
        data = json.dumps(plain(replace(trace, history=tuple(turns))), ensure_ascii=False).encode(errors="replace")
        if len(data) <= most:
            return data
        if not turns:
            return None
        turns.popleft()
