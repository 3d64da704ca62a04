"""`lorag compare-tuning` without its terminal: variants trained and measured one after another, each in a process of its own.

    OUT/variants.jsonl     a row a finished variant: its cost and its score on each held-out item
    OUT/NAME/              its adapter or model, and trained.json

The journal's header names everything the rows depend on but not which variants are asked for: a comparison that was killed, or
is asked for further variants, goes on with those that are missing; one of other data or settings is refused.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from lorag.pipeline.config import Settings
from lorag.pipeline.contracts import contract_hash
from lorag.pipeline.engine.bases import resolve_base
from lorag.pipeline.errors import InputError, TrainingError
from lorag.pipeline.evaluation.ablation import OWN_METRIC, require_two
from lorag.pipeline.evaluation.effects import Effect, corrected, effect_of
from lorag.pipeline.evaluation.row_file import RowFile
from lorag.pipeline.evaluation.scores import ItemScores, ScoreTable, pair
from lorag.pipeline.evaluation.significance import Interval, mean_interval
from lorag.pipeline.records import Outcome, Role
from lorag.pipeline.retrieval.sentence_encoder import SentenceTransformerEmbedder
from lorag.services.tuning_variant import Order, Outcomes, serve_order
from lorag.training.data.jsonl import file_digests
from lorag.training.dataset import PASSAGES
from lorag.training.publish import library_versions
from lorag.training.tuning_comparison import Cost, Method, Task, Variant
from lorag.version import lorag_version

JOURNAL = "variants.jsonl"

FAREWELL = 20.0
"""Seconds that a child which has sent its result may take to let go of what it holds, before it is ended."""

Progress = Callable[[str, str, int, int, float | None], None]
"""Called with the variant's title, what is going on, how much of it is done, of how much, and the seconds left or None."""


@dataclass(frozen=True, slots=True)
class Line:
    """One variant: `quality` with its 95 % interval over the held-out items, `gain` over the untuned model and `against_full`
    fine-tuning, both paired item by item and corrected by Holm for all variants; None where there is nothing to hold it against.
    `failed` items have no score."""

    variant: Variant
    cost: Cost | None
    quality: Interval
    gain: Effect | None
    against_full: Effect | None
    failed: int


@dataclass(frozen=True, slots=True)
class TuningComparison:
    """All of it. `made_of` is what the figures depend on, digests by name; `commit` the code's, "" where it was installed."""

    role: Role
    metric: str
    data: str
    lines: tuple[Line, ...]
    made_of: Mapping[str, Any]
    commit: str


def compare_tuning(
    task: Task, variants: Sequence[Variant], out: Path, limit: int | None = None, on_progress: Progress | None = None
) -> TuningComparison:
    """Train and measure those variants that `out` does not hold yet, and compare them all.

    Raises DataError where test rows leak into training, InputError where `out` holds another comparison, TrainingError where a
    variant's process dies, and what training and measuring raise. What was finished stays in any case.
    """
    task.data.check_leaks(task.role)
    made_of = identity(task, limit)
    key = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()
    found: dict[tuple[str, float], Outcomes] = {}
    with _journal(out, made_of) as rows:
        for block in rows.blocks():
            for row in block:
                found[row["variant"], row["learning_rate"]] = _read(row)
        rows.skip()
        for variant in variants:
            if (variant.name, variant.learning_rate) in found:
                continue
            folder = out / f"{variant.name}-{variant.learning_rate:g}"
            order = Order(task, variant, folder, f"{key} {variant}", limit)
            outcomes = replace(in_own_process(order, on_progress), commit=commit())
            require_two(outcomes.scores.groups(OWN_METRIC[task.role]))  # before hours go into what cannot be compared
            rows.add([_row(variant, outcomes)])
            found[variant.name, variant.learning_rate] = outcomes
    lines = compare([(variant, found[variant.name, variant.learning_rate]) for variant in variants], OWN_METRIC[task.role])
    commits = dict.fromkeys(found[variant.name, variant.learning_rate].commit for variant in variants)
    return TuningComparison(task.role, OWN_METRIC[task.role], task.data.folder.resolve().name, lines, made_of, ", ".join(commits))


@contextmanager
def _journal(out: Path, header: Mapping[str, Any]) -> Iterator[RowFile]:
    try:
        out.mkdir(parents=True, exist_ok=True)
        rows = RowFile(out / JOURNAL, header)
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror or error}); name another folder with --out") from error
    try:
        yield rows
    finally:
        rows.close()


def identity(task: Task, limit: int | None) -> dict[str, Any]:
    """What all figures depend on beside the variant, by digest where it is large; the machine is not in it."""
    data, role = task.data, task.role
    tests = Role.SYNTHESIZER if role is Role.EMBEDDER else role
    files = [data.file("train", role), data.file("test", tests)]
    if role is not Role.REWRITER:
        files.append(data.folder / PASSAGES)
    digests = {Path(name).relative_to(data.folder).as_posix(): digest for name, digest in file_digests(files).items()}
    encoder = SentenceTransformerEmbedder(task.embedder).identity
    made_of: dict[str, Any] = {
        "role": role.value,
        "metric": OWN_METRIC[role],
        "data": digests,
        "recipe": task.recipe.model_dump(mode="json"),
        "rows": task.rows,
        "steps": task.steps,
        "held_out_limit": limit,
        "contract": contract_hash(role),
        "libraries": library_versions(),
    }
    if role is not Role.REWRITER:
        made_of["encoder"] = {"id": task.embedder, "digest": encoder.model_digest}
    if role is not Role.EMBEDDER:
        base = resolve_base(task.base)
        made_of["base"] = {"id": base.id, "digest": base.digest}
    if role is Role.SYNTHESIZER:
        made_of["k"] = task.k
    return made_of


