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
    assert TEXTS["README.md"].count("| metric | floor: no training |") == 1


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


CELL = {"value": 0.15, "low": 0.1, "high": 0.2, "n": 48, "groups": 12}
RUN = {
    "ablation": {
        "rows": [
            {"configuration": "base", "cells": {"F1": {"value": 0.1, "low": 0.0, "high": 0.2, "n": 48, "groups": 12}}},
            {"configuration": "all", "cells": {"F1": {"value": 0.4, "low": 0.3, "high": 0.5, "n": 48, "groups": 12}}},
        ]
    },
    "decisions": [
        {
            "role": "rewriter",
            "decision": "hold",
            "metric": "ROUGE-1",
            "comparators": [
                {"against": "the bare base", "reference": 0.5, "tuned": 0.6, "difference": 0.1, "low": 0.02, "high": 0.2}
                | {"level": 0.975, "n": 48, "groups": 12, "beaten": True}
            ],
            "guards": [
                {"metric": "harm", "against": "the bare base", "difference": 0.2, "low": 0.1, "high": 0.3, "lost": True},
                {"metric": "kept", "against": "the bare base", "difference": 0.0, "low": -0.1, "high": 0.1, "lost": False},
            ],
        }
    ],
    "floors": [{"metric": "F1", "name": "best sentence", **CELL}],
    "without_floor": {"words": "a length is neither good nor bad"},
    "against_floors": [
        {"role": "chain", "metric": "F1", "floor": "best sentence", "reference": 0.15, "tuned": 0.4, "difference": 0.25}
        | {"low": 0.1, "high": 0.4, "n": 48, "groups": 12, "beaten": True},
        {"role": "embedder", "metric": "nDCG@10", "floor": "BM25", "reference": 0.7, "tuned": 0.71, "difference": 0.01}
        | {"low": -0.1, "high": 0.1, "n": 360, "groups": 40, "beaten": False},
    ],
    "floor_systems": {"rows": [{"configuration": "best sentence", "cells": {"F1": CELL}}]},
}


def test_searches_stand_beside_the_best_of_one_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    means = {"BM25": (0.5, 0.6), "vectors": (0.25, 0.7), "default weights": (0.625, 0.6), "weights chosen on dev": (0.375, 0.65)}
    apart = {
        "default weights, nDCG@10": (0.125, 0.0625, 0.1875),
        "default weights, Recall@5": (0.0, -0.1, 0.1),
        "weights chosen on dev, nDCG@10": (-0.125, -0.25, -0.03125),
        "weights chosen on dev, Recall@5": (0.05, -0.1, 0.2),
    }
    found = {
        "set": "cisi",
        "passages": 1460,
        "best single search": "BM25",
        "weights": {"words": 0.1, "vectors": 0.25, "tokens": 1.0, "history": 0.3},
        "test": {"questions": 38, "groups": 38}
        | {"means": {name: {"nDCG@10": first, "Recall@5": second} for name, (first, second) in means.items()}},
        "differences": {name: {"difference": value, "low": low, "high": high} for name, (value, low, high) in apart.items()},
    }
    monkeypatch.setattr(tables, "result", lambda name: {"sets": [found]})
    assert tables.searches().splitlines()[2:] == [
        "| cisi, 1,460 passages, n = 38 in 38 groups | nDCG@10 | 0.500, BM25 | 0.625, +0.125 (+0.062 to +0.188) better"
        " | 0.375, -0.125 (-0.250 to -0.031) **worse** | 0.1 / 0.25 / 1 |",
        "|  | Recall@5 | 0.600, BM25 | 0.600, +0.000 (-0.100 to +0.100) | 0.650, +0.050 (-0.100 to +0.200) |  |",
    ]


def test_floors_stand_beside_their_figures_with_intervals_and_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "result", lambda name: RUN)
    shown = tables.systems("run", {"base": "base", "all": "tuned"}, ("F1", "words"))()
    assert shown.splitlines()[2:] == [
        "| F1, n = 48 in 12 groups | 0.10 (0.00–0.20) | 0.40 (0.30–0.50) | 0.15 (0.10–0.20), best sentence |"
    ]
    assert tables.floor_of(RUN, "words") == "a length is neither good nor bad"
    first, second = tables.demo_floors().splitlines()[2:]
    assert first.startswith("| embedder | nDCG@10 | 0.700, BM25 | 0.710 |") and first.endswith("| **the floor wins** |")
    assert second.startswith("| chain | F1 |") and second.endswith("| n = 48 in 12 groups | better |")
    assert tables.demo_decisions().splitlines()[2:] == [
        "| rewriter | **hold** | ROUGE-1 | the bare base | 0.500 → 0.600 | +0.100 (+0.020 to +0.200) (97.5 %) "
        "| 48 in 12 groups | better |",
        "| rewriter | **hold** | harm | the bare base |  | +0.200 (+0.100 to +0.300) |  | lost |",
    ]
    assert tables.demo_floor_systems().splitlines()[2:] == ["| best sentence | F1 | 0.15 (0.10–0.20) | n = 48 in 12 groups |"]


def test_a_run_without_measured_floors_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "result", lambda name: {})
    assert "before floors were measured item by item" in tables.demo_floors() and tables.demo_floor_systems()
