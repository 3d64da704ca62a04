"""An evaluation → the report's records: figures, the stage where each question was lost, and provenance.

Measures nothing. `lorag demo` and `lorag eval ablation` show the same report, and each adds its own parts.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from lorag.assembly import open_registry, version_name
from lorag.evaluating.evaluation import ROLES, Evaluation
from lorag.evaluating.floor_figures import why_without_floor
from lorag.evaluating.reader_figures import priced_answers, prices_of, refusals_of, risk_curves
from lorag.pipeline.adapters.card import now_utc
from lorag.pipeline.adapters.registry import Version
from lorag.pipeline.config import Settings
from lorag.pipeline.engine.bases import resolve_base
from lorag.pipeline.engine.processor import compute_dtype, detect, probe_threads
from lorag.pipeline.evaluation.ablation import ALL_ADAPTERS, BASE_CHAIN, LOWER_IS_BETTER, ChainItem, Measured, TestSet
from lorag.pipeline.evaluation.error_analysis import Loss, LostPair, losses_of, question_score, waterfall, worst
from lorag.pipeline.evaluation.judge_metrics import task_f1, task_of, tasks_of
from lorag.pipeline.evaluation.judgments import score_judgments
from lorag.pipeline.evaluation.report.decision import decision_summary
from lorag.pipeline.evaluation.report.records import (
    Calibration,
    EffectRow,
    ItemTable,
    LabelTable,
    LossTable,
    OutcomeCount,
    Provenance,
    Report,
    Results,
    UsageRow,
)
from lorag.pipeline.evaluation.report.views import ChainView, QuestionView, chain_view
from lorag.pipeline.records import Answer, Outcome, Response, Role, Trace
from lorag.pipeline.storage.digests import file_digest
from lorag.training.dataset import DataFolder
from lorag.training.publish import library_versions
from lorag.version import lorag_version

MAX_QUESTIONS = 1_000
"""The most questions on the page: with more, a phone opens it slowly. The JSON holds the scores of all."""

STAGES: Mapping[str, Role] = {"rewrite": Role.REWRITER, "retrieve": Role.EMBEDDER, "answer": Role.SYNTHESIZER}
"""The page's names of the stages, and the role whose adapter each uses."""

NOTES = (
    "Intervals allow for groups (documents or conversations). Figures from 0 to 1 have Wilson's at 95 %. Differences are paired "
    "item by item; their intervals invert the sign-flip test over groups, at the level of the correction if several are tested "
    "together. Fewer than 8 groups show nothing.",
    "The base chain is the same base model asked in its plain prompt with an example, and the frozen encoder.",
    "Retrieval is measured on all answerable test questions and on the conversation turns asked of the rewriter; turns count for "
    "retrieval only. Test documents are in the index, as they would in use; no adapter was trained on them.",
    "A refused answerable question scores 0 in EM, F1 and citations. Unparsed replies are scored as they stand, and counted.",
    "EM and F1 compare numbers as quantities: 1.5 m is 150 cm and not 15 m. SQuAD EM and SQuAD F1 are the official figures.",
    "A refusal is right if no gold passage was shown, and wrong if one was. Truthfulness prices right answers, silence "
    "and wrong answers (+1, 0 and -1 unless `evaluation` in lorag.yaml says otherwise). A mark that names no passage costs "
    "citation precision.",
)


def build_report(
    title: str, settings: Settings, data: DataFolder, versions: Mapping[Role, Version], evaluation: Evaluation
) -> Report:
    """The report of an evaluation. The caller may add times, curves and showcases."""
    starters = () if evaluation.starters is None else (evaluation.starters,)
    by_name = {each.configuration.name: each for each in (*evaluation.measured, *starters)}
    tests = evaluation.tests
    sides = [
        Side(each, losses_of(tests.chain, each), {item.id: item.values for item in each.answers.items}, proven)
        for each, proven in ((by_name[BASE_CHAIN], frozenset()), (by_name[ALL_ADAPTERS], _proven_tasks(evaluation)))
    ]
    pairs = _pairs(tests, *sides)
    answered = [sides[0].measured, *starters, sides[1].measured]
    questions = _questions(tests, sides, pairs, versions)
    return Report(
        title=title,
        comparisons=evaluation.comparisons,
        decisions=evaluation.decisions,
        floor_notes=evaluation.floors.wins,
        ablation=evaluation.ablation,
        floors=evaluation.floors.best,
        against_floors=evaluation.floors.comparisons,
        floor_systems=evaluation.floors.systems,
        diagnostics=evaluation.diagnostics,
        without_floor=why_without_floor(evaluation.ablation.metrics),
        questions=questions,
        outcomes=_outcomes([by_name[row.configuration] for row in evaluation.ablation.rows]),
        notes=(*NOTES, *evaluation.notes, *_left_out(tests, len(questions))),
        provenance=_provenance(settings, data, versions, tests),
        lower_is_better=LOWER_IS_BETTER,
        summary=_summary(evaluation),
        sides=(BASE_CHAIN, ALL_ADAPTERS),
        runs=evaluation.runs,
        effects=tuple(
            EffectRow.of(each.metric, each.name, each.effect, interaction=len(each.roles) > 1, primary=each.primary)
            for each in evaluation.factorial.effects
        ),
        losses=_losses(tests, *(side.lost for side in sides)),
        refusals=refusals_of(tests, answered),
        priced=priced_answers([*answered, *evaluation.measured_floors], prices_of(settings)),
        risks=risk_curves(answered, () if evaluation.details is None else evaluation.details.support),
        calibration=calibration_by_task([side.measured for side in sides]),
        usage=tuple(
            UsageRow(each.stage, each.adapter, each.requests, each.prompt_tokens, each.completion_tokens, each.latency)
            for each in evaluation.usage
        ),
        results=_results((*evaluation.measured, *evaluation.measured_floors), pairs),
    )


