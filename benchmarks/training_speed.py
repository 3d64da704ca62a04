"""How fast is LoRAG's SFT compared with plain trl? The same base, rows, adapter and rows a step, in turns on one machine.

    python -m benchmarks.training_speed [--rounds N] [--out FILE]

Systems: `lorag` trains as a recipe with packing does; `trl` is trl's SFTTrainer with its defaults (rows in random order, padded
to the longest of the batch, activations recomputed), loss on the completion; `trl-kept` is the same without recomputing. Rows
are made up, of lengths that leave padded batches about 45 % full. Each run has its own process and the systems take turns, so
other work on the machine affects all alike. Speed is tokens a second without padding, by wall clock and by processor time;
ratios are within a round. Losses must be equal: plain transformers computes each adapter's loss on all rows.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.provenance import provenance
from lorag.pipeline.engine.bases import SMOLLM2, resolve_base
from lorag.pipeline.engine.processor import probe_threads
from lorag.pipeline.engine.tokens import load_tokens
from lorag.pipeline.engine.weights import Precision, load_weights
from lorag.pipeline.records import Message
from lorag.training.lora_options import lora_config
from lorag.training.packing import IGNORED
from lorag.training.recipe import GenerationRecipe
from lorag.training.recipe_parts import GenerationLora, GenerationOptimisation
from lorag.training.sft import Example, encode, train_adapter

SYSTEMS = ("lorag", "trl", "trl-kept")
ROWS, BATCH = 32, 4
LONG_ROWS, SHORT, LONG = 5, (12, 32), (490, 550)
"""Words of a row: most are short turns, a few hold whole passages. Four of them padded together are about 45 % full."""

PACK = 640
RATE = 1e-3
SHAPE = GenerationLora(rank=16, alpha=32)
EQUAL = 0.1
"""Allowed difference of the final losses in nats a token: batches hold other rows, so weights differ."""

SAME = 1e-3
"""The same for the loss of one step on the same rows, in float32."""

OUT = Path(__file__).parent / "results" / "training_speed.json"
LIBRARIES = ("trl", "accelerate", "datasets")
WORDS = ("harbour", "lantern", "copper", "window", "river", "garden", "engine", "paper", "winter", "stone", "market", "signal")


@dataclass(frozen=True, slots=True)
class Clock:
    """Seconds of training: wall clock, and processor time of all cores."""

    wall: float
    process: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--systems", default=",".join(SYSTEMS), help="names with commas between them; the first is compared")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--run", choices=(*SYSTEMS, "base"), help=argparse.SUPPRESS)
    parser.add_argument("--one-step", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.run:
        print(json.dumps(run(chosen.run, one_step=chosen.one_step)))
        return
    systems = chosen.systems.split(",")
    before = _child("base")["loss"]
    one_step = {system: _child(system, "--one-step")["curve"][0] for system in systems}
    print(f"loss before: {before:.3f}; of one step on the same {BATCH} rows: {one_step}", flush=True)
    rounds: list[dict[str, Any]] = []
    for number in range(chosen.rounds):
        first = number % len(systems)
        rounds.append({system: _child(system) for system in systems[first:] + systems[:first]})
        print(_line(rounds[-1]), flush=True)
        result = {"loss_before": before, "loss_of_the_same_step": one_step, **summary(systems, rounds), "setting": setting()}
        facts = provenance([])
        facts["libraries"] |= {name: version(name) for name in LIBRARIES}
        chosen.out.write_text(json.dumps({**result, "rounds": rounds, **facts}, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))
    if result["loss_difference"] > EQUAL or max(one_step.values()) - min(one_step.values()) > SAME:
        raise SystemExit(f"losses differ: after training by {result['loss_difference']:.3f} nats a token, on one step {one_step}")


def summary(systems: Sequence[str], rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The ratio of tokens a second of the first system to each other one: median, least and most over the rounds."""
    first, *others = systems
    ratios = {}
    for system in others:
        for clock in ("wall", "process"):
            found = [one[system][clock] / one[system]["tokens"] * one[first]["tokens"] / one[first][clock] for one in rounds]
            ratios[f"{system}, {clock}"] = {"median": median(found), "least": min(found), "most": max(found)}
    losses = {system: [one[system]["loss"] for one in rounds] for system in systems}
    difference = max(abs(median(losses[system]) - median(losses[first])) for system in others)
    return {"ratios": ratios, "losses_after": losses, "loss_difference": difference}


def setting() -> dict[str, Any]:
    return {
        "base": SMOLLM2,
        "precision": "bf16",
        "rows": ROWS,
        "rows_a_step": BATCH,
        "pack_tokens": PACK,
        "learning_rate": RATE,
        "rank": SHAPE.rank,
        "threads": probe_threads(),
    }


