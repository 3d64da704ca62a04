"""Canaries without a model: what is kept, what is read back, and where the line between same and different runs."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from lorag.pipeline.adapters.canaries import (
    Canary,
    EmbedCanary,
    canaries_json,
    compare_replies,
    compare_vectors,
    cosine,
    read_canaries,
    read_embed_canaries,
    require_effect,
)
from lorag.pipeline.errors import AdapterError, NoEffect
from lorag.pipeline.records import Message


def canary(tuned: float, base: float) -> Canary:
    return Canary((Message("system", "Be brief."), Message("user", "Who?")), "The porter.", tuned, base)


def turned(degrees: float) -> tuple[float, float]:
    return math.cos(math.radians(degrees)), math.sin(math.radians(degrees))


def embed(tuned: float, bare: float) -> EmbedCanary:
    return EmbedCanary("Who?", turned(tuned), turned(bare))


def test_round_trip(tmp_path: Path) -> None:
    replies = (canary(-0.5, -3.0), canary(-0.25, -2.0))
    (tmp_path / "canaries.json").write_text(canaries_json(replies))
    assert read_canaries(tmp_path) == replies
    with pytest.raises(AdapterError, match="key 'vectors' is missing"):
        read_embed_canaries(tmp_path)
    (tmp_path / "canaries.json").write_text(canaries_json([embed(0, 30)]))
    assert read_embed_canaries(tmp_path) == (embed(0, 30),)
    with pytest.raises(AdapterError, match="key 'replies' is missing"):
        read_canaries(tmp_path)


@pytest.mark.parametrize("mixture", [[], [canary(-1, -2), embed(0, 30)]])
def test_one_kind_and_at_least_one(mixture: Any) -> None:
    with pytest.raises(AdapterError, match="of one kind and at least one"):
        canaries_json(mixture)


@pytest.mark.parametrize(
    ("data", "word"),
    [
        ({"vectors": []}, "holds no canary"),
        ({"vectors": [{"text": "a", "vector": [1.0], "bare": [1.0, 0.0]}]}, "lengths [1, 2]"),
        ({"vectors": [{"text": "a", "vector": [], "bare": []}]}, "lengths [0]"),
        ({"vectors": [{"text": "a", "vector": ["x"], "bare": [1.0]}]}, "vectors[0]: vector[0] must be of type float"),
    ],
)
def test_damaged_vectors(tmp_path: Path, data: Any, word: str) -> None:
    (tmp_path / "canaries.json").write_text(json.dumps(data))
    with pytest.raises(AdapterError) as caught:
        read_embed_canaries(tmp_path)
    assert word in str(caught.value) and "canaries.json" in str(caught.value)


@pytest.mark.parametrize(
    ("recorded", "now", "reason"),
    [
        # effect 2: 0.4 of it, 0.8, is allowed
        ([(-1.0, -3.0)], [-1.0], None),
        ([(-1.0, -3.0)], [-1.79], None),
        ([(-1.0, -3.0)], [-0.21], None),
        ([(-1.0, -3.0)], [-1.81], "0.810 nats a token from the recorded ones (0.800 allowed)"),
        ([(-1.0, -3.0)], [-0.1], "(0.800 allowed)"),
        ([(-1.0, -3.0)], [-3.0], "like the bare base's"),
        ([(-1.0, -3.0)], [-2.01], "like the bare base's"),
        # effect 0.11: the floor of 0.05 holds, and 0.044 does not
        ([(-1.0, -1.11)], [-1.048], None),
        ([(-1.0, -1.11)], [-1.052], "(0.050 allowed)"),
        ([(-1.0, -1.11)], [-1.06], "like the bare base's"),
        # an average: one strays by 1.2, the other by nothing
        ([(-1.0, -3.0), (-1.0, -3.0)], [-2.2, -1.0], None),
        # errors of opposite sign do not cancel
        ([(-1.0, -3.0), (-1.0, -3.0)], [-1.9, -0.1], "0.900 nats"),
        ([(-1.0, -3.0)], [math.nan], "like the bare base's"),
        ([(-1.0, -3.0)], [-math.inf], "like the bare base's"),
    ],
)
def test_replies(recorded: list[tuple[float, float]], now: list[float], reason: str | None) -> None:
    canaries = [canary(*pair) for pair in recorded]
    if reason is None:
        compare_replies(canaries, now)
        return
    with pytest.raises(NoEffect) as caught:
        compare_replies(canaries, now)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("recorded", "now", "reason"),
    [
        ([(0, 30)], [0], None),
        ([(0, 30)], [8.0], None),  # cosine 0.9903
        ([(0, 30)], [8.2], "cosine 0.9898"),
        ([(0, 30)], [30], "like the bare encoder's"),
        ([(0, 4)], [4], "like the bare encoder's"),  # near enough by itself, yet nearer to the bare one
        ([(0, 4)], [2.1], "like the bare encoder's"),
        ([(0, 4)], [1.9], None),
        ([(0, 30), (0, 30)], [0, 10], "cosine 0.9848"),  # one that strays is enough
    ],
)
def test_vectors(recorded: list[tuple[float, float]], now: list[float], reason: str | None) -> None:
    canaries = [embed(*pair) for pair in recorded]
    vectors = [turned(angle) for angle in now]
    if reason is None:
        compare_vectors(canaries, vectors)
        return
    with pytest.raises(NoEffect) as caught:
        compare_vectors(canaries, vectors)
    assert reason in str(caught.value)


@pytest.mark.parametrize("vector", [(math.nan, 0.0), (0.0, 0.0)])
def test_vectors_that_are_none(vector: tuple[float, float]) -> None:
    with pytest.raises(NoEffect):
        compare_vectors([embed(0, 30)], [vector])


def test_vectors_of_another_width() -> None:
    with pytest.raises(NoEffect, match="3 dimensions, 2 were recorded"):
        compare_vectors([embed(0, 30)], [(1.0, 0.0, 0.0)])


@pytest.mark.parametrize(("effect", "telling"), [(0.2, True), (0.11, True), (0.09, False), (0.0, False)])
def test_only_telling_canaries_are_recorded(effect: float, telling: bool) -> None:
    if telling:
        require_effect([canary(-1.0, -1.0 - effect)])
    else:
        with pytest.raises(NoEffect, match="nats a token on average"):
            require_effect([canary(-1.0, -1.0 - effect)])


def test_cosine() -> None:
    assert cosine([3.0, 4.0], [4.0, 3.0]) == pytest.approx(24 / 25)
