"""Full fine-tuning, LoRA and QLoRA of one role's model on the same rows, steps and seed: cost and gain of each.

    python -m benchmarks.compare_tuning --role embedder --data DIR --project DIR --out DIR
        [--methods full,lora,qlora] [--ranks 4,8,16,32,64] [--qlora-ranks 16] [--learning-rate full=1e-4] [--steps N] [--rows N]
        [--limit N] [--recipe FILE]

    OUT/variants.jsonl     a row a finished variant: its cost and its score on each held-out item
    OUT/NAME/              its adapter or model
    OUT/report.json        the comparison

Each variant is trained and measured in its own process. The journal's header names everything that the rows depend on, except
the variants. So a comparison that was killed, or gets further variants, continues with the missing ones; other data or settings
are refused. Full fine-tuning has a tenth of the adapters' learning rate, since a rate that suits an adapter destroys a fully
trained model. Alpha is the same at every rank. Peak memory is that of the variant's process, with libraries; time is that of
the steps. Intervals allow for groups (documents or conversations): at 95 % of a quality, at the level of Holm's correction within
their column of a paired difference. One seed each.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from benchmarks.own_process import in_own_process, progress_lines
from benchmarks.provenance import commit, provenance, save
from benchmarks.tuning_scores import Measurement, measure
from benchmarks.tuning_variants import ROLES, Cost, Method, Task, Variant, learning_rates, plan, tune
from lorag.pipeline.config import load_settings
from lorag.pipeline.contracts import contract_hash
from lorag.pipeline.engine.bases import resolve_base
from lorag.pipeline.errors import InputError, LoragError
from lorag.pipeline.evaluation.ablation import OWN_METRIC, require_two
from lorag.pipeline.evaluation.effects import Effect, corrected, effect_of
from lorag.pipeline.evaluation.row_file import RowFile
from lorag.pipeline.evaluation.scores import ItemScores, ScoreTable, pair
from lorag.pipeline.evaluation.significance import Interval, mean_interval
from lorag.pipeline.records import Outcome, Role
from lorag.pipeline.retrieval.sentence_encoder import SentenceTransformerEmbedder
from lorag.pipeline.storage.jsonl import file_digests
from lorag.training.dataset import PASSAGES, DataFolder
from lorag.training.publish import library_versions
from lorag.training.recipe import load_recipe

JOURNAL = "variants.jsonl"


@dataclass(frozen=True, slots=True)
class VariantScores:
    """A variant's cost (None for the untuned model), its score on each held-out item, and the commit of the code."""

    cost: Cost | None
    scores: ScoreTable
    commit: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One variant: `quality` with its 95 % interval over the held-out items, and two differences.

    `gain` is over the untuned model, `against_full` over full fine-tuning. Both are paired item by item and corrected by Holm for
    all variants; None if there is nothing to compare with. `failed` items have no score.
    """

    variant: Variant
    cost: Cost | None
    quality: Interval
    gain: Effect | None
    against_full: Effect | None
    failed: int


def compare_tuning(task: Task, variants: Sequence[Variant], out: Path, limit: int | None = None) -> dict[str, Any]:
    """Train and measure the variants that `out` does not hold yet, compare them all, and return the content of report.json.

    Raises DataError if test rows leak into training, InputError if `out` holds another comparison, LoragError if a variant's
    process dies, and as training and measuring do. Finished variants stay in any case.
    """
    task.data.check_leaks(task.role)
    metric, made_of = OWN_METRIC[task.role], identity(task, limit)
    found: dict[Variant, VariantScores] = {}
    with _journal(out, made_of) as rows:
        done = {(row["variant"], row["learning_rate"]): _read(row) for block in rows.blocks() for row in block}
        rows.skip()
        for variant in variants:
            if (variant.name, variant.learning_rate) not in done:
                folder = out / f"{variant.name}-{variant.learning_rate:g}"
                made = in_own_process(variant.title, run_variant, task, variant, folder, limit)
                require_two(made.scores.groups(metric))  # before hours are spent on scores that cannot be compared
                rows.add([_row(variant, made)])
                done[variant.name, variant.learning_rate] = made
            found[variant] = done[variant.name, variant.learning_rate]
    return {
        "role": task.role.value,
        "metric": metric,
        "data": task.data.folder.resolve().name,
        **provenance(_files(task)),
        "commit": ", ".join(dict.fromkeys(each.commit for each in found.values())),
        "made_of": made_of,
        "variants": [_comparison_json(comparison) for comparison in compare(list(found.items()), metric)],
    }


def run_variant(task: Task, variant: Variant, folder: Path, limit: int | None) -> VariantScores:
    """Train and measure. Raises as `tune` and `measure` do."""
    tuned = None if variant.method is Method.UNTUNED else tune(task, variant, folder, progress_lines(variant.title))
    scores = measure(Measurement(task, variant, tuned.folder if tuned else None, limit))
    return VariantScores(tuned.cost if tuned else None, scores, commit())


@contextmanager
def _journal(out: Path, header: Mapping[str, Any]) -> Iterator[RowFile]:
    try:
        rows = RowFile(out / JOURNAL, header)
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror or error}); name another folder with --out") from error
    try:
        yield rows
    finally:
        rows.close()


def _files(task: Task) -> list[Path]:
    data, role = task.data, task.role
    files = [data.file("train", role), data.file("test", Role.SYNTHESIZER if role is Role.EMBEDDER else role)]
    return files if role is Role.REWRITER else [*files, data.folder / PASSAGES]


def identity(task: Task, limit: int | None) -> dict[str, Any]:
    """Everything that the figures depend on except variant and machine; files by digest."""
    role, folder = task.role, task.data.folder
    made_of: dict[str, Any] = {
        "role": role.value,
        "metric": OWN_METRIC[role],
        "data": {Path(name).relative_to(folder).as_posix(): each for name, each in file_digests(_files(task)).items()},
        "recipe": task.recipe.model_dump(mode="json"),
        "rows": task.rows,
        "steps": task.steps,
        "held_out_limit": limit,
        "contract": contract_hash(role),
        "libraries": library_versions(),
    }
    if role is not Role.REWRITER:
        digest = SentenceTransformerEmbedder(task.embedder).identity.model_digest
        made_of["encoder"] = {"id": task.embedder, "digest": digest}
    if role is not Role.EMBEDDER:
        base = resolve_base(task.base)
        made_of["base"] = {"id": base.id, "digest": base.digest}
    if role is Role.SYNTHESIZER:
        made_of["k"] = task.k
    return made_of


def _row(variant: Variant, outcomes: VariantScores) -> dict[str, Any]:
    items = [
        {"id": item.id, "group": item.group, "outcome": item.outcome.value, "values": dict(item.values)}
        for item in outcomes.scores.items
    ]
    return {
        "variant": variant.name,
        "learning_rate": variant.learning_rate,
        "commit": outcomes.commit,
        "cost": asdict(outcomes.cost) if outcomes.cost else None,
        "items": items,
    }


def _read(row: Mapping[str, Any]) -> VariantScores:
    items = (ItemScores(each["id"], each["group"], Outcome(each["outcome"]), each["values"]) for each in row["items"])
    return VariantScores(Cost(**row["cost"]) if row["cost"] else None, ScoreTable(tuple(items)), row["commit"])


def compare(found: Sequence[tuple[Variant, VariantScores]], metric: str) -> tuple[Comparison, ...]:
    """Intervals and paired differences, clustered by document or conversation. Raises TooFew if there are too few items."""
    by_method = {variant.method: outcomes.scores for variant, outcomes in found if not variant.rank}
    untuned, full = by_method[Method.UNTUNED], by_method.get(Method.FULL)
    tuned = {variant: outcomes.scores for variant, outcomes in found if variant.method is not Method.UNTUNED}
    gains = corrected({variant: _effect(untuned, scores, metric) for variant, scores in tuned.items()})
    adapters = {variant: scores for variant, scores in tuned.items() if variant.rank}
    against = corrected({variant: _effect(full, scores, metric) for variant, scores in adapters.items() if full is not None})
    comparisons = []
    for variant, outcomes in found:
        values, groups = outcomes.scores.values(metric), outcomes.scores.groups(metric)
        require_two(groups)
        quality = mean_interval(list(values.values()), groups=groups)
        failed = len(outcomes.scores.ids(Outcome.FAILED))
        comparisons.append(Comparison(variant, outcomes.cost, quality, gains.get(variant), against.get(variant), failed))
    return tuple(comparisons)


def _effect(before: ScoreTable, after: ScoreTable, metric: str) -> Effect:
    paired = pair(before, after, metric)
    require_two(paired.groups)
    return effect_of([tuned - base for base, tuned in zip(paired.base, paired.tuned, strict=True)], paired.groups)


def _comparison_json(comparison: Comparison) -> dict[str, Any]:
    variant, cost = comparison.variant, comparison.cost
    effects = {"gain": comparison.gain, "against_full": comparison.against_full}
    return {
        "variant": variant.title,
        "method": variant.method.value,
        "rank": variant.rank or None,
        "learning_rate": variant.learning_rate or None,
        "cost": None if cost is None else {**asdict(cost), "share": cost.share},
        "quality": asdict(comparison.quality),
        **{name: None if effect is None else _effect_json(effect) for name, effect in effects.items()},
        "failed": comparison.failed,
    }


def _effect_json(effect: Effect) -> dict[str, Any]:
    figures = {each.name: getattr(effect, each.name) for each in fields(effect) if each.name != "test"}
    return {**figures, "shown": effect.shown}


def _methods(text: str) -> list[Method]:
    known = [method.value for method in Method if method is not Method.UNTUNED]
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise InputError(f"--methods: {name!r} is none of {', '.join(known)}")
    return [Method(name) for name in names]


def _numbers(option: str) -> Callable[[str], list[int]]:
    def read(text: str) -> list[int]:
        try:
            return [int(part) for part in text.split(",") if part.strip()]
        except ValueError:
            raise InputError(f"{option}: {text!r} is no list of whole numbers such as 4,8,16") from None

    return read


def _rate(text: str) -> tuple[Method, float]:
    name, _, value = text.partition("=")
    try:
        method, rate = Method(name), float(value)
    except ValueError:
        method, rate = Method.UNTUNED, 0.0
    if method is Method.UNTUNED or not 0 < rate < 1:
        raise InputError(f"--learning-rate {text!r}: write METHOD=RATE, such as full=1e-4, with a rate between 0 and 1")
    return method, rate


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--role", choices=[role.value for role in ROLES], required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--project", type=Path, default=Path())
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--recipe", type=Path, help="a file; without it the bundled one")
    parser.add_argument("--methods", type=_methods, default="full,lora,qlora")
    parser.add_argument("--ranks", type=_numbers("--ranks"), default="4,8,16,32,64", help="of LoRA")
    parser.add_argument("--qlora-ranks", type=_numbers("--qlora-ranks"), default="16")
    parser.add_argument("--learning-rate", type=_rate, action="append", default=[], metavar="METHOD=RATE")
    parser.add_argument("--steps", type=int, default=0, help="0: the recipe's")
    parser.add_argument("--rows", type=int, default=0, help="training rows, drawn; 0: the recipe's")
    parser.add_argument("--limit", type=int, help="held-out items, drawn; all without it")
    return parser.parse_args(words)


def show(found: Mapping[str, Any]) -> None:
    print(f"{found['role']} on {found['data']}, {found['metric']}")
    for each in found["variants"]:
        cost, quality = each["cost"], each["quality"]
        spent = f"updated {cost['trained']:>11,} ({cost['share']:.2%})  peak {cost['peak'] / 2**20:,.0f} MiB  " if cost else ""
        spent += f"{cost['cpu_seconds']:,.0f} CPU s  saved {cost['saved'] / 2**20:,.1f} MiB" if cost else ""
        figure = f"{quality['value']:.3f} ({quality['low']:.3f} to {quality['high']:.3f})"
        print(
            f"  {each['variant']:<10} {figure}  gain {_shown(each['gain'])}  against full {_shown(each['against_full'])}  {spent}"
        )


def _shown(effect: Mapping[str, Any] | None) -> str:
    return f"{effect['value']:+.3f}{' *' if effect['shown'] else ''}" if effect else "-"


def main(words: Sequence[str] | None = None) -> None:
    options = parse(words)
    settings, role = load_settings(options.project), Role(options.role)
    recipe = load_recipe(role, options.recipe)
    variants = plan(
        options.methods, options.ranks, options.qlora_ranks, {**learning_rates(recipe), **dict(options.learning_rate)}
    )
    data = DataFolder(options.data, settings.judge.intents)
    models = (settings.base.model, settings.embedder.model, settings.retrieval.k)
    found = compare_tuning(Task(role, data, recipe, *models, options.rows, options.steps), variants, options.out, options.limit)
    save(options.out / "report.json", found)
    show(found)


if __name__ == "__main__":
    try:
        main()
    except LoragError as error:
        sys.exit(f"error: {error}")
