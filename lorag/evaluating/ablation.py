"""`lorag eval ablation`: the full factorial of a project's adapters on held-out data, as a report.

The composition root: settings and a data folder in, a report out.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from lorag.evaluating.evaluation import ROLES, Progress, evaluate
from lorag.evaluating.report import build_report
from lorag.evaluating.run_folder import identity
from lorag.evaluating.testset import Sizes
from lorag.evaluating.versions import chosen_versions, serving_beside
from lorag.pipeline.config import Settings
from lorag.pipeline.evaluation.ablation import full_factorial
from lorag.pipeline.evaluation.report.decision import decision_json
from lorag.pipeline.evaluation.report.records import Report
from lorag.training.dataset import DataFolder

STATE = Path(".lorag/ablation")
"""The project's folder for saved replies, and for the report unless the user names another place."""


def run_ablation(
    settings: Settings, data: Path, runs: Path, limit: int | None = None, on_progress: Progress | None = None
) -> Report:
    """Measure every combination of the adapters that the settings name, or else of the candidates, on `data`/test.

    `limit` bounds the items of each kind that the model answers. Retrieval is always measured on every question. Replies are
    saved in a folder of `runs`, named by a digest of all they depend on. The same run continues there after a kill. Raises
    InputError if there is no adapter at all.
    """
    folder, versions = DataFolder(data, settings.judge.intents), chosen_versions(settings)
    sizes, started = Sizes.at_most(limit, settings.seed), time.monotonic()
    configurations = full_factorial([role for role in ROLES if role in versions])
    run = json.dumps(identity(settings, folder, versions, sizes, configurations), sort_keys=True)
    run_folder = runs / hashlib.sha256(run.encode()).hexdigest()[:12]
    serving = serving_beside(settings, versions)
    evaluation = evaluate(settings, folder, versions, sizes, on_progress, full=True, out=run_folder, serving=serving)
    report = build_report(f"{folder.folder.name}: what each adapter buys", settings, folder, versions, evaluation)
    provenance = replace(report.provenance, seconds={"evaluation": round(time.monotonic() - started, 1)})
    skipped = tuple(f"No effects on {each.metric}: {each.reason}." for each in evaluation.factorial.skipped)
    return replace(report, provenance=provenance, notes=(*report.notes, *skipped))


def to_json(report: Report) -> dict[str, Any]:
    """The output of `lorag eval ablation -o json`: the figures without the items."""
    runs = {row.configuration: {metric: asdict(cell) for metric, cell in row.cells.items()} for row in report.runs.rows}
    return {
        "decisions": [decision_json(each) for each in report.decisions],
        "floor_notes": list(report.floor_notes),
        "configurations": runs,
        "effects": [asdict(each) for each in report.effects],
        "comparisons": [asdict(each) for each in report.comparisons],
        "losses": [asdict(each) for each in report.losses],
    }
