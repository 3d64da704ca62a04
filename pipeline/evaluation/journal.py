"""Stores each answer of an engine at once, so that a killed run continues without repeating requests.

Every request is a row: its digest, stage and adapter, the reply or the probabilities, the tokens. Stored answers are read and
not requested again. The other requests run in the same batches as in an uninterrupted run, since a batch's shape affects the
last digits. Times are in memory only: they differ in each run.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any, cast

from lorag.pipeline.engine.layer import Request, Result
from lorag.pipeline.engine.protocol import ChoiceRequest, Completion, Finish, Generation
from lorag.pipeline.evaluation.row_file import RowFile


@dataclass(frozen=True, slots=True)
class Usage:
    """The cost of one stage with one adapter (`base`: none). `seconds` are those of the `timed` requests, which ran in this
    process; they share the time of their batch. Token counts are over all `requests`; those of a judge are unknown."""

    stage: str
    adapter: str
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    timed: int = 0
    seconds: float = 0.0

    @property
    def latency(self) -> float | None:
        """Seconds a request, in batches; None if all answers were stored ones."""
        return self.seconds / self.timed if self.timed else None


class Journal:
    """The `Answer` of a `Layer`: passes requests on and stores the answers in `rows`; with None it only counts."""

    def __init__(self, rows: RowFile | None = None) -> None:
        self._rows = rows
        self._known: dict[str, Mapping[str, Any]] = {}
        self._usage: dict[tuple[str, str], Usage] = {}
        if rows is not None:
            self._known = {row["request"]: row for block in rows.blocks() for row in block}
            rows.skip()

    def usage(self) -> tuple[Usage, ...]:
        """The cost of each stage and adapter so far, in the order of their first requests."""
        return tuple(self._usage.values())

    def add(self, usage: Usage) -> None:
        """Count what made no request to the engine."""
        self._usage[usage.stage, usage.adapter] = usage

    def __call__(self, requests: Sequence[Request], ask: Callable[[Sequence[Request]], list[Result]]) -> list[Result]:
        digests = [digest(request) for request in requests]
        if all(each in self._known for each in digests):
            results = [cast(Result, _result(self._known[each])) for each in digests]
            self._count(requests, results, 0.0, timed=False)
            return results
        started = time.perf_counter()
        results = ask(requests)
        self._count(requests, results, time.perf_counter() - started, timed=True)
        if self._rows is not None:
            rows = [
                {"request": name, "stage": request.stage, "adapter": request.adapter or "base", **_row(result)}
                for name, request, result in zip(digests, requests, results, strict=True)
            ]
            self._rows.add(rows)
            self._known |= {row["request"]: row for row in rows}
        return results

    def _count(self, requests: Sequence[Request], results: Sequence[object], seconds: float, *, timed: bool) -> None:
        for request, result in zip(requests, results, strict=True):
            key = (request.stage, request.adapter or "base")
            before = self._usage.get(key, Usage(*key))
            tokens = (result.prompt_tokens, result.completion_tokens) if isinstance(result, Completion) else (0, 0)
            self._usage[key] = replace(
                before,
                requests=before.requests + 1,
                prompt_tokens=before.prompt_tokens + tokens[0],
                completion_tokens=before.completion_tokens + tokens[1],
                timed=before.timed + timed,
                seconds=before.seconds + seconds / len(requests),
            )


def digest(request: Generation | ChoiceRequest) -> str:
    """16 hex digits over all that determines the answer; the stage does not."""
    *decides, _ = astuple(request)
    return hashlib.sha256(repr((type(request).__name__, tuple(decides))).encode()).hexdigest()[:16]


def _row(result: Completion | tuple[float, ...]) -> Mapping[str, Any]:
    if not isinstance(result, Completion):
        return {"weights": list(result)}
    return {
        "text": result.text,
        "prompt_tokens": result.prompt_tokens,
        "completion_tokens": result.completion_tokens,
        "finish": result.finish.value,
    }


def _result(row: Mapping[str, Any]) -> Completion | tuple[float, ...]:
    if "weights" in row:
        return tuple(row["weights"])
    return Completion(row["text"], row["prompt_tokens"], row["completion_tokens"], Finish(row["finish"]))
