"""Training in a project: which recipe is taken, and that devices and seed of lorag.yaml arrive in the run and in its plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import lorag.training.estimate
import lorag.training.run
from lorag.pipeline.adapters.registry import Registry
from lorag.pipeline.config import Settings, parse_settings
from lorag.pipeline.errors import DataError
from lorag.pipeline.records import Role
from lorag.training.contrastive import Encoder
from lorag.training.recipe import EmbeddingRecipe
from lorag.tuning import TrainingSpec, plan_adapter, train_adapter


def settings(tmp_path: Path, text: str) -> Settings:
    return parse_settings(f"documents: documents\n{text}", tmp_path)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What `train_role` was called with."""
    seen: dict[str, Any] = {}
    monkeypatch.setattr(lorag.training.run, "train_role", lambda role, **options: seen.update(options, role=role))
    return seen


DEVICES = "base: {device: cpu}\nembedder: {device: 'cuda:0'}\nseed: 7\n"


def test_devices_and_seed_arrive_in_the_run(tmp_path: Path, trained: dict[str, Any]) -> None:
    spec = TrainingSpec(Role.REWRITER, tmp_path)
    train_adapter(settings(tmp_path, DEVICES), Registry(tmp_path), spec, tmp_path / "run")
    assert (trained["base_device"], trained["embedder_device"], trained["seed"]) == ("cpu", "cuda:0", 7)


def test_devices_and_seed_arrive_in_the_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(lorag.training.estimate, "plan_training", lambda job, most: seen.append(job))
    plan_adapter(settings(tmp_path, DEVICES), Registry(tmp_path), TrainingSpec(Role.JUDGE, tmp_path))
    assert (seen[0].base_device, seen[0].encoder, seen[0].recipe.optimiser.seed) == ("cpu", Encoder("minilm", "cuda:0"), 7)


@pytest.mark.parametrize(
    ("setting", "named", "query_side_only"),
    [("false", None, False), ("true", None, True), ("false", "query-side", True), ("true", "embedder", False)],
)
def test_the_setting_chooses_the_embedders_recipe_if_none_is_named(
    setting: str, named: str | None, query_side_only: bool, tmp_path: Path, trained: dict[str, Any]
) -> None:
    spec = TrainingSpec(Role.EMBEDDER, tmp_path, recipe=named)
    train_adapter(settings(tmp_path, f"embedder: {{query_side_only: {setting}}}"), Registry(tmp_path), spec, tmp_path / "run")
    assert isinstance(trained["recipe"], EmbeddingRecipe)
    assert trained["recipe"].contrast.query_side_only is query_side_only


def test_a_folder_to_compare_on_is_read_before_the_training(tmp_path: Path, trained: dict[str, Any]) -> None:
    turn = {"id": "t", "history": ["User: Is a red?"], "question": "And b?", "rewrite": "Is b red?"}
    spec = TrainingSpec(Role.REWRITER, tmp_path, begin="starter", public=tmp_path / "other")
    with pytest.raises(DataError, match=r"other is no folder; name the one"):
        train_adapter(settings(tmp_path, ""), Registry(tmp_path), spec, tmp_path / "run")
    assert trained == {}
    (tmp_path / "other" / "test").mkdir(parents=True)
    (tmp_path / "other" / "test" / "rewriter.jsonl").write_text(json.dumps(turn) + "\n", encoding="utf-8")
    train_adapter(settings(tmp_path, ""), Registry(tmp_path), spec, tmp_path / "run")
    assert [task.name for task in trained["continuation"].tasks] == ["other", "invented conversations"]
