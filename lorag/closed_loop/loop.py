"""The closed loop: rows, four trainings, an evaluation, the gate for each adapter, and the report. Every stage can be resumed.

Nothing that serves changes before the gate: the tuned embedder's collection is filled beside the one that serves, and each
promotion is one step. Knows no terminal.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lorag.closed_loop.budget import EVALUATE, INDEX, questions_within, rows_within, share_of, sizes_of
from lorag.closed_loop.dev import ndcg_on_dev
from lorag.closed_loop.harm import harms_answers
from lorag.closed_loop.plan import require_roles, rows_folder, training_spec
from lorag.closed_loop.rows import made_rows
from lorag.closed_loop.state import ORDER, LoopRun, LoopSpec, open_run
from lorag.evaluating.evaluation import Evaluation, evaluate
from lorag.evaluating.report import build_report
from lorag.evaluating.testset import Sizes
from lorag.evaluating.versions import serving_beside
from lorag.pipeline.adapters.registry import PRODUCTION, Version
from lorag.pipeline.config import Settings
from lorag.pipeline.errors import AdapterError, ServiceError
from lorag.pipeline.evaluation.report.decision import decision_lines
from lorag.pipeline.evaluation.report.write import write_report
from lorag.pipeline.records import Query, Role
from lorag.project import Project
from lorag.training.dataset import DataFolder
from lorag.training.recipe import changed, load_recipe
from lorag.tuning import TrainingCallbacks, TrainingSpec, plan_adapter, train_adapter
from lorag.watching import ProgressListener, duration

REPORTS = Path(".lorag/reports")
PROMOTED = "promoted"
HARM = "answers with the tuned embedder"
PROBES = 4
"""Dev questions that are answered to see how long an answer takes here."""


@dataclass(frozen=True, slots=True)
class LoopResult:
    """What came of a run: for each role `promoted` or the reason why not, the evaluation, its page, and each stage's seconds."""

    folder: Path
    outcomes: Mapping[Role, str]
    evaluation: Evaluation
    page: Path
    seconds: Mapping[str, float]


