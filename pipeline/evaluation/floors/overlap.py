"""A rule for judge tasks with passages: how much of the claim stands in them, with thresholds fitted on training rows."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from functools import cached_property
from itertools import combinations
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from lorag.pipeline.contracts.judge import JudgeInputs, LabelSchema
from lorag.pipeline.evaluation.ablation import JudgeItem
from lorag.pipeline.evaluation.judgments import confusion_matrix, f1_by_label
from lorag.pipeline.records import Verdict
from lorag.pipeline.retrieval.bm25 import Bm25Encoder

CUTS = 12
"""The places between which thresholds are chosen: quantiles of the training rows' overlaps."""


class WordOverlap:
    """Labels by the share of the claim's words that one passage holds. The claim is the answer, or else the question.

    Labels are ordered by their rows' mean overlap. Of all thresholds between them those with the best macro-F1 on the training
    rows are used. Words are BM25's: stemmed, without stop words.
    """

    def __init__(self, rows: Sequence[JudgeItem]) -> None:
        self._rows = rows
        self._words = Bm25Encoder()

    @property
    def key(self) -> Hashable:
        return self

    @property
    def tasks(self) -> frozenset[str]:
        """The tasks that the rule fits: each training row has a claim and passages."""
        unfit = {row.schema.task for row in self._rows if not (_claim(row.inputs) and row.inputs.passages)}
        return frozenset(row.schema.task for row in self._rows) - unfit

    def judge(self, schema: LabelSchema, inputs: Sequence[JudgeInputs]) -> list[Verdict]:
        """One verdict an input, in order, without probabilities: a rule has none."""
        labels, thresholds = self._fitted[schema.task]
        places = np.digitize([self.overlap(each) for each in inputs], thresholds)
        return [Verdict(schema.task, labels[at], 1.0, MappingProxyType({})) for at in places]

    def overlap(self, inputs: JudgeInputs) -> float:
        """The largest share of the claim's words that one passage holds; 0 without a word."""
        claim = set(self._words.query(_claim(inputs)).indices)
        held = [set(self._words.query(f"{each.title}\n{each.text}").indices) for each in inputs.passages]
        return max((len(claim & words) / len(claim) for words in held), default=0.0) if claim else 0.0

    @cached_property
    def _fitted(self) -> Mapping[str, tuple[tuple[str, ...], NDArray[np.float64]]]:
        found = {}
        for task in self.tasks:
            rows = [row for row in self._rows if row.schema.task == task]
            found[task] = fit([self.overlap(row.inputs) for row in rows], [row.label for row in rows])
        return found


def fit(values: Sequence[float], labels: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """The labels by rising mean value, and the thresholds between them with the best macro-F1 on these rows."""
    data = np.array(values)
    known = sorted(set(labels), key=lambda label: (float(np.mean(data[[each == label for each in labels]])), label))
    cuts = np.unique(np.quantile(data, np.linspace(0, 1, CUTS + 2)[1:-1]))
    between = min(len(known) - 1, len(cuts))
    best, thresholds = -1.0, np.zeros(0)
    for chosen in combinations(cuts, between):
        given = [known[at] for at in np.digitize(data, chosen)]
        value = float(f1_by_label(confusion_matrix(labels, given, known)).mean())
        if value > best:
            best, thresholds = value, np.array(chosen)
    return tuple(known), thresholds


def _claim(inputs: JudgeInputs) -> str:
    return inputs.answer or inputs.question
