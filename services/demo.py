"""`lorag demo`: the whole path on the bundled example domain, by the same functions the other commands call.

Documents are ingested, four adapters trained, everything measured on held-out items, the adapters promoted by that
evidence, the index rebuilt with the tuned embedder, three questions asked, and a report written. Stages that are finished
are kept: run again after an interruption, it goes on.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lorag.assembly import open_base, open_chain, open_index, open_registry, serving_retrieval
from lorag.bundled import EXAMPLE, example_folder
from lorag.evaluating.claims import held_out_claim, held_out_data
from lorag.evaluating.evaluation import ROLES, Evaluation, evaluate
from lorag.evaluating.testset import Sizes
from lorag.pipeline.adapters.evidence import BARE_BASE
from lorag.pipeline.adapters.registry import CANDIDATE, PRODUCTION, Registry, Version
from lorag.pipeline.config import FILE_NAME, Settings, load_settings
from lorag.pipeline.errors import AdapterError, ConfigError
from lorag.pipeline.evaluation.ablation import BASE_CHAIN
from lorag.pipeline.records import Query, Response, Role, Speaker, Turn
from lorag.services.demo_report import write_demo_report
from lorag.services.terminal import ProgressBars, duration, progress_bars, say
from lorag.starters import fitting_starters, install_starters
from lorag.training.dataset import DataFolder
from lorag.training.parent import Beginning, find_start
from lorag.training.progress import loss_entries
from lorag.training.recipe import Recipe, changed, load_recipe

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
    settings: Settings
    data: DataFolder
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.monotonic() - start


def run_demo(out: Path, full: bool = False, *, from_starters: bool = True) -> Path:
    """Run the demo into `out` and return the path of report.html. With `full` it trains on all rows and measures all items.

    Training goes on from the bundled adapters where there are some for the base, unless `from_starters` is off; they are
    measured beside the others in any case.

    Raises what the stages raise: every one of them leaves what was finished, and a second run goes on from there.
    """
    started = time.monotonic()
    run = _project(out)
    with progress_bars() as bars:
        _ingest(run, bars)
        starters = _starters(run)
        versions = {role: _train(run, role, full, starters.get(role), from_starters, bars) for role in ROLES}
        evaluation = _evaluate(run, versions, starters, full, bars)
        _promote(run, versions, evaluation)
        answers = _ask(run, bars)
    curves = {role: _curve(run, role) for role in ROLES}
    page = write_demo_report(out, run.settings, run.data, versions, evaluation, answers, curves, run.seconds)
    say(f"done in {duration(time.monotonic() - started)}: {page}")
    return page


def _project(out: Path) -> Run:
    """The demo's own project: the example's settings with its documents where they lie."""
    example = example_folder(EXAMPLE)
    project = out / "project"
    project.mkdir(parents=True, exist_ok=True)
    text = (example / FILE_NAME).read_text(encoding="utf-8")
    documents = json.dumps(str(example / "documents"), ensure_ascii=False)
    if "\ndocuments: documents\n" not in text:
        raise ConfigError(f"{example / FILE_NAME}: must hold the line `documents: documents`, which the demo replaces")
    (project / FILE_NAME).write_text(text.replace("\ndocuments: documents\n", f"\ndocuments: {documents}\n"), encoding="utf-8")
    settings = load_settings(project)
    return Run(out, settings, DataFolder(example, settings.judge.intents))


def _ingest(run: Run, bars: ProgressBars) -> None:
    stage = "ingest"
    bars.begin(stage)
    bare = run.settings.model_copy(update={"adapters": run.settings.adapters.model_copy(update={"embedder": "none"})})
    if "production" in open_registry(run.settings).aliases(Role.EMBEDDER):
        return  # a demo that was finished before: its index belongs to the tuned embedder
    with run.timed(stage), closing(open_index(bare)) as index:
        report = index.ingest(run.settings.documents, on_progress=lambda done, total, name: bars.update(stage, done, total, name))
    say(f"ingested {report.added + report.changed + report.unchanged} documents as {report.passages} passages")


def _starters(run: Run) -> dict[Role, Version]:
    """The bundled adapters, in the demo's own registry as in any project's."""
    found, why_not = fitting_starters(run.settings)
    if why_not:
        say(f"no starter adapters: {why_not}")
    return install_starters(run.settings, found, say)


def _recipe(role: Role, full: bool) -> Recipe:
    recipe = load_recipe(role)
    if full:
        return recipe
    return changed(recipe, **DATA.get(role, {}), max_length=min(recipe.optimiser.max_length, MAX_LENGTH))


def _train(run: Run, role: Role, full: bool, starter: Version | None, from_starter: bool, bars: ProgressBars) -> Version:
    registry = open_registry(run.settings)
    if (published := _published(registry, role, starter)) is not None:
        say(f"{role.value}: {published.id} is trained already; delete {run.folder} to begin anew")
        return published
    from lorag.training.run import train_role

    stage = f"train {role.value}"
    bars.begin(stage)
    with run.timed(stage):
        version = train_role(
            role,
            data=run.data.folder,
            recipe=_recipe(role, full),
            base=run.settings.base.model,
            embedder=run.settings.embedder.model,
            registry=registry,
            run_folder=_run_folder(run, role),
            retrieval=serving_retrieval(run.settings),
            base_device=run.settings.base.device,
            embedder_device=run.settings.embedder.device,
            seed=run.settings.seed,
            intents=run.settings.judge.intents,
            resume=True,
            on_progress=lambda at: bars.update(stage, at.step, at.total, f"loss {at.loss:.3f}", at.seconds_left),
            on_notice=say,
            # What training changed on other people's data is not measured here: the table sets starter and tuned side by side.
            beginning=Beginning(find_start(starter.id, role, registry), items=0) if starter and from_starter else None,
        )
    card = registry.show(role, version.id)
    say(f"trained the {role.value} ({card.data.rows} rows, {duration(card.training.seconds)}): {version.id}")
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


def _evaluate(
    run: Run, versions: Mapping[Role, Version], starters: Mapping[Role, Version], full: bool, bars: ProgressBars
) -> Evaluation:
    stage = "evaluate"
    bars.begin(stage)

    def told(name: str, done: int, total: int) -> None:
        bars.update(stage, done, total, name)

    with run.timed(stage):
        return evaluate(run.settings, run.data, versions, FULL if full else SIZES, told, full=True, starters=starters)


def _promote(run: Run, versions: Mapping[Role, Version], evaluation: Evaluation) -> None:
    """Put the evidence on the cards, and let serve what it speaks for and what is no worse than the starter."""
    registry = open_registry(run.settings)
    measured = {each.configuration.name: each for each in evaluation.measured}
    for comparison in evaluation.comparisons:
        if comparison.role not in {role.value for role in ROLES}:
            continue
        role = Role(comparison.role)
        data = held_out_data(run.data, role, ROLES)
        claim = held_out_claim(role, data, BARE_BASE, measured[BASE_CHAIN], measured[f"+ {role.value}"])
        registry.attach_evidence(role, versions[role].id, (claim,))
        if comparison.starter is not None and comparison.starter > comparison.tuned:
            say(f"{role.value}: the starter serves on, better in {comparison.metric} ({comparison.starter:.3f})")
            continue
        try:
            registry.promote(role, versions[role].id)
        except AdapterError as error:
            say(f"not promoted: {error}")


def _ask(run: Run, bars: ProgressBars) -> tuple[tuple[Query, Response], ...]:
    """The finished chain: index rebuilt for the tuned embedder, adapters under their `production` alias."""
    stage = "rebuild the index"
    bars.begin(stage)
    with closing(open_index(run.settings)) as index:
        with run.timed(stage):
            index.ingest(
                run.settings.documents, rebuild=True, on_progress=lambda done, total, name: bars.update(stage, done, total, name)
            )
        with run.timed("three answers"):
            chain = open_chain(run.settings, index=index, base=open_base(run.settings))
            answers = []
            bars.begin("three answers")
            for number, query in enumerate(SHOWCASES, 1):
                answers.append((query, chain.ask(query)))
                bars.update("three answers", number, len(SHOWCASES))
    return tuple(answers)
