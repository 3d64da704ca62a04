"""The page and the JSON of `lorag compare-tuning`: a table, plots, and where the figures come from, in one file each.

In the evaluation report's own ways and style: no network, no script, light and dark, readable on a phone. Measures nothing.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lorag.pipeline.adapters.card import now_utc
from lorag.pipeline.evaluation.effects import Effect
from lorag.pipeline.evaluation.report.appendix import notes, provenance
from lorag.pipeline.evaluation.report.markup import EN_DASH, Markup, duration, el, join, number, signed
from lorag.pipeline.evaluation.report.page import frame
from lorag.pipeline.evaluation.report.records import Provenance
from lorag.pipeline.evaluation.report.sections import scrolling, section, verdict_kind
from lorag.pipeline.evaluation.report.write import write_both
from lorag.services.machine import examine_machine
from lorag.services.tuning_comparison import Line, TuningComparison, to_json
from lorag.services.tuning_report_charts import Point, bar_chart, difference_chart, quality_chart
from lorag.training.tuning_comparison import Cost, Method
from lorag.version import lorag_version

NOTES = (
    "Same rows, order, steps, batch, schedule and seed for all. Full fine-tuning has a smaller learning rate: one that suits an "
    "adapter destroys a model whose every weight moves. One seed each: another might turn a small difference.",
    "Alpha is the same at every rank, so that B·A is scaled by alpha / rank and one learning rate suits all of them.",
    "Peak memory is that of a process of its own at its highest, libraries included; optimizer state and saved size are weighed, "
    "not computed. Time is that of the steps, without loading, measuring and saving.",
    "Intervals are 95 % bootstrap intervals (BCa, 10,000 resamples) clustered by document or conversation; differences are "
    "paired item by item, their p by permutation, corrected by Holm within their column.",
)

LEADS: Mapping[str, str] = {
    "embedder": "The untuned model is the frozen encoder. All passages of the data folder are searched, by vectors alone.",
    "synthesizer": "The untuned model is the base asked in its plain prompt with an example. Each answerable question is shown "
    "the passages nearest to it by the frozen encoder; a refusal scores 0.",
    "rewriter": "The untuned model is the base asked in its plain prompt with two examples, on test turns that have a history.",
}


def size(count: int) -> str:
    """Bytes for people: `0.4 MB`, `91 MB`, `2.31 GB` (powers of ten)."""
    if count >= 10**9:
        return f"{count / 1e9:.2f} GB"
    return f"{count / 1e6:.0f} MB" if count >= 10**7 else f"{count / 1e6:.2f} MB"


def against_text(effect: Effect | None) -> str:
    """A difference with its interval, marked where it is more than noise."""
    if effect is None:
        return ""
    return f"{signed(effect.value)} ({signed(effect.low)} to {signed(effect.high)}){' *' if effect.shown else ''}"


def write_tuning_report(found: TuningComparison, folder: Path) -> Path:
    """Write report.json and report.html into `folder`, each in one step; returns the page. Raises InputError."""
    made = _provenance(found)
    content = {**to_json(found), "created": made.created, "machine": made.machine, "versions": made.versions}
    text = json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False) + "\n"
    return write_both(text, render(found, made), folder)


def render(found: TuningComparison, made: Provenance) -> str:
    """The whole page as text."""
    title = f"Full fine-tuning, LoRA, QLoRA: the {found.role.value} on {found.data}"
    parts = {
        "comparison": _table(found),
        "quality": _quality(found),
        "cost": _costs(found),
        "notes": notes(NOTES),
        "provenance": provenance(made),
    }
    return frame(title, _summary(found), {anchor: anchor.capitalize() for anchor in parts}, parts)


def _summary(found: TuningComparison) -> str:
    adapters = [line for line in found.lines if line.variant.rank]
    full = next((line for line in found.lines if line.variant.method is Method.FULL), None)
    best = max(adapters, key=lambda line: line.quality.value, default=None)
    parts = []
    if best is not None and best.cost is not None:
        parts.append(
            f"The best adapter, {best.variant.title}, updates {best.cost.share:.2%} of the parameters and reaches "
            f"{number(best.quality.value)} {found.metric}"
        )
    if full is not None:
        parts.append(f"full fine-tuning {number(full.quality.value)}")
    parts.append(f"the untuned model {number(found.lines[0].quality.value)}")
    return ", ".join(parts) + f", on {found.lines[0].quality.n} held-out items."


def _table(found: TuningComparison) -> Markup:
    first = (found.metric, "Gain", *(["Against full"] if any(line.against_full for line in found.lines) else []))
    names = (*first, "Updated", "Share", "Peak memory", "Optimizer state", "Time", "Saved", "Learning rate")
    head = [el("th", "", scope="col"), *(el("th", name, scope="col", class_="figure") for name in names)]
    rows = [el("tr", el("th", line.variant.title, scope="row"), _cells(line, len(first) > 2)) for line in found.lines]
    table = el("table", el("thead", el("tr", head)), el("tbody", rows), class_="grid-table")
    return section("comparison", "What each costs and brings", scrolling(table, "Comparison"), lead=LEADS[found.role.value])


def _cells(line: Line, with_full: bool) -> list[Markup]:
    cost, quality = line.cost, line.quality
    failed = el("small", f"{line.failed} failed") if line.failed else None
    interval = el("small", f"{number(quality.low)}{EN_DASH}{number(quality.high)}")
    brought = [join(el("strong", number(quality.value)), interval, failed), _difference(line.gain)]
    brought += [_difference(line.against_full)] if with_full else []
    spent: list[Markup | str] = [EN_DASH] * 7
    if cost is not None:
        processor = el("small", f"{duration(cost.cpu_seconds)} of CPU") if cost.device == "cpu" else None
        spent = [
            f"{cost.trained:,}",
            f"{cost.share:.2%}",
            size(cost.peak),
            size(cost.optimizer),
            join(duration(cost.seconds), processor),
            size(cost.saved),
            f"{line.variant.learning_rate:g}",
        ]
    return [el("td", each, class_="figure") for each in (*brought, *spent)]


def _difference(effect: Effect | None) -> Markup:
    if effect is None:
        return join(EN_DASH)
    kind = _kind(effect)
    interval = f"{signed(effect.low)} to {signed(effect.high)}"
    return join(el("span", signed(effect.value), class_=f"delta {kind}"), el("small", interval))


def _kind(effect: Effect) -> str:
    """`better` or `worse` where the corrected test agrees with the interval, else `unclear`."""
    return verdict_kind(effect.low, effect.high, False) if effect.shown else "unclear"


def _quality(found: TuningComparison) -> Markup:
    points = [
        Point(
            line.variant.title,
            line.cost.trained,
            line.quality.value,
            line.quality.low,
            line.quality.high,
            "with" if line.variant.rank else "plain",
        )
        for line in found.lines
        if line.cost is not None
    ]
    chart = quality_chart(found.metric, points, found.lines[0].quality.value)
    figures = [el("figure", el("figcaption", el("strong", found.metric), " by parameters updated"), chart)]
    against = [
        (line.variant.title, each.value, each.low, each.high, _kind(each))
        for line in found.lines
        if (each := line.against_full) is not None
    ]
    if against:
        caption = el("figcaption", el("strong", "Against full fine-tuning"), ", item by item")
        figures.append(el("figure", caption, difference_chart(against)))
    lead = (
        "Left each model by itself, with the interval of its figure over the items; right the paired differences, which tell two "
    )
    return section("quality", "What a parameter buys", el("div", figures, class_="figures wide"), lead=lead + "models apart.")


def _costs(found: TuningComparison) -> Markup:
    spent = [(line.variant.title, line.cost) for line in found.lines if line.cost is not None]

    def figure(name: str, value: Callable[[Cost], float], text: Callable[[Any], str]) -> Markup:
        rows = [(title, float(value(cost)), text(value(cost))) for title, cost in spent]
        return el("figure", el("figcaption", el("strong", name)), bar_chart(name, rows))

    floor = max(cost.floor for _, cost in spent)
    figures = [
        figure(f"Peak memory, {size(floor)} of it libraries", lambda cost: cost.peak, size),
        figure("Optimizer state", lambda cost: cost.optimizer, size),
        figure("Time of training", lambda cost: cost.seconds, duration),
        figure("Saved", lambda cost: cost.saved, size),
    ]
    return section("cost", "What each costs", el("div", figures, class_="figures"))


def _provenance(found: TuningComparison) -> Provenance:
    made_of, machine = found.made_of, examine_machine()
    digests = {name: digest[:16] for name, digest in made_of["data"].items()}
    digests |= {kind: f"{made_of[kind]['id']} {made_of[kind]['digest'][:16]}" for kind in ("base", "encoder") if kind in made_of}
    digests["contract"] = made_of["contract"][:16] or "none"
    recipe: dict[str, Any] = dict(made_of["recipe"])
    asked = {name: made_of[name] for name in ("rows", "steps", "held_out_limit", "k") if made_of.get(name)}
    versions = {"lorag": lorag_version(), "commit": found.commit or "not a checkout", "python": platform.python_version()}
    steps = next((line.cost.steps for line in found.lines if line.cost is not None), 0)
    return Provenance(
        created=now_utc(),
        config={**recipe, **asked},
        digests=digests,
        versions={**versions, **made_of["libraries"]},
        seeds={"training": recipe["optimiser"]["seed"], "intervals": 0},
        machine={
            "processor": machine.processor,
            "cores": str(machine.cores),
            "memory": size(machine.memory),
            "threads": str(machine.threads),
            **({"GPU": machine.gpu} if machine.gpu else {}),
        },
        tests={"held-out items": found.lines[0].quality.n, "independent groups": found.lines[0].quality.groups, "steps": steps},
    )
