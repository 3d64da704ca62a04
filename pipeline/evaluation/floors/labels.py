"""Rules that choose a label without a model: floors of the judge, fitted on its training rows.

Each is a `Labeller` of the bench. They know no test row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType

from lorag.pipeline.contracts.judge import JudgeInputs, LabelSchema, label_list
from lorag.pipeline.evaluation.ablation import JudgeItem
from lorag.pipeline.evaluation.floors.words import WordIndex
from lorag.pipeline.records import Verdict

NEIGHBOURS = 5


class MajorityLabel:
    """The most frequent label of the task among `rows`, whatever is judged; of equally frequent ones the first of the schema."""

    def __init__(self, rows: Sequence[JudgeItem]) -> None:
        self._rows = rows

    @property
    def key(self) -> Hashable:
        return self

    def judge(self, schema: LabelSchema, inputs: Sequence[JudgeInputs]) -> list[Verdict]:
        return [voted(schema, [row.label for row in self._rows if row.schema.task == schema.task])] * len(inputs)


class NearestLabels:
    """The most frequent label of the `NEIGHBOURS` rows of the task that are nearest by BM25; of equally frequent ones the
    nearest's. If no row shares a word, the most frequent label of the task."""

    def __init__(self, rows: Sequence[JudgeItem]) -> None:
        self._rows = rows

    @property
    def key(self) -> Hashable:
        return self

    def judge(self, schema: LabelSchema, inputs: Sequence[JudgeInputs]) -> list[Verdict]:
        labels = {str(at): row.label for at, row in enumerate(self._rows) if row.schema.task == schema.task}
        found = [self._indexes[schema.task].search(text_of(each), NEIGHBOURS) for each in inputs]
        return [voted(schema, [labels[id_] for id_, _ in nearest] or list(labels.values())) for nearest in found]

    @cached_property
    def _indexes(self) -> Mapping[str, WordIndex]:
        texts: dict[str, dict[str, str]] = {}
        for at, row in enumerate(self._rows):
            texts.setdefault(row.schema.task, {})[str(at)] = text_of(row.inputs)
        return {task: WordIndex(each) for task, each in texts.items()}


def text_of(inputs: JudgeInputs) -> str:
    """All that is judged, as one text."""
    parts = [*(turn.text for turn in inputs.history), inputs.question, inputs.message, inputs.answer]
    return "\n".join([part for part in parts if part] + [f"{each.title}\n{each.text}" for each in inputs.passages])


def voted(schema: LabelSchema, labels: Sequence[str]) -> Verdict:
    """The most frequent of `labels`, the first of equally frequent ones; its probability is its share."""
    votes = Counter(labels)
    shares = {label: votes[label] / len(labels) for label in label_list(schema)}
    best = max(votes, key=lambda label: votes[label])
    return Verdict(schema.task, best, shares[best], MappingProxyType(shares))
