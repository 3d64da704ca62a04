"""`lorag demo`: the whole path on the bundled example domain, through a project like any other.

It ingests documents, trains four adapters, measures everything on held-out items and promotes adapters by that evidence. Then it
rebuilds the index with the tuned embedder, asks three questions and writes a report. Finished stages are kept, so a run after an
interruption continues.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lorag.bundled import EXAMPLE, example_folder
from lorag.demo_report import write_demo_report
from lorag.evaluating.evaluation import ROLES, Evaluation, evaluate
from lorag.evaluating.testset import Sizes
from lorag.evaluating.versions import serving_beside
from lorag.opening import open_project
from lorag.pipeline.adapters.registry import CANDIDATE, PRODUCTION, Registry, Version
from lorag.pipeline.config import FILE_NAME
from lorag.pipeline.errors import AdapterError, ConfigError
from lorag.pipeline.evaluation.report.decision import decision_lines
from lorag.pipeline.records import Query, Response, Role, Speaker, Turn
from lorag.pipeline.retrieval.account import remarks
from lorag.project import Project
from lorag.starters import fitting_starters, install_starters
from lorag.training.dataset import DataFolder
from lorag.training.progress import loss_entries
from lorag.training.recipe import Recipe, changed, load_recipe
from lorag.tuning import TrainingCallbacks, TrainingSpec, train_adapter
from lorag.watching import ProgressListener, SilentListener, duration

DATA: Mapping[Role, Mapping[str, Any]] = {
    Role.SYNTHESIZER: {"max_rows": 320},
    # The base learns intents within these minutes. The tasks that compare texts would take hours: their rows here keep what the
    # starter knows of them. With a tenth of them it forgot relevance and support (training/LOG.md). `--full` trains on all.
    Role.JUDGE: {
        "mixture": {"intent": 2, "relevance": 0.5, "answerability": 0.3, "support": 0.5},
        "answered_support": 16,
    },
}
"""Changes to the `data` of bundled recipes: numbers of rows that fit the demo's time, the same on every machine."""

MAX_LENGTH = 768
"""Tokens of a training row in the demo. It keeps memory below 6 GiB even if the base computes in float32."""

SIZES = Sizes(questions=150, unanswerable=40, turns=120, judgments=60)
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
"""Questions to the finished chain: a plain one, one that depends on its conversation, one that no document answers. All three
are test questions: no adapter was trained on their documents."""


@dataclass
class DemoRun:
    """The state that the stages of a demo share."""

    folder: Path
    project: Project
    data: DataFolder
    progress: ProgressListener
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.monotonic() - start


def run_demo(out: Path, full: bool = False, *, from_starters: bool = True, progress: ProgressListener | None = None) -> Path:
    """Run the demo into `out` and return the path of report.html. With `full` it trains on all rows and measures all items.

    Training continues the bundled adapters if they fit the base, unless `from_starters` is off. They are measured as well in any
    case.

    Raises what the stages raise. Finished stages stay, and a second run continues after them.
    """
    started = time.monotonic()
    with project_in(out) as project:
        data = DataFolder(example_folder(EXAMPLE), project.settings.judge.intents)
        run = DemoRun(out, project, data, progress or SilentListener())
        _ingest(run)
        starters = _starters(run)
        versions = {role: _train(run, role, full, starters.get(role), from_starters) for role in ROLES}
        evaluation = _evaluate(run, versions, starters, full)
        _promote(run, versions, evaluation)
        answers = _ask(run)
    curves = {role: _curve(run, role) for role in ROLES}
    page = write_demo_report(out, project.settings, run.data, versions, evaluation, answers, curves, run.seconds)
    run.progress.notice(f"done in {duration(time.monotonic() - started)}: {page}")
    return page


def project_in(out: Path) -> Project:
    """The demo's own project in `out`: the example's settings, with the absolute path of its documents."""
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


def _ingest(run: DemoRun) -> None:
    stage = "ingest"
    run.progress.begin(stage)
    if PRODUCTION in run.project.registry.aliases(Role.EMBEDDER):
        return  # a demo that was finished before: its index belongs to the tuned embedder
    with run.timed(stage):
        report = run.project.ingest(on_progress=lambda done, total, name: run.progress.update(stage, done, total, name))
    count = report.added + report.changed + report.unchanged
    for line in remarks(report.files):
        run.progress.notice(line)
    run.progress.notice(f"ingested {count} documents as {report.passages} passages")


