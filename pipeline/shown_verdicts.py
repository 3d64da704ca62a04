"""What users see of a verdict: no label and no probabilities in a task in which the judge is not shown to be better than a floor.

Whoever hands verdicts to users asks here: terminal, JSON, API, page and report. The chain's own records and traces keep all. A
stage that ends in a stream does not know yet, so the judge's words come with the last event alone.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from lorag.pipeline.records import Outcome, StageRecord, Verdict


def is_withheld(verdict: Verdict) -> bool:
    """Whether users see no label. A failed verdict has none to withhold; one of which nothing is known is withheld."""
    return verdict.outcome is not Outcome.FAILED and not verdict.proven


def for_users(verdict: Verdict) -> Verdict:
    """The verdict, without label and probabilities if it is withheld."""
    return replace(verdict, label="", probability=0.0, probabilities=MappingProxyType({})) if is_withheld(verdict) else verdict


def is_judgment(record: StageRecord) -> bool:
    """Whether the stage is the judge's: its reply is a label."""
    return "probabilities" in record.detail
