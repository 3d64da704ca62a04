"""Adds a demo's results to the evaluation report. Measures nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from lorag.evaluating.evaluation import Evaluation
from lorag.evaluating.report import build_report
from lorag.pipeline.adapters.registry import Version
from lorag.pipeline.config import Settings
from lorag.pipeline.evaluation.report.records import LossCurve
from lorag.pipeline.evaluation.report.views import Showcase, chain_view
from lorag.pipeline.evaluation.report.write import write_report
from lorag.pipeline.records import Query, Response, Role
from lorag.training.dataset import DataFolder

Curve = tuple[tuple[int, float], ...]


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
    """Write report.html and report.json to `out`; returns the page. The project keeps a copy, which `lorag serve` shows.

    Raises InputError if they cannot be written.
    """
    report = build_report(f"{data.folder.name}: what each adapter buys", settings, data, versions, evaluation)
    took = {stage: round(value, 1) for stage, value in seconds.items()}
    whole = replace(
        report,
        showcases=tuple(Showcase(query.question, chain_view(response), query.history) for query, response in answers),
        curves=tuple(LossCurve(role.value, points) for role, points in curves.items() if points),
        provenance=replace(report.provenance, seconds=took),
    )
    write_report(whole, out / "project" / ".lorag" / "reports")
    return write_report(whole, out)
