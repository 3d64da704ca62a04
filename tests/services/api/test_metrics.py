"""What `/metrics` says of the engine that all requests share."""

from __future__ import annotations

from lorag.pipeline.engine.batching import EngineStep
from lorag.services.api.metrics import Metrics


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_turns_of_the_engine() -> None:
    metrics = Metrics()
    for waiting, running in ((5, 8), (3, 2), (0, 0)):
        metrics.stepped(EngineStep(waiting, running, scored=1, begun=1, prompt_tokens=9, tokens=running, seconds=0.1))
    assert value(metrics, "lorag_engine_queue_length") == 0
    assert value(metrics, "lorag_engine_batch_rows_count") == 2, "a step that only weighed has no rows"
    assert value(metrics, "lorag_engine_batch_rows_sum") == 10
    assert value(metrics, "lorag_engine_batch_rows_bucket", le="2.0") == 1
    metrics.stepped(EngineStep(4, 1, 0, 1, 9, 1, 0.1))
    assert value(metrics, "lorag_engine_queue_length") == 4
    assert b"lorag_engine_batch_rows_bucket" in metrics.page()
