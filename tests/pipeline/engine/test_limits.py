"""Limits of a call: over when the time or the wish is, and seen only where they were set."""

from __future__ import annotations

import threading
import time

from lorag.pipeline.engine.limits import CallLimits, current_limits, limited
from lorag.pipeline.errors import Cancelled, DeadlinePassed


def test_without_limits_nothing_is_ever_over() -> None:
    limits = current_limits()
    assert limits.remaining() is None and limits.over() is None


def test_a_deadline_counts_down_to_nothing() -> None:
    limits = CallLimits.of(seconds=30)
    assert 29 < (limits.remaining() or 0) <= 30 and limits.over() is None
    passed = CallLimits(deadline=time.monotonic() - 5)
    assert passed.remaining() == 0.0
    assert isinstance(passed.over(), DeadlinePassed) and DeadlinePassed.retry


def test_cancelling_comes_before_the_deadline() -> None:
    event = threading.Event()
    limits = CallLimits.of(seconds=0, cancelled=event)
    assert isinstance(limits.over(), DeadlinePassed)
    event.set()
    assert isinstance(limits.over(), Cancelled) and not Cancelled.retry


def test_limits_hold_within_their_block_and_thread_alone() -> None:
    outer, inner = CallLimits.of(seconds=9), CallLimits.of(seconds=3)
    elsewhere: list[CallLimits] = []
    with limited(outer):
        with limited(inner):
            assert current_limits() is inner
        assert current_limits() is outer
        thread = threading.Thread(target=lambda: elsewhere.append(current_limits()))
        thread.start()
        thread.join()
    assert elsewhere[0].deadline is None
    assert current_limits().deadline is None
