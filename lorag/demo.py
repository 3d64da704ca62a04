"""`lorag demo`: the whole path on the bundled example domain, through a project like any other.

Documents are ingested, four adapters trained, everything measured on held-out items, the adapters promoted by that
evidence, the index rebuilt with the tuned embedder, three questions asked, and a report written. Stages that are finished
are kept: run again after an interruption, it goes on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lorag.bundled import EXAMPLE, example_folder
from lorag.demo_report import write_demo_report
from lorag.evaluating.evaluation import ROLES, Evaluation, evaluate
from lorag.evaluating.testset import Sizes
from lorag.opening import open_project
from lorag.pipeline.adapters.registry import CANDIDATE, PRODUCTION, Registry, Version
from lorag.pipeline.config import FILE_NAME
from lorag.pipeline.errors import AdapterError, ConfigError
from lorag.pipeline.records import Query, Response, Role, Speaker, Turn
from lorag.project import Project
from lorag.starters import fitting_starters, install_starters
from lorag.training.dataset import DataFolder
from lorag.training.progress import loss_entries
from lorag.training.recipe import Recipe, changed, load_recipe
from lorag.tuning import TrainingSpec, TrainingWatch, train_adapter
from lorag.watching import Nobody, Watcher, duration

DATA: Mapping[Role, Mapping[str, Any]] = {
    Role.SYNTHESIZER: {"max_rows": 320},
    # Intents are learnt within these minutes; the three tasks that compare texts would take the base hours. They are shown
    # a little, measured like the rest, and trained in full by `--full`.
    Role.JUDGE: {"mixture": {"intent": 3, "relevance": 0.15, "answerability": 0.1, "support": 0.15}, "answered_support": 16},
}
"""What the demo changes in a bundled recipe's `data`: rows that fit its time, the same on every machine."""

MAX_LENGTH = 768
"""Tokens of a training row in the demo: keeps the whole below 6 GiB where the base computes in float32 too."""

SIZES = Sizes(questions=66, unanswerable=18, turns=48, judgments=36)
FULL = Sizes()

SHOWCASES = (
    Query("What wind now makes Elke hoist the red ball at Hask?"),
    Query(
        "Is it ever allowed to go higher?",
        (
            Turn(Speaker.USER, "What's the daily charge limit on the Dunlin?"),
            Turn(Speaker.ASSISTANT, "The working upper state of charge is 80 per cent."),
        ),
    ),
    Query("Does the line give a taxi home if the last sailing goes red?"),
)
"""Put to the finished chain: a plain question, one that leans on its conversation, one that no document answers. All three
are test questions: no adapter was trained on their documents."""


@dataclass
class Run:
    """What the stages of a demo hand on to one another."""

    folder: Path
    project: Project
    data: DataFolder
    watcher: Watcher
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.monotonic() - start


def run_demo(out: Path, full: bool = False, *, from_starters: bool = True, watcher: Watcher | None = None) -> Path:
    """Run the demo into `out` and return the path of report.html. With `full` it trains on all rows and measures all items.

    Training goes on from the bundled adapters where there are some for the base, unless `from_starters` is off; they are
    measured beside the others in any case.

    Raises what the stages raise: every one of them leaves what was finished, and a second run goes on from there.
    """
    started = time.monotonic()
    with _project(out) as project:
        run = Run(out, project, DataFolder(example_folder(EXAMPLE), project.settings.judge.intents), watcher or Nobody())
        _ingest(run)
        starters = _starters(run)
        versions = {role: _train(run, role, full, starters.get(role), from_starters) for role in ROLES}
        evaluation = _evaluate(run, versions, starters, full)
        _promote(run, versions, evaluation)
        answers = _ask(run)
    curves = {role: _curve(run, role) for role in ROLES}
    page = write_demo_report(out, project.settings, run.data, versions, evaluation, answers, curves, run.seconds)
    run.watcher.notice(f"done in {duration(time.monotonic() - started)}: {page}")
    return page


def _project(out: Path) -> Project:
    """The demo's own project: the example's settings with its documents where they lie."""
    example = example_folder(EXAMPLE)
    folder = out / "project"
    folder.mkdir(parents=True, exist_ok=True)
    text = (example / FILE_NAME).read_text(encoding="utf-8")
    documents = json.dumps(str(example / "documents"), ensure_ascii=False)
    if "\ndocuments: documents\n" not in text:
        raise ConfigError(f"{example / FILE_NAME}: must hold the line `documents: documents`, which the demo replaces")
    text = text.replace("\ndocuments: documents\n", f"\ndocuments: {documents}\n")
    (folder / FILE_NAME).write_text(text, encoding="utf-8")
    return open_project(folder)