def in_own_process(order: Order, on_progress: Progress | None) -> Outcomes:
    """What the child sends, until it is done. The child ends with this process, also where that is interrupted."""
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe(duplex=False)
    child = context.Process(target=serve_order, args=(theirs, order), daemon=True)
    child.start()
    theirs.close()
    try:
        while True:
            kind, *sent = mine.recv()
            if kind == "progress":
                if on_progress is not None:
                    on_progress(order.variant.title, *sent)
            elif kind == "refused":
                raise sent[0]
            else:
                outcomes: Outcomes = sent[0]
                child.join(FAREWELL)
                return outcomes
    except EOFError:
        child.join()
        raise TrainingError(_epitaph(order, child.exitcode)) from None
    finally:
        child.kill()
        child.join()
        mine.close()


def _epitaph(order: Order, code: int | None) -> str:
    ended = f"was ended by signal {-code}" if code is not None and code < 0 else f"ended with code {code}"
    cause = ", most likely because memory ran out" if code == -9 else ""
    return (
        f"the process of {order.variant.title} {ended}{cause}; what was finished is kept: lower the recipe's batch, or leave "
        "this variant out with --methods or --ranks, and run the same command again"
    )


def _row(variant: Variant, outcomes: Outcomes) -> dict[str, Any]:
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


def _read(row: Mapping[str, Any]) -> Outcomes:
    items = (ItemScores(each["id"], each["group"], Outcome(each["outcome"]), each["values"]) for each in row["items"])
    return Outcomes(Cost(**row["cost"]) if row["cost"] else None, ScoreTable(tuple(items)), row["commit"])


def compare(found: Sequence[tuple[Variant, Outcomes]], metric: str) -> tuple[Line, ...]:
    """Intervals and paired differences, clustered by document or conversation. Raises TooFew where there are too few items."""
    by_method = {variant.method: outcomes.scores for variant, outcomes in found if not variant.rank}
    untuned, full = by_method[Method.UNTUNED], by_method.get(Method.FULL)
    tuned = {variant: outcomes.scores for variant, outcomes in found if variant.method is not Method.UNTUNED}
    gains = corrected({variant: _effect(untuned, scores, metric) for variant, scores in tuned.items()})
    adapters = {variant: scores for variant, scores in tuned.items() if variant.rank}
    against = corrected({variant: _effect(full, scores, metric) for variant, scores in adapters.items() if full is not None})
    lines = []
    for variant, outcomes in found:
        values = outcomes.scores.values(metric)
        groups = outcomes.scores.groups(metric)
        require_two(groups)
        failed = len(outcomes.scores.ids(Outcome.FAILED))
        quality = mean_interval(list(values.values()), groups=groups)
        lines.append(Line(variant, outcomes.cost, quality, gains.get(variant), against.get(variant), failed))
    return tuple(lines)


def _effect(before: ScoreTable, after: ScoreTable, metric: str) -> Effect:
    paired = pair(before, after, metric)
    require_two(paired.groups)
    return effect_of([tuned - base for base, tuned in zip(paired.base, paired.tuned, strict=True)], paired.groups)


def commit() -> str:
    """The commit of the checkout that this code lies in, `-dirty` behind it where files differ from it; "" without a checkout."""
    git = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    reading = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}  # looking must not take the lock of whoever commits meanwhile
    try:
        done = subprocess.run(git, cwd=Path(__file__).parent, capture_output=True, text=True, check=False, env=reading)
    except OSError:
        return ""
    return done.stdout.strip()


def task_of(settings: Settings, role: Role, data: Any, recipe: Any, *, rows: int, steps: int) -> Task:
    """The project's models under what the command asks for."""
    return Task(role, data, recipe, settings.base.model, settings.embedder.model, settings.retrieval.k, rows, steps)


def to_json(found: TuningComparison) -> dict[str, Any]:
    """What is stored: figures, commit, digests and versions; no per-item scores, which the journal holds."""
    return {
        "role": found.role.value,
        "metric": found.metric,
        "data": found.data,
        "commit": found.commit,
        "lorag": lorag_version(),
        "made_of": dict(found.made_of),
        "variants": [_line_json(line) for line in found.lines],
    }


def _line_json(line: Line) -> dict[str, Any]:
    variant, cost = line.variant, line.cost
    effects = {"gain": line.gain, "against_full": line.against_full}
    return {
        "variant": variant.title,
        "method": variant.method.value,
        "rank": variant.rank or None,
        "learning_rate": variant.learning_rate or None,
        "cost": None if cost is None else {**asdict(cost), "share": cost.share},
        "quality": asdict(line.quality),
        **{name: None if effect is None else {**asdict(effect), "shown": effect.shown} for name, effect in effects.items()},
        "failed": line.failed,
    }
