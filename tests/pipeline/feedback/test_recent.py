"""Traces in memory: who finds which, how many are kept, and which conversation an answer belongs to."""

from __future__ import annotations

import threading

from lorag.pipeline.feedback.recent import RecentTraces
from tests.pipeline.feedback.given import answer_id, trace


def test_a_trace_is_found_whole_by_its_own_tenant_alone() -> None:
    recent = RecentTraces()
    kept = trace(1, tenant="acme", history=("User: Hello", "Assistant: Hello"))
    recent.keep(kept)
    assert recent.get("acme", kept.id) == kept
    assert recent.get("", kept.id) is None
    assert recent.get("other", kept.id) is None
    assert recent.get("acme", answer_id(2)) is None


def test_the_oldest_of_a_tenant_make_room_and_no_others() -> None:
    recent = RecentTraces(traces=3)
    recent.keep(trace(100, tenant="other"))
    for number in range(10):
        recent.keep(trace(number, tenant="acme"))
    assert [number for number in range(10) if recent.get("acme", answer_id(number))] == [7, 8, 9]
    assert recent.get("other", answer_id(100)) is not None


def test_bytes_are_bounded_too() -> None:
    recent = RecentTraces(tenant_bytes=10_000)
    for number in range(100):
        recent.keep(trace(number, answer="x" * 1000))
    kept = [number for number in range(100) if recent.get("", answer_id(number))]
    assert 3 <= len(kept) <= 10
    assert kept == list(range(100 - len(kept), 100))


def test_a_large_trace_loses_its_oldest_turns_and_a_larger_one_is_not_kept() -> None:
    recent = RecentTraces(trace_bytes=4_000)
    recent.keep(trace(1, history=tuple(f"User: {number} {'x' * 500}" for number in range(10))))
    found = recent.get("", answer_id(1))
    assert found is not None
    assert 1 <= len(found.history) < 7
    assert found.history[-1].startswith("User: 9")
    recent.keep(trace(2, question="x" * 5_000))
    assert recent.get("", answer_id(2)) is None


def test_an_answer_belongs_to_the_conversation_that_it_continues() -> None:
    recent = RecentTraces()
    recent.keep(trace(1))
    first = ("User: Who  keeps the key?", "Assistant: The porter. [1]")  # as clients send it back, with marks
    recent.keep(trace(2, question="And at night?", history=first, answer="The watch."))
    recent.keep(trace(3, question="Where?", history=(*first, "User: And at night?", "Assistant: The watch.")))
    windowed = ("User: Where?", "Assistant: The porter.")  # the client no longer sends the beginning
    recent.keep(trace(4, question="Why?", history=windowed))
    conversations = [found.conversation for number in (1, 2, 3, 4) if (found := recent.get("", answer_id(number)))]
    assert conversations == [answer_id(1)] * 4


def test_a_forged_history_and_another_tenants_conversation_begin_a_new_one() -> None:
    recent = RecentTraces()
    recent.keep(trace(1))
    said = ("User: Who keeps the key?", "Assistant: The porter.")
    for number, fields in enumerate(
        (
            {"history": said, "tenant": "acme"},
            {"history": ("User: Who keeps the key?", "Assistant: Nobody.")},
            {"history": ("Assistant: The porter.",)},
            {"history": tuple(reversed(said))},
        ),
        start=2,
    ):
        recent.keep(trace(number, **fields))
        found = recent.get(fields.get("tenant", ""), answer_id(number))  # type: ignore[arg-type]
        assert found is not None
        assert found.conversation == answer_id(number)


def test_a_reply_with_half_a_character_does_not_stop_the_answer() -> None:
    recent = RecentTraces()
    recent.keep(trace(1, reply="a\ud800"))
    found = recent.get("", answer_id(1))
    assert found is not None
    assert found.reply == "a?"


def test_threads_keep_and_read_at_once() -> None:
    recent = RecentTraces(traces=50)

    def work(part: int) -> None:
        for number in range(part * 100, part * 100 + 100):
            recent.keep(trace(number))
            recent.get("", answer_id(number))

    threads = [threading.Thread(target=work, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(recent.get("", answer_id(number)) is not None for number in range(400)) == 50
