"""Kill a training run at random moments and resume it, again and again: does it come back each time, to the same end?

    python -m benchmarks.kills [--method sft|packed|contrastive] [--kills 200] [--seed 0] [--out FILE]

A tiny model trains in a process of its own, which gets SIGKILL at a random moment: while it starts, between two steps, and,
for half of the kills on purpose, while it saves (a checkpoint every second step). Then the run goes on with `resume` and is
killed again, until it is done; then a new run begins, until so many kills were dealt. Each finished run is compared with one
that nobody disturbed: loss, gradient norm and learning rate of each step, and, by digest, the weights, optimizer, schedule and
random state of the last checkpoint, and the adapter.

Counted as a failure: a resume that ends with an error or hangs, a complete checkpoint that is gone after a kill, and a run that
ends otherwise than the undisturbed one. Without --method all three are done. Processes are forked from one that has torch and
the trainers loaded, so that a kill costs a second or two instead of half a minute.
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
from benchmarks.tiny_runs import EVERY
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
AIMED_AT_START, AIMED_AT_SAVE = 0.12, 0.5
"""Shares of the kills that are timed into the start of a process and into a save; the rest fall between two steps."""
PATIENCE = 600.0
"""Seconds without a word after which a process counts as hung."""
TOO_MANY = 5
"""Failures after which there is no point in going on."""


@dataclass(frozen=True, slots=True)
class Method:
    """A kind of training: how its tiny model is made, and how a run begins or goes on."""

    save_model: Callable[[Path], Path]
    run: Callable[..., None]


METHODS = {
    "sft": Method(tiny_runs.save_decoder, tiny_runs.run_sft),
    "packed": Method(tiny_runs.save_decoder, tiny_runs.run_packed),
    "contrastive": Method(tiny_runs.save_encoder, tiny_runs.run_contrastive),
}


@dataclass(slots=True)
class Tally:
    """What happened. `killed_while` counts kills by what the process was at; `failures` has a line each."""

    kills: int = 0
    runs: int = 0
    runs_equal: int = 0
    resumes: int = 0
    seconds: float = 0.0
    killed_while: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class End:
    """How a run ended: the figures of each step's line in the loss file, and a digest of each file that matters."""

    curve: tuple[tuple[float, ...], ...]
    digests: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Life:
    """One process of a run: killed at something, done, or failed, which is exactly one of the three."""

    killed_while: str = ""
    done: bool = False
    failure: str = ""


class Pace:
    """Seconds to a process's first step, and from one step to the next where it saves in between or does not: averages."""

    def __init__(self) -> None:
        self._seconds = {"start": 2.0, "save": 0.2, "step": 0.1}

    def __getitem__(self, kind: str) -> float:
        return self._seconds[kind]

    def learn(self, kind: str, seconds: float) -> None:
        self._seconds[kind] += 0.2 * (seconds - self._seconds[kind])


def fork_server() -> Any:
    """A multiprocessing context whose processes are forked from one that has the libraries loaded, with one thread each."""
    os.environ |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    return context


class Killer:
    """Deals kills to the runs of one method, at moments drawn with `seed`. `work` holds the model and the run folders."""

    def __init__(self, processes: Any, method: str, work: Path, seed: int = 0) -> None:
        self._processes = processes
        self._method = method
        self._work = work
        self._model = work / "model"
        self._moments = random.Random(seed)
        self._pace = Pace()

    def deal(self, kills: int, on_kill: Callable[[Tally], None] | None = None) -> Tally:
        """Deal so many kills, bring the last run to its end, and tell what came of it all."""
        start = time.monotonic()
        self._model = METHODS[self._method].save_model(self._work / "model")
        expected = self._undisturbed()
        tally = Tally()
        while tally.kills < kills and len(tally.failures) < TOO_MANY:
            tally.runs += 1
            folder = self._work / f"run-{tally.runs}"
            self._run_to_its_end(folder, kills, tally, on_kill)
            difference = _difference(expected, folder)
            tally.runs_equal += not difference
            tally.failures += [f"run {tally.runs} ended otherwise: {difference}"] if difference else []
        tally.seconds = time.monotonic() - start
        return tally

    def _undisturbed(self) -> End:
        folder = self._work / "undisturbed"
        life = self._live(folder, deadly=False)
        if not life.done:
            raise RuntimeError(f"the undisturbed run failed: {life.failure}")
        return end_of(folder)

    def _run_to_its_end(self, folder: Path, kills: int, tally: Tally, on_kill: Callable[[Tally], None] | None) -> None:
        done = begun = False
        while not done and len(tally.failures) < TOO_MANY:
            before = newest_complete(folder)
            life = self._live(folder, deadly=tally.kills < kills)
            tally.resumes += begun
            begun, done = True, life.done
            if life.failure:
                tally.failures.append(f"run {tally.runs}, after {tally.kills} kills: {life.failure}")
            if life.killed_while:
                tally.kills += 1
                tally.killed_while[life.killed_while] += 1
                if _step(newest_complete(folder)) < _step(before):
                    tally.failures.append(f"run {tally.runs}, kill {tally.kills}: {before} was lost")
                if on_kill is not None:
                    on_kill(tally)

    def _live(self, folder: Path, *, deadly: bool) -> Life:
        """Let the run go on in a new process; where `deadly`, kill it at a moment drawn."""
        ears, mouth = self._processes.Pipe(duplex=False)
        process = self._processes.Process(target=_train, args=(self._method, str(self._model), str(folder), mouth))
        process.start()
        mouth.close()
        words = self._listen(ears, deadly)
        if deadly or words[-1:] == ["hung"]:
            process.kill()
        while (word := _word(ears)) is not None:
            words.append(word)
        process.join()
        if words[-1:] == ["done"]:
            return Life(done=True)
        errors = [word for word in words if isinstance(word, str)]
        if errors or not deadly:
            return Life(failure=errors[-1] if errors else f"ended with {process.exitcode}")
        return Life(killed_while=_at_what(folder, started=bool(words)))

    def _listen(self, ears: Any, deadly: bool) -> list[int | str]:
        """Hear the steps of a process up to the moment at which it is to die, or to its end."""
        aim = self._moments.random()
        if deadly and aim < AIMED_AT_START:
            ears.poll(self._moments.uniform(0.0, self._pace["start"]))
            return []
        wanted = "save" if aim < AIMED_AT_START + AIMED_AT_SAVE else "step"
        left = self._moments.randint(1, 2)
        words: list[int | str] = []
        before, kind = time.monotonic(), "start"
        while (word := _word(ears)) is not None:
            words.append(word)
            if isinstance(word, str):
                break
            now = time.monotonic()
            self._pace.learn(kind, now - before)
            before, kind = now, "save" if word % EVERY == 0 else "step"
            left -= kind == wanted
            if deadly and left == 0:
                time.sleep(self._moments.uniform(0.0, self._pace[kind]))
                break
        return words


