"""Puts a demo's results into the evaluation report. Measures nothing."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.adapters.card import now_utc
from pipeline.adapters.registry import Version
from pipeline.adapters.tensor_file import file_digest
from pipeline.config import Settings
from pipeline.engine.bases import resolve_base
from pipeline.engine.processor import compute_dtype, detect, probe_threads
from pipeline.evaluation.ablation import ALL_ADAPTERS, BASE_CHAIN, ChainItem, Measured
from pipeline.evaluation.losses import lost_at
from pipeline.evaluation.report import (
    ChainView,
    LossCurve,
    OutcomeCount,
    Provenance,
    QuestionView,
    Report,
    Showcase,
    chain_view,
    write_report,
)
from pipeline.records import Outcome, Query, Response, Role
from services.evaluation import LOWER_IS_BETTER, Evaluation
from training.dataset import DataFolder
from training.publish import library_versions

Curve = tuple[tuple[int, float], ...]

NOTES = (
    "Intervals are 95 % bootstrap intervals, clustered by document or conversation; differences are paired item by item.",
    "The base chain is the same base model asked in its plain prompt with an example, and the frozen encoder.",
    "Retrieval is measured on all answerable test questions and on the conversation turns asked of the rewriter; turns count for "
    "retrieval only. Test documents stand in the index, as they would in use; no adapter was trained on them.",
    "A refused answerable question scores 0 in EM, F1 and citations. Unparsed replies are scored as they stand, and counted.",
)


def write_demo_report(
    out: Path,
    settings: Settings,
    data: DataFolder,
    versions: Mapping[Role, Version],
    evaluation: Evaluation,
    answers: Sequence[tuple[Query, Response]],
    curves: Mapping[Role, Curve],
    seconds: Mapping[str, float],
) -> Path:
    """Write report.html and report.json to `out`; returns the page. Raises InputError where they cannot be written."""
    by_name = {each.configuration.name: each for each in evaluation.measured}
    base, tuned = by_name[BASE_CHAIN], by_name[ALL_ADAPTERS]
    report = Report(
        title=f"{data.folder.name}: what each adapter buys",
        comparisons=evaluation.comparisons,
        ablation=evaluation.ablation,
        floors=evaluation.floors,
        showcases=tuple(Showcase(query.question, chain_view(response), query.history) for query, response in answers),
        questions=tuple(_question(item, base, tuned) for item in evaluation.tests.chain if item.answered),
        curves=tuple(LossCurve(role.value, points) for role, points in curves.items() if points),
        outcomes=_outcomes(evaluation.measured),
        notes=NOTES,
        provenance=_provenance(settings, data, versions, seconds),
        lower_is_better=LOWER_IS_BETTER,
        summary=_summary(evaluation),
    )
    write_report(report, out)
    return out / "report.html"


def _question(item: ChainItem, base: Measured, tuned: Measured) -> QuestionView:
    def view(measured: Measured) -> ChainView:
        response = measured.responses[item.gold.id]
        scores = next((each.values for each in measured.answers.items if each.id == item.gold.id), {})
        return chain_view(response, item.gold.passage_ids, scores, lost_at(item.gold, response, scores))

    return QuestionView(
        id=item.gold.id,
        question=item.query.question,
        gold_answers=item.gold.answers,
        base=view(base),
        tuned=view(tuned),
        history=item.query.history,
        gold_rewrite=item.gold_rewrite,
        answerable=item.gold.answerable,
    )


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


def _provenance(
    settings: Settings, data: DataFolder, versions: Mapping[Role, Version], seconds: Mapping[str, float]
) -> Provenance:
    processor = detect()
    base = resolve_base(settings.base.model)
    digests = {f"base {base.id}": base.digest} | {f"adapter {role.value}": version.id for role, version in versions.items()}
    files = sorted(path for path in data.folder.glob("t*/*.jsonl") if path.is_file())
    return Provenance(
        created=now_utc(),
        config={
            "base": base.id,
            "precision": settings.base.precision,
            "embedder": settings.embedder.model,
            "store": settings.store.kind,
            "k": settings.retrieval.k,
            "hybrid": settings.retrieval.hybrid,
        },
        digests=digests | {path.relative_to(data.folder).as_posix(): file_digest(path)[:16] for path in files},
        versions={"python": platform.python_version(), **library_versions()},
        seeds={"evaluation": settings.seed},
        machine={
            "processor": processor.name,
            "cores": str(processor.cores),
            "threads": str(probe_threads()),
            "compute": compute_dtype(processor),
        },
        seconds={stage: round(value, 1) for stage, value in seconds.items()},
    )


def _summary(evaluation: Evaluation) -> str:
    alone = [each for each in evaluation.comparisons if each.role != "chain"]
    better = [each for each in alone if each.low > 0]
    return (
        f"{len(better)} of {len(alone)} adapters beat the base on their own metric, with a 95 % interval of the paired "
        "difference that excludes zero."
    )
