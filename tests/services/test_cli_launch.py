"""`accelerate launch … lorag train`: two processes on a CPU train, print, publish and resume as one does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from lorag.pipeline.adapters.registry import Registry
from lorag.pipeline.records import Role
from tests.services.conftest import write_rewriter_rows

ROOT = Path(__file__).parents[2]
LAUNCHER = ("accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1")
QUIET = ("--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0")
RECIPE: Mapping[str, Any] = {
    "role": "rewriter",
    "precision": "fp32",
    "lora": {"rank": 4, "targets": ["q_proj", "v_proj", "down_proj"]},
    "optimiser": {"learning_rate": 2e-2, "warmup_share": 0, "batch_size": 2, "max_steps": 6, "checkpoint_every": 2},
}
THINGS = {"train": ("key", "bell", "ferry", "quay", "mast"), "dev": ("porter", "room")}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_rewriter_rows(tmp_path / "data", THINGS, yaml.safe_dump(dict(RECIPE)))


def curve(run: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (run / "loss.jsonl").read_text().splitlines()]


def test_two_launched_processes_publish_one_adapter(lorag: Any, project: Any, data: Path) -> None:
    command = ["train", "rewriter", "--data", data, "--recipe", data / "recipe.yaml", "--project", project.folder, "-o", "json"]
    alone = lorag(*command)
    assert alone.code == 0
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}

    def launched(*more: str) -> dict[str, Any]:
        words = [sys.executable, "-m", *LAUNCHER, *QUIET, "-m", "lorag.services.cli", *map(str, command), *more]
        done = subprocess.run(
            words, cwd=project.folder, env=environment, capture_output=True, text=True, timeout=500, check=False
        )
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)  # one process prints
        return found

    together = launched()
    runs = project.folder / ".lorag" / "runs"
    assert (alone.json()["run"], together["run"]) == (str(runs / "rewriter-0001"), str(runs / "rewriter-0002"))
    assert curve(runs / "rewriter-0002") == pytest.approx(curve(runs / "rewriter-0001"), rel=1e-5)
    resumed = launched("--resume")
    assert resumed["run"] == together["run"] and len(curve(runs / "rewriter-0002")) == 6
    versions = Registry(project.adapters).list(Role.REWRITER)
    assert [version.id for version in versions] == [alone.json()["version"], together["version"], resumed["version"]]
    assert sorted(path.name for path in runs.iterdir()) == ["rewriter-0001", "rewriter-0002"]
