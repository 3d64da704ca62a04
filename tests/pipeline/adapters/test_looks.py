"""The ledger of looks: what each may spend, which measurement is a new look, and what happens to a damaged file."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from fractions import Fraction
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from lorag.pipeline.adapters.evidence import DataOrigin, EvidenceData
from lorag.pipeline.adapters.looks import ALPHA, Look, Result, confidence, item_key, least_p, look_line, spent
from lorag.pipeline.adapters.registry import Registry
from lorag.pipeline.errors import AdapterError
from lorag.pipeline.evaluation.groups import contributions_of
from lorag.pipeline.evaluation.sign_flips import SignFlips
from lorag.pipeline.records import Role

DATA = EvidenceData("rows/test", "ab" * 32, DataOrigin.HUMAN)
BASE, FLOOR, SERVED = Result("", "the bare base", 0.2, 0.01), Result("floor x", "x", 0.1, 0.02), Result("aa", "0001", 0.05, 0.2)


def look(weights: str = "aa11", *results: Result, **more: object) -> Look:
    made = Look(0, "2025-01-31T12:00:00Z", "rewriter", "0001-aa11", weights, "ROUGE-1", DATA, 30, 10, results or (BASE,), 0.0)
    return replace(made, **more)  # type: ignore[arg-type]


def test_what_looks_spend_adds_up_to_alpha() -> None:
    """Σ 1/(k(k+1)) over k ≤ K is 1 − 1/(K+1)."""
    shares = [Fraction(1, k * (k + 1)) for k in range(1, 101)]
    assert sum(shares) == 1 - Fraction(1, 101)
    assert [spent(k) for k in range(1, 101)] == pytest.approx([ALPHA * float(share) for share in shares])
    assert confidence(1) == pytest.approx(0.975) and confidence(2) == pytest.approx(1 - 0.05 / 6)


def test_the_smallest_p_of_so_many_groups() -> None:
    for groups in (8, 12, 20):
        assert least_p(groups) == SignFlips(contributions_of(np.ones(groups), np.arange(groups))).least_p / 2
    assert least_p(8) == 1 / 256
    assert look_line(1, 8, DATA).endswith("so the interval at 97.5 % decides.")
    assert "it may spend 0.0042" in look_line(2, 8, DATA)
    assert look_line(3, 8, DATA).endswith("which 8 groups cannot show: their smallest p is 0.0039. Use a new test set.")


def test_each_new_candidate_is_a_look_and_a_repetition_is_none(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "adapters")
    assert registry.looks(Role.REWRITER) == ()
    first = registry.record_look(look())
    assert (first.number, first.alpha) == (1, spent(1))
    assert registry.record_look(look(time="2026-01-31T12:00:00Z")).number == 1
    assert registry.record_look(look("bb22")).number == 2
    assert registry.record_look(look("bb22", replace(BASE, difference=0.25))).number == 3  # the chain is another
    assert registry.record_look(look(data=replace(DATA, digest="cd" * 32))).number == 1  # another test set
    assert registry.record_look(look(role="judge")).number == 1
    assert [(each.number, each.weights) for each in registry.looks(Role.REWRITER)] == [
        (1, "aa11"),
        (2, "bb22"),
        (3, "bb22"),
        (1, "aa11"),
    ]


ITEMS = tuple(item_key(f"Who keeps key {n}?") for n in range(40))


def test_a_test_set_is_its_items_and_not_its_file(tmp_path: Path) -> None:
    """A new digest with most of the items known is no new test set; nor are three quarters of the rows, or twice as many."""
    registry = Registry(tmp_path)
    edited = [ITEMS, (*ITEMS[1:], item_key("Who keeps the lamp?")), ITEMS[:30], (*ITEMS, *(f"{n:012x}" for n in range(40)))]
    for number, items in enumerate(edited, 1):
        data = replace(DATA, digest=f"{number:064x}", name=f"rows {number}")
        assert registry.record_look(look(f"{number:04d}", data=data, items=items)).number == number
    fresh = tuple(f"{n:012x}" for n in range(100, 190))
    assert registry.record_look(look("eeee", data=replace(DATA, digest="ee" * 32), items=fresh)).number == 1
    mostly = (*fresh, *ITEMS[:20])  # 18 % of it were looked at five times, the rest once
    assert registry.record_look(look("ffff", data=replace(DATA, digest="ff" * 32), items=mostly)).number == 2


def test_an_edit_that_changes_no_word_is_the_same_item_and_the_same_look(tmp_path: Path) -> None:
    assert item_key("Who keeps the key?") == item_key("who keeps\n the KEY") != item_key("Who keeps the lamp?")
    registry = Registry(tmp_path)
    first = registry.record_look(look(items=ITEMS))
    again = registry.record_look(look(items=ITEMS, data=replace(DATA, digest="ef" * 32)))
    assert (first.number, again.number, len(registry.looks(Role.REWRITER))) == (1, 1, 1)


@pytest.mark.parametrize(
    ("text", "edited"),
    [
        ("Who's on at 6:30 pm?", "whos on at 6.30pm"),
        ("the café's e-mail", "the cafe\u0301s email"),
        ("the lamp", "the la\u200bmp"),
    ],
)
def test_punctuation_spacing_and_the_form_of_an_accent_are_no_words(text: str, edited: str) -> None:
    assert item_key(text) == item_key(edited) != item_key(f"{text} 2")


def test_a_repetition_costs_nothing_after_a_look_at_another_test_set(tmp_path: Path) -> None:
    """One version is measured on the test split and on the sealed part: each look is the first at its items."""
    registry = Registry(tmp_path)
    sealed = replace(DATA, name="rows/sealed", digest="5e" * 32)
    here = look(items=ITEMS)
    there = look("aa11", replace(BASE, difference=0.3), data=sealed, items=tuple(f"{n:012x}" for n in range(30)))
    more = replace(here, results=(BASE, FLOOR))
    found = [registry.record_look(each) for each in (here, there, here, more, there, here)]
    assert [each.number for each in found] == [1] * 6
    assert [each.data.name for each in registry.looks(Role.REWRITER)] == ["rows/test", "rows/sealed", "rows/test"]
    assert (
        registry.record_look(replace(here, weights="bb22")).number
        == registry.record_look(replace(there, weights="cc33")).number
        == 2
    )


def test_a_look_of_before_items_were_written_counts_by_digest_or_name(tmp_path: Path) -> None:
    registry, file = Registry(tmp_path), tmp_path / "rewriter" / "looks.jsonl"
    registry.record_look(look())
    lines = [{key: value for key, value in json.loads(line).items() if key != "items"} for line in file.read_text().splitlines()]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert [each.items for each in registry.looks(Role.REWRITER)] == [None]
    assert registry.record_look(look("bb22", data=replace(DATA, digest="ef" * 32), items=ITEMS)).number == 2
    other = replace(DATA, digest="ef" * 32, name="other/test")
    assert registry.record_look(look("cc33", data=other, items=tuple(f"{n:012x}" for n in range(9)))).number == 1


def test_further_comparators_of_the_same_figures_are_the_same_look(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    asked = [(BASE,), (BASE, FLOOR), (BASE,), (SERVED, BASE, FLOOR), (replace(SERVED, key="bb"), BASE, FLOOR)]
    assert [registry.record_look(look("aa11", *results)).number for results in asked] == [1, 1, 1, 1, 2]
    assert [len(each.results) for each in registry.looks(Role.REWRITER)] == [1, 2, 3, 3]


def test_lines_are_appended_and_none_is_changed(tmp_path: Path) -> None:
    registry, file = Registry(tmp_path), tmp_path / "rewriter" / "looks.jsonl"
    before = b""
    for name in ("aa11", "bb22", "cc33"):
        registry.record_look(look(name))
        assert file.read_bytes().startswith(before)
        before = file.read_bytes()
    assert [json.loads(line)["weights"] for line in before.splitlines()] == ["aa11", "bb22", "cc33"]


def _record(folder: Path, name: str) -> None:
    Registry(folder).record_look(look(name))


def test_processes_that_look_at_once_get_a_number_each(tmp_path: Path) -> None:
    context = get_context("spawn")
    workers = [context.Process(target=_record, args=(tmp_path, f"{n:04d}")) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert sorted(each.number for each in Registry(tmp_path).looks(Role.REWRITER)) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no rows"),
        ("{", "not JSON"),
        ('{"number": 1}\n', "key 'alpha' is missing"),
        ("[]\n", "a JSON object is expected"),
    ],
)
def test_a_damaged_ledger_counts_nothing(tmp_path: Path, text: str, words: str) -> None:
    registry, file = Registry(tmp_path), tmp_path / "rewriter" / "looks.jsonl"
    file.parent.mkdir()
    file.write_text(text)
    for call in (lambda: registry.record_look(look()), lambda: registry.looks(Role.REWRITER)):
        with pytest.raises(AdapterError, match=words) as caught:
            call()
        assert str(file) in str(caught.value)
    assert file.read_text() == text


def test_a_number_below_one_is_refused(tmp_path: Path) -> None:
    registry, file = Registry(tmp_path), tmp_path / "rewriter" / "looks.jsonl"
    registry.record_look(look())
    file.write_text(file.read_text().replace('"number": 1', '"number": 0'))
    with pytest.raises(AdapterError, match="number is 0; looks are counted from 1"):
        registry.looks(Role.REWRITER)


def test_a_ledger_that_cannot_be_written_stops_the_measurement(tmp_path: Path) -> None:
    (tmp_path / "rewriter").write_text("no folder")
    with pytest.raises(AdapterError, match="writing the ledger of looks of the rewriter in .* failed") as caught:
        Registry(tmp_path).record_look(look())
    assert "nothing was changed" in str(caught.value)
    assert os.listdir(tmp_path) == ["rewriter"]