class Loop:
    """One run of the closed loop in an open project."""

    def __init__(self, project: Project, run: LoopRun, data: DataFolder, progress: ProgressListener) -> None:
        self._project, self._run, self._data, self._progress = project, run, data, progress
        self._settings, self._spec = project.settings, run.state.spec
        self._roles = tuple(role for role in self._spec.roles if data.has("train", role))
        self._pace, self._estimate = 1.0, 0.0  # how much longer the last training took than estimated, and its estimate

    def finish(self) -> LoopResult:
        """Do what is left. Raises what the stages raise; a later run goes on from there."""
        for role in self._spec.roles:
            if role not in self._roles:
                self._progress.notice(f"no rows of the {role.value} could be made from the documents; it is left out")
        for role in self._roles:
            self._train(role)
            if role is Role.EMBEDDER and not self._run.state.encoder:
                self._choose_encoder()
        evaluation = self._evaluate()
        for card in evaluation.decisions:
            for line in decision_lines(card):
                self._progress.notice(line)
        for role in self._roles:
            self._decide(role, evaluation)
        page = self._report(evaluation)
        self._run.update(finished=True)
        state = self._run.state
        return LoopResult(self._run.folder, {Role(k): v for k, v in state.outcomes.items()}, evaluation, page, state.seconds)

    # --- training ---

    def _train(self, role: Role) -> None:
        state, registry, stage = self._run.state, self._project.registry, role.value
        if stage in state.versions:
            self._progress.notice(f"{stage}: {state.versions[stage]} is trained already")
            return
        if stage not in state.known:
            self._run.update(known={stage: tuple(each.id for each in registry.list(role))})
        elif (made := self._published(role)) is not None:  # killed after the adapter was published
            self._run.update(versions={stage: made.id})
            return
        self._project.parts.release_models()
        self._estimate = 0.0
        settings, spec = self._as_tuned(), self._training_spec(role)
        folder = self._run.folder / "runs" / stage
        callbacks = TrainingCallbacks(
            on_progress=lambda at: self._progress.update(stage, at.step, at.total, f"loss {at.loss:.3f}", at.seconds_left),
            on_notice=self._progress.notice,
        )
        self._progress.begin(stage)
        with self._run.timed(stage):
            started = time.monotonic()
            version = train_adapter(settings, registry, spec, folder, resume=True, callbacks=callbacks)
        if self._estimate:
            self._pace = (time.monotonic() - started) / self._estimate
        self._run.update(versions={stage: version.id})
        card = registry.show(role, version.id)
        self._progress.notice(f"trained the {stage} ({card.data.rows} rows, {duration(card.training.seconds)}): {version.id}")

    def _published(self, role: Role) -> Version | None:
        """The version that this run published before it could note it."""
        known = self._run.state.known[role.value]
        new = [each for each in self._project.registry.list(role) if each.id not in known]
        return new[-1] if new else None

    def _training_spec(self, role: Role) -> TrainingSpec:
        """The training, with as many rows as its share of the time allows; a run that goes on keeps the number it began with."""
        stage, spec = role.value, training_spec(self._data, self._project.registry, role, self._spec)
        if stage not in self._run.state.rows:
            self._run.update(rows={stage: self._rows_for(role, spec)})
        rows = self._run.state.rows[stage]
        return replace(spec, recipe=changed(load_recipe(role), max_rows=rows)) if rows else spec

    def _rows_for(self, role: Role, spec: TrainingSpec) -> int:
        if not self._spec.minutes:
            return 0
        plan = plan_adapter(self._as_tuned(), self._project.registry, spec)
        left = [each.value for each in self._roles if each.value not in self._run.state.versions]
        within = self._share(role.value, [*left, EVALUATE, INDEX])
        rows = len(self._data.rows("train", role))
        fitting = rows_within(within, plan.seconds * self._pace, rows)
        self._estimate = plan.seconds * (fitting or rows) / rows
        return fitting

    def _choose_encoder(self) -> None:
        """Let the later stages see the passages that the tuned embedder finds, unless it finds less on dev questions."""
        registry, version = self._project.registry, self._run.state.versions[Role.EMBEDDER.value]
        if not self._data.has("dev", Role.EMBEDDER):
            self._run.update(encoder=PRODUCTION)
            return
        with self._run.timed(Role.EMBEDDER.value):
            serves = ndcg_on_dev(self._settings, self._data)
            tuned = ndcg_on_dev(with_embedder(self._settings, version), self._data)
        self._run.update(encoder=version if tuned >= serves else PRODUCTION)
        chosen = "the later stages are trained on what it finds" if tuned >= serves else "the later stages keep what serves"
        now = registry.serving(Role.EMBEDDER)
        self._progress.notice(
            f"dev questions, nDCG@10: {now.id if now else 'the frozen encoder'} {serves:.3f}, {version} {tuned:.3f}; {chosen}"
        )

    def _as_tuned(self) -> Settings:
        """The settings with the tuned embedder, if it was chosen."""
        encoder = self._run.state.encoder
        return with_embedder(self._settings, encoder) if encoder not in ("", PRODUCTION) else self._settings

    # --- measuring and deciding ---

    def _evaluate(self) -> Evaluation:
        """Measure the new adapters beside what serves. Replies are kept, so an evaluation that was stopped goes on."""
        registry, state = self._project.registry, self._run.state
        versions = {role: registry.resolve(role, state.versions[role.value]) for role in self._roles}
        if not state.serving:
            now = serving_beside(self._settings, versions)
            self._run.update(serving={role.value: now[role].id if role in now else "" for role in versions})
        before = {role: registry.resolve(role, id_) for role in versions if (id_ := self._run.state.serving[role.value])}
        self._project.parts.release_models()
        self._progress.begin(EVALUATE)
        with self._run.timed(EVALUATE):
            return evaluate(
                self._settings,
                self._data,
                versions,
                self._sizes(),
                lambda name, done, total: self._progress.update(EVALUATE, done, total, name),
                with_details=True,
                diagnose=True,
                out=self._run.folder / "evaluation",
                serving=before,
            )

    def _sizes(self) -> Sizes:
        """All test items, or as many as the time allows. The number is kept, since the items of a run must not change."""
        if not self._spec.minutes:
            return Sizes(seed=self._settings.seed)
        kept = self._run.state.rows
        if EVALUATE not in kept:
            seconds = self._share(EVALUATE, [EVALUATE, INDEX])
            self._run.update(rows={EVALUATE: questions_within(seconds, self._seconds_an_answer())})
        return sizes_of(self._run.state.rows[EVALUATE], self._settings.seed)

    def _seconds_an_answer(self) -> float:
        """How long an answer takes now, by a few dev questions; a second if there are none to ask."""
        if not self._data.has("dev", Role.SYNTHESIZER):
            return 1.0
        queries = [Query(row.question) for row in self._data.questions("dev")[: PROBES + 1]]
        self._project.load().ask_many(queries[:1])
        started = time.monotonic()
        self._project.ask_many(queries[1:])
        return (time.monotonic() - started) / max(len(queries) - 1, 1)

    def _decide(self, role: Role, evaluation: Evaluation) -> None:
        if role.value in self._run.state.outcomes:
            return
        registry, version = self._project.registry, self._run.state.versions[role.value]
        claims = evaluation.claims.get(role, ())
        if not claims:
            self._run.update(outcomes={role.value: "not measured: there are no test rows for it, or too few"})
            return
        registry.attach_evidence(role, version, claims)
        try:
            found = registry.admitted(role, version, accept_made=self._spec.accept_made)
            if role is Role.EMBEDDER:
                self._require_unharmed(found)
            self._let_serve(found)
            outcome = PROMOTED
        except (AdapterError, ServiceError) as error:
            outcome = str(error)
        self._run.update(outcomes={role.value: outcome})
        self._progress.notice(f"{role.value} {version}: {outcome}")

    def _let_serve(self, version: Version) -> None:
        """Promote the version, an embedder with an index that it can search: through the service if one has the project open."""
        from lorag.served_project import served_project

        accept_made = self._spec.accept_made
        if (served := served_project(self._project.folder, self._settings)) is not None:
            with served:
                served.promote(
                    version.role,
                    version.id,
                    accept_made=accept_made,
                    on_documents=lambda done, total: self._progress.update(INDEX, done, total),
                )
            return
        if version.role is Role.EMBEDDER:
            self._fill_index(version)
        self._project.promote(version.role, version.id, accept_made=accept_made)

    def _require_unharmed(self, embedder: Version) -> None:
        """Raises AdapterError if answers get worse by what it finds."""
        registry = self._project.registry
        serving = {role: each for role in ORDER if (each := registry.serving(role)) is not None}
        self._progress.begin(HARM)
        with self._run.timed(EVALUATE):
            lost = harms_answers(
                self._settings,
                self._data,
                self._sizes(),
                serving,
                embedder,
                lambda name, done, total: self._progress.update(HARM, done, total, name),
            )
        if lost:
            raise AdapterError(f"embedder {embedder.id} is held: {'; '.join(lost)}")

    def _fill_index(self, version: Version) -> None:
        """Fill a collection with the tuned embedder, beside the one that serves, which goes on serving meanwhile."""
        _, index = self._project.parts.index_for(version)
        if index.is_searchable():
            return
        self._progress.begin(INDEX)
        with self._run.timed(INDEX):
            index.ingest(
                self._settings.documents,
                rebuild=True,
                on_progress=lambda done, total, name: self._progress.update(INDEX, done, total, name),
            )
        self._project.parts.release_store()

    def _report(self, evaluation: Evaluation) -> Path:
        registry, state = self._project.registry, self._run.state
        versions = {role: registry.resolve(role, state.versions[role.value]) for role in self._roles}
        name = self._settings.documents.name or "documents"
        report = build_report(f"{name}: what each adapter buys", self._settings, self._data, versions, evaluation)
        took = {stage: round(value, 1) for stage, value in state.seconds.items()}
        whole = replace(report, provenance=replace(report.provenance, seconds=took))
        write_report(whole, self._project.folder / REPORTS)
        return write_report(whole, self._run.folder)

    # --- time ---

    def _share(self, stage: str, stages: Sequence[str]) -> float:
        return share_of(stage, stages, 60 * self._spec.minutes, self._run.state.spent)


def with_embedder(settings: Settings, version: str) -> Settings:
    """The settings as if this version of the embedder served."""
    return settings.model_copy(update={"adapters": settings.adapters.model_copy(update={"embedder": version})})


def tune(project: Project, spec: LoopSpec, progress: ProgressListener) -> LoopResult:
    """Run the closed loop in `project`, or go on with the one that was stopped.

    Raises InputError for options that do not fit, DataError for documents or rows that cannot be trained on, both before any
    training.
    """
    require_roles(spec)
    data = rows_folder(project.settings, spec) if spec.data else None
    run = open_run(project.folder, spec)
    return Loop(project, run, data or made_rows(project, run, progress), progress).finish()
