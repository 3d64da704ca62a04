"""The tables of the README and of docs/ are what the stored results say."""

from __future__ import annotations

import pytest

from benchmarks import tables
from benchmarks.tables import BLOCK, PAGES, ROOT, TABLES, difference, filled, span

TEXTS = {str(page.relative_to(ROOT)): page.read_text(encoding="utf-8") for page in PAGES}


@pytest.mark.parametrize("page", TEXTS)
def test_each_table_shows_the_stored_figures(page: str) -> None:
    assert filled(TEXTS[page]) == TEXTS[page], "run python -m benchmarks.tables"


def test_every_table_stands_once_and_is_closed() -> None:
    assert sorted(found[2] for text in TEXTS.values() for found in BLOCK.finditer(text)) == sorted(TABLES)
    for text in TEXTS.values():
        assert text.count("<!-- table ") == text.count("<!-- end -->") == len(BLOCK.findall(text))


def test_the_readme_has_one_table_and_shows_the_floors_first() -> None:
    (shown,) = BLOCK.findall(TEXTS["README.md"])
    assert shown[1] == "front"
    assert TEXTS["README.md"].count("| metric | floor: no model |") == 1


def test_another_result_changes_its_table_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "TABLES", {"a": lambda: "new", "b": lambda: "same"})
    text = "x\n<!-- table a -->\n\n| old |\n\n<!-- end -->\ny\n<!-- table b -->\n\nsame\n\n<!-- end -->\n"
    assert filled(text) == text.replace("| old |", "new")


def test_a_table_without_code_is_named() -> None:
    with pytest.raises(KeyError, match="nothing-makes-this"):
        filled("<!-- table nothing-makes-this -->\n\n\n\n<!-- end -->")


def test_figures_carry_their_intervals() -> None:
    assert span({"value": 0.5, "low": 0.25, "high": 0.75}) == "0.50 (0.25–0.75)"
    assert span({"value": 40.0, "low": None, "high": None}) == ""
    assert difference({"value": 0.0123, "low": -0.01, "high": 0.02}) == "+0.012 (-0.010 to +0.020)"
    assert difference(None) == ""
