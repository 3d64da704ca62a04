"""The classification benchmark's own arithmetic on hand-made scores; the training it calls has tests of its own."""

from __future__ import annotations

import argparse
import gzip
import json
from pathlib import Path

import pytest

from benchmarks import classification
from benchmarks.classification import VariantResult, best_in_schema, compare, drawn, read_texts, schemas
from benchmarks.classifier import ClassifierRecipe, LabelledText, Tuning
from lorag.pipeline.errors import LoragError

TEST = [LabelledText(f"t{n}", f"word{n // 2} b c d{n}", label, f"word{n // 2} b c") for n, label in enumerate("aabbcc")]


def _cell(*best: str) -> VariantResult:
    labels = ("a", "b", "c")
    return VariantResult(
        {"updated": 1}, labels, [[3.0 if label == each else float(n) for n, label in enumerate(labels)] for each in best]
    )


def test_macro_f1_and_paired_differences_of_known_predictions() -> None:
    """Frozen: a a b b b c. F1 of a 1, of b 4/5, of c 2/3. Tuned: all right."""
    found = compare(TEST, {Tuning.FROZEN: _cell(*"aabbbc"), Tuning.LORA: _cell(*"aabbcc")})
    frozen, lora = (found["variants"][name]["macro_f1"] for name in ("frozen", "lora"))
    assert frozen["value"] == pytest.approx((1 + 4 / 5 + 2 / 3) / 3, abs=1e-4)
    assert (lora["value"], lora["n"]) == (1.0, 6)
    assert found["differences"].keys() == {"lora - frozen"}
    assert found["differences"]["lora - frozen"]["value"] == pytest.approx(1 - frozen["value"], abs=1e-4)


def test_every_schema_holds_its_right_label_once_and_heads_are_held_to_it() -> None:
    many = [LabelledText(f"t{n}", "x", f"label{n % 20}") for n in range(100)] + [LabelledText("out", "x", "oos")]
    asked = schemas(many, 30, 4)
    assert len({each.row.id for each in asked}) == 30
    for each in asked:
        assert len(set(each.schema)) == 4 and each.row.label in each.schema and "oos" not in each.schema
    assert asked == schemas(many, 30, 4)
    labels = tuple(sorted({row.label for row in many}))
    scores = [[float(label == "label3") * 9 + float(label == row.label) for label in labels] for row in many]
    chosen = best_in_schema(asked, many, VariantResult({}, labels, scores))
    assert chosen == ["label3" if "label3" in each.schema else each.row.label for each in asked]


def test_texts_are_grouped_by_their_first_three_words(tmp_path: Path) -> None:
    path = tmp_path / "x.train.jsonl.gz"
    with gzip.open(path, "wt") as file:
        file.write(json.dumps({"id": "1", "text": "one two three four", "label": "a"}) + "\n")
    (row,) = read_texts(path)
    assert (row.group, row.label) == ("one two three", "a")
    assert drawn(list(range(9)), 0) == list(range(9)) and len(drawn(list(range(9)), 4)) == 4  # type: ignore[arg-type]


def test_a_variant_is_not_trained_twice_and_another_recipe_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_encoder: Path
) -> None:
    recipe = ClassifierRecipe(model=str(tiny_encoder), max_steps=1)
    rows = [LabelledText("1", "the key", "a"), LabelledText("2", "the ferry", "b")]
    first = classification.cell(rows, rows, recipe, Tuning.FROZEN, tmp_path)
    assert first.figures["peak_bytes"] > 1 << 24 and set(first.predicted()) <= {"a", "b"}
    monkeypatch.setattr(classification, "in_own_process", None)  # a second training would need it
    assert classification.cell(rows, rows, recipe, Tuning.FROZEN, tmp_path).figures == first.figures
    with pytest.raises(LoragError, match="another recipe or number of rows"):
        classification.cell(rows, rows, recipe.model_copy(update={"l2": 0.5}), Tuning.FROZEN, tmp_path)


def test_the_judge_is_asked_within_the_same_schemas(tiny_base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = argparse.Namespace(
        judge_adapter="none", judge_items=4, schema_labels=2, base=str(tiny_base), precision="fp32", work=Path()
    )
    heads = {Tuning.FROZEN: _cell(*"aabbcc")}
    kept: dict[str, dict[str, object]] = {}
    classification.ask_judge(options, TEST, heads, kept)
    (found,) = kept.values()
    assert found["accuracy"].keys() == {"frozen head", "judge, bare base"}  # type: ignore[attr-defined]
    assert found["accuracy"]["frozen head"]["value"] == 1.0  # type: ignore[index]
    assert (found["items"], found["schema_labels"]) == (4, 2)
    options.judge_adapter = "not/there"
    classification.ask_judge(options, TEST, heads, kept)
    assert "the judge is not asked: not/there is no folder" in capsys.readouterr().out and len(kept) == 1
