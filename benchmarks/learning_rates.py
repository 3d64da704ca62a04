"""Learning rates of the packed recipes: one run a rate, from the starter or from nothing, measured on dev items of the domain.

    python -m benchmarks.learning_rates judge --work DIR [--rates 5e-4 1e-3 2e-3] [--start starter nothing] [--rows 400]

Runs differ in their rate and start alone. The figure is the role's dev metric at the last step; test rows are not read. Each run
stores its result under --work; the same command resumes a stopped benchmark.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.own_process import progress_lines
from benchmarks.provenance import provenance, save, stored
from lorag.bundled import EXAMPLE, example_folder
from lorag.demo import DATA, MAX_LENGTH, project_in
from lorag.pipeline.records import Role
from lorag.starters import fitting_starters, install_starters
from lorag.training.progress import LOSS_FILE, loss_entries
from lorag.training.recipe import changed, load_recipe
from lorag.training.recipe_parts import Stopping
from lorag.tuning import TrainingCallbacks, TrainingSpec, train_adapter

DOMAIN = example_folder(EXAMPLE)
STARTS = ("starter", "nothing")
LAST = 1_000_000
"""Steps between two measurements: more than any run has, so only the last step is measured."""


@dataclass(frozen=True, slots=True)
class Result:
    """One run: its steps, seconds, mean training loss of the last tenth, and dev figures by name."""

    role: str
    start: str
    rate: float
    rows: int
    steps: int
    seconds: float
    loss: float
    dev: dict[str, float]


def run_once(role: Role, start: str, rate: float, rows: int, items: int, work: Path) -> dict[str, Any]:
    """Train once and measure, or read the stored result. Raises what training raises."""
    folder = work / f"{role.value}-{start}-{rate:g}-{rows}-{items}"
    file = folder / "result.json"
    if (known := stored(file)) is not None:
        return known
    begun = time.monotonic()
    with project_in(folder) as opened:
        starters = install_starters(opened.settings, fitting_starters(opened.settings)[0], lambda _: None)
        begin = starters[role].id if start == "starter" else None
        key = "continued_rate" if begin else "learning_rate"
        changes: dict[str, Any] = {**DATA.get(role, {}), "max_rows": rows, "max_length": MAX_LENGTH, key: rate}
        recipe = changed(load_recipe(role), **changes, dev=Stopping(every=LAST, items=items))
        if role is Role.SYNTHESIZER:
            opened.ingest()
        spec = TrainingSpec(role, DOMAIN, recipe, begin, measured=False)
        callbacks = TrainingCallbacks(on_progress=progress_lines(folder.name))
        version = train_adapter(opened.settings, opened.registry, spec, folder / "run", resume=True, callbacks=callbacks)
        dev = dict(opened.registry.show(role, version.id).training.dev)
    entries = [json.loads(line) for line in (folder / "run" / LOSS_FILE).read_text(encoding="utf-8").splitlines()]
    losses = [float(entry["loss"]) for entry in loss_entries(entries)]
    tail = losses[-max(1, len(losses) // 10) :]
    result = Result(
        role.value, start, rate, rows, len(losses), round(time.monotonic() - begun, 1), round(sum(tail) / len(tail), 4), dev
    )
    found = {name: getattr(result, name) for name in Result.__slots__}
    save(file, found)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("role", choices=["rewriter", "synthesizer", "judge"])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--rates", type=float, nargs="+", default=[5e-4, 1e-3, 2e-3])
    parser.add_argument("--start", nargs="+", choices=STARTS, default=list(STARTS))
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--items", type=int, default=96)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    role = Role(given.role)
    runs = []
    for start in given.start:
        for rate in given.rates:
            runs.append(run_once(role, start, rate, given.rows, given.items, given.work))
            figures = ", ".join(f"{name} {value:.3f}" for name, value in runs[-1]["dev"].items())
            print(f"{role.value} from {start} at {rate:g}: loss {runs[-1]['loss']:.3f}; dev {figures}", flush=True)
    if given.out is not None:
        files = [DOMAIN / split / f"{role.value}.jsonl" for split in ("train", "dev")]
        save(given.out, {"runs": runs, "items": given.items, "provenance": provenance(files)})


if __name__ == "__main__":
    main()