def _word(ears: Any) -> int | str | None:
    """What a process says: a step, `done`, or an error; `hung` where it says nothing for too long; None once it is gone."""
    try:
        word: int | str = ears.recv() if ears.poll(PATIENCE) else "hung"
    except (EOFError, OSError):
        return None
    return word


def _train(method: str, model: str, folder: str, mouth: Any) -> None:
    """The process that is killed. Each loss is told before the checkpoint of its step is written."""

    def on_progress(progress: Progress) -> None:
        mouth.send(progress.step)

    try:
        METHODS[method].run(Path(model), Path(folder), on_progress)
        mouth.send("done")
    except Exception as error:
        mouth.send(f"{type(error).__name__}: {error}")
        raise SystemExit(1) from error


def _at_what(folder: Path, *, started: bool) -> str:
    """What a process was at when it died: a checkpoint folder without a mark is one that is being written, or deleted."""
    newest = _step(newest_complete(folder))
    unmarked = [_step(path) for path in folder.glob("checkpoint-*") if not (path / COMPLETE).is_file()]
    if any(step > newest for step in unmarked):
        return "saving" if started else "starting, with a checkpoint cut short before"
    if unmarked:
        return "deleting an old checkpoint"
    return "stepping" if started else "starting"


def _step(checkpoint: Path | None) -> int:
    return int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0


def end_of(folder: Path) -> End:
    """How the finished run in `folder` ended."""
    lines = [json.loads(line) for line in (folder / LOSS_FILE).read_text().splitlines()]
    curve = tuple((line["step"], line["loss"], line["grad_norm"], line["learning_rate"]) for line in lines)
    last = newest_complete(folder)
    if last is None:
        raise RuntimeError(f"{folder} has no complete checkpoint")
    files = {**json.loads((last / MANIFEST).read_bytes())["files"]}
    for name in ("trainer_state.json", "training_args.bin"):  # these tell times and places
        files.pop(name, None)
    digests = {f"{last.name}/{name}": digest for name, (_, digest) in files.items() if not name.endswith(".md")}
    adapter = (folder / "adapter" / "adapter_model.safetensors").read_bytes()
    return End(curve, digests | {"adapter": _sha256(adapter)})


def _sha256(content: bytes) -> str:
    import hashlib

    return hashlib.sha256(content).hexdigest()


def _difference(expected: End, folder: Path) -> str:
    """What is otherwise in the finished run in `folder`, in a line; empty where nothing is."""
    try:
        found = end_of(folder)
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
    """The figures with what they were made with, as plain data."""
    return {
        "commit": commit(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
        "run": {"steps": tiny_runs.STEPS, "checkpoint_every": EVERY, "compared": "loss curve and state, bit by bit"},
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


def _tell(method: str, tally: Tally, kills: int) -> None:
    if tally.kills % 10 == 0 or tally.kills == kills:
        print(f"{method}: {tally.kills} of {kills} kills, run {tally.runs}, {len(tally.failures)} failures", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kills", description=__doc__.partition("\n")[0])
    parser.add_argument("--method", choices=list(METHODS), action="append", help="which training; default: all")
    parser.add_argument("--kills", type=int, default=200, metavar="N", help="kills a method (default: 200)")
    parser.add_argument("--seed", type=int, default=0, help="draws the moments")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the figures to FILE, as JSON")
    chosen = parser.parse_args()
    processes = fork_server()
    tallies: dict[str, Tally] = {}
    for method in chosen.method or METHODS:
        with tempfile.TemporaryDirectory(prefix="kills-") as work:
            killer = Killer(processes, method, Path(work), chosen.seed)
            tallies[method] = killer.deal(chosen.kills, lambda tally, name=method: _tell(name, tally, chosen.kills))  # type: ignore[misc]
        figures = report(tallies)
        if chosen.out is not None:
            chosen.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=1))
    if any(tally.failures for tally in tallies.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
