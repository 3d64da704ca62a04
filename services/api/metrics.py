"""The service's metrics for Prometheus. Each service has a registry of its own. Knows no route and no engine."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from lorag.pipeline.engine.dispatcher import EngineStep
from lorag.pipeline.records import Response, StageRecord

REQUEST_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
STAGE_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

BATCH_ROWS = (1, 2, 4, 8, 16, 32)


class Metrics:
    """The metrics, named as in Prometheus without `lorag_`. Safe for several threads."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter("lorag_requests", "Requests by outcome.", ["route", "method", "status"], registry=registry)
        self.seconds = Histogram(
            "lorag_request_seconds",
            "From the first byte of a request to the last of its response.",
            ["route"],
            buckets=REQUEST_SECONDS,
            registry=registry,
        )
        self.stage_seconds = Histogram(
            "lorag_stage_seconds", "Work of one stage of the chain.", ["stage"], buckets=STAGE_SECONDS, registry=registry
        )
        self.waiting = Gauge("lorag_queue_length", "Requests that wait for a slot, by lane.", ["lane"], registry=registry)
        self.running = Gauge("lorag_running", "Requests that are being worked on, by lane.", ["lane"], registry=registry)
        self.rejected = Counter("lorag_rejected", "Requests refused.", ["reason"], registry=registry)
        self.tokens = Counter("lorag_tokens", "Tokens read (prompt) and written (completion).", ["kind"], registry=registry)
        self.cache = Counter(
            "lorag_cache_requests", "Model calls by whether the reply was remembered.", ["result"], registry=registry
        )
        self.engine_waiting = Gauge("lorag_engine_queue_length", "Model requests that have not begun.", registry=registry)
        self.engine_rows = Histogram(
            "lorag_engine_batch_rows", "Replies that a step of the model went on with.", buckets=BATCH_ROWS, registry=registry
        )
        self.answers = Counter("lorag_answers", "Answers of the chain by outcome.", ["outcome"], registry=registry)
        self.refusals = Counter("lorag_refusals", "Answers that decline, by who declined.", ["by"], registry=registry)
        self.adapter = Gauge(
            "lorag_adapter_in_use", "1 for the version that each role serves.", ["role", "version"], registry=registry
        )

    def serve(self, adapters: Mapping[str, str]) -> None:
        """Record the version that each role serves from now on."""
        self.adapter.clear()
        for role, version in adapters.items():
            self.adapter.labels(role, version).set(1)

    def stepped(self, step: EngineStep) -> None:
        """Count one step of the engine that all requests share."""
        self.engine_waiting.set(step.waiting)
        if step.running:
            self.engine_rows.observe(step.running)

    def answered(self, response: Response) -> None:
        """Count one answer of the chain, its stages included."""
        answer = response.answer
        self.answers.labels(answer.outcome.value).inc()
        for record in response.trace.stages:
            self.stage_seconds.labels(record.stage).observe(record.seconds)
        if answer.refused:
            self.refusals.labels(_refuser(response.trace.stages, bool(response.trace.hits))).inc()

    def page(self) -> bytes:
        """All of it, in Prometheus' text form."""
        return generate_latest(self.registry)


def _refuser(stages: tuple[StageRecord, ...], found: bool) -> str:
    """`retriever` if nothing was found, `gate` if the judge closed it, else `synthesizer`."""
    if not found:
        return "retriever"
    return "gate" if any(record.detail.get("gated") for record in stages) else "synthesizer"
