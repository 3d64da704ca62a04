"""`lorag compare-tuning`: full fine-tuning, LoRA and QLoRA on the same rows, by what they cost and what they bring."""

from __future__ import annotations

import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lorag.pipeline.records import Role
from lorag.services.failures import Interrupted
from lorag.services.options import HERE, DataFolder, Format, Output, Project
from lorag.services.terminal import cell, duration, out, progress_bars, show, show_json, table

if TYPE_CHECKING:
    from lorag.services.tuning_comparison import TuningComparison
    from lorag.training.recipe import Recipe
    from lorag.training.tuning_comparison import Method

RANKS, QLORA_RANKS = "4,8,16,32,64", "16"


class Compared(StrEnum):
    EMBEDDER = Role.EMBEDDER.value
    SYNTHESIZER = Role.SYNTHESIZER.value
    REWRITER = Role.REWRITER.value


def compare_tuning(
    role: Annotated[Compared, typer.Option("--role", help="Whose model.")],
    data: DataFolder,
    methods: Annotated[str, typer.Option("--methods", help="Some of full, lora, qlora, with commas.")] = "full,lora,qlora",
    ranks: Annotated[str, typer.Option("--ranks", help="Ranks of LoRA, with commas.")] = RANKS,
    qlora_ranks: Annotated[str, typer.Option("--qlora-ranks", help="Ranks of QLoRA, with commas.")] = QLORA_RANKS,
    rates: Annotated[
        list[str] | None,
        typer.Option(
            "--learning-rate",
            metavar="METHOD=RATE",
            help="Such as full=1e-4; once a method.",
            show_default="the recipe's; for full, whose every weight moves, a tenth of it",
        ),
    ] = None,
    steps: Annotated[int, typer.Option("--steps", min=0, help="Optimizer steps; 0: the recipe's.")] = 0,
    rows: Annotated[int, typer.Option("--rows", min=0, help="Training rows, drawn; 0: the recipe's.")] = 0,
    limit: Annotated[int | None, typer.Option("--limit", min=2, help="Held-out items, drawn.", show_default="all")] = None,
    recipe: Annotated[
        Path | None, typer.Option("--recipe", metavar="FILE", help="How to train, in YAML.", show_default="the bundled one")
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Journal, results and report.", show_default="PROJECT/.lorag/tuning/ROLE"),
    ] = None,
    project: Project = HERE,
    output: Output = Format.TEXT,
) -> None:
    """Tune one role's model in several ways on the same rows, steps and seed, and compare cost and held-out quality.

    Each way is trained and measured in a process of its own. What is finished is kept in DIR: run the same command again and it
    goes on with what is missing. DIR/report.html and DIR/report.json hold the result.
    """
    from lorag.pipeline.config import load_settings
    from lorag.services.tuning_comparison import compare_tuning as run
    from lorag.services.tuning_comparison import task_of, to_json
    from lorag.services.tuning_report import write_tuning_report
    from lorag.training.dataset import DataFolder as Rows
    from lorag.training.recipe import load_recipe
    from lorag.training.tuning_comparison import plan

    settings, read = load_settings(project), load_recipe(Role(role.value), recipe)
    place = folder or project / ".lorag" / "tuning" / role.value
    variants = plan(
        _methods(methods), _numbers(ranks, "--ranks"), _numbers(qlora_ranks, "--qlora-ranks"), _rates(read, rates or [])
    )
    task = task_of(settings, Role(role.value), Rows(data, settings.judge.intents), read, rows=rows, steps=steps)
    with progress_bars() as bars:
        try:
            found = run(
                task,
                variants,
                place,
                limit,
                lambda title, what, done, total, left: bars.update(f"{title}, {what}", done, total, "", left),
            )
        except KeyboardInterrupt:
            again = shlex.join(["lorag", *sys.argv[1:]])
            raise Interrupted(f"stopped; finished variants stay in {place}, go on with: {again}") from None
    page = write_tuning_report(found, place)
    if output is Format.JSON:
        show_json({"report": str(page), **to_json(found)})
        return
    _show(found)
    show(f"report: {page}")


def _methods(text: str) -> list[Method]:
    from lorag.pipeline.errors import InputError
    from lorag.training.tuning_comparison import Method

    known = [method.value for method in Method if method is not Method.UNTUNED]
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise InputError(f"--methods: {name!r} is none of {', '.join(known)}")
    return [Method(name) for name in names]


def _numbers(text: str, option: str) -> list[int]:
    from lorag.pipeline.errors import InputError

    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise InputError(f"{option}: {text!r} is no list of whole numbers such as 4,8,16") from None


def _rates(recipe: Recipe, given: list[str]) -> dict[Method, float]:
    """The learning rate of each method: the recipe's and its tenth, or what `METHOD=RATE` says."""
    from lorag.pipeline.errors import InputError
    from lorag.training.tuning_comparison import Method, learning_rates

    rates = learning_rates(recipe)
    for each in given:
        name, _, text = each.partition("=")
        try:
            method, rate = Method(name), float(text)
        except ValueError:
            method, rate = Method.UNTUNED, 0.0
        if method is Method.UNTUNED or not 0 < rate < 1:
            raise InputError(f"--learning-rate {each!r}: write METHOD=RATE, such as full=1e-4, with a rate between 0 and 1")
        rates[method] = rate
    return rates


def _show(found: TuningComparison) -> None:
    from lorag.services.tuning_report import NOTES, against_text, size

    columns = ("", ">rate", ">updated", ">share", ">peak memory", ">optimizer", ">time", ">saved", f">{found.metric}")
    rows = table(*columns, ">95 % interval", ">gain, untuned", ">against full")
    for line in found.lines:
        cost, quality = line.cost, line.quality
        spent = ("", "", "", "", "", "", "")
        if cost is not None:
            spent = (
                f"{line.variant.learning_rate:g}",
                f"{cost.trained:,}",
                f"{cost.share:.2%}",
                size(cost.peak),
                size(cost.optimizer),
                duration(cost.seconds),
                size(cost.saved),
            )
        interval = f"{quality.low:.3f} to {quality.high:.3f}"
        rows.add_row(
            cell(line.variant.title),
            *spent,
            f"{quality.value:.3f}",
            interval,
            against_text(line.gain),
            against_text(line.against_full),
        )
    out().print(rows)
    for note in NOTES:
        show(note)
