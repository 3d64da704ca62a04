"""Rules that choose a label without a model: floors of the judge, fitted on its training rows.

Each is a `Labeller` of the bench. They know no test row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Protocol

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


class TextIndex(Protocol):
    """Texts by id, searched by other texts."""

    def search_many(self, texts: Sequence[str], k: int) -> list[list[tuple[str, float]]]:
        """At most `k` texts near each, with their scores, best first."""
        ...


class NearestLabels:
    """The most frequent label of the `NEIGHBOURS` nearest rows of the task; of equally frequent ones the nearest's. If no row is
    near, the most frequent label of the task. `index` makes the index of a task's rows: by BM25 unless told."""

    def __init__(self, rows: Sequence[JudgeItem], index: Callable[[Mapping[str, str]], TextIndex] = WordIndex) -> None:
        self._rows = rows
        self._index = index

    @property
    def key(self) -> Hashable:
        return self

    def judge(self, schema: LabelSchema, inputs: Sequence[JudgeInputs]) -> list[Verdict]:
        labels = {str(at): row.label for at, row in enumerate(self._rows) if row.schema.task == schema.task}
        found = self._indexes[schema.task].search_many([text_of(each) for each in inputs], NEIGHBOURS)
        return [voted(schema, [labels[id_] for id_, _ in nearest] or list(labels.values())) for nearest in found]

    @cached_property
    def _indexes(self) -> Mapping[str, TextIndex]:
        texts: dict[str, dict[str, str]] = {}
        for at, row in enumerate(self._rows):
            texts.setdefault(row.schema.task, {})[str(at)] = text_of(row.inputs)
        return {task: self._index(each) for task, each in texts.items()}


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
