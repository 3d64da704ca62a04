"""The evaluation report: `report.json` for programs and a self-contained `report.html` for people.

The page needs no network, no build step and no script to be read; the script only searches the questions. It shows what it
is given and computes no metric.
"""

from __future__ import annotations

from lorag.pipeline.evaluation.report.records import (
    Ablation,
    AblationRow,
    Calibration,
    Cell,
    Comparison,
    EffectRow,
    Floor,
    ItemTable,
    LabelTable,
    LossCurve,
    LossTable,
    OutcomeCount,
    Provenance,
    Report,
    Results,
    UsageRow,
)
from lorag.pipeline.evaluation.report.views import (
    ChainView,
    CitationView,
    HitView,
    QuestionView,
    Showcase,
    chain_view,
)
from lorag.pipeline.evaluation.report.write import write_report

__all__ = [
    "Ablation",
    "AblationRow",
    "Calibration",
    "Cell",
    "ChainView",
    "CitationView",
    "Comparison",
    "EffectRow",
    "Floor",
    "HitView",
    "ItemTable",
    "LabelTable",
    "LossCurve",
    "LossTable",
    "OutcomeCount",
    "Provenance",
    "QuestionView",
    "Report",
    "Results",
    "Showcase",
    "UsageRow",
    "chain_view",
    "write_report",
]
