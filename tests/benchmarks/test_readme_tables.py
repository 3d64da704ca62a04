"""The README's tables are what the stored results say."""

from __future__ import annotations

import pytest

from benchmarks import readme_tables
from benchmarks.readme_tables import BLOCK, README, TABLES, difference, filled, span

TEXT = README.read_text(encoding="utf-8")


def test_each_table_shows_the_stored_figures() -> None:
    assert filled(TEXT) == TEXT, "run python -m benchmarks.readme_tables"


def test_the_readme_has_every_table_once_and_closes_it() -> None:
    assert sorted(found[2] for found in BLOCK.finditer(TEXT)) == sorted(TABLES)
    assert TEXT.count("<!-- table ") == TEXT.count("<!-- end -->") == len(TABLES)


def test_another_result_changes_its_table_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readme_tables, "TABLES", {"a": lambda: "new", "b": lambda: "same"})
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
