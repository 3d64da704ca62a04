"""Kill a training run at random moments and resume it, many times: does it resume each time, with the same result?

    python -m benchmarks.kills [--method sft|packed|contrastive] [--kills 200] [--seed 0] [--out FILE]

A tiny model trains in its own process, which gets SIGKILL at a random moment: while it starts or between two steps. Half of the
kills are aimed at a save (a checkpoint every second step). Then the run continues with `resume` and is killed again, until it
is done. Then a new run begins, until --kills is reached. Each finished run is compared with one without kills: loss, gradient
norm and learning rate of each step, and, by digest, the weights, optimizer, schedule and random state of the last checkpoint,
and the adapter.

A failure is a resume that ends with an error or hangs, a complete checkpoint that is lost by a kill, or a run with another
result than the one without kills. Without --method all three kinds of training run. Processes are forked from one that has torch
and the trainers loaded, so that a kill costs a second or two instead of half a minute.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import tiny_runs
from benchmarks.provenance import commit
from benchmarks.tiny_runs import SAVE_EVERY
from lorag.training.checkpoints import COMPLETE, MANIFEST, newest_complete
from lorag.training.progress import LOSS_FILE, Progress

LIBRARIES = ("torch", "transformers", "trl", "peft", "accelerate", "sentence-transformers")
PRELOADED = (
    "torch",
    "datasets",
    "accelerate",
    "peft",
    "bitsandbytes",
    "trl.trainer.sft_trainer",
    "sentence_transformers.sentence_transformer.trainer",
    "transformers.models.llama.modeling_llama",
    "transformers.models.bert.modeling_bert",
    "transformers.models.bert.tokenization_bert",
    "lorag.training.run",
)
START_SHARE, SAVE_SHARE = 0.12, 0.5
"""Shares of the kills aimed at the start of a process and at a save; the rest fall between two steps."""
HANG_SECONDS = 600.0
"""Seconds without a message after which a process counts as hung."""
MAX_FAILURES = 5
"""Failures after which the benchmark ends."""


@dataclass(frozen=True, slots=True)
class Method:
    """A kind of training: how its tiny model is made, and how a run starts or resumes."""

    save_model: Callable[[Path], Path]
    run: Callable[..., None]


METHODS = {
    "sft": Method(tiny_runs.save_decoder, tiny_runs.run_sft),
    "packed": Method(tiny_runs.save_decoder, tiny_runs.run_packed),
    "contrastive": Method(tiny_runs.save_encoder, tiny_runs.run_contrastive),
}


@dataclass(slots=True)
class Tally:
    """Counts of all events. `killed_while` counts kills by the activity of the process; `failures` has a line each."""

    kills: int = 0
    runs: int = 0
    runs_equal: int = 0
    resumes: int = 0
    seconds: float = 0.0
    killed_while: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class FinalState:
    """The result of a run: the figures of each step's line in the loss file, and a digest of each compared file."""

    curve: tuple[tuple[float, ...], ...]
    digests: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ProcessResult:
    """The end of one process of a run: exactly one of killed, done and failed."""

    killed_while: str = ""
    done: bool = False
    failure: str = ""


class StepTimes:
    """Moving averages in seconds: to a process's first step, and between two steps with and without a save."""

    def __init__(self) -> None:
        self._seconds = {"start": 2.0, "save": 0.2, "step": 0.1}

    def __getitem__(self, kind: str) -> float:
        return self._seconds[kind]

    def update(self, kind: str, seconds: float) -> None:
        self._seconds[kind] += 0.2 * (seconds - self._seconds[kind])


def fork_server() -> Any:
    """A multiprocessing context whose processes are forked from one that has the libraries loaded, with one thread each."""
    os.environ |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    return context


