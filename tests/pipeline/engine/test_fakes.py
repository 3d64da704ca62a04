"""The scripted engine, layers over an engine, and the one that remembers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from lorag.pipeline.engine.layer import Layer, Request, Result
from lorag.pipeline.engine.memo import SLICE, Memo
from lorag.pipeline.engine.protocol import ChoiceRequest, Completion, Engine, Finish, Generation, Sampling
from lorag.pipeline.engine.scripted import ScriptedEngine
from lorag.pipeline.errors import EngineError
from lorag.pipeline.records import Message


def ask(text: str, adapter: str | None = None, temperature: float = 0.0) -> Generation:
    return Generation((Message("user", text),), adapter, sampling=Sampling(temperature))


def choice(text: str) -> ChoiceRequest:
    return ChoiceRequest((Message("user", text),), ("a", "b"))


def echo(request: Generation) -> str:
    return f"{request.adapter}: {request.messages[-1].content}"


def test_both_are_engines() -> None:
    assert isinstance(ScriptedEngine(), Engine)
    assert isinstance(Layer(ScriptedEngine()), Engine)


def test_a_script_answers_by_function() -> None:
    engine = ScriptedEngine(echo, adapters=("ada",))
    assert engine.adapters == ("ada",)
    assert engine.generate([ask("who is it", "ada"), ask("x")]) == [
        Completion("ada: who is it", 3, 4, Finish.STOP),
        Completion("None: x", 1, 2, Finish.STOP),
    ]
    assert engine.requests == [ask("who is it", "ada"), ask("x")]


def test_a_script_answers_from_a_list_in_order_and_runs_out() -> None:
    engine = ScriptedEngine(["one", "two  words"])
    assert [c.text for c in engine.generate([ask("a")])] == ["one"]
    assert list(engine.stream(ask("b"))) == ["two", " ", " words"]
    with pytest.raises(EngineError, match="no reply left for request 3; give more replies"):
        engine.generate([ask("c")])


def test_weights_are_made_to_sum_to_one() -> None:
    assert ScriptedEngine().choice_probabilities([choice("x")]) == [(0.5, 0.5)]
    assert ScriptedEngine(scorer=lambda r: [3, 1]).choice_probabilities([choice("x"), choice("y")]) == [(0.75, 0.25)] * 2


class Counted:
    """A scripted engine whose replies are numbered, so that a second asking shows; `batches` are the sizes of its batches."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self._scripted = ScriptedEngine(
            lambda request: f"{request.messages[-1].content} {len(self._scripted.requests)}", adapters=("ada",)
        )
        self.engine = Layer(self._scripted, self._count)

    def _count(self, requests: Sequence[Request], ask: Callable[[Sequence[Request]], list[Result]]) -> list[Result]:
        self.batches.append(len(requests))
        return ask(requests)


def test_each_distinct_request_is_passed_on_once() -> None:
    engine = Counted()
    memo = Layer(engine.engine, Memo())
    assert memo.adapters == ("ada",)
    first = memo.generate([ask("a"), ask("b"), ask("a")])
    assert [c.text for c in first] == ["a 1", "b 2", "a 1"]
    assert [c.text for c in memo.generate([ask("b"), ask("c")])] == ["b 2", "c 3"]
    assert len({c.text for c in memo.generate([ask("a"), ask("a", "ada"), Generation(ask("a").messages, None, 5)])}) == 3


def test_what_is_drawn_is_never_remembered() -> None:
    engine = Counted()
    memo = Layer(engine.engine, Memo())
    drawn = ask("a", temperature=1.0)
    texts = [c.text for c in memo.generate([drawn, ask("b"), drawn, ask("b"), ask("c", temperature=-1.0)])]
    assert texts == ["a 3", "b 1", "a 4", "b 1", "c 2"]
    assert [c.text for c in memo.generate([drawn])] == ["a 5"]


def test_weights_are_remembered_too() -> None:
    engine = Counted()
    memo = Layer(engine.engine, Memo())
    assert memo.choice_probabilities([choice("a"), choice("a")]) == [(0.5, 0.5)] * 2
    assert memo.choice_probabilities([choice("a")]) == [(0.5, 0.5)]
    assert engine.batches == [1]


def test_progress_counts_every_request_once() -> None:
    engine = Counted()
    seen: list[int] = []
    memo = Layer(engine.engine, Memo(seen.append))
    asked = [ask(str(n)) for n in range(2 * SLICE + 3)]
    memo.generate([*asked, asked[0]])
    assert engine.batches == [SLICE, SLICE, 3]
    assert seen == [1, SLICE, SLICE, 3]
    memo.generate(asked)
    assert sum(seen) == 2 * len(asked) + 1


def test_what_was_answered_before_a_failure_is_kept() -> None:
    engine = ScriptedEngine([str(n) for n in range(SLICE)])
    memo = Layer(engine, Memo())
    asked = [ask(str(n)) for n in range(SLICE + 1)]
    with pytest.raises(EngineError):
        memo.generate(asked)
    assert [c.text for c in memo.generate(asked[:SLICE])] == [str(n) for n in range(SLICE)]


def test_streams_pass_through() -> None:
    assert list(Layer(ScriptedEngine(["a b"]), Memo()).stream(ask("x"))) == ["a", " b"]


def test_a_layer_changes_what_is_asked_for_text_and_nothing_else() -> None:
    engine = ScriptedEngine(echo, adapters=("ada",))
    layer = Layer(engine, change=lambda request: replace(request, adapter="ada"))
    assert layer.adapters == ("ada",)
    assert [each.text for each in layer.generate([ask("x")])] == ["ada: x"]
    assert "".join(layer.stream(ask("y"))) == "ada: y"
    assert layer.choice_probabilities([choice("z")]) == [(0.5, 0.5)]
    assert engine.requests == [ask("x", "ada"), ask("y", "ada"), choice("z")]
