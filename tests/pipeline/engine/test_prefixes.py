"""What prompts begin with alike is read once, and the logits are those of whole prompts."""

from __future__ import annotations

from typing import Any

import pytest

from lorag.pipeline.engine.batch import BASE_ROW, Batch
from lorag.pipeline.engine.local import LocalEngine
from lorag.pipeline.engine.prefixes import LEAST, shared_prefixes
from lorag.pipeline.engine.protocol import ChoiceRequest, Generation, Sampling
from lorag.pipeline.records import Message

LONG = tuple(range(100, 100 + 2 * LEAST))


def test_the_longest_common_beginning_of_a_group_is_read_once() -> None:
    prompts = [((*LONG, 1, 2), "a"), ((*LONG, 3), "a"), ((*LONG, 4, 5, 6), "a")]
    found = shared_prefixes(prompts)
    assert found is not None
    assert found.prefixes == ((LONG, "a"),)
    assert (found.places, found.rest) == ((0, 0, 0), ((1, 2), (3,), (4, 5, 6)))


def test_a_prompt_that_another_begins_with_keeps_its_last_token() -> None:
    found = shared_prefixes([(LONG, "a"), ((*LONG, 1), "a")])
    assert found is not None
    assert found.prefixes == ((LONG[:-1], "a"),)
    assert found.rest == (LONG[-1:], (LONG[-1], 1))


def test_adapters_share_nothing_and_a_prompt_alone_is_its_own_beginning() -> None:
    assert shared_prefixes([((*LONG, 1), "a"), ((*LONG, 2), "b")]) is None
    alone = tuple(range(1, LEAST + 3))
    found = shared_prefixes([((*LONG, 1), "a"), (alone, "a"), ((*LONG, 2), "a"), ((*LONG, 3), "a")])
    assert found is not None
    assert found.places == (0, 1, 0, 0)
    assert found.rest == ((1,), alone[-1:], (2,), (3,))


@pytest.mark.parametrize(
    "prompts",
    [
        [((1, 2, 3), "a"), ((1, 2, 4), "a")],  # too short
        [((*LONG, *range(200)), "a"), ((*LONG, *range(300, 500)), "a")],  # most of it is not shared
        [((*LONG, *range(40)), "a"), ((*LONG, *range(60, 100)), "a")],  # half of it is, which saves too little for two prompts
        [((5,), "a")],
    ],
)
def test_what_saves_little_is_read_whole(prompts: Any) -> None:
    assert shared_prefixes(prompts) is None


SHEET = "The reading room of the town library closes at half past seven, and the pool is emptied every March by two people. " * 3
ASKED = ("When does it close?", "Who empties the pool?", "How often is that, and in which month of the year does it happen?")


def asks(adapter: str | None) -> list[Generation]:
    shared = [Generation((Message("user", f"{SHEET}\n\n{text}"),), adapter, 8, Sampling()) for text in ASKED]
    return [*shared, Generation((Message("user", "Something else that is asked, of a few more words than others."),), adapter, 8)]


@pytest.mark.parametrize("adapter", [None, "ada"])
def test_the_logits_are_those_of_whole_prompts(engine: LocalEngine, adapter: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    rows = [(engine.row(each).ids, adapter or BASE_ROW) for each in asks(adapter)]
    assert shared_prefixes(rows) is not None

    def after(rows: Any) -> Any:
        batch = Batch(engine._session, rows, engine.tokens.pad_id, "cpu")
        first = batch.prefill()
        return first, batch.step(torch.tensor([7] * len(rows))), batch

    first, second, batch = after(rows)
    widest = max(len(ids) for ids, _ in rows)
    assert batch.width <= widest + 1 + len(rows[2][0]) - len(rows[0][0]) + LEAST  # padding between beginning and rest
    for at, row in enumerate(rows):
        alone, then, _ = after([row])
        assert torch.allclose(first[at], alone[0], atol=1e-4)
        assert torch.allclose(second[at], then[0], atol=1e-4)


def test_fewer_tokens_are_read(engine: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    forward = Batch._forward

    def counted(self: Batch, ids: Any, *rest: Any, **more: Any) -> Any:
        read.append(ids.numel())
        return forward(self, ids, *rest, **more)

    monkeypatch.setattr(Batch, "_forward", counted)
    requests = asks(None)[:3]
    engine.generate([Generation(each.messages, None, 1) for each in requests])
    whole = sum(len(engine.row(each).ids) for each in requests)
    assert sum(read) < 0.6 * whole


def test_replies_and_probabilities_are_those_of_prompts_read_alone(engine: LocalEngine) -> None:
    requests = asks("ada")
    assert engine.generate(requests) == [engine.generate([each])[0] for each in requests]
    choices = [ChoiceRequest(each.messages, ("yes", "no, it is not"), "ada") for each in requests]
    together = engine.choice_probabilities(choices)
    for one, each in zip(together, choices, strict=True):
        assert one == pytest.approx(engine.choice_probabilities([each])[0], abs=1e-4)
