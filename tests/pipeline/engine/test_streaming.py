"""Streams: the same text as a completion, in pieces; stopped early or taking turns with others, they harm nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from lorag.pipeline.engine.local import LocalEngine
from lorag.pipeline.engine.protocol import Generation
from lorag.pipeline.records import Message

TEXTS = ("Where does the ferry leave?", "And at night? " * 6, "Wann? 渡し船 🛥")


def ask(text: str, adapter: str | None, tokens: int = 24) -> Generation:
    return Generation((Message("user", text),), adapter, tokens)


REQUESTS = [ask(text, name) for text in TEXTS for name in (None, "ada", "bob")]


@pytest.fixture(scope="module")
def texts(shared_engine: LocalEngine) -> dict[Generation, str]:
    return {request: shared_engine.generate([request])[0].text for request in REQUESTS}


def test_pieces_join_to_the_completion(engine: LocalEngine, texts: dict[Generation, str]) -> None:
    for request in REQUESTS:
        pieces = list(engine.stream(request))
        assert all(pieces) and "".join(pieces) == texts[request]
    assert sum(len(list(engine.stream(request))) for request in REQUESTS) > 3 * len(REQUESTS)


def _spelling(engine: LocalEngine, monkeypatch: pytest.MonkeyPatch, ids: Sequence[int]) -> Generation:
    """A request that the engine answers with the tokens `ids`, one a step."""

    def run(rows: Sequence[Any]) -> Iterator[dict[int, int]]:
        yield from ({0: token} for token in ids)

    monkeypatch.setattr(engine, "_run", run)
    return ask("x", None)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        (b"a\xe2\x82\xacb", ["a", "€", "b"]),
        ("🛥 at sea".encode(), ["🛥", " a", "t", " s", "e", "a"]),
        (b" \n a b \n", ["a", " b"]),
        (b"a\xe2\x82", ["a", "\ufffd"]),  # cut off by the token budget in the middle of a character
        (b"\xff\xff", ["\ufffd\ufffd"]),
        (b"a\xffb", ["a", "\ufffdb"]),
        (b"   ", []),
    ],
)
def test_a_character_is_shown_whole_and_once(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch, text: bytes, pieces: list[str]
) -> None:
    from tokenizers.pre_tokenizers import ByteLevel

    letters = dict(zip(range(256), _byte_letters(), strict=True))
    assert set(letters.values()) == set(ByteLevel.alphabet())
    tokenizer = engine.loaded.tokenizer
    request = _spelling(engine, monkeypatch, [tokenizer.convert_tokens_to_ids(letters[byte]) for byte in text])
    assert list(engine.stream(request)) == pieces
    assert engine.generate([request])[0].text == "".join(pieces)


def _byte_letters() -> list[str]:
    """GPT-2's letter for each byte: printable ones stand for themselves, the rest for U+0100 onwards in order."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]


def test_closing_a_stream_early_leaves_the_engine_usable(engine: LocalEngine, texts: dict[Generation, str]) -> None:
    for request in REQUESTS:
        stream = engine.stream(request)
        next(stream, None)
        stream.close()  # type: ignore[attr-defined]
    assert {r: c.text for r, c in zip(REQUESTS, engine.generate(REQUESTS), strict=True)} == texts


def test_a_stream_that_is_never_read_holds_nothing(engine: LocalEngine, texts: dict[Generation, str]) -> None:
    waiting = [engine.stream(request) for request in REQUESTS]
    for stream in waiting:
        next(stream, None)
    assert [c.text for c in engine.generate(REQUESTS)] == list(texts.values())


def test_a_stream_takes_turns_with_requests_for_other_adapters(engine: LocalEngine, texts: dict[Generation, str]) -> None:
    """In one thread: between two pieces, a batch of all adapters runs."""
    for request in REQUESTS[:3]:
        pieces = []
        for piece in engine.stream(request):
            pieces.append(piece)
            if len(pieces) in (1, 3):
                assert [c.text for c in engine.generate(REQUESTS)] == list(texts.values())
        assert "".join(pieces) == texts[request]


def test_streams_take_turns_with_each_other(engine: LocalEngine, texts: dict[Generation, str]) -> None:
    streams = {request: engine.stream(request) for request in REQUESTS}
    heard = dict.fromkeys(REQUESTS, "")
    while streams:
        for request, stream in list(streams.items()):
            piece = next(stream, None)
            if piece is None:
                del streams[request]
            else:
                heard[request] += piece
    assert heard == texts


def test_nothing_runs_before_the_first_piece_is_asked_for_or_after_the_last(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    forwards: list[Sequence[str]] = []
    original = engine._session

    def counted(names: Sequence[str]) -> Any:
        forwards.append(names)
        return original(names)

    monkeypatch.setattr(engine, "_session", counted)
    stream = engine.stream(ask(TEXTS[1], "ada"))
    assert not forwards
    next(stream)
    count = len(forwards)
    stream.close()  # type: ignore[attr-defined]
    assert 0 < count == len(forwards)