class Side(NamedTuple):
    """One of the two compared systems: the stage where it lost each question, and the scores of its answers, by id. `proven` are
    the tasks in which its judge is shown to be better than the best floor."""

    measured: Measured
    lost: Mapping[str, Loss]
    scores: Mapping[str, Mapping[str, float]]
    proven: frozenset[str]


def _proven_tasks(evaluation: Evaluation) -> frozenset[str]:
    """The tasks in which this evaluation shows the judge adapter to be better than the best floor."""
    beaten = {each.metric for each in evaluation.floors.comparisons if each.role == Role.JUDGE.value and each.beaten}
    return frozenset(item.schema.task for item in evaluation.tests.judgments if task_f1(item.schema.task) in beaten)


def _questions(
    tests: TestSet, sides: Sequence[Side], pairs: Sequence[LostPair], versions: Mapping[Role, Version]
) -> tuple[QuestionView, ...]:
    """Views of the answered questions, and of the turns, which show the rewriter. Other questions count for retrieval alone."""
    shown = [item for item in tests.chain if _is_shown(item)]
    places = {id_: at for at, id_ in enumerate(worst([p for p, i in zip(pairs, tests.chain, strict=True) if _is_shown(i)]), 1)}
    on_page = {item.gold.id for item in sorted(shown, key=lambda item: item.gold.id not in places)[:MAX_QUESTIONS]}
    views = []
    for item in shown:
        if item.gold.id not in on_page:
            continue
        base, tuned = (_view(item, side, versions) for side in sides)
        views.append(
            QuestionView(
                id=item.gold.id,
                question=item.query.question,
                gold_answers=item.gold.answers,
                base=base,
                tuned=tuned,
                history=item.query.history,
                gold_rewrite=item.gold_rewrite,
                answerable=item.gold.answerable,
                answered=item.answered,
                worst=places.get(item.gold.id, 0),
            )
        )
    return tuple(views)


def _is_shown(item: ChainItem) -> bool:
    return item.answered or bool(item.query.history)


def _pairs(tests: TestSet, base: Side, tuned: Side) -> tuple[LostPair, ...]:
    """Every question of the test set, in its order."""
    ids = [item.gold.id for item in tests.chain]
    return tuple(
        LostPair(
            id_,
            base.lost[id_],
            tuned.lost[id_],
            *(question_score(side.scores.get(id_, {}), side.lost[id_]) for side in (base, tuned)),
        )
        for id_ in ids
    )


def _view(item: ChainItem, side: Side, versions: Mapping[Role, Version]) -> ChainView:
    measured, lost, scores, proven = side
    id_, search = item.gold.id, measured.searches[item.gold.id]
    response = measured.responses.get(id_) or Response(
        item.query.question, search.rewrite, Answer("", False, (), Outcome.OK), trace=Trace(hits=search.hits)
    )
    verdicts = tuple(replace(each, proven=each.task in proven) for each in response.verdicts)
    on = measured.configuration.on
    adapters = {
        stage: version_name(versions[role]) if role in on and role in versions else "base" for stage, role in STAGES.items()
    }
    return chain_view(replace(response, verdicts=verdicts), item.gold.passage_ids, scores.get(id_, {}), lost[id_], adapters)


def _losses(tests: TestSet, base: Mapping[str, Loss], tuned: Mapping[str, Loss]) -> tuple[LossTable, ...]:
    kinds = (("answered questions", "right", True), ("questions only searched for", "gold retrieved", False))
    tables = []
    for name, end, answered in kinds:
        ids = [item.gold.id for item in tests.chain if item.answered is answered]
        if ids:
            counts = (waterfall(lost[id_] for id_ in ids) for lost in (base, tuned))
            tables.append(LossTable(name, end, *({loss.value: n for loss, n in each.items()} for each in counts)))
    return tuple(tables)


