"""Packing: what is shared, what fits, that nothing is lost, and that a packed row is the row by itself to a real model."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from lorag.training.packing import IGNORED, SHARED_TOKENS, collate, pack

TRUNK = list(range(100, 100 + SHARED_TOKENS + 12))


def row(prompt: list[int], reply: list[int]) -> dict[str, list[int]]:
    return {"input_ids": prompt + reply, "labels": [IGNORED] * len(prompt) + reply}


def rows(count: int = 40, seed: int = 0) -> list[dict[str, list[int]]]:
    """Rows on three trunks and rows of their own, of many lengths."""
    draw = random.Random(seed)
    trunks = [[draw.randrange(3, 60) for _ in range(SHARED_TOKENS + extra)] for extra in (5, 30, 0)]
    made = []
    for number in range(count):
        own = [draw.randrange(3, 60) for _ in range(draw.randrange(2, 30))]
        prompt = [*trunks[number % 3], *own] if number % 4 else own
        made.append(row(prompt, [draw.randrange(3, 60) for _ in range(draw.randrange(1, 6))]))
    return made


def targets(sequences: list[dict[str, list[int]]]) -> Counter[tuple[int, ...]]:
    """Each run of labels, with how often it occurs."""
    found: Counter[tuple[int, ...]] = Counter()
    for sequence in sequences:
        held: list[int] = []
        for label in [*sequence["labels"], IGNORED]:
            if label != IGNORED:
                held.append(label)
            elif held:
                found[tuple(held)] += 1
                held = []
    return found


def test_a_common_beginning_is_read_once() -> None:
    packed = pack([row([*TRUNK, 1, 2], [7]), row([*TRUNK, 3], [8, 9])], 200)
    assert packed == [
        {
            "input_ids": [*TRUNK, 1, 2, 7, 3, 8, 9],
            "labels": [IGNORED] * (len(TRUNK) + 2) + [7, IGNORED, 8, 9],
            "position_ids": [*range(len(TRUNK) + 3), *range(len(TRUNK), len(TRUNK) + 3)],
            "tree": [0] * (len(TRUNK) + 6),
            "branch": [0] * len(TRUNK) + [1] * 3 + [2] * 3,
        }
    ]


def test_equal_prompts_keep_a_token_each_before_their_targets() -> None:
    packed = pack([row(TRUNK, [7]), row(TRUNK, [8])], 200)
    assert packed[0]["input_ids"] == [*TRUNK[:-1], TRUNK[-1], 7, TRUNK[-1], 8]


def test_a_short_common_beginning_is_not_joined() -> None:
    short = TRUNK[: SHARED_TOKENS - 1]
    packed = pack([row([*short, 1], [7]), row([*short, 2], [8])], 200)
    assert sum(len(sequence["input_ids"]) for sequence in packed) == 2 * (len(short) + 2)


@pytest.mark.parametrize("limit", [130, 200, 1000])
def test_sequences_fit_and_no_target_is_lost(limit: int) -> None:
    given = rows()
    packed = pack(given, limit)
    assert max(len(sequence["input_ids"]) for sequence in packed) <= limit
    assert targets(packed) == targets(given)


def test_packed_tokens_are_few_and_padding_is_below_five_percent() -> None:
    given = rows(400)
    packed = pack(given, 512)
    read = sum(len(sequence["input_ids"]) for sequence in packed)
    assert read < 0.6 * sum(len(r["input_ids"]) for r in given)
    assert 1 - read / (512 * len(packed)) < 0.05


def test_the_order_is_the_seeds() -> None:
    assert pack(rows(), 200, seed=1) == pack(rows(), 200, seed=1) != pack(rows(), 200, seed=2)


def test_a_row_longer_than_a_sequence_stands_alone() -> None:
    long, short = row(TRUNK, [1] * 4), row([9] * 20, [2])
    packed = pack([long, short, row([8] * 20, [3])], 60)
    assert sorted(len(sequence["input_ids"]) for sequence in packed) == [42, len(TRUNK) + 4]
    assert targets(packed) == targets([long, short, row([8] * 20, [3])])
    alone = next(sequence for sequence in packed if len(sequence["input_ids"]) > 60)
    assert {key: alone[key] for key in ("input_ids", "labels")} == {key: list(long[key]) for key in ("input_ids", "labels")}


def test_a_token_sees_its_trunk_and_its_own_branch() -> None:
    packed = pack([row([*TRUNK, 1], [7]), row([*TRUNK, 3], [8])], 200)
    mask = collate(packed, 0)["attention_mask"][0, 0]
    trunk = len(TRUNK)
    assert mask[trunk - 1].tolist() == [True] * trunk + [False] * 4
    assert mask[trunk + 1].tolist() == [True] * (trunk + 2) + [False] * 2
    assert mask[trunk + 3].tolist() == [True] * trunk + [False] * 2 + [True] * 2


def test_a_packed_batch_has_the_loss_and_the_gradient_of_its_rows_alone(tiny_base: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from lorag.training.sft import target_loss

    model: Any = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32, attn_implementation="eager").train()
    given = rows(24)
    count = sum(label != IGNORED for r in given for label in r["labels"])
    weight = model.get_input_embeddings().weight
    alone = torch.zeros(())
    for r in given:
        inputs = {name: torch.tensor([ids]) for name, ids in r.items()}
        alone = alone + target_loss(model, inputs, count)[0]
    alone_gradient = torch.autograd.grad(alone, weight)[0]
    packed = target_loss(model, collate(pack(given, 256), 0), count)[0]
    packed_gradient = torch.autograd.grad(packed, weight)[0]
    assert packed.item() == pytest.approx(alone.item(), abs=1e-5)
    assert torch.allclose(packed_gradient, alone_gradient, atol=1e-5)
