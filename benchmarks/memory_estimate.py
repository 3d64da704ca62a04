"""Is the estimate of memory right? Estimated and measured peaks, each of its own process.

    python -m benchmarks.memory_estimate [--cases NAME,…] [--out FILE]

A case is a recipe on `smollm2-135m` or `minilm` and rows of the greatest length that the recipe allows. One process estimates,
from the data folder alone; another trains for three steps and reports its peak (VmHWM). They never run at the same time. The
command fails if an estimate is off by more than a quarter. The estimated time of a step is printed with the measured time of
steps after the first; both vary on a busy machine. Cases that FILE holds already are not measured again.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.peak import peak_memory
from benchmarks.provenance import provenance
from lorag.pipeline.adapters.registry import Registry
from lorag.pipeline.engine.bases import SMOLLM2, resolve_base
from lorag.pipeline.engine.tokens import ChatTokens, load_tokens
from lorag.pipeline.records import Message, Role
from lorag.pipeline.retrieval.sentence_encoder import MINILM
from lorag.training.contrastive import Encoder, train_embedder
from lorag.training.dataset import DataFolder
from lorag.training.estimate import plan_sft, plan_training
from lorag.training.passage_search import plain_retrieval
from lorag.training.recipe import EmbeddingRecipe, GenerationRecipe, Recipe, parse_recipe
from lorag.training.run import TrainingRun
from lorag.training.sft import Example, train_adapter

STEPS = 3
MAX_ERROR = 0.25
OUT = Path(__file__).parent / "results" / "memory_estimate.json"
LIBRARIES = ("trl", "bitsandbytes", "accelerate", "datasets")


@dataclass(frozen=True, slots=True)
class Case:
    """A recipe in short. `tokens` is its longest row, `packed` whether rows are packed to that length."""

    precision: str
    batch_size: int
    tokens: int
    packed: bool = False

    @property
    def encoder(self) -> bool:
        return self.precision == "encoder"

    def recipe(self) -> Recipe:
        optimiser = {"batch_size": self.batch_size, "max_steps": STEPS, "max_length": self.tokens, "checkpoint_every": 1000}
        role = Role.EMBEDDER if self.encoder else Role.REWRITER
        chosen: dict[str, Any] = {"role": role.value, "optimiser": optimiser}
        if self.encoder:
            chosen["contrast"] = {"negatives": "random", "negatives_per_query": 1}
        else:
            chosen["precision"] = self.precision
            optimiser["pack_tokens"] = self.tokens if self.packed else 0
        return parse_recipe(chosen)


CASES = {
    "nf4-512x2": Case("nf4", 2, 512),
    "nf4-1024x1": Case("nf4", 1, 1024),
    "nf4-packed-1024x1": Case("nf4", 1, 1024, packed=True),
    "bf16-512x2": Case("bf16", 2, 512),
    "bf16-1024x1": Case("bf16", 1, 1024),
    "bf16-128x4": Case("bf16", 4, 128),
    "minilm-128x32": Case("encoder", 32, 128),
    "minilm-256x16": Case("encoder", 16, 256),
}
WORDS = ("harbour", "lantern", "copper", "window", "river", "garden", "engine", "paper", "winter", "stone", "market", "signal")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", default=",".join(CASES), help="names, with commas between them")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--part", choices=("estimate", "train"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.part:
        part = estimate if chosen.part == "estimate" else train
        print(json.dumps(part(CASES[chosen.cases], chosen.folder)))
        return
    known = json.loads(chosen.out.read_text(encoding="utf-8"))["cases"] if chosen.out.is_file() else []
    rows = {row["case"]: row for row in known}
    for name in chosen.cases.split(","):
        if name not in rows:
            rows[name] = measure(name)
            facts = provenance([])
            facts["libraries"] |= {library: version(library) for library in LIBRARIES}
            result = {"steps": STEPS, "cases": [rows[case] for case in CASES if case in rows], **facts}
            chosen.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if any(abs(row["error"]) > MAX_ERROR for row in rows.values()):
        raise SystemExit(f"an estimate is off by more than {MAX_ERROR:.0%}")


def measure(name: str) -> dict[str, Any]:
    """One case, estimated and then trained. Prints its line."""
    with tempfile.TemporaryDirectory() as folder:
        if CASES[name].encoder:
            write_pairs(Path(folder), CASES[name])
        estimated, measured = (_run(part, name, Path(folder)) for part in ("estimate", "train"))
    error = estimated["total"] / measured["peak"] - 1
    print(
        f"{name:20} estimated {estimated['total'] / 2**20:6.0f} MiB, measured {measured['peak'] / 2**20:6.0f} MiB, {error:+.1%}; "
        f"a step {estimated['step_seconds']:.1f} s, measured {measured['step_seconds']:.1f} s",
        flush=True,
    )
    return {"case": name, **asdict(CASES[name]), "error": error, "estimated": estimated, "measured": measured}


def _run(part: str, name: str, folder: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.memory_estimate", "--part", part, "--cases", name, "--folder", str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def estimate(case: Case, folder: Path) -> dict[str, Any]:
    recipe = case.recipe()
    if isinstance(recipe, GenerationRecipe):
        plan = plan_sft(examples_for(case), recipe, SMOLLM2)
    else:
        plan = plan_training(job_of(case, folder))
    return {
        "total": plan.memory.total,
        **plan.memory.parts(),
        "longest": plan.longest,
        "compute": plan.compute,
        "step_seconds": plan.seconds / plan.steps,
        "rate": plan.rate,
    }


def train(case: Case, folder: Path) -> dict[str, Any]:
    """The peak of this process over a few steps, and the mean time of those after the first, wall and process."""
    clocks: list[tuple[float, float]] = []

    def on_progress(_: object) -> None:
        clocks.append((time.perf_counter(), time.process_time()))

    run = folder / "run"
    recipe = case.recipe()
    if isinstance(recipe, EmbeddingRecipe):
        data = job_of(case, folder).data
        rows, passages = data.embed_rows("train"), list(data.training_passages().values())
        train_embedder(rows, passages, Encoder(MINILM), recipe, run, on_progress=on_progress)
    else:
        train_adapter(examples_for(case), resolve_base(SMOLLM2), recipe, run, on_progress=on_progress)
    (wall, process), (wall_end, process_end) = clocks[0], clocks[-1]
    steps = len(clocks) - 1
    return {
        "peak": peak_memory(),
        "step_seconds": (wall_end - wall) / steps,
        "step_process_seconds": (process_end - process) / steps,
    }


def examples_for(case: Case) -> list[Example]:
    """Examples of the greatest length or a word less; packed ones fit four to a sequence."""
    rng, tokens = random.Random(0), load_tokens(SMOLLM2)
    length, count = (case.tokens // 4, 4) if case.packed else (case.tokens, 1)
    return [_example(rng, tokens, f"r{n}", length) for n in range(case.batch_size * STEPS * count)]


def _example(rng: random.Random, tokens: ChatTokens, row_id: str, length: int) -> Example:
    words, target = prose(rng, length).split(), prose(rng, 16)
    while True:
        messages = (Message("user", " ".join(words)),)
        excess = len(tokens.prompt(messages)) + len(tokens.reply(target)) - length
        if excess <= 0:
            return Example(row_id, messages, target)
        del words[-max(1, excess // 2) :]


def write_pairs(folder: Path, case: Case) -> None:
    """Write embedder rows with passages longer than its limit."""
    rng = random.Random(0)
    names = [str(number) for number in range(2 * case.batch_size)]
    _write(folder / "passages.jsonl", [{"id": f"p{n}", "title": "", "text": prose(rng, 2 * case.tokens)} for n in names])
    rows = [{"query_id": f"q{n}", "query": prose(rng, 12), "positive_ids": [f"p{n}"]} for n in names]
    _write(folder / "train" / "embedder.jsonl", rows)


def job_of(case: Case, folder: Path) -> TrainingRun:
    return TrainingRun(
        role=Role.EMBEDDER,
        data=DataFolder(folder, {}),
        recipe=case.recipe(),
        base=SMOLLM2,
        base_device="auto",
        encoder=Encoder(MINILM),
        registry=Registry(folder / "adapters"),
        run_folder=folder / "run",
        retrieval=plain_retrieval(MINILM, 5),
        resume=False,
        on_progress=None,
        on_notice=None,
        continuation=None,
    )


def prose(rng: random.Random, words: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(words))


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main()
