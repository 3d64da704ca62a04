"""`lorag train` for real, on a tiny base: what is published, what an interrupt or a full disk leaves, what is refused before."""

from __future__ import annotations

import json
import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import lorag.training.run
from lorag.pipeline.adapters.registry import Registry
from lorag.pipeline.records import Role
from lorag.training.checkpoints import find_newest
from lorag.tuning import run_folder_for
from tests.services.conftest import write_rewriter_rows

RECIPE = """
role: rewriter
precision: fp32
lora: {{rank: 4, dropout: 0, targets: [q_proj, v_proj, down_proj]}}
optimiser: {{learning_rate: 2.0e-2, warmup_share: 0, batch_size: 2, max_steps: {steps}, checkpoint_every: 2}}
"""
THINGS = {
    "train": ("key", "bell", "ferry", "quay"),
    "dev": ("porter", "room"),
    "test": ("bridge", "crane", "buoy", "mast", "anchor", "lamp", "rope", "net"),
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Rows for the rewriter, and a recipe of four steps beside them."""
    return write_rewriter_rows(tmp_path / "data", THINGS, RECIPE.format(steps=4))


@pytest.fixture
def train(lorag, project, data: Path) -> Callable[..., Any]:
    def run(*options: object) -> Any:
        recipe = data / "recipe.yaml"
        return lorag("train", "rewriter", "--data", data, "--recipe", recipe, "--project", project.folder, *options)

    return run


def test_a_run_is_published_and_each_has_its_own_folder(train, lorag, project, data: Path) -> None:
    done = train()
    assert (done.code, done.err) == (0, "")
    (version,) = Registry(project.adapters).list(Role.REWRITER)
    assert version.aliases == ("candidate",)
    assert done.out.startswith(f"Published rewriter {version.id} as candidate: 4 steps on 4 rows in 0:0")
    assert f"lorag eval adapter rewriter --data {data} --project {project.folder}" in done.out
    runs = project.folder / ".lorag" / "runs"
    curve = [json.loads(line) for line in (runs / "rewriter-0001" / "loss.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in curve] == [1, 2, 3, 4]
    again = train("-o", "json")
    assert (again.code, again.err) == (0, "")
    assert again.json()["run"] == str(runs / "rewriter-0002")
    resumed = train("--resume", "-o", "json").json()  # a finished run trains no further
    assert resumed["run"] == str(runs / "rewriter-0002")
    assert len(Registry(project.adapters).list(Role.REWRITER)) == 3
    lorag("ingest", "--project", project.folder)
    project.set("adapters: {rewriter: candidate}")
    assert lorag("ask", "Where is the key?", "--project", project.folder).code == 0


def test_an_adapter_is_measured_and_its_evidence_decides(train, lorag, project, data: Path) -> None:
    here = ("--project", project.folder)
    train()
    done = lorag("adapters", "promote", "rewriter", *here)
    assert done.code == 2
    assert "its card has no held-out comparison with the bare base; run `lorag eval adapter rewriter 0001-" in done.error_line
    done = lorag("eval", "adapter", "rewriter", "--data", data, *here, "-o", "json")
    assert (done.code, done.err) == (0, "")
    said = done.json()
    measured = said["evidence"][0]
    assert measured["n"] == len(THINGS["test"])
    assert measured["difference"] == pytest.approx(measured["tuned"] - measured["reference"])
    (listed,) = lorag("adapters", "list", *here, "-o", "json").json()["adapters"]
    assert listed["evidence"] == said["evidence"]
    assert (said["decision"]["decision"] == "promote") is (not said["refusal"])
    assert said["decision"]["cost"]["requests"] > 0 and said["decision"]["cost"]["trained_tokens"] > 0
    assert lorag("adapters", "promote", "rewriter", *here).code == (2 if said["refusal"] else 0)
    words = f"why: {said['refusal']}" if said["refusal"] else "it serves already"
    text = lorag("eval", "adapter", "rewriter", listed["version"], "--data", data, *here).out
    assert text.startswith(f"{said['decision']['decision'].upper()} rewriter {listed['version']}")
    assert words.split(";")[0] in " ".join(text.split())


def test_a_chain_without_adapters_is_not_measured(lorag, project, data: Path) -> None:
    done = lorag("eval", "chain", "--data", data, "--project", project.folder)
    assert done.code == 2
    assert "no adapter is published in this project; train one first" in done.error_line


@contextmanager
def interrupted_when(is_time: Callable[[], bool]) -> Iterator[None]:
    """Within: this process gets a Ctrl-C as soon as `is_time`. A shell's background jobs are born ignoring it, so not here."""
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            if is_time():
                os.kill(os.getpid(), signal.SIGINT)
                return
            time.sleep(0.01)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_leaves_the_checkpoints_and_says_how_to_go_on(train, project, data: Path) -> None:
    (data / "recipe.yaml").write_text(RECIPE.format(steps=2_000), encoding="utf-8")
    run = project.folder / ".lorag" / "runs" / "rewriter-0001"
    with interrupted_when(lambda: any(run.glob("checkpoint-*/COMPLETE"))):
        done = train()
    assert done.code == 130
    assert done.error_line == (
        f"training stopped; complete checkpoints stay in {run}, go on with: "
        f"lorag train rewriter --data {data} --recipe {data}/recipe.yaml --project {project.folder} --resume"
    )
    assert find_newest(run).newest is not None
    assert Registry(project.adapters).list() == ()


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """Within: the system refuses to let a file grow beyond `size` bytes, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_during_publish_changes_nothing(train, project, monkeypatch: pytest.MonkeyPatch) -> None:
    assert train().code == 0
    registry = project.adapters
    before = {path: path.read_bytes() for path in registry.rglob("*") if path.is_file()}
    weights = max(before, key=lambda path: path.stat().st_size).stat().st_size
    publish = Registry.publish

    def publish_on_a_full_disk(*arguments: Any, **options: Any) -> Any:
        with files_no_larger_than(weights // 2):
            return publish(*arguments, **options)

    monkeypatch.setattr(Registry, "publish", publish_on_a_full_disk)
    done = train()
    assert done.code == 2
    assert done.error_line == (
        f"error: publishing the rewriter adapter in {registry} failed: File too large; "
        "nothing was changed, mend that and try again"
    )
    assert {path: path.read_bytes() for path in registry.rglob("*") if path.is_file()} == before
    monkeypatch.undo()
    assert train("--resume").code == 0  # the trained weights are not lost: the run is finished and only published


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("recipe.yaml", "role: rewriter\nlora: {rnak: 4}\n", "recipe.yaml:2: lora.rnak: unknown key; did you mean 'rank'?"),
        ("recipe.yaml", "role: judge\n", "is a recipe of the judge, not of the rewriter"),
        ("recipe.yaml", None, "the recipe cannot be read"),
        ("train/rewriter.jsonl", None, "no train/rewriter.jsonl in"),
        ("train/rewriter.jsonl", '{"id": "a"}\n', "rewriter.jsonl:1"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(
    train, project, data: Path, file: str, text: str | None, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lorag.training.run, "train_adapter", None)  # nothing may come that far
    if text is None:
        (data / file).unlink()
    else:
        (data / file).write_text(text, encoding="utf-8")
    before = project.files()
    done = train()
    assert done.code == 2
    assert says in done.error_line
    assert project.files() == before


def test_without_held_out_rows_nothing_is_trained(train, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lorag.training.run, "train_adapter", None)
    for split in ("dev", "test"):
        (data / split / "rewriter.jsonl").unlink()
    done = train()
    assert done.code == 2
    assert f"no dev/rewriter.jsonl in {data}; a few held-out rows are needed" in done.error_line


@pytest.mark.parametrize(
    ("there", "resume", "chosen"),
    [
        ((), False, "judge-0001"),
        ((), True, "judge-0001"),
        (("judge-0001", "judge-0012", "judge-x", "rewriter-0044"), False, "judge-0013"),
        (("judge-0001", "judge-0012", "judge-x", "rewriter-0044"), True, "judge-0012"),
    ],
)
def test_the_folder_of_a_run(tmp_path: Path, there: tuple[str, ...], resume: bool, chosen: str) -> None:
    for name in there:
        (tmp_path / ".lorag" / "runs" / name).mkdir(parents=True)
    assert run_folder_for(tmp_path, Role.JUDGE, resume=resume) == tmp_path / ".lorag" / "runs" / chosen