def _child(system: str, *options: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.training_speed", "--run", system, *options],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _line(one: dict[str, Any]) -> str:
    parts = [
        f"{system} {found['tokens'] / found['wall']:.0f} tokens/s ({found['tokens'] / found['process']:.0f} by process time), "
        f"{found['fill']:.0%} full, loss {found['loss']:.3f}"
        for system, found in one.items()
    ]
    return "; ".join(parts)


def run(system: str, *, one_step: bool) -> dict[str, Any]:
    """Train once, or for `base` not at all, and compute the loss on all rows. `one_step` uses one batch of short rows, in
    float32."""
    probe_threads()
    tokens = load_tokens(SMOLLM2)
    examples = made_up()
    rows, _ = encode(examples, tokens, 1024)
    if one_step:
        shortest = sorted(range(ROWS), key=lambda number: len(rows[number]["input_ids"]))[:BATCH]
        examples, rows = [examples[number] for number in shortest], [rows[number] for number in shortest]
    if system == "base":
        return {"loss": score(None, rows)}
    with tempfile.TemporaryDirectory() as folder:
        train = _train_lorag if system == "lorag" else _train_trl
        precision = Precision.FP32 if one_step else Precision.BF16
        adapter, figures = train(examples, rows, Path(folder), system, precision)
        return {**figures, "tokens": sum(len(row["input_ids"]) for row in rows), "loss": score(adapter, rows)}


def made_up() -> list[Example]:
    """Rows of very different lengths without common prefixes, for a task that is learnt quickly."""
    rng = random.Random(5)
    bounds = [LONG] * LONG_ROWS + [SHORT] * (ROWS - LONG_ROWS)
    rng.shuffle(bounds)
    examples = []
    for number, (least, most) in enumerate(bounds):
        text = " ".join(rng.choice(WORDS) for _ in range(rng.randint(least, most)))
        first = " ".join(text.split()[:10])
        examples.append(Example(f"r{number}", (Message("user", f"{text}\nRepeat the first ten words."),), first))
    return examples


def _train_lorag(
    examples: list[Example], rows: list[dict[str, list[int]]], folder: Path, system: str, precision: Precision
) -> tuple[Path, dict[str, Any]]:
    # A sequence of PACK tokens holds about as many rows as a batch of the other systems; one at a time needs no padding.
    optimiser = GenerationOptimisation(
        learning_rate=RATE,
        warmup_share=0.0,
        batch_size=1,
        max_length=1024,
        pack_tokens=PACK,
        epochs=1,
        checkpoint_every=10_000,
    )
    recipe = GenerationRecipe(role="rewriter", precision=precision, lora=SHAPE, optimiser=optimiser)
    curve: list[float] = []
    with timed() as clocks:
        trained = train_adapter(examples, resolve_base(SMOLLM2), recipe, folder, on_progress=lambda at: curve.append(at.loss))
    return trained.folder, {**_seconds(clocks), "curve": curve, "fill": 1.0, "steps": trained.steps}


def _train_trl(
    examples: list[Example], rows: list[dict[str, list[int]]], folder: Path, system: str, precision: Precision
) -> tuple[Path, dict[str, Any]]:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    loaded = load_weights(resolve_base(SMOLLM2), precision=precision)
    config = SFTConfig(
        output_dir=str(folder),
        per_device_train_batch_size=BATCH,
        num_train_epochs=1,
        learning_rate=RATE,
        completion_only_loss=True,
        logging_steps=1,
        report_to="none",
        disable_tqdm=True,
        use_cpu=loaded.device == "cpu",
        bf16=precision is Precision.BF16,  # trl's own default for what it can
    )
    if system == "trl-kept":
        config.gradient_checkpointing = False
    masks = [[int(label != IGNORED) for label in row["labels"]] for row in rows]
    data = Dataset.from_dict({"input_ids": [row["input_ids"] for row in rows], "completion_mask": masks})
    trainer: Any = SFTTrainer(
        model=loaded.model, args=config, train_dataset=data, processing_class=loaded.tokenizer, peft_config=lora_config(SHAPE)
    )
    shapes: list[tuple[int, int]] = []
    collate = trainer.data_collator

    def recording_collate(batch: Any) -> Any:
        made = collate(batch)
        shapes.append(tuple(made["input_ids"].shape))
        return made

    trainer.data_collator = recording_collate
    with timed() as clocks:
        trainer.train()
    trainer.model.save_pretrained(str(folder / "adapter"))
    fill = sum(len(row["input_ids"]) for row in rows) / sum(rows_ * width for rows_, width in shapes)
    curve = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return folder / "adapter", {**_seconds(clocks), "curve": curve, "fill": fill, "steps": trainer.state.global_step}


@contextmanager
def timed() -> Iterator[list[Clock]]:
    """Context that yields the times of each call of the trainer's `train`, without set-up and saving."""
    import transformers

    trainer: Any = transformers.Trainer
    clocks: list[Clock] = []
    plain: Callable[..., Any] = trainer.train

    def train(self: Any, *args: Any, **kwargs: Any) -> Any:
        wall, process = time.perf_counter(), time.process_time()
        try:
            return plain(self, *args, **kwargs)
        finally:
            clocks.append(Clock(time.perf_counter() - wall, time.process_time() - process))

    trainer.train = train
    try:
        yield clocks
    finally:
        trainer.train = plain


def _seconds(clocks: Sequence[Clock]) -> dict[str, float]:
    (clock,) = clocks
    return {"wall": clock.wall, "process": clock.process}


def score(adapter: Path | None, rows: Sequence[dict[str, list[int]]]) -> float:
    """Mean loss in nats of a target token over all rows, one row at a time, by plain transformers and peft."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(resolve_base(SMOLLM2).location, dtype=torch.bfloat16)
    if adapter is not None:
        model = PeftModel.from_pretrained(model, str(adapter))
    model.eval()
    total, count = 0.0, 0
    with torch.no_grad():
        for row in rows:
            logits = model(input_ids=torch.tensor([row["input_ids"]])).logits[0, :-1].float()
            wanted = torch.tensor(row["labels"][1:])
            total += float(torch.nn.functional.cross_entropy(logits, wanted, ignore_index=IGNORED, reduction="sum"))
            count += int((wanted != IGNORED).sum())
    return total / count


if __name__ == "__main__":
    main()
