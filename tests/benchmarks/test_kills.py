"""The kill command at a small number: real runs killed and resumed to the same end, and that a run which is not so is told."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import kills
from benchmarks.kills import FinalState, Killer, Tally, _activity, _difference, final_state, report
from lorag.training.checkpoints import COMPLETE, commit


@pytest.mark.parametrize("method", ["sft", "contrastive"])
def test_killed_runs_end_as_the_undisturbed_one(method: str, forks: Any, tmp_path: Path) -> None:
    told: list[int] = []
    tally = Killer(forks, method, tmp_path, seed=3).kill(4, lambda tally: told.append(tally.kills))
    assert tally.failures == [] and told == [1, 2, 3, 4]
    assert (tally.kills, tally.runs_equal, sum(tally.killed_while.values())) == (4, tally.runs, 4)
    assert tally.resumes >= 4
    assert len(final_state(tmp_path / "undisturbed").curve) == 20


def _finished(folder: Path, loss: float = 1.0, weights: bytes = b"w") -> Path:
    folder.mkdir()
    line = {"step": 1, "loss": loss, "grad_norm": 2.0, "learning_rate": 0.1}
    (folder / "loss.jsonl").write_text(json.dumps(line) + "\n")
    (folder / "adapter").mkdir()
    (folder / "adapter" / "adapter_model.safetensors").write_bytes(b"a")
    (folder / "checkpoint-1").mkdir()
    (folder / "checkpoint-1" / "optimizer.pt").write_bytes(weights)
    commit(folder / "checkpoint-1")
    return folder


def test_a_run_that_ended_otherwise_is_told(tmp_path: Path) -> None:
    expected = final_state(_finished(tmp_path / "whole"))
    assert expected == FinalState(((1, 1.0, 2.0, 0.1),), expected.digests) and len(expected.digests) == 2
    assert _difference(expected, _finished(tmp_path / "same")) == ""
    assert "(1, 1.0000000000000002, 2.0, 0.1), not (1, 1.0" in _difference(
        expected, _finished(tmp_path / "digit", loss=1.0000000000000002)
    )
    assert _difference(expected, _finished(tmp_path / "state", weights=b"v")) == "other content in checkpoint-1/optimizer.pt"
    (tmp_path / "same" / "checkpoint-1" / COMPLETE).unlink()
    assert _difference(expected, tmp_path / "same").endswith("has no complete checkpoint")


def test_what_a_process_was_at_stands_in_its_folder(tmp_path: Path) -> None:
    run = _finished(tmp_path / "run")
    assert [_activity(run, started=started) for started in (True, False)] == ["stepping", "starting"]
    (run / "checkpoint-2").mkdir()
    assert _activity(run, started=True) == "saving"
    (run / "checkpoint-2").rmdir()
    (run / "checkpoint-0").mkdir()
    assert _activity(run, started=True) == "deleting an old checkpoint"


def test_the_command_ends_with_an_error_where_a_resume_failed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def kill(self: Killer, count: int, on_kill: Any) -> Tally:
        return Tally(kills=count, failures=["run 1, after 2 kills: it did not load"])

    monkeypatch.setattr(kills.Killer, "kill", kill)
    monkeypatch.setattr(kills, "fork_server", lambda: None)
    monkeypatch.setattr(sys, "argv", ["kills", "--method", "sft", "--kills", "9", "--out", str(tmp_path / "kills.json")])
    with pytest.raises(SystemExit) as caught:
        kills.main()
    assert caught.value.code == 1
    figures = json.loads((tmp_path / "kills.json").read_text())
    assert figures == json.loads(capsys.readouterr().out)
    assert figures["methods"]["sft"]["kills"] == 9 and figures["commit"]
    assert figures.keys() == report({}).keys()
