"""What the tuned embedder buys on the example domain, with the seed of its training as a random effect.

    python -m benchmarks.embedder_seeds --work DIR [--seeds 5] [--out FILE]

Runs differ in their seed alone: order of the rows, negatives and initial weights. Each encoder searches all test questions as the
project serves it. The interval allows for both which documents were asked about and which seed was drawn. Each run is stored
under --work; the same command resumes a stopped benchmark.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.own_process import progress_lines
from benchmarks.provenance import provenance, save, stored
from lorag.bundled import EXAMPLE, example_folder
from lorag.demo import project_in
from lorag.evaluating.measuring import run_configurations
from lorag.evaluating.testset import Sizes, read_tests
from lorag.pipeline.evaluation.ablation import BASE_CHAIN, Configuration
from lorag.pipeline.evaluation.groups import Interval, cluster_error, contributions_of, group_codes, t_quantile
from lorag.pipeline.records import Role
from lorag.project import Project
from lorag.training.dataset import DataFolder
from lorag.training.recipe import changed, load_recipe
from lorag.tuning import TrainingCallbacks, TrainingSpec, train_adapter

TUNED = "+ embedder"
METRICS = ("nDCG@10", "Recall@5")


def with_seeds(differences: Sequence[Sequence[float]], groups: Sequence[Hashable], level: float = 0.95) -> Interval:
    """The interval of a mean difference over seeds and items, both drawn at random; `differences` has shape (seeds, items).

    Its variance is that of the items' means over the seeds, by groups, plus that of the seeds' means over their number: the
    crossed random effects of Owen (2007), a little too wide since the residual counts twice. Degrees of freedom by Satterthwaite.
    Raises ValueError for fewer than two seeds, InputError for fewer than two groups.
    """
    found = np.asarray(differences, dtype=np.float64)
    if len(found) < 2:
        raise ValueError("an effect of seeds needs at least two of them")
    of = contributions_of(found.mean(axis=0), group_codes(groups, found.shape[1]))
    items = cluster_error(of)
    seeds = float(found.mean(axis=1).var(ddof=1)) / len(found)
    variance = items.error**2 + seeds
    freedom = variance**2 / (items.error**4 / items.freedom + seeds**2 / (len(found) - 1)) if variance else items.freedom
    half = t_quantile(level, freedom) * math.sqrt(variance)
    return Interval(of.value, of.value - half, of.value + half, n=of.n, groups=of.count, level=level)


def run_once(project: Project, seed: int, work: Path) -> dict[str, Any]:
    """Train with this seed and search, or read the stored result."""
    file = work / f"{seed}.json"
    if (known := stored(file)) is not None:
        return known
    data = DataFolder(example_folder(EXAMPLE), project.settings.judge.intents)
    spec = TrainingSpec(Role.EMBEDDER, data.folder, changed(load_recipe(Role.EMBEDDER), seed=seed), measured=False)
    callbacks = TrainingCallbacks(on_progress=progress_lines(f"seed {seed}"))
    version = train_adapter(project.settings, project.registry, spec, work / f"run-{seed}", resume=True, callbacks=callbacks)
    tests = read_tests(data, Sizes(), roles=(Role.EMBEDDER,))
    both = (Configuration(BASE_CHAIN, frozenset()), Configuration(TUNED, frozenset({Role.EMBEDDER})))
    run = run_configurations(project.settings, tests, {Role.EMBEDDER: version}, both)
    found: dict[str, Any] = {"version": version.id, "seconds": project.registry.show(Role.EMBEDDER, version.id).training.seconds}
    for each in run.measured:
        found[each.configuration.name] = {item.id: dict(item.values) for item in each.retrieval.items}
    found["groups"] = {item.gold.id: item.gold.group or item.gold.id for item in tests.chain}
    save(file, found)
    return found


def report(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The means of each seed, their spread, and the difference to the frozen encoder."""
    ids = sorted(runs[0][TUNED])
    groups = [runs[0]["groups"][each] for each in ids]
    found: dict[str, Any] = {"seeds": len(runs), "versions": [run["version"] for run in runs]}
    for metric in METRICS:
        tuned = [[run[TUNED][each][metric] for each in ids] for run in runs]
        frozen = [[run[BASE_CHAIN][each][metric] for each in ids] for run in runs]
        means = [statistics.fmean(values) for values in tuned]
        apart = with_seeds(np.subtract(tuned, frozen).tolist(), groups)
        found[metric] = {
            "frozen": statistics.fmean(frozen[0]),
            "tuned by seed": means,
            "spread of seeds": statistics.stdev(means),
            "difference": {"value": apart.value, "low": apart.low, "high": apart.high, "n": apart.n, "groups": apart.groups},
        }
    return found


def show(found: Mapping[str, Any]) -> None:
    for metric in METRICS:
        each = found[metric]
        means, apart = ", ".join(f"{mean:.3f}" for mean in each["tuned by seed"]), each["difference"]
        span = f"{apart['value']:+.3f} ({apart['low']:+.3f} to {apart['high']:+.3f})"
        print(f"{metric}: frozen {each['frozen']:.3f}, tuned by seed {means} (standard deviation {each['spread of seeds']:.4f})")
        print(f"  difference {span}, n = {apart['n']} in {apart['groups']} groups", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="run folders; what is done there is not done again")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    if options.seeds < 2:
        sys.exit("error: --seeds: an effect of seeds needs at least two of them")
    with project_in(options.work) as project:
        project.ingest()
        runs = [run_once(project, seed, options.work) for seed in range(options.seeds)]
    found = report(runs)
    show(found)
    if options.out is not None:
        domain = example_folder(EXAMPLE)
        files = [domain / "passages.jsonl", *(domain / split / "embedder.jsonl" for split in ("train", "dev"))]
        save(options.out, {**found, **provenance([*files, domain / "test" / "synthesizer.jsonl"])})


if __name__ == "__main__":
    main()
