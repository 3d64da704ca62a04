"""The ablation of hard negatives: its comparisons on hand-made runs, its two kinds of domain, and that it goes on."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.negatives_ablation import FROZEN, general_set, of_folder, of_public, report, run_once, show, summary
from lorag.pipeline.errors import LoragError
from lorag.training.contrastive import Encoder
from lorag.training.data.negatives import Negatives
from lorag.training.recipe import EmbeddingRecipe, changed


def test_differences_are_paired_over_the_mean_of_the_seeds() -> None:
    def run(*values: float) -> dict[str, Any]:
        return {"test": {f"q{n}": value for n, value in enumerate(values)}}

    runs = {
        FROZEN: [run(0.1, 0.2, 0.3)],
        "none": [run(0.3, 0.3, 0.3), run(0.5, 0.3, 0.3)],
        "random": [run(0.5, 0.3, 0.4)],
        "mined": [run(0.6, 0.5, 0.4)],
    }
    found = summary(runs, "test", {"q0": "a", "q1": "b"})
    assert found["nDCG@10"]["none"]["value"] == pytest.approx((0.4 + 0.3 + 0.3) / 3, abs=1e-4)
    assert found["differences"]["mined - none"]["value"] == pytest.approx(0.5 / 3, abs=1e-4)
    assert found["differences"]["mined - random"]["value"] == pytest.approx(0.1, abs=1e-4)
    assert found["differences"].keys() == {
        "none - frozen",
        "random - frozen",
        "mined - frozen",
        "random - none",
        "mined - none",
        "mined - random",
    }


def test_the_example_domain_without_its_own_negatives() -> None:
    domain = of_folder(Path("examples/kelder-sound-line"), 50)
    assert len(domain.rows) == 50 and not any(row.negative_ids for row in domain.rows)
    assert len(domain.training_passages) < len(domain.passages)
    assert {row.group for row in domain.rows}.isdisjoint({row.group for row in domain.test})


@pytest.fixture
def public(tmp_path: Path) -> Path:
    """Forty articles with one passage and one question each."""
    for name, rows in {
        "set.passages": [{"id": f"p{n}", "title": f"article {n}", "text": f"the key {n}"} for n in range(40)],
        "set.train": [
            {"id": f"q{n}", "question": f"who {n}", "answers": ["key"], "passage_id": f"p{n}", "answerable": True}
            for n in range(40)
        ],
    }.items():
        with gzip.open(tmp_path / f"{name}.jsonl.gz", "wt") as file:
            file.write("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def test_a_public_set_is_split_by_article(public: Path) -> None:
    domain = of_public(public, "set", 0)
    assert len(domain.passages) == 40 and domain.rows and domain.test
    assert {row.group for row in domain.rows}.isdisjoint({row.group for row in domain.test})
    trained = {passage.id for passage in domain.training_passages}
    assert not any(row.positive_ids[0] in trained for row in domain.test)
    general = general_set(public, "set", 5, 10)
    assert len(general.test) == 5 and len(general.passages) == 10


def test_a_run_is_kept_and_one_of_other_settings_refused(public: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    domain = of_public(public, "set", 0)
    plain, encoder = EmbeddingRecipe(role="embedder"), Encoder(str(tiny_encoder))
    recipe = changed(plain, batch_size=4, max_steps=2, warmup_share=0.0, negatives=Negatives.NONE)
    first = run_once("none", 0, encoder, recipe, domain, None, tmp_path / "run")
    assert first["steps"] == 2 and first["test"].keys() == {row.query_id for row in domain.test}
    assert run_once("none", 0, encoder, recipe, domain, None, tmp_path / "run") == json.loads(
        (tmp_path / "run/result.json").read_text()
    )
    with pytest.raises(LoragError, match="a run of other settings"):
        run_once("none", 1, encoder, recipe, domain, None, tmp_path / "run")


def test_the_report_of_both_sets(public: Path, capsys: pytest.CaptureFixture[str]) -> None:
    domain, general = of_public(public, "set", 0), general_set(public, "set", 5, 10)

    def run(value: float) -> dict[str, Any]:
        held = {row.query_id: value + n / 100 for n, row in enumerate(domain.test)}
        elsewhere = {row.query_id: value / 2 for row in general.test}
        return {"test": held, "general": elsewhere, "steps": 3, "seconds": 1.5, "final_loss": 0.25}

    found = report(domain, general, EmbeddingRecipe(role="embedder"), {FROZEN: [run(0.1)], "mined": [run(0.3), run(0.5)]}, 2)
    assert found["runs"]["mined"] == {"steps": 3, "seconds": 1.5, "final_loss": 0.25}
    assert found["held-out"]["differences"]["mined - frozen"]["value"] == pytest.approx(0.3)
    assert found["general"]["differences"]["mined - frozen"]["value"] == pytest.approx(0.15)
    show("set", found)
    assert "elsewhere (set), 2 seed(s)" in capsys.readouterr().out
