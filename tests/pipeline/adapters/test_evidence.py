"""Claims: which is of the same subject as which, and how people read them. Cards of format 1 read as claims."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lorag.pipeline.adapters.card import AdapterCard, Parent, card_json, read_card
from lorag.pipeline.adapters.evidence import (
    BARE_BASE,
    LEADING_METRIC,
    Against,
    DataOrigin,
    Evidence,
    EvidenceData,
    EvidenceKind,
    with_claims,
)
from lorag.pipeline.adapters.starters import bundled_starters
from lorag.pipeline.errors import AdapterError
from lorag.pipeline.evaluation.ablation import OWN_METRIC
from tests.claims import claim

Plain = Callable[[int], Path]
Card = Callable[[Path], AdapterCard]
EARLIER = Against("rewriter 0001-aa11bb22", "aa11")


def test_the_metric_that_decides_is_the_one_that_evaluation_measures() -> None:
    assert LEADING_METRIC == OWN_METRIC


def test_the_newest_stands_first_and_replaces_what_has_its_subject() -> None:
    old, other = claim(low=0.1), claim("rewrite EM")
    assert with_claims((old, other), [new := claim(low=0.2)]) == (new, other)
    assert with_claims((), [old, new]) == (new,)
    assert with_claims((old,), []) == (old,)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (claim(), claim(low=0.3, n=9), True),
        (claim(data="a", digest="ab"), claim(data="b", digest="ab"), True),  # the same rows in another folder
        (claim(data="a"), claim(data="b"), False),
        (claim(data="ab"), claim(data="x", digest="ab"), False),
        (claim(against=Against("0001-aa11bb22", "aa11")), claim(against=Against("0007-aa11bb22", "aa11")), True),
        (claim(against=Against("0001-aa11bb22", "aa11")), claim(), False),
        (claim(kind=EvidenceKind.TRANSFER), claim(), False),
        (claim("F1"), claim("EM"), False),
    ],
)
def test_subjects(one: Evidence, other: Evidence, same: bool) -> None:
    assert (one.subject == other.subject) is same


def test_words() -> None:
    assert (claim().interval, claim(look=None).confidence) == ("+0.100 to +0.700", "95 %")
    assert [claim(look=number).confidence for number in (1, 2, 3)] == ["97.5 %", "99.17 %", "99.58 %"]
    assert (str(BARE_BASE), str(EARLIER)) == ("the bare base", "version rewriter 0001-aa11bb22")
    assert str(EvidenceData("rows", "ab", DataOrigin.FEEDBACK)) == "rows (feedback)"


def _as_format_1(evidence: Evidence, data: str) -> dict[str, Any]:
    kept = {key: getattr(evidence, key) for key in ("metric", "tuned", "difference", "low", "high", "n")}
    return {**kept, "base": evidence.reference, "data": data}


@pytest.fixture
def old(plain_adapter: Plain, plain_card: Card) -> Path:
    """A folder whose card is of format 1, with a parent and a comparison on a general set."""
    folder = plain_adapter(1)
    card = plain_card(folder)
    change = claim(low=-0.1, kind=EvidenceKind.TRANSFER, against=EARLIER)
    parent = Parent(EARLIER.version, EARLIER.weights_digest, (change,))
    data = json.loads(card_json(dataclasses.replace(card, parent=parent)))
    data["format"] = 1
    data["evidence"] = [_as_format_1(claim(), "made-up test split"), _as_format_1(claim("nDCG@10"), "sea, a general set")]
    data["parent"]["changes"] = [_as_format_1(change, "made-up test split")]
    (folder / "card.json").write_text(json.dumps(data))
    return folder


def test_a_card_of_format_1_is_read_as_claims_against_the_base(old: Path) -> None:
    card = read_card(old)
    assert card.format == 2
    general = claim("nDCG@10", data="sea", kind=EvidenceKind.GENERAL, groups=None, look=None)
    assert card.evidence == (claim(groups=None, look=None), general)
    assert card.parent is not None
    assert card.parent.changes == (claim(low=-0.1, kind=EvidenceKind.TRANSFER, against=EARLIER, groups=None, look=None),)
    (old / "card.json").write_text(card_json(card))
    assert read_card(old) == card


def test_invented_items_of_format_1_were_made(old: Path) -> None:
    """The names under which the last version's bundled adapters have them, in the registry of a project that it made."""
    data = json.loads((old / "card.json").read_text())
    names = ("invented conversations", "support, invented documents", "invented documents/test")
    data["evidence"] = [_as_format_1(claim(), name) for name in names]
    (old / "card.json").write_text(json.dumps(data))
    assert [each.data.origin.value for each in read_card(old).evidence] == ["made", "made", "human"]


@pytest.mark.parametrize(
    "wrong", [{"low": 0.9, "high": -0.9}, {"n": 0}, {"n": -5}, {"level": 0.0}, {"level": 1.0}, {"level": -0.95}, {"level": 95.0}]
)
@pytest.mark.parametrize("changed", [False, True])
def test_a_claim_that_no_comparison_gives_is_refused(
    plain_adapter: Plain, plain_card: Card, wrong: dict[str, Any], changed: bool
) -> None:
    folder = plain_adapter(1)
    claims = (claim(), dataclasses.replace(claim("nDCG@10"), **wrong))
    parent = Parent(EARLIER.version, EARLIER.weights_digest, claims if changed else ())
    card = dataclasses.replace(plain_card(folder), parent=parent, evidence=() if changed else claims)
    (folder / "card.json").write_text(card_json(card))
    with pytest.raises(AdapterError, match=r"changes\[1\]: n is" if changed else r"evidence\[1\]: n is"):
        read_card(folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda card: card["evidence"][1].update(low="0.1"), "evidence[1]: low must be of type float"),
        (lambda card: card["evidence"][0].pop("data"), "evidence[0]: key 'data' is missing"),
        (lambda card: card.update(evidence={}), "evidence must be a list"),
        (lambda card: card.update(evidence=[3]), "evidence[0]: must be an object"),
        (lambda card: card["parent"].update(changes=[{}]), "parent: changes[0]: key "),
        (lambda card: card.update(parent=[]), "parent: must be an object"),
        (lambda card: card.pop("licence"), "key 'licence' is missing"),
    ],
)
def test_a_wrong_card_of_format_1(old: Path, change: Callable[[Any], None], words: str) -> None:
    data = json.loads((old / "card.json").read_text())
    change(data)
    (old / "card.json").write_text(json.dumps(data))
    with pytest.raises(AdapterError) as caught:
        read_card(old)
    assert str(old / "card.json") in str(caught.value) and words in str(caught.value)


def test_what_the_starters_claim_of_invented_items_is_of_made_ones() -> None:
    for folder in bundled_starters().values():
        text = (folder / "card.json").read_text(encoding="utf-8")
        assert json.loads(text)["format"] == 2 and card_json(read_card(folder)) == text
        for each in read_card(folder).evidence:
            made = "invented" in each.data.name
            assert each.data.origin is (DataOrigin.MADE if made else DataOrigin.HUMAN)
            assert (each.against, each.kind) == (BARE_BASE, EvidenceKind.HELD_OUT)