def _starters(run: DemoRun) -> dict[Role, Version]:
    """The bundled adapters, installed in the demo's registry as in any project's."""
    found, why_not = fitting_starters(run.project.settings)
    if why_not:
        run.progress.notice(f"no starter adapters: {why_not}")
    return install_starters(run.project.settings, found, run.progress.notice)


def _recipe(role: Role, full: bool) -> Recipe:
    recipe = load_recipe(role)
    if full:
        return recipe
    return changed(recipe, **DATA.get(role, {}), max_length=min(recipe.optimiser.max_length, MAX_LENGTH))


def _train(run: DemoRun, role: Role, full: bool, starter: Version | None, from_starter: bool) -> Version:
    registry, progress, stage = run.project.registry, run.progress, f"train {role.value}"
    if (published := _published(registry, role, starter)) is not None:
        progress.notice(f"{role.value}: {published.id} is trained already; delete {run.folder} to begin anew")
        return published
    run.project.parts.release_models()
    begin = starter.id if starter and from_starter else None
    # The change on public data is not measured here: the table compares starter and tuned adapter.
    spec = TrainingSpec(role, run.data.folder, _recipe(role, full), begin, measured=False)
    callbacks = TrainingCallbacks(
        on_progress=lambda at: progress.update(stage, at.step, at.total, f"loss {at.loss:.3f}", at.seconds_left),
        on_notice=progress.notice,
    )
    progress.begin(stage)
    with run.timed(stage):
        version = train_adapter(run.project.settings, registry, spec, _run_folder(run, role), resume=True, callbacks=callbacks)
    card = registry.show(role, version.id)
    progress.notice(f"trained the {role.value} ({card.data.rows} rows, {duration(card.training.seconds)}): {version.id}")
    return version


def _run_folder(run: DemoRun, role: Role) -> Path:
    return run.folder / "project" / ".lorag" / "runs" / role.value


def _published(registry: Registry, role: Role, starter: Version | None) -> Version | None:
    """The version that an earlier run of the demo trained: the candidate or the production version, unless it is the starter."""
    named = [registry.resolve(role, alias) for alias in (CANDIDATE, PRODUCTION) if alias in registry.aliases(role)]
    return next((version for version in named if starter is None or version.id != starter.id), None)


def _curve(run: DemoRun, role: Role) -> tuple[tuple[int, float], ...]:
    path = _run_folder(run, role) / "loss.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return tuple((int(entry["step"]), float(entry["loss"])) for entry in loss_entries([json.loads(line) for line in lines]))


def _evaluate(run: DemoRun, versions: Mapping[Role, Version], starters: Mapping[Role, Version], full: bool) -> Evaluation:
    stage = "evaluate"
    run.progress.begin(stage)
    run.project.parts.release_models()

    def on_progress(name: str, done: int, total: int) -> None:
        run.progress.update(stage, done, total, name)

    with run.timed(stage):
        settings = run.project.settings
        serving = serving_beside(settings, versions)
        sizes = FULL if full else SIZES
        return evaluate(
            settings,
            run.data,
            versions,
            sizes,
            on_progress,
            full=True,
            starters=starters,
            serving=serving,
            diagnose=True,
        )


def _promote(run: DemoRun, versions: Mapping[Role, Version], evaluation: Evaluation) -> None:
    """Write the evidence to the cards, and promote the adapters that are better than what serves now."""
    registry = run.project.registry
    for line in (line for card in evaluation.decisions for line in decision_lines(card)):
        run.progress.notice(line)
    for role, claims in evaluation.claims.items():
        registry.attach_evidence(role, versions[role].id, claims)
        with suppress(AdapterError):  # its card says why
            run.project.promote(role, versions[role].id)


def _ask(run: DemoRun) -> tuple[tuple[Query, Response], ...]:
    """Rebuild the index for the tuned embedder and ask the finished chain."""
    stage, answers = "rebuild the index", []
    run.progress.begin(stage)
    with run.timed(stage):
        run.project.ingest(rebuild=True, on_progress=lambda done, total, name: run.progress.update(stage, done, total, name))
    stage = "three answers"
    run.progress.begin(stage)
    with run.timed(stage):
        for number, query in enumerate(SHOWCASES, 1):
            answers.append((query, run.project.ask(query)))
            run.progress.update(stage, number, len(SHOWCASES))
    return tuple(answers)