def _ingest(run: Run) -> None:
    stage = "ingest"
    run.watcher.begin(stage)
    if PRODUCTION in run.project.registry.aliases(Role.EMBEDDER):
        return  # a demo that was finished before: its index belongs to the tuned embedder
    with run.timed(stage):
        report = run.project.ingest(on_progress=lambda done, total, name: run.watcher.update(stage, done, total, name))
    count = report.added + report.changed + report.unchanged
    run.watcher.notice(f"ingested {count} documents as {report.passages} passages")


def _starters(run: Run) -> dict[Role, Version]:
    """The bundled adapters, in the demo's own registry as in any project's."""
    found, why_not = fitting_starters(run.project.settings)
    if why_not:
        run.watcher.notice(f"no starter adapters: {why_not}")
    return install_starters(run.project.settings, found, run.watcher.notice)


def _recipe(role: Role, full: bool) -> Recipe:
    recipe = load_recipe(role)
    if full:
        return recipe
    return changed(recipe, **DATA.get(role, {}), max_length=min(recipe.optimiser.max_length, MAX_LENGTH))


def _train(run: Run, role: Role, full: bool, starter: Version | None, from_starter: bool) -> Version:
    registry, watcher, stage = run.project.registry, run.watcher, f"train {role.value}"
    if (published := _published(registry, role, starter)) is not None:
        watcher.notice(f"{role.value}: {published.id} is trained already; delete {run.folder} to begin anew")
        return published
    run.project.parts.release_models()
    begin = starter.id if starter and from_starter else None
    # What training changed on other people's data is not measured here: the table sets starter and tuned side by side.
    spec = TrainingSpec(role, run.data.folder, _recipe(role, full), begin, measured=False)
    watch = TrainingWatch(
        on_progress=lambda at: watcher.update(stage, at.step, at.total, f"loss {at.loss:.3f}", at.seconds_left),
        on_notice=watcher.notice,
    )
    watcher.begin(stage)
    with run.timed(stage):
        version = train_adapter(run.project.settings, registry, spec, _run_folder(run, role), resume=True, watch=watch)
    card = registry.show(role, version.id)
    watcher.notice(f"trained the {role.value} ({card.data.rows} rows, {duration(card.training.seconds)}): {version.id}")
    return version


def _run_folder(run: Run, role: Role) -> Path:
    return run.folder / "project" / ".lorag" / "runs" / role.value


def _published(registry: Registry, role: Role, starter: Version | None) -> Version | None:
    """What the demo trained before: the candidate, or what serves, if that is not the starter."""
    named = [registry.resolve(role, alias) for alias in (CANDIDATE, PRODUCTION) if alias in registry.aliases(role)]
    return next((version for version in named if starter is None or version.id != starter.id), None)


def _curve(run: Run, role: Role) -> tuple[tuple[int, float], ...]:
    path = _run_folder(run, role) / "loss.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return tuple((int(entry["step"]), float(entry["loss"])) for entry in loss_entries([json.loads(line) for line in lines]))


def _evaluate(run: Run, versions: Mapping[Role, Version], starters: Mapping[Role, Version], full: bool) -> Evaluation:
    stage = "evaluate"
    run.watcher.begin(stage)
    run.project.parts.release_models()

    def on_progress(name: str, done: int, total: int) -> None:
        run.watcher.update(stage, done, total, name)

    with run.timed(stage):
        registry, settings = run.project.registry, run.project.settings
        serving = {role: now for role in versions if (now := registry.serving(role)) is not None}
        sizes = FULL if full else SIZES
        return evaluate(settings, run.data, versions, sizes, on_progress, full=True, starters=starters, serving=serving)


def _promote(run: Run, versions: Mapping[Role, Version], evaluation: Evaluation) -> None:
    """Put the evidence on the cards, and let serve what is better than what serves now."""
    registry = run.project.registry
    for role, claims in evaluation.claims.items():
        registry.attach_evidence(role, versions[role].id, claims)
        try:
            run.project.promote(role, versions[role].id)
        except AdapterError as error:
            run.watcher.notice(f"not promoted: {error}")


def _ask(run: Run) -> tuple[tuple[Query, Response], ...]:
    """The finished chain: index rebuilt for the tuned embedder, adapters under their `production` alias."""
    stage, answers = "rebuild the index", []
    run.watcher.begin(stage)
    with run.timed(stage):
        run.project.ingest(rebuild=True, on_progress=lambda done, total, name: run.watcher.update(stage, done, total, name))
    stage = "three answers"
    run.watcher.begin(stage)
    with run.timed(stage):
        for number, query in enumerate(SHOWCASES, 1):
            answers.append((query, run.project.ask(query)))
            run.watcher.update(stage, number, len(SHOWCASES))
    return tuple(answers)
