"""The card: strict to read, the same after a round trip, and readable as a model card."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from lorag.pipeline.adapters.card import AdapterCard, card_json, read_card
from lorag.pipeline.adapters.model_card import write_model_card
from lorag.pipeline.errors import AdapterError
from lorag.pipeline.records import Role

Plain = Callable[[int], Path]
Card = Callable[[Path], AdapterCard]


def test_round_trip(plain_adapter: Plain, plain_card: Card) -> None:
    folder = plain_adapter(1)
    card = plain_card(folder)
    assert read_card(folder) == card


def _set(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(data: dict[str, Any]) -> None:
        *parents, last = path.split(".")
        for key in parents:
            data = data[int(key)] if isinstance(data, list) else data[key]
        if value is ...:
            del data[last]
        else:
            data[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_set("licenze", "mit"), ["unknown key 'licenze'"]),
        (_set("licence", ...), ["key 'licence' is missing"]),
        (_set("identity.base_digest", ...), ["identity", "key 'base_digest' is missing"]),
        (_set("identity.extra", 1), ["identity", "unknown key 'extra'"]),
        (_set("evidence.0.low", "0.1"), ["evidence[0]: low", "float", "str"]),
        (_set("evidence.0.n", 3.5), ["evidence[0]: n", "int"]),
        (_set("evidence.0.kind", "guess"), ["evidence[0]: kind is 'guess'", "held-out, sealed, general, transfer"]),
        (_set("evidence.0.data.origin", "bot"), ["evidence[0]: data: origin is 'bot'", "human, made, feedback"]),
        (_set("evidence.0.against", "base"), ["evidence[0]: against", "must be an object"]),
        (_set("evidence.0.tuned", 0.1), ["evidence[0]: ROUGE-1 0.1 against 0.2", "no difference of +0.4", "lorag eval adapter"]),
        (_set("evidence", {}), ["evidence must be a list"]),
        (_set("lora.rank", True), ["lora: rank", "int", "bool"]),
        (_set("lora.alpha", float("inf")), ["Infinity is no JSON number"]),
        (_set("lora.alpha", 10**400), ["lora: alpha", "finite"]),
        (_set("lora.rank", 10**40), ["lora: rank", "finite"]),
        (_set("data.splits", []), ["data: splits must be an object"]),
        (_set("role", "poet"), ["role is 'poet'", "rewriter, embedder, synthesizer, judge, questioner"]),
        (_set("created", "yesterday"), ["created", "yesterday"]),
        (_set("created", "2025-01-31T12:00:00"), ["created", "UTC"]),
        (_set("created", "2025-01-31T12:00:00+02:00"), ["created", "UTC"]),
        (_set("format", 3), ["format is 3", "reads 1 and 2"]),
    ],
)
def test_wrong_card(plain_adapter: Plain, plain_card: Card, change: Callable[[Any], None], words: list[str]) -> None:
    folder = plain_adapter(1)
    plain_card(folder)
    data = json.loads((folder / "card.json").read_text())
    change(data)
    (folder / "card.json").write_text(json.dumps(data))
    with pytest.raises(AdapterError) as caught:
        read_card(folder)
    message = str(caught.value)
    assert "\n" not in message
    for word in [str(folder / "card.json"), *words]:
        assert word in message


@pytest.mark.parametrize(
    ("text", "word"), [("{", "not JSON"), ("[]", "format is None"), ('{"a": 1, "a": 2}', "'a' stands there twice")]
)
def test_card_that_is_no_card(tmp_path: Path, text: str, word: str) -> None:
    (tmp_path / "card.json").write_text(text)
    with pytest.raises(AdapterError, match=word):
        read_card(tmp_path)


def test_missing_card(tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match=r"card\.json: cannot be read"):
        read_card(tmp_path)


def test_numbers_that_are_not_finite_are_not_written(plain_adapter: Plain, plain_card: Card) -> None:
    card = plain_card(plain_adapter(1))
    broken = dataclasses.replace(card, training=dataclasses.replace(card.training, final_loss=float("nan")))
    with pytest.raises(AdapterError, match="not finite"):
        card_json(broken)


def _front(text: str) -> dict[str, Any]:
    _, front, _ = text.split("---\n", 2)
    loaded = yaml.safe_load(front)
    assert isinstance(loaded, dict)
    return loaded


def test_model_card(plain_adapter: Plain, plain_card: Card) -> None:
    card = plain_card(plain_adapter(1))
    text = write_model_card(card)
    assert _front(text).items() >= {"license": "apache-2.0", "library_name": "peft", "pipeline_tag": "text-generation"}.items()
    figures = "0.200 | 0.600 | +0.400 | +0.100 to +0.700 (97.5 %) | 30"
    assert f"| ROUGE-1 | the bare base | {figures} | made-up test split (human) | held-out |" in text
    assert card.identity.weights_digest in text


def test_model_card_keeps_hostile_text_in_its_cell(plain_adapter: Plain, plain_card: Card) -> None:
    card = plain_card(plain_adapter(1))
    hostile = 'a: "b"\n---\n<script>|'
    identity = dataclasses.replace(card.identity, base=hostile)
    text = write_model_card(dataclasses.replace(card, identity=identity, role=Role.EMBEDDER, licence=hostile))
    assert _front(text)["license_name"] == " ".join(hostile.split()) and "base_model" not in _front(text)
    assert "<script>" not in text.split("---\n", 2)[2]


def test_model_card_does_not_name_a_folder_of_the_maker(plain_adapter: Plain, plain_card: Card) -> None:
    card = plain_card(plain_adapter(1))
    text = write_model_card(dataclasses.replace(card, identity=dataclasses.replace(card.identity, base="/some/folder/model")))
    assert "base_model" not in _front(text)
