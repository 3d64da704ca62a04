"""Many threads on the shared base: each request gets what it gets alone, in its step, within its limits, or the right error."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lorag.pipeline.engine.bases import Base
from lorag.pipeline.engine.batching import BatchingEngine, Bounds, EngineStep
from lorag.pipeline.engine.decoding import RunningBatch
from lorag.pipeline.engine.limits import CallLimits, limited
from lorag.pipeline.engine.local import LocalEngine
from lorag.pipeline.engine.protocol import ChoiceRequest, Completion, Engine, Generation, Sampling
from lorag.pipeline.engine.waiting import Ticket
from lorag.pipeline.errors import (
    AdapterError,
    Cancelled,
    DeadlinePassed,
    EngineError,
    Overloaded,
    PromptTooLong,
    ShuttingDown,
)
from lorag.pipeline.records import Message, Role

NAMES = (None, "ada", "bob", "cyd")
TEXTS = ("Where does the ferry leave?", "And at night? " * 12, "key", "Wann fährt die Fähre? 渡し船 🛥")
CHOICES = (("a", "b"), ("a", "no", "b"))
PATIENCE = 60.0
"""Seconds after which a test that waits for a thread has failed."""


def ask(text: str, adapter: str | None, tokens: int = 24, **more: Any) -> Generation:
    return Generation((Message("system", "Answer."), Message("user", text)), adapter, tokens, **more)


def choice(text: str, adapter: str | None, choices: tuple[str, ...]) -> ChoiceRequest:
    return ChoiceRequest(ask(text, None).messages, choices, adapter)


REQUESTS = [ask(text, name) for text in TEXTS for name in NAMES]
WEIGHED = [choice(text, name, choices) for text in TEXTS for name in NAMES for choices in CHOICES]


@pytest.fixture(scope="module")
def alone(shared_engine: LocalEngine) -> dict[Generation, Completion]:
    return {request: shared_engine.generate([request])[0] for request in REQUESTS}


@pytest.fixture(scope="module")
def weights(shared_engine: LocalEngine) -> dict[ChoiceRequest, tuple[float, ...]]:
    return {request: shared_engine.choice_probabilities([request])[0] for request in WEIGHED}


@pytest.fixture(scope="module")
def long(shared_engine: LocalEngine) -> tuple[Generation, Completion]:
    """A request whose reply is long, and the reply."""
    for request in (ask(text, name, 240) for text in TEXTS for name in NAMES):
        completion = shared_engine.generate([request])[0]
        if completion.completion_tokens >= 150:
            return request, completion
    raise AssertionError("no request of these has a long reply")


@pytest.fixture
def steps() -> list[EngineStep]:
    return []


@pytest.fixture
def batching(engine: LocalEngine, steps: list[EngineStep]) -> Iterator[BatchingEngine]:
    with BatchingEngine(engine, on_step=steps.append) as batching:
        yield batching


@pytest.fixture
def unhurried(engine: LocalEngine, steps: list[EngineStep]) -> Iterator[BatchingEngine]:
    """One that pauses after each step, so that a test gets a word in before a long reply is done, on a busy machine too."""

    def pause(step: EngineStep) -> None:
        steps.append(step)
        time.sleep(0.01)

    with BatchingEngine(engine, on_step=pause) as batching:
        yield batching


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(max_workers=32) as pool:
        yield pool


@contextmanager
def halted(batching: BatchingEngine) -> Iterator[None]:
    """Within: the model does not run and what is asked for waits. The test holds the lock, and the dispatcher waits for it with
    a request of one token."""
    with batching.local._lock:
        batching._dispatcher.submit_rows([Ticket(batching.local.row(ask("plug", None, 1)), CallLimits())])
        until(lambda: not batching.waiting)
        yield


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.002)


def test_is_an_engine(batching: BatchingEngine) -> None:
    assert isinstance(batching, Engine)
    assert batching.adapters == ("ada", "bob", "cyd")
    assert batching.generate([]) == [] and batching.choice_probabilities([]) == []


def test_rows_of_all_adapters_join_and_leave_between_tokens(
    engine: LocalEngine, alone: dict[Generation, Completion], steps: list[EngineStep], pool: ThreadPoolExecutor
) -> None:
    """Threads of every adapter with completions and streams at once: token for token what each gets alone."""
    mixes: set[int] = set()
    original = engine._session

    def watched(names: Sequence[str]) -> Any:
        mixes.add(len(set(names)))
        return original(names)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "_session", watched)
        with BatchingEngine(engine, on_step=steps.append) as batching:
            jobs = [pool.submit(batching.generate, [request]) for request in REQUESTS]
            streams = [pool.submit(lambda r: "".join(batching.stream(r)), request) for request in REQUESTS]
            mixed = [pool.submit(batching.generate, REQUESTS[start::3]) for start in range(3)]
            assert [job.result(PATIENCE) for job in jobs] == [[alone[r]] for r in REQUESTS]
            assert [stream.result(PATIENCE) for stream in streams] == [alone[r].text for r in REQUESTS]
            assert [job.result(PATIENCE) for job in mixed] == [[alone[r] for r in REQUESTS[start::3]] for start in range(3)]
    assert max(mixes) == len(NAMES), "no batch held rows of every adapter and of the bare base"
    assert any(step.begun and step.running > step.begun for step in steps), "nothing joined a running batch"
    assert max(step.running for step in steps) == Bounds().rows


def test_choices_are_weighed_beside_replies(
    batching: BatchingEngine,
    alone: dict[Generation, Completion],
    weights: dict[ChoiceRequest, tuple[float, ...]],
    pool: ThreadPoolExecutor,
) -> None:
    replies = [pool.submit(batching.generate, [request]) for request in REQUESTS]
    single = [pool.submit(batching.choice_probabilities, [request]) for request in WEIGHED]
    many = pool.submit(batching.choice_probabilities, WEIGHED)
    assert [reply.result(PATIENCE) for reply in replies] == [[alone[r]] for r in REQUESTS]
    for request, job, beside in zip(WEIGHED, single, many.result(PATIENCE), strict=True):
        assert job.result(PATIENCE)[0] == pytest.approx(weights[request], rel=1e-4, abs=1e-6)
        assert beside == pytest.approx(weights[request], rel=1e-4, abs=1e-6)


def test_the_weights_tell_the_adapters_apart(weights: dict[ChoiceRequest, tuple[float, ...]]) -> None:
    """Else the test above would not see a wrong adapter."""
    for text in TEXTS:
        seen = [weights[choice(text, name, CHOICES[0])][0] for name in NAMES]
        assert all(abs(one - other) > 0.002 for n, one in enumerate(seen) for other in seen[:n])


@pytest.mark.parametrize("family", ["llama", "qwen3", "mistral", "gemma2"])
def test_a_running_batch_equals_each_row_alone(
    family: str,
    family_base: Callable[[str], Base],
    tiny_adapter: Callable[[Path, int, Role], Path],
    open_tiny: Callable[..., LocalEngine],
) -> None:
    """Rows shorter and longer than what flies join at odd moments, one is dropped; two families see a window of 16 tokens."""
    base = family_base(family)
    engine = open_tiny(base)
    engine.load_adapter("eve", tiny_adapter(Path(base.location), 5, Role.JUDGE))
    rows = {n: engine.row(ask(text, name, 20)) for n, (text, name) in enumerate((t, a) for t in TEXTS for a in (None, "eve"))}
    expected = {n: [tokens[0] for tokens in engine._run([row])] for n, row in rows.items()}
    dropped = max(expected, key=lambda n: len(expected[n]))
    running: RunningBatch[int] = engine.running_batch()
    got: dict[int, list[int]] = {n: [] for n in rows}

    def take(tokens: dict[int, int]) -> None:
        for key, token in tokens.items():
            got[key].append(token)

    order = [n for n in (4, 0, 2, 6, 1, 5, 3, 7) if n != dropped]
    take(running.join({dropped: rows[dropped]}))
    while order or running.rows:
        for n in order[: len(order) % 2 + 1]:
            take(running.join({n: rows[n]}))
        order = order[len(order) % 2 + 1 :]
        take(running.step())
        if len(got[dropped]) == 4:
            running.drop([dropped, 99])
            assert dropped not in running.rows
    assert len(expected[dropped]) > 4 == len(got.pop(dropped))
    assert got == {n: ids for n, ids in expected.items() if n != dropped}
    assert running.width == 0 and running.step() == {}


def test_a_running_batch_holds_no_more_columns_than_its_longest_row_needs(engine: LocalEngine) -> None:
    long, short = engine.row(ask("And at night? " * 12, None, 2)), engine.row(ask("key", "ada", 24))
    running: RunningBatch[str] = engine.running_batch()
    running.join({"long": long, "short": short})
    assert running.width == len(long.ids)
    running.step()
    assert set(running.rows) == {"short"}
    assert running.width == len(short.ids) + 1


def test_sampling_is_drawn_by_its_seed_alone(engine: LocalEngine, batching: BatchingEngine, pool: ThreadPoolExecutor) -> None:
    drawn = [ask(TEXTS[0], "ada", 12, sampling=Sampling(1.5, 1.0, seed)) for seed in range(6)]
    expected = [engine.generate([request]) for request in drawn]
    assert len({completions[0].text for completions in expected}) > 1
    beside = pool.submit(batching.generate, REQUESTS)
    assert list(pool.map(lambda request: batching.generate([request]), drawn)) == expected
    beside.result(PATIENCE)


def test_a_stop_ends_the_work_too(batching: BatchingEngine, steps: list[EngineStep], long: tuple[Generation, Completion]) -> None:
    request, completion = long
    word = completion.text[20:23]
    stopping = ask(request.messages[1].content, request.adapter, request.max_tokens, stop=(word,))
    text = completion.text[: completion.text.index(word)]
    assert batching.generate([stopping])[0].text == text
    assert "".join(batching.stream(stopping)) == text
    batching.close()
    assert sum(step.tokens for step in steps) < completion.completion_tokens


# In step


def test_a_short_reply_does_not_wait_for_a_long_one(
    unhurried: BatchingEngine, long: tuple[Generation, Completion], pool: ThreadPoolExecutor
) -> None:
    stream = unhurried.stream(long[0])
    pieces = [next(stream)]
    for _ in range(3):
        assert unhurried.generate([ask(TEXTS[2], "bob", 2)])
    assert unhurried._dispatcher._running.rows, "the long reply is done already"
    assert "".join([*pieces, *stream]) == long[1].text


def test_a_call_of_many_requests_holds_nobody_up(
    batching: BatchingEngine, alone: dict[Generation, Completion], pool: ThreadPoolExecutor
) -> None:
    ended: list[str] = []

    def run(name: str, requests: Sequence[Generation]) -> None:
        assert batching.generate(requests) == [alone[r] for r in requests]
        ended.append(name)

    with halted(batching):
        many = pool.submit(run, "many", REQUESTS * 6)
        until(lambda: batching.waiting)
        one = pool.submit(run, "one", REQUESTS[:1])
    one.result(PATIENCE)
    many.result(PATIENCE)
    assert ended == ["one", "many"]


def test_replies_and_choices_take_turns(
    unhurried: BatchingEngine, steps: list[EngineStep], long: tuple[Generation, Completion], pool: ThreadPoolExecutor
) -> None:
    """However many choices wait, each step writes a token too; and the other way round."""
    stream = unhurried.stream(long[0])
    next(stream)
    many = pool.submit(unhurried.choice_probabilities, WEIGHED * 4)
    heard = sum(1 for _ in stream)
    many.result(PATIENCE)
    weighing = [step for step in steps if step.scored]
    assert heard > 20 and len(weighing) > 4
    assert all(step.tokens for step in weighing[: len(weighing) // 2])
    assert all(step.scored for before, step in zip(steps, steps[1:], strict=False) if before.waiting)


def test_prompts_between_two_tokens_are_bounded(engine: LocalEngine, pool: ThreadPoolExecutor) -> None:
    steps: list[EngineStep] = []
    bounds = Bounds(rows=4, tokens=400, prefill_tokens=100)
    with BatchingEngine(engine, bounds, on_step=steps.append) as batching:
        jobs = [pool.submit(batching.generate, [r]) for r in REQUESTS] + [pool.submit(batching.choice_probabilities, WEIGHED)]
        for job in jobs:
            job.result(PATIENCE)
    assert sum(step.begun for step in steps) == len(REQUESTS) and sum(step.scored for step in steps) == len(WEIGHED)
    assert max(step.running for step in steps) <= 4
    busy = [step for before, step in zip(steps, steps[1:], strict=False) if before.running]
    assert all(step.prompt_tokens <= 200 or step.begun + step.scored <= 2 for step in busy)


def test_nobody_reading_a_stream_holds_nobody_up(batching: BatchingEngine, alone: dict[Generation, Completion]) -> None:
    unread = [batching.stream(request) for request in REQUESTS]
    first = [next(stream, "") for stream in unread]
    assert batching.generate(REQUESTS) == [alone[r] for r in REQUESTS]
    rest = ["".join(stream) for stream in unread]
    assert [a + b for a, b in zip(first, rest, strict=True)] == [alone[r].text for r in REQUESTS]


# Within limits


def test_closing_a_stream_ends_the_work(
    unhurried: BatchingEngine, steps: list[EngineStep], long: tuple[Generation, Completion]
) -> None:
    stream = unhurried.stream(long[0])
    next(stream)
    stream.close()
    until(lambda: steps and steps[-1].running == 0)
    assert sum(step.tokens for step in steps) < long[1].completion_tokens // 2


def test_a_stream_that_nobody_began_to_read_runs_nothing(batching: BatchingEngine, steps: list[EngineStep]) -> None:
    stream = batching.stream(REQUESTS[0])
    stream.close()
    batching.close()
    assert steps == []


@pytest.mark.parametrize(
    ("way", "moment"),
    [(way, moment) for way in ("generate", "stream", "weigh") for moment in ("before", "waiting", "running")][:-1],
    # not weighing while it runs: choices are weighed in one forward, which is not broken off
)
def test_cancelling(
    way: str, moment: str, unhurried: BatchingEngine, long: tuple[Generation, Completion], pool: ThreadPoolExecutor
) -> None:
    limits = CallLimits.of()
    work: dict[str, Callable[[], object]] = {
        "generate": lambda: unhurried.generate([long[0]]),
        "stream": lambda: list(unhurried.stream(long[0])),
        "weigh": lambda: unhurried.choice_probabilities(WEIGHED[:2]),
    }

    def run() -> None:
        with limited(limits):
            work[way]()

    if moment == "before":
        limits.cancelled.set()
        with pytest.raises(Cancelled, match="the request was cancelled"):
            run()
        return
    if moment == "waiting":
        with halted(unhurried):
            job = pool.submit(run)
            until(lambda: unhurried.waiting)
            limits.cancelled.set()
    else:
        job = pool.submit(run)
        until(lambda: unhurried._dispatcher._running.rows)
        limits.cancelled.set()
    with pytest.raises(Cancelled):
        job.result(PATIENCE)
    assert unhurried.generate(REQUESTS[:2])


@pytest.mark.parametrize("way", ["generate", "stream", "weigh"])
def test_a_deadline_is_kept_while_the_model_is_busy(
    way: str, batching: BatchingEngine, alone: dict[Generation, Completion], steps: list[EngineStep]
) -> None:
    with halted(batching), limited(CallLimits.of(seconds=0.1)):
        started = time.monotonic()
        with pytest.raises(DeadlinePassed, match="time given to this request is over") as caught:
            if way == "weigh":
                batching.choice_probabilities(WEIGHED[:1])
            else:
                batching.generate(REQUESTS[:1]) if way == "generate" else next(batching.stream(REQUESTS[0]))
        assert 0.1 <= time.monotonic() - started < 10
    assert caught.value.retry
    assert batching.generate(REQUESTS[:3]) == [alone[r] for r in REQUESTS[:3]]
    with limited(CallLimits.of(seconds=0)), pytest.raises(DeadlinePassed):
        batching.generate(REQUESTS[:1])


def test_a_deadline_ends_the_work(engine: LocalEngine, long: tuple[Generation, Completion]) -> None:
    limits = CallLimits.of(seconds=0.5)
    written: list[int] = []

    def outlast(step: EngineStep) -> None:
        written.append(step.tokens)
        time.sleep(limits.remaining() or 0)

    with BatchingEngine(engine, on_step=outlast) as batching:
        with limited(limits), pytest.raises(DeadlinePassed):
            list(batching.stream(long[0]))
        until(lambda: not batching._dispatcher._running.rows)
        assert sum(written) <= 2
        assert batching.generate([long[0]]) == [long[1]]


def test_too_many_are_refused_and_none_is_lost(
    engine: LocalEngine, alone: dict[Generation, Completion], pool: ThreadPoolExecutor
) -> None:
    with BatchingEngine(engine, Bounds(waiting=3)) as batching:
        with halted(batching):
            jobs = []
            for request in REQUESTS[:3]:
                jobs.append(pool.submit(batching.generate, [request]))
                until(lambda: batching.waiting == len(jobs))
            for refused in (
                lambda: batching.generate(REQUESTS[:1]),
                lambda: next(batching.stream(REQUESTS[0])),
                lambda: batching.choice_probabilities(WEIGHED[:1]),
            ):
                with pytest.raises(Overloaded, match="3 calls wait already; ask again in a moment") as caught:
                    refused()
                assert caught.value.retry
            assert batching.waiting == 3
        assert [job.result(PATIENCE) for job in jobs] == [[alone[r]] for r in REQUESTS[:3]]
        assert batching.generate(REQUESTS) == [alone[r] for r in REQUESTS]  # however many requests one call brings


# Ends and failures


def test_closing_finishes_what_was_taken_and_refuses_the_rest(
    batching: BatchingEngine, alone: dict[Generation, Completion], pool: ThreadPoolExecutor
) -> None:
    with halted(batching):
        jobs = [pool.submit(batching.generate, [request]) for request in REQUESTS]
        weighed = pool.submit(batching.choice_probabilities, WEIGHED[:3])
        until(lambda: batching.waiting == len(REQUESTS) + 3)
        closing = pool.submit(batching.close)
        until(lambda: batching._dispatcher._closing)
        with pytest.raises(ShuttingDown, match="ask again when it is back") as caught:
            batching.generate(REQUESTS[:1])
        assert caught.value.retry
    closing.result(PATIENCE)
    assert [job.result(PATIENCE) for job in jobs] == [[alone[r]] for r in REQUESTS]
    assert len(weighed.result(PATIENCE)) == 3
    batching.close()
    with pytest.raises(ShuttingDown):
        batching.choice_probabilities(WEIGHED[:1])


def test_closing_with_grace_gives_up_after_it(engine: LocalEngine, pool: ThreadPoolExecutor) -> None:
    batching = BatchingEngine(engine)
    with halted(batching):
        jobs = [pool.submit(batching.generate, REQUESTS[start:]) for start in range(4)]
        until(lambda: batching.waiting == sum(len(REQUESTS) - start for start in range(4)))
        closing = pool.submit(batching.close, 0.05)
        until(lambda: batching._dispatcher._abandoning)
    closing.result(PATIENCE)
    for job in jobs:
        with pytest.raises(ShuttingDown, match="has shut down before this request was done"):
            job.result(PATIENCE)


def test_closing_what_never_ran(engine: LocalEngine) -> None:
    BatchingEngine(engine).close()


def failing(engine: LocalEngine, when: Callable[[Sequence[str]], bool], error: Exception) -> Any:
    """A session that raises where `when(adapters of the rows)`."""
    original = engine._session

    def session(names: Sequence[str]) -> Any:
        if when(names):
            raise error
        return original(names)

    return session


def test_a_failure_at_the_start_costs_those_that_start(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch, long: tuple[Generation, Completion], pool: ThreadPoolExecutor
) -> None:
    other = next(name for name in NAMES[1:] if name != long[0].adapter)
    fault = RuntimeError("DefaultCPUAllocator: not enough memory\nmore")
    monkeypatch.setattr(engine, "_session", failing(engine, lambda names: set(names) == {other}, fault))
    with BatchingEngine(engine) as batching:
        stream = batching.stream(long[0])
        pieces = [next(stream)]
        with pytest.raises(EngineError, match="generation failed on a batch of 1: DefaultCPUAllocator: not enough") as caught:
            batching.generate([ask(TEXTS[0], other)])
        with pytest.raises(EngineError, match="scoring failed on a batch of 1: DefaultCPUAllocator"):
            batching.choice_probabilities([choice(TEXTS[0], other, CHOICES[0])])
        assert "".join([*pieces, *stream]) == long[1].text
    assert caught.value.__cause__ is not None and caught.value.__cause__.__cause__ is fault


@pytest.mark.parametrize("fault", [RuntimeError("device lost"), ValueError("a bug")])
def test_a_failure_in_flight_costs_those_in_flight(
    fault: Exception,
    engine: LocalEngine,
    monkeypatch: pytest.MonkeyPatch,
    alone: dict[Generation, Completion],
    long: tuple[Generation, Completion],
    pool: ThreadPoolExecutor,
) -> None:
    broken = threading.Event()
    monkeypatch.setattr(engine, "_session", failing(engine, lambda names: broken.is_set() and len(names) == 3, fault))
    with BatchingEngine(engine, Bounds(rows=3)) as batching:
        flying = [batching.stream(long[0]) for _ in range(3)]
        assert all(next(stream) for stream in flying)
        with batching.local._lock:
            waiting = pool.submit(batching.generate, REQUESTS[:1])
            until(lambda: batching.waiting == 1)
            broken.set()
        for stream in flying:
            with pytest.raises(EngineError, match=f"generation failed.*{fault}"):
                list(stream)
        assert waiting.result(PATIENCE) == [alone[REQUESTS[0]]]
        broken.clear()
        assert batching.generate(REQUESTS) == [alone[r] for r in REQUESTS]


def test_what_is_wrong_with_a_request_is_said_before_it_waits(batching: BatchingEngine) -> None:
    with halted(batching):
        for call in (
            lambda: batching.generate([REQUESTS[0], ask("x", "nobody")]),
            lambda: next(batching.stream(ask("x", "nobody"))),
            lambda: batching.choice_probabilities([choice("x", "nobody", CHOICES[0])]),
        ):
            with pytest.raises(AdapterError, match="adapter 'nobody' is not resident; resident: ada, bob, cyd"):
                call()
        for call in (lambda: batching.generate([ask("x" * 2000, "ada")]), lambda: next(batching.stream(ask("x" * 2000, None)))):
            with pytest.raises(PromptTooLong, match="do not fit the context of 1024 tokens"):
                call()
        assert batching.waiting == 0


def test_an_adapter_that_goes_costs_only_its_own_requests(
    base: Base, folders: dict[str, Path], long: tuple[Generation, Completion], open_tiny: Callable[..., LocalEngine]
) -> None:
    """Unloaded and loaded beside running replies; those of other adapters go on, token for token."""
    engine = open_tiny(base)
    for name, folder in folders.items():
        engine.load_adapter(name, folder)
    leaver = next(name for name in NAMES[1:] if name != long[0].adapter)
    with BatchingEngine(engine, on_step=lambda _: time.sleep(0.01)) as batching:
        stays, goes = batching.stream(long[0]), batching.stream(ask(TEXTS[1], leaver, 240))
        pieces = [next(stays)]
        next(goes)
        engine.unload_adapter(leaver)
        with pytest.raises(AdapterError, match=f"adapter '{leaver}' is not resident"):
            list(goes)
        engine.load_adapter(leaver, folders[leaver])
        assert batching.generate([ask(TEXTS[0], leaver, 4)])
        assert "".join([*pieces, *stays]) == long[1].text


def test_turns_add_up(batching: BatchingEngine, steps: list[EngineStep], engine: LocalEngine) -> None:
    completions = batching.generate(REQUESTS)
    batching.choice_probabilities(WEIGHED)
    batching.close()
    prompts = sum(c.prompt_tokens for c in completions) + sum(len(engine.choice_row(r).ids) for r in WEIGHED)
    assert sum(step.tokens for step in steps) == sum(c.completion_tokens for c in completions)
    assert sum(step.prompt_tokens for step in steps) == prompts
    assert (steps[-1].waiting, steps[-1].running, batching.waiting) == (0, 0, 0)
    assert all(step.seconds > 0 for step in steps)


def test_a_callback_that_fails_stops_nothing(
    engine: LocalEngine, alone: dict[Generation, Completion], caplog: pytest.LogCaptureFixture
) -> None:
    def count(_: EngineStep) -> None:
        raise ZeroDivisionError

    with caplog.at_level(logging.ERROR), BatchingEngine(engine, on_step=count) as batching:
        assert batching.generate(REQUESTS[:2]) == [alone[r] for r in REQUESTS[:2]]
    assert "the callback for a step of the engine failed" in caplog.text
