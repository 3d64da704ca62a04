"""How often do LoRAG's intervals hold the true value, and how often does the gate promote what is no better?

    python -m benchmarks.coverage [--quick] [--out FILE]

Test sets are drawn from populations whose true values are known, and go through the code that serves: `mean_interval` and
`macro_f1_interval` for figures, `held_out_claim` for paired differences, and the gate for promotions. A population has groups
(documents, conversations) whose items are alike: the normal scores behind the values have a correlation of `LIKENESS` within a
group, and the two systems' scores of an item one of `SHARED`. Groups are equal, or skewed (a few hold most of the items).

In each pair both systems have the same true figure, so every promotion is a false one. In most pairs they have one distribution;
in those called "other shape" a 0/1 metric meets a continuous one of the same mean.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchmarks.provenance import commit, save
from lorag.evaluating.claims import held_out_claim
from lorag.pipeline.adapters.card import AdapterCard, read_card
from lorag.pipeline.adapters.evidence import BARE_BASE, DataOrigin, Evidence, EvidenceData
from lorag.pipeline.adapters.gate import require_better
from lorag.pipeline.adapters.starters import bundled_starters
from lorag.pipeline.errors import AdapterError
from lorag.pipeline.evaluation.ablation import NDCG, Configuration, Measured
from lorag.pipeline.evaluation.groups import SHARE, UNBOUNDED, Interval, Range
from lorag.pipeline.evaluation.judgments import Judged
from lorag.pipeline.evaluation.label_significance import macro_f1_interval
from lorag.pipeline.evaluation.scores import ItemScores, ScoreTable
from lorag.pipeline.evaluation.significance import mean_interval
from lorag.pipeline.records import Outcome, Role

OUT = Path(__file__).parent / "results" / "coverage.json"
GROUPS = (5, 8, 10, 15, 20, 37, 60)
SIZES = ("equal", "skewed")
ITEMS = 6
"""Items of a group if groups are equal, and about their mean if they are skewed."""

MOST_ITEMS = 40
LIKENESS = 0.3
SHARED = 0.5
REPLICATES, QUICK = 1_000, 40
"""Test sets a cell with up to 10 groups; with more, 60 % of them."""

SEED = 0
DATA = EvidenceData("simulated/test", "", DataOrigin.HUMAN)

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Values:
    """A distribution of per-item values `within` a range, with mean `mean`; `quantile` maps probabilities to values."""

    name: str
    mean: float
    quantile: Callable[[Floats], Floats]
    within: Range = SHARE


@dataclass(frozen=True, slots=True)
class Labels:
    """Gold labels with probabilities `prior`. A system is right with the probability `right`, else it names any other class."""

    name: str
    prior: tuple[float, ...]
    right: float

    @property
    def macro_f1(self) -> float:
        """The true figure: F1 of each class from its expected counts."""
        prior = np.array(self.prior)
        hits = prior * self.right
        predicted = hits + (prior.sum() - prior) * (1 - self.right) / (len(prior) - 1)
        return float(np.mean(2 * hits / (prior + predicted)))


@dataclass(slots=True)
class Cell:
    """One cell of the table: how often the interval lay below the true value, held it or lay above it.

    `kind` is rate, mean, other figure, macro-F1, difference, other shape or macro-F1 difference. Of differences `promoted` counts
    promotions of what is no better. `width` is the sum of the intervals' widths.
    """

    kind: str
    values: str
    sizes: str
    groups: int
    replicates: int = 0
    held: int = 0
    below: int = 0
    above: int = 0
    promoted: int = 0
    width: float = 0.0

    def count(self, low: float, high: float, truth: float) -> None:
        self.replicates += 1
        self.below += high < truth - 1e-9
        self.above += low > truth + 1e-9
        self.held = self.replicates - self.below - self.above
        self.width += high - low


def rate(probability: float) -> Values:
    return Values(f"0/1, {probability:g}", probability, lambda u: (u > 1 - probability).astype(np.float64))


def beta(name: str, a: float, b: float, zeros: float = 0.0) -> Values:
    """Beta values, after a share of zeros."""
    grid = np.linspace(0, 1, 4_001)
    table = stats.beta.ppf(grid, a, b)

    def quantile(u: Floats) -> Floats:
        found: Floats = np.where(u < zeros, 0.0, np.interp((u - zeros) / (1 - zeros), grid, table))
        return found

    return Values(name, (1 - zeros) * a / (a + b), quantile)


def ranks() -> Values:
    """nDCG of one gold passage: 1 at the first place, 1/log2(place + 1) below, 0 if it is not found."""
    values = np.array([0.0, 0.289, 0.387, 0.5, 0.631, 1.0])
    shares = np.array([0.2, 0.06, 0.06, 0.08, 0.15, 0.45])
    ends = np.cumsum(shares)[:-1]
    return Values("nDCG of ranks", float(values @ shares), lambda u: values[np.searchsorted(ends, u)])


FIGURES: tuple[tuple[str, Values], ...] = (
    *(("rate", rate(each)) for each in (0.05, 0.3, 0.5, 0.95)),
    ("mean", beta("F1, 55 % zeros", 2, 1.5, 0.55)),
    ("mean", beta("F1, 80 % zeros", 2, 1.5, 0.8)),
    ("mean", ranks()),
    ("mean", beta("tiny spread", 500, 500)),
    ("other figure", Values("heavy tail", 1.0, lambda u: np.exp(stats.norm.ppf(u) - 0.5), UNBOUNDED)),
)
OTHER_SHAPE: tuple[tuple[Values, Values], ...] = (
    (rate(0.3), beta("other shape, 0.3", 1.5, 3.5)),
    (beta("other shape, 0.3", 1.5, 3.5), rate(0.3)),
    (rate(0.1), beta("other shape, 0.1", 1, 9)),
    (beta("other shape, 0.9", 9, 1), rate(0.9)),
)
LABELS = tuple(
    Labels(f"{len(prior)} classes, {right:g} right", prior, right)
    for prior in ((0.7, 0.3), (0.4, 0.3, 0.2, 0.1), (0.3, 0.2, 0.15, 0.1, 0.1, 0.06, 0.05, 0.04))
    for right in (0.6, 0.9)
)


def group_sizes(rng: np.random.Generator, count: int, sizes: str) -> list[int]:
    """The items of each of `count` groups."""
    if sizes == "equal":
        return [ITEMS] * count
    return [int(each) for each in np.clip(np.round(rng.lognormal(math.log(ITEMS) - 0.5, 1.0, count)), 1, MOST_ITEMS)]


def scores(rng: np.random.Generator, sizes: Sequence[int]) -> tuple[Floats, Floats]:
    """Probabilities from 0 to 1 of each item for two systems, alike within groups and between the systems."""

    def two(count: int) -> tuple[Floats, Floats]:
        shared, one, other = rng.normal(size=(3, count))
        root, rest = math.sqrt(SHARED), math.sqrt(1 - SHARED)
        return root * shared + rest * one, root * shared + rest * other

    of_groups, of_items = two(len(sizes)), two(sum(sizes))
    parts = [
        math.sqrt(LIKENESS) * np.repeat(group, sizes) + math.sqrt(1 - LIKENESS) * item
        for group, item in zip(of_groups, of_items, strict=True)
    ]
    return stats.norm.cdf(parts[0]), stats.norm.cdf(parts[1])


def group_names(sizes: Sequence[int]) -> list[str]:
    return [f"g{at}" for at, size in enumerate(sizes) for _ in range(size)]


def draw_labels(rng: np.random.Generator, of: Labels, sizes: Sequence[int]) -> tuple[list[str], list[list[str]]]:
    """Gold labels, whose shares vary between groups, and those of two systems."""
    prior = np.array(of.prior)
    gold = np.concatenate([rng.choice(len(prior), size=size, p=rng.dirichlet(6 * prior)) for size in sizes])
    given = [
        np.where(each < of.right, gold, (gold + rng.integers(1, len(prior), size=len(gold))) % len(prior))
        for each in scores(rng, sizes)
    ]
    return [str(each) for each in gold], [[str(each) for each in side] for side in given]


def measured(
    name: str,
    values: Sequence[float] = (),
    judged: tuple[Judged, ...] = (),
    groups: Sequence[str] = (),
    within: Range = SHARE,
) -> Measured:
    """A configuration with these values as its nDCG@10, or these judgments."""
    pairs = enumerate(zip(values, groups, strict=True)) if values else ()
    rows = (ItemScores(str(at), group, Outcome.OK, {NDCG: value}) for at, (value, group) in pairs)
    empty = ScoreTable(())
    return Measured(Configuration(name, frozenset()), empty, ScoreTable(tuple(rows), {NDCG: within}), empty, judged, {})


def is_promoted(card: AdapterCard, claim: Evidence) -> bool:
    """Whether the gate takes this claim, at 95 %, as better than the bare base. At a first look it asks for 97.5 %."""
    try:
        require_better(card, claim, 0.0)
    except AdapterError:
        return False
    return True


class Simulation:
    """The cells of one number of groups and kind of sizes, filled test set by test set."""

    def __init__(self, groups: int, sizes: str, card: AdapterCard) -> None:
        self._groups, self._sizes, self._card = groups, sizes, card
        self.cells: dict[tuple[str, str], Cell] = {}

    def _cell(self, kind: str, values: str) -> Cell:
        return self.cells.setdefault((kind, values), Cell(kind, values, self._sizes, self._groups))

    def _count_figure(self, kind: str, values: str, found: Interval, truth: float) -> None:
        self._cell(kind, values).count(found.low, found.high, truth)

    def _count_claim(self, kind: str, values: str, role: Role, first: Measured, second: Measured) -> None:
        claim = held_out_claim(role, DATA, BARE_BASE, first, second)
        cell = self._cell(kind, values)
        cell.count(claim.low, claim.high, 0.0)
        cell.promoted += is_promoted(replace(self._card, role=role), claim)

    def draw_values(self, rng: np.random.Generator, kind: str, first: Values, second: Values) -> None:
        """A test set of values: the first system's figure, and the second one's difference from it."""
        sizes = group_sizes(rng, self._groups, self._sizes)
        names, parts = group_names(sizes), scores(rng, sizes)
        values = [of.quantile(part).tolist() for of, part in zip((first, second), parts, strict=True)]
        if first is second:
            self._count_figure(kind, first.name, mean_interval(values[0], groups=names, within=first.within), first.mean)
        systems = zip("ab", values, (first, second), strict=True)
        pair = [measured(name, each, groups=names, within=of.within) for name, each, of in systems]
        name = first.name if first is second else f"{first.name} → {second.name}"
        self._count_claim("difference" if first is second else "other shape", name, Role.EMBEDDER, *pair)

    def draw_labels(self, rng: np.random.Generator, of: Labels) -> None:
        """A test set of labels: the first system's macro-F1, and the second one's difference from it."""
        sizes = group_sizes(rng, self._groups, self._sizes)
        names = group_names(sizes)
        gold, given = draw_labels(rng, of, sizes)
        self._count_figure("macro-F1", of.name, macro_f1_interval(gold, given[0], groups=names), of.macro_f1)
        pair = list[Measured]()
        for name, labels in zip("ab", given, strict=True):
            rows = zip(gold, labels, names, strict=True)
            judged = tuple(Judged(str(at), truth, label, group=group) for at, (truth, label, group) in enumerate(rows))
            pair.append(measured(name, judged=judged))
        self._count_claim("macro-F1 difference", of.name, Role.JUDGE, *pair)


def simulate(replicates: int, groups: Sequence[int] = GROUPS) -> list[Cell]:
    """All cells, with `replicates` test sets each up to 10 groups and 60 % of them beyond."""
    card, cells = read_card(bundled_starters()[Role.REWRITER]), list[Cell]()
    for count in groups:
        for sizes in SIZES:
            simulation, rng = Simulation(count, sizes, card), np.random.default_rng([SEED, count, SIZES.index(sizes)])
            for _ in range(replicates if count <= 10 else max(1, 3 * replicates // 5)):
                for kind, values in FIGURES:
                    simulation.draw_values(rng, kind, values, values)
                for first, second in OTHER_SHAPE:
                    simulation.draw_values(rng, "", first, second)
                for labels in LABELS:
                    simulation.draw_labels(rng, labels)
            cells += simulation.cells.values()
            print(f"{count} groups, {sizes}: {time.process_time():.0f} s")
    return cells


def summary(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """By kind and number of groups: mean and lowest coverage, and mean and highest share of false promotions."""
    rows = []
    for kind in dict.fromkeys(cell.kind for cell in cells):
        for groups in dict.fromkeys(cell.groups for cell in cells):
            of = [cell for cell in cells if (cell.kind, cell.groups) == (kind, groups)]
            held, promoted = [each.held / each.replicates for each in of], [each.promoted / each.replicates for each in of]
            low, high = int(np.argmin(held)), int(np.argmax(promoted))
            rows.append(
                {
                    "kind": kind,
                    "groups": groups,
                    "coverage": float(np.mean(held)),
                    "lowest": held[low],
                    "lowest_in": f"{of[low].values}, {of[low].sizes}",
                    "promoted": float(np.mean(promoted)) if "difference" in kind or kind == "other shape" else None,
                    "highest": promoted[high],
                    "highest_in": f"{of[high].values}, {of[high].sizes}",
                }
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} test sets a cell instead of {REPLICATES}: some seconds")
    parser.add_argument("--out", type=Path, default=None, help=f"where the result goes; {OUT} without it and without --quick")
    options = parser.parse_args()
    replicates, out = (QUICK if options.quick else REPLICATES), options.out or (None if options.quick else OUT)
    start = time.process_time()
    cells = simulate(replicates)
    rows = summary(cells)
    for row in rows:
        text = f"{row['kind']}, {row['groups']} groups: {100 * row['coverage']:.1f} % (at least {100 * row['lowest']:.1f})"
        is_claim = row["promoted"] is not None
        print(text + (f", promoted {100 * row['promoted']:.1f} % (at most {100 * row['highest']:.1f})" if is_claim else ""))
    if out is not None:
        settings = {"replicates": replicates, "seed": SEED, "items": ITEMS, "likeness": LIKENESS, "shared": SHARED}
        found = {"commit": commit(), "settings": settings, "cpu_seconds": round(time.process_time() - start)}
        save(out, {**found, "summary": rows, "cells": [asdict(each) for each in cells]})


if __name__ == "__main__":
    main()