def calibration_by_task(measured: Sequence[Measured]) -> tuple[Calibration, ...]:
    """Task by task, the sides of a task beside each other. A task without a judgment that has probabilities is left out."""
    found = []
    for task in dict.fromkeys(task for each in measured for task in tasks_of(each.judgments)):
        for each in measured:
            sure = [item for item in each.judgments if task_of(item) == task and item.label is not None and item.probabilities]
            if not sure:
                continue
            scores = score_judgments(sure)
            assert scores.ece is not None and scores.brier is not None and scores.brier_floor is not None
            figures = (scores.ece, scores.brier, scores.brier_floor, scores.reliability)
            found.append(Calibration(each.configuration.name, task, scores.n, scores.groups, *figures))
    return tuple(found)


def _left_out(tests: TestSet, count: int) -> tuple[str, ...]:
    total = sum(_is_shown(item) for item in tests.chain)
    return (f"The page holds {count} of {total} questions, the worst among them.",) if count < total else ()


def _results(measured: Sequence[Measured], pairs: tuple[LostPair, ...]) -> Results:
    """Every item, once for all configurations with the same result."""
    tables: list[ItemTable] = []
    for part in ("rewrites", "retrieval", "answers"):
        found = [(each.configuration.name, getattr(each, part).items) for each in measured]
        distinct = [items for at, (_, items) in enumerate(found) if items and items not in [other for _, other in found[:at]]]
        tables += [ItemTable(part, tuple(name for name, other in found if other == items), items) for items in distinct]
    labels = [(each.configuration.name, each.judgments) for each in measured]
    once = [items for at, (_, items) in enumerate(labels) if items and items not in [other for _, other in labels[:at]]]
    judged = tuple(LabelTable(tuple(name for name, other in labels if other == items), items) for items in once)
    return Results(tuple(tables), judged, pairs)


def _outcomes(measured: Sequence[Measured]) -> tuple[OutcomeCount, ...]:
    rows = []
    for each in measured:
        stages = (
            ("rewrite", [item.outcome for item in each.rewrites.items]),
            ("synthesize", [item.outcome for item in each.answers.items]),
            ("judge", [item.outcome for item in each.judgments]),
        )
        for stage, found in stages:
            if found:
                counts = [found.count(outcome) for outcome in (Outcome.OK, Outcome.UNPARSED, Outcome.FAILED)]
                rows.append(OutcomeCount(each.configuration.name, stage, *counts))
    return tuple(rows)


def _provenance(settings: Settings, data: DataFolder, versions: Mapping[Role, Version], tests: TestSet) -> Provenance:
    processor, base, registry = detect(), resolve_base(settings.base.model), open_registry(settings)
    digests, seeds = {f"base {base.id}": base.digest}, {"flips of the tests": 0, "test items": settings.seed}
    for role in (role for role in ROLES if role in versions):
        card = registry.show(role, versions[role].id)
        identity = card.identity
        if card.origin is None:
            seeds[f"training of {role.value}"] = card.training.seed
        digests[f"adapter {role.value}"] = versions[role].id
        digests[f"weights of {role.value}"] = identity.weights_digest[:16]
        if identity.contract_hash:
            digests[f"contract of {role.value}"] = identity.contract_hash[:16]
    files = sorted(path for path in data.folder.glob("t*/*.jsonl*") if path.is_file())
    return Provenance(
        created=now_utc(),
        config=_config(settings),
        digests=digests | {path.relative_to(data.folder).as_posix(): file_digest(path)[:16] for path in files},
        versions={"lorag": lorag_version(), "python": platform.python_version(), **library_versions()},
        seeds=seeds,
        machine={
            "processor": processor.name,
            "cores": str(processor.cores),
            "threads": str(probe_threads()),
            "compute": compute_dtype(processor),
        },
        tests={
            "questions answered": sum(1 for item in tests.chain if item.answered),
            "questions only searched for": sum(1 for item in tests.chain if not item.answered),
            "turns rewritten": len(tests.rewrites),
            "judgments": len(tests.judgments),
        },
    )


def _config(settings: Settings) -> dict[str, Any]:
    """The settings that affect the figures, without addresses, names of keys and folders of the project."""
    shown = settings.model_dump(mode="json", include={"base", "embedder", "chunking", "retrieval", "judge", "evaluation"})
    return shown | {"engine": settings.generation.engine, "store": settings.store.kind}


def _summary(evaluation: Evaluation) -> str:
    """The decisions, how often a floor wins, and how many adapters beat the base. The lines on floors say where."""
    alone = [each for each in evaluation.comparisons if each.role != "chain"]
    better = [each for each in alone if each.shown and each.low > 0]
    won = len(evaluation.floors.winners)
    of = sum(not each.of_starter for each in evaluation.floors.comparisons)
    said = [
        decision_summary(evaluation.decisions),
        f"A system without training is not shown to be beaten in {won} of {of} comparisons." if won else "",
        f"{len(better)} of {len(alone)} adapters are shown to beat the base on their own metric.",
    ]
    return " ".join(part for part in said if part)
