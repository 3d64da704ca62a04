"""Stop texts end a reply where they begin, in completions and streams alike; a stream returns the completion."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from itertools import combinations

import pytest

from lorag.pipeline.engine.local import LocalEngine
from lorag.pipeline.engine.protocol import Completion, Engine, Finish, Generation
from lorag.pipeline.engine.scripted import ScriptedEngine
from lorag.pipeline.engine.stopping import cut, settled
from lorag.pipeline.records import Message


@pytest.mark.parametrize(
    ("text", "stop", "expected"),
    [
        ("one two three", (), "one two three"),
        ("one two three", ("two",), "one "),
        ("one two three", ("three", "two"), "one "),
        ("one two three", ("", "four"), "one two three"),
        ("one two three", ("one",), ""),
    ],
)
def test_cut(text: str, stop: tuple[str, ...], expected: str) -> None:
    assert cut(text, stop) == expected


@pytest.mark.parametrize(
    ("text", "stop", "expected"),
    [("abc", (), 3), ("abc", ("cd",), 2), ("abc", ("bcd", "cd"), 1), ("abc", ("x",), 3), ("aab", ("aba",), 1), ("", ("a",), 0)],
)
def test_settled(text: str, stop: tuple[str, ...], expected: int) -> None:
    assert settled(text, stop) == expected


def drain(stream: Generator[str, None, Completion]) -> tuple[list[str], Completion]:
    pieces: list[str] = []
    while True:
        try:
            pieces.append(next(stream))
        except StopIteration as end:
            return pieces, end.value


def agree(engine: Engine, request: Generation) -> tuple[list[str], Completion]:
    pieces, completion = drain(engine.stream(request))
    assert "".join(pieces) == completion.text == engine.generate([request])[0].text
    return pieces, completion


def test_a_scripted_reply_stops_at_every_text_within_it() -> None:
    whole = "four metres deep"
    for start, end in combinations(range(len(whole) + 1), 2):
        _, completion = agree(
            ScriptedEngine(lambda _: whole), Generation((Message("user", "How deep?"),), stop=(whole[start:end],))
        )
        assert completion.text == whole[: whole.find(whole[start:end])]


TEXTS = ("Where does the ferry leave?", "And at night? " * 6, "Wann? 渡し船 🛥", "Who keeps the key?")


@pytest.fixture(scope="module")
def talkative(shared_engine: LocalEngine) -> list[tuple[Generation, Completion]]:
    """Requests whose replies are long enough to be stopped in several places."""
    asked = [Generation((Message("user", text),), name, 24) for text in TEXTS for name in (None, "ada", "bob")]
    answered = zip(asked, shared_engine.generate(asked), strict=True)
    found = [(request, whole) for request, whole in answered if len(whole.text) > 12]
    assert len(found) >= 4
    return found[:4]


def test_a_models_reply_stops_where_it_is_told(engine: LocalEngine, talkative: list[tuple[Generation, Completion]]) -> None:
    for request, whole in talkative:
        assert agree(engine, request)[1] == whole
        for start in (0, 6):
            word = whole.text[start : start + 3]
            pieces, stopped = agree(engine, replace(request, stop=("never seen", word)))
            assert stopped.text == whole.text[: whole.text.find(word)]
            assert word not in "".join(pieces) and stopped.finish is Finish.STOP
            assert stopped.prompt_tokens == whole.prompt_tokens
            assert stopped.completion_tokens <= whole.completion_tokens


def test_a_stream_writes_no_further_than_its_stop_text(
    engine: LocalEngine, talkative: list[tuple[Generation, Completion]]
) -> None:
    for request, whole in talkative:
        _, stopped = drain(engine.stream(replace(request, stop=(whole.text[2:5],))))
        assert 0 < stopped.completion_tokens < whole.completion_tokens
