"""Weighing a closed list of replies, against log-softmax over a plain forward pass without cache."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lorag.pipeline.engine.bases import Base
from lorag.pipeline.engine.local import LocalEngine
from lorag.pipeline.engine.protocol import ChoiceRequest
from lorag.pipeline.errors import PromptTooLong
from lorag.pipeline.records import Message, Role

YES_NO = ("yes", "no")
SUPPORT = ("supported", "partly", "unsupported")
PREFIXES = ("a", "ab", "abc", "a", "<|im_end|>")
NAMES = (None, "ada", "bob")
TEXTS = ("Is it supported?", "Does the ferry leave? " * 8, "x")


def choice(text: str, choices: tuple[str, ...], adapter: str | None) -> ChoiceRequest:
    return ChoiceRequest((Message("system", "Judge."), Message("user", text)), choices, adapter)


REQUESTS = [choice(text, choices, name) for text in TEXTS for choices in (YES_NO, SUPPORT, PREFIXES) for name in NAMES]


def test_equals_a_plain_forward_pass(
    engine: LocalEngine,
    base: Base,
    folders: dict[str, Path],
    plain_model: Callable[[Base, Path | None], Any],
    plain_logprob: Callable[..., float],
) -> None:
    """All requests at once: lengths, numbers of choices and adapters mixed."""
    models = {name: plain_model(base, folders[name] if name else None) for name in NAMES}
    weights, logprobs = engine.choice_probabilities(REQUESTS), engine.reply_logprobs(REQUESTS)
    for request, weighed, scored in zip(REQUESTS, weights, logprobs, strict=True):
        prompt = engine.tokens.prompt(request.messages)
        expected = [plain_logprob(models[request.adapter], prompt, engine.tokens.reply(c)) for c in request.choices]
        assert scored == pytest.approx(expected, abs=2e-3)
        total = sum(math.exp(value) for value in expected)
        assert weighed == pytest.approx([math.exp(value) / total for value in expected], rel=5e-3, abs=1e-9)
        assert sum(weighed) == pytest.approx(1.0)


def test_probabilities_that_are_not_relative_are_those_of_the_whole_replies(engine: LocalEngine) -> None:
    asked = [replace(request, relative=False) for request in REQUESTS]
    for own, scored in zip(engine.choice_probabilities(asked), engine.reply_logprobs(REQUESTS), strict=True):
        assert own == pytest.approx([math.exp(value) for value in scored], rel=5e-3)
        assert sum(own) < 1.0


def test_order_of_choices_follows_the_request(engine: LocalEngine) -> None:
    forward, backward = engine.choice_probabilities([choice(TEXTS[0], SUPPORT, "ada"), choice(TEXTS[0], SUPPORT[::-1], "ada")])
    assert forward == pytest.approx(backward[::-1], rel=1e-4)


def test_one_choice_is_certain_and_twins_share(engine: LocalEngine) -> None:
    assert engine.choice_probabilities([choice("x", ("only",), None)]) == [(1.0,)]
    assert engine.choice_probabilities([choice("x", ("a", "a"), "ada")])[0] == pytest.approx((0.5, 0.5))


def test_a_choice_longer_than_the_room_left_is_refused(engine: LocalEngine) -> None:
    room = engine.context - len(engine.tokens.prompt(choice("", YES_NO, None).messages))
    long = ("a", "7" * 40)
    reply = len(engine.tokens.reply(long[1]))
    assert reply > 16
    fits, spills = (choice("q" * (room - reply + extra), long, "ada") for extra in (0, 1))
    assert sum(engine.choice_probabilities([fits])[0]) == pytest.approx(1.0)
    for call in (engine.choice_probabilities, engine.reply_logprobs):
        with pytest.raises(PromptTooLong, match=f"reply of up to {reply} do not fit the context of 1024 tokens"):
            call([spills])


@pytest.mark.parametrize("family", ["qwen3", "mistral", "gemma2"])
def test_other_families(
    family: str,
    family_base: Callable[[str], Base],
    tiny_adapter: Callable[[Path, int, Role], Path],
    open_tiny: Callable[..., LocalEngine],
    plain_model: Callable[[Base, Path | None], Any],
    plain_logprob: Callable[..., float],
) -> None:
    base = family_base(family)
    folder = tiny_adapter(Path(base.location), 5, Role.JUDGE)
    engine = open_tiny(base)
    engine.load_adapter("eve", folder)
    models = {None: plain_model(base, None), "eve": plain_model(base, folder)}
    requests = [choice(text, SUPPORT, name) for text in TEXTS for name in (None, "eve")]
    for request, scored in zip(requests, engine.reply_logprobs(requests), strict=True):
        prompt = engine.tokens.prompt(request.messages)
        expected = [plain_logprob(models[request.adapter], prompt, engine.tokens.reply(c)) for c in request.choices]
        assert scored == pytest.approx(expected, abs=2e-3)
