"""What is asked for, in which order and with which seeds."""

from __future__ import annotations

from collections import Counter

import pytest

from lorag.pipeline.contracts import PromptStyle, question
from lorag.pipeline.contracts.question import Manner
from lorag.pipeline.engine.protocol import Generation
from lorag.pipeline.engine.scripted import ScriptedEngine
from lorag.pipeline.errors import DataError, InputError
from lorag.training.data.making.grouping import group_documents
from lorag.training.data.making.planning import Pace, orders_of, plan_spans, within
from lorag.training.data.making.settings import MakingSettings
from lorag.training.data.making.writing import UNIT, Writer, seed_of, write_questions
from lorag.training.data.rows import PassageRow

SETTINGS = MakingSettings()
LONG = " ".join(f"Tank{{0}}x{at} holds {at + 10} kg since 0{at + 1}:30 and was painted on {at + 1} May." for at in range(5))
PASSAGES = {f"{n}.md#{at}": PassageRow(f"{n}.md#{at}", f"D{n}", LONG.format(f"{n}{at}")) for n in range(12) for at in range(2)}
GROUPING = group_documents(list(PASSAGES.values()), SETTINGS)
SPANS = plan_spans(list(PASSAGES.values()), GROUPING, SETTINGS)


def test_the_first_span_of_each_passage_comes_before_the_second_of_any() -> None:
    assert len(SPANS) == 72
    assert len({span.passage_id for span in SPANS[:24]}) == 24
    assert Counter(span.passage_id for span in SPANS) == dict.fromkeys(PASSAGES, 3)


def test_orders_of_a_passage_stand_together_and_a_fifth_are_terse() -> None:
    orders = orders_of(SPANS, MakingSettings(samples=4))
    ids = [order.span.passage_id for order in orders]
    assert sum(one != other for one, other in zip(ids, ids[1:], strict=False)) == 23
    assert len({order.id for order in orders}) == len(orders) == 288
    assert 0.12 < sum(order.manner is Manner.TERSE for order in orders) / 288 < 0.28  # at .2 a standard deviation of .024


def test_seeds_come_from_the_place_and_not_from_the_order() -> None:
    orders = orders_of(SPANS, SETTINGS)
    assert len({seed_of(order, SETTINGS) for order in orders}) == len(orders)
    assert all(0 <= seed_of(order, SETTINGS) < 2**63 for order in orders)
    assert seed_of(orders[0], SETTINGS) != seed_of(orders[0], MakingSettings(seed=1))
    fewer = orders_of(SPANS[:30], SETTINGS)
    both = {order: seed_of(order, SETTINGS) for order in orders}
    assert all(seed_of(order, SETTINGS) == both[order] for order in fewer)


def test_a_question_is_asked_for_by_the_contract_and_read_by_it() -> None:
    orders = orders_of(SPANS, SETTINGS)[:40]
    calls: list[int] = []

    class Counting(ScriptedEngine):
        def generate(self, requests):  # type: ignore[no-untyped-def]
            calls.append(len(requests))
            return super().generate(requests)

    engine = Counting(lambda request: "Question: how heavy is it?" if request.sampling.seed % 2 else "Answer: 5 kg")
    found = write_questions(orders, PASSAGES, Writer(engine, "q"), SETTINGS)
    assert calls == [UNIT, 8]
    assert [each.question for each in found] == ["how heavy is it?" if each.seed % 2 else "" for each in found]
    first, order = engine.requests[0], orders[0]
    assert isinstance(first, Generation)
    passage = PASSAGES[order.span.passage_id].shown()
    assert first.messages == question.messages(passage, order.span.text, order.manner, PromptStyle.TUNED)
    assert (first.adapter, first.sampling.temperature, first.sampling.top_p) == ("q", 0.0, 0.95)
    assert [each.sampling.temperature for each in engine.requests[:4]] == [0.0, 0.5, 0.0, 0.5]


def test_the_bare_base_gets_the_plain_prompt() -> None:
    engine = ScriptedEngine(lambda request: "how heavy?")
    write_questions(orders_of(SPANS[:1], SETTINGS), PASSAGES, Writer(engine), SETTINGS)
    assert len(engine.requests[0].messages) == 3


def test_minutes_bound_the_spans() -> None:
    pace = Pace(a_passage=1.5, a_span=12.0)  # 80 passages take 2 minutes, 72 spans 14.4
    assert pace.minutes(80, 72) == pytest.approx(16.4)
    assert within(17.0, 72, 80, pace, SETTINGS) == 72
    assert within(12.0, 72, 80, pace, SETTINGS) == 50
    for minutes, spans in ((9.9, 39), (1.0, 0)):
        with pytest.raises(DataError, match=rf"minutes are enough for {spans} spans here, .* 40 are needed: give at least 10"):
            within(minutes, 72, 80, pace, SETTINGS)


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(InputError, match="samples=5"):
        MakingSettings(samples=5)
