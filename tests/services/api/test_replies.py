"""The cache of replies, and the engine of one request."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from lorag.pipeline.engine.limits import CallLimits, limited
from lorag.pipeline.engine.protocol import ChoiceRequest, Completion, Finish, Generation, Sampling
from lorag.pipeline.engine.scripted import ScriptedEngine
from lorag.pipeline.errors import Cancelled, DeadlinePassed
from lorag.pipeline.records import Message
from lorag.services.api.metering import RequestEngine, bounded
from lorag.services.api.metrics import Metrics
from lorag.services.api.replies import ReplyCache


def asking(text: str, **options: Any) -> Generation:
    return Generation((Message("user", text),), **options)


def drained(engine: Any, request: Generation) -> tuple[str, Completion]:
    stream, text = engine.stream(request), ""
    while True:
        try:
            text += next(stream)
        except StopIteration as end:
            return text, end.value


def test_the_oldest_reply_is_forgotten_first() -> None:
    replies, reply = ReplyCache(2), Completion("x", 1, 1, Finish.STOP)
    for name in "ab":
        replies.put(("", asking(name)), reply)
    replies.get(("", asking("a")))
    replies.put(("", asking("c")), reply)
    assert [name for name in "abc" if replies.get(("", asking(name)))] == ["a", "c"]


def test_no_size_no_memory() -> None:
    replies = ReplyCache(0)
    replies.put(("", asking("a")), Completion("x", 1, 1, Finish.STOP))
    assert replies.get(("", asking("a"))) is None


def test_a_greedy_request_runs_once_a_tenant_and_counts_each_time() -> None:
    inner, replies, metrics = ScriptedEngine(lambda request: "two words"), ReplyCache(10), Metrics()
    engine = RequestEngine(inner, replies, metrics, "a")
    assert drained(engine, asking("one two three")) == drained(engine, asking("one two three"))
    (completion,) = engine.generate([asking("one two three")])
    assert (completion.text, engine.usage.prompt, engine.usage.completion) == ("two words", 9, 6)
    assert len(inner.requests) == 1
    drained(RequestEngine(inner, replies, metrics, "b"), asking("one two three"))
    assert len(inner.requests) == 2
    counted = metrics.registry.get_sample_value
    assert counted("lorag_cache_requests_total", {"result": "hit"}) == 2
    assert counted("lorag_cache_requests_total", {"result": "miss"}) == 2
    assert counted("lorag_tokens_total", {"kind": "completion"}) == 4


def test_a_drawn_reply_is_drawn_each_time() -> None:
    inner = ScriptedEngine(["first", "second"])
    engine = RequestEngine(inner, ReplyCache(10), Metrics(), "")
    drawn = asking("x", sampling=Sampling(temperature=1.0))
    assert [drained(engine, drawn)[0] for _ in range(2)] == ["first", "second"]


def test_weights_are_remembered_for_each_adapter() -> None:
    inner = ScriptedEngine(scorer=lambda request: [1, 3])
    engine = RequestEngine(inner, ReplyCache(10), Metrics(), "")
    request = ChoiceRequest((Message("user", "x"),), ("yes", "no"), "judge-1")
    assert engine.choice_probabilities([request, request]) == [(0.25, 0.75)] * 2
    engine.choice_probabilities([ChoiceRequest(request.messages, request.choices, "judge-2")])
    assert len(inner.requests) == 2


def test_a_bound_holds_for_what_is_written_through_it_alone() -> None:
    inner = ScriptedEngine(lambda request: "ok")
    layer = bounded(inner, 5, ("END",))
    layer.generate([asking("x", max_tokens=96)])
    drained(bounded(inner, None, ()), asking("y", max_tokens=96))
    drained(bounded(inner, 500, ()), asking("z", max_tokens=96))
    assert [(request.max_tokens, request.stop) for request in inner.requests] == [(5, ("END",)), (96, ()), (96, ())]  # type: ignore[union-attr]


@pytest.mark.parametrize("streamed", [False, True])
def test_whoever_has_gone_is_not_worked_for(streamed: bool) -> None:
    inner = ScriptedEngine(lambda request: "a b c d")
    engine, gone = RequestEngine(inner, ReplyCache(10), Metrics(), ""), threading.Event()
    with limited(CallLimits(cancelled=gone)):
        stream = engine.stream(asking("x"))
        assert next(stream) == "a"
        gone.set()
        with pytest.raises(Cancelled):
            next(stream)
        with pytest.raises(Cancelled):
            engine.generate([asking("y")])
    with limited(CallLimits.of(0)), pytest.raises(DeadlinePassed):
        engine.choice_probabilities([ChoiceRequest((Message("user", "x"),), ("yes", "no"))])
    assert len(inner.requests) == 1
    assert drained(engine, asking("x"))[0] == "a b c d"  # the broken one was not remembered