class Killer:
    """Kills runs of one method, at moments drawn with `seed`. `work` holds the model and the run folders."""

    def __init__(self, processes: Any, method: str, work: Path, seed: int = 0) -> None:
        self._processes = processes
        self._method = method
        self._work = work
        self._model = work / "model"
        self._random = random.Random(seed)
        self._step_times = StepTimes()

    def kill(self, kills: int, on_kill: Callable[[Tally], None] | None = None) -> Tally:
        """Kill so many times, let the last run finish, and return the counts."""
        start = time.monotonic()
        self._model = METHODS[self._method].save_model(self._work / "model")
        expected = self._run_without_kills()
        tally = Tally()
        while tally.kills < kills and len(tally.failures) < MAX_FAILURES:
            tally.runs += 1
            folder = self._work / f"run-{tally.runs}"
            self._run_to_its_end(folder, kills, tally, on_kill)
            difference = _difference(expected, folder)
            tally.runs_equal += not difference
            tally.failures += [f"run {tally.runs} ended otherwise: {difference}"] if difference else []
        tally.seconds = time.monotonic() - start
        return tally

    def _run_without_kills(self) -> FinalState:
        folder = self._work / "undisturbed"
        result = self._run_process(folder, kill=False)
        if not result.done:
            raise RuntimeError(f"the undisturbed run failed: {result.failure}")
        return final_state(folder)

    def _run_to_its_end(self, folder: Path, kills: int, tally: Tally, on_kill: Callable[[Tally], None] | None) -> None:
        done = begun = False
        while not done and len(tally.failures) < MAX_FAILURES:
            before = newest_complete(folder)
            result = self._run_process(folder, kill=tally.kills < kills)
            tally.resumes += begun
            begun, done = True, result.done
            if result.failure:
                tally.failures.append(f"run {tally.runs}, after {tally.kills} kills: {result.failure}")
            if result.killed_while:
                tally.kills += 1
                tally.killed_while[result.killed_while] += 1
                if _step(newest_complete(folder)) < _step(before):
                    tally.failures.append(f"run {tally.runs}, kill {tally.kills}: {before} was lost")
                if on_kill is not None:
                    on_kill(tally)

    def _run_process(self, folder: Path, *, kill: bool) -> ProcessResult:
        """Continue the run in a new process; with `kill`, kill it at a drawn moment."""
        receiver, sender = self._processes.Pipe(duplex=False)
        process = self._processes.Process(target=_train, args=(self._method, str(self._model), str(folder), sender))
        process.start()
        sender.close()
        messages = self._wait_for_moment(receiver, kill)
        if kill or messages[-1:] == ["hung"]:
            process.kill()
        while (message := _receive(receiver)) is not None:
            messages.append(message)
        process.join()
        if messages[-1:] == ["done"]:
            return ProcessResult(done=True)
        errors = [message for message in messages if isinstance(message, str)]
        if errors or not kill:
            return ProcessResult(failure=errors[-1] if errors else f"ended with {process.exitcode}")
        return ProcessResult(killed_while=_activity(folder, started=bool(messages)))

    def _wait_for_moment(self, receiver: Any, kill: bool) -> list[int | str]:
        """Receive the steps of a process until the moment of its kill, or until its end."""
        aim = self._random.random()
        if kill and aim < START_SHARE:
            receiver.poll(self._random.uniform(0.0, self._step_times["start"]))
            return []
        wanted = "save" if aim < START_SHARE + SAVE_SHARE else "step"
        left = self._random.randint(1, 2)
        messages: list[int | str] = []
        before, kind = time.monotonic(), "start"
        while (message := _receive(receiver)) is not None:
            messages.append(message)
            if isinstance(message, str):
                break
            now = time.monotonic()
            self._step_times.update(kind, now - before)
            before, kind = now, "save" if message % SAVE_EVERY == 0 else "step"
            left -= kind == wanted
            if kill and left == 0:
                time.sleep(self._random.uniform(0.0, self._step_times[kind]))
                break
        return messages


def _receive(receiver: Any) -> int | str | None:
    """A message of a process: a step, `done`, or an error; `hung` after a timeout; None once the process is gone."""
    try:
        message: int | str = receiver.recv() if receiver.poll(HANG_SECONDS) else "hung"
    except (EOFError, OSError):
        return None
    return message


def _train(method: str, model: str, folder: str, sender: Any) -> None:
    """Run training in the process to be killed. It sends each step before the step's checkpoint is written."""

    def on_progress(progress: Progress) -> None:
        sender.send(progress.step)

    try:
        METHODS[method].run(Path(model), Path(folder), on_progress)
        sender.send("done")
    except Exception as error:
        sender.send(f"{type(error).__name__}: {error}")
        raise SystemExit(1) from error


def _activity(folder: Path, *, started: bool) -> str:
    """The activity of a process when it was killed. A checkpoint folder without a mark is being written or deleted."""
    newest = _step(newest_complete(folder))
    unmarked = [_step(path) for path in folder.glob("checkpoint-*") if not (path / COMPLETE).is_file()]
    if any(step > newest for step in unmarked):
        return "saving" if started else "starting, with a checkpoint cut short before"
    if unmarked:
        return "deleting an old checkpoint"
    return "stepping" if started else "starting"


def _step(checkpoint: Path | None) -> int:
    return int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0


def final_state(folder: Path) -> FinalState:
    """The result of the finished run in `folder`."""
    lines = [json.loads(line) for line in (folder / LOSS_FILE).read_text().splitlines()]
    curve = tuple((line["step"], line["loss"], line["grad_norm"], line["learning_rate"]) for line in lines)
    last = newest_complete(folder)
    if last is None:
        raise RuntimeError(f"{folder} has no complete checkpoint")
    files = {**json.loads((last / MANIFEST).read_bytes())["files"]}
    for name in ("trainer_state.json", "training_args.bin"):  # these contain times and paths
        files.pop(name, None)
    digests = {f"{last.name}/{name}": digest for name, (_, digest) in files.items() if not name.endswith(".md")}
    adapter = (folder / "adapter" / "adapter_model.safetensors").read_bytes()
    return FinalState(curve, digests | {"adapter": _sha256(adapter)})


def _sha256(content: bytes) -> str:
    import hashlib

    return hashlib.sha256(content).hexdigest()


def _difference(expected: FinalState, folder: Path) -> str:
    """The first difference of the finished run in `folder`, in a line; empty if there is none."""
    try:
        found = final_state(folder)
    except (OSError, RuntimeError) as error:
        return str(error)
    for wanted, got in zip(expected.curve, found.curve, strict=False):
        if wanted != got:
            return f"step, loss, gradient norm and learning rate {got}, not {wanted}"
    if len(found.curve) != len(expected.curve):
        return f"{len(found.curve)} steps in the loss curve, not {len(expected.curve)}"
    names = [name for name, digest in expected.digests.items() if found.digests.get(name) != digest]
    return f"other content in {', '.join(names)}" if names else ""


def report(tallies: Mapping[str, Tally]) -> dict[str, Any]:
    """The figures with commit and versions, as plain data."""
    return {
        "commit": commit(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
        "run": {"steps": tiny_runs.STEPS, "checkpoint_every": SAVE_EVERY, "compared": "loss curve and state, bit by bit"},
        "methods": {
            method: {
                "kills": tally.kills,
                "killed_while": dict(tally.killed_while.most_common()),
                "resumes": tally.resumes,
                "failures": tally.failures,
                "runs": tally.runs,
                "runs_equal_to_undisturbed": tally.runs_equal,
                "seconds": round(tally.seconds, 1),
            }
            for method, tally in tallies.items()
        },
    }


def _print_progress(method: str, tally: Tally, kills: int) -> None:
    if tally.kills % 10 == 0 or tally.kills == kills:
        print(f"{method}: {tally.kills} of {kills} kills, run {tally.runs}, {len(tally.failures)} failures", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kills", description=__doc__.partition("\n")[0])
    parser.add_argument("--method", choices=list(METHODS), action="append", help="which training; default: all")
    parser.add_argument("--kills", type=int, default=200, metavar="N", help="kills a method (default: 200)")
    parser.add_argument("--seed", type=int, default=0, help="of the random moments")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the figures to FILE, as JSON")
    chosen = parser.parse_args()
    processes = fork_server()
    tallies: dict[str, Tally] = {}
    for method in chosen.method or METHODS:
        with tempfile.TemporaryDirectory(prefix="kills-") as work:
            killer = Killer(processes, method, Path(work), chosen.seed)
            tallies[method] = killer.kill(chosen.kills, lambda tally, name=method: _print_progress(name, tally, chosen.kills))  # type: ignore[misc]
        figures = report(tallies)
        if chosen.out is not None:
            chosen.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=1))
    if any(tally.failures for tally in tallies.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
