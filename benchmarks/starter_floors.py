"""What rules without a model reach on the items that `benchmarks.starters` measures the starters on.

    python -m benchmarks.starter_floors --data DIR [--items 60] [--write FILE]

Synthesizer: the best sentence by words, always refusing, and the most frequent answer of the training split if a set has labels
(pubmedqa: always yes), each on the passages that the starter is shown. Judge: the most frequent label, word overlap with
thresholds fitted on the dev split, and the label whose name shares most words if labels differ in each prompt.

The rewriter's floor, the raw question, is measured with the starter. Items are drawn with the same seed, so figures stand beside
the starters'; those are stored without their items, so nothing is paired.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType

from benchmarks.provenance import provenance, save
from benchmarks.starter_training.held_out import READING, judge_items, public_tasks
from benchmarks.starter_training.sources import corpus
from benchmarks.starters import figures, show
from lorag.pipeline.contracts.judge import JudgeInputs, LabelSchema
from lorag.pipeline.evaluation import answers
from lorag.pipeline.evaluation.ablation import Configuration, JudgeItem, Measured
from lorag.pipeline.evaluation.bench import Labeller
from lorag.pipeline.evaluation.floors.labels import MajorityLabel, text_of
from lorag.pipeline.evaluation.floors.overlap import WordOverlap
from lorag.pipeline.evaluation.floors.stages import AlwaysRefusing, BestSentence
from lorag.pipeline.evaluation.floors.systems import ALWAYS_REFUSING, BEST_SENTENCE, MAJORITY, OVERLAP
from lorag.pipeline.evaluation.judgments import judged
from lorag.pipeline.evaluation.scores import ScoreTable
from lorag.pipeline.records import Answer, Citation, Outcome, Query, Role, Verdict
from lorag.pipeline.retrieval.bm25 import Bm25Encoder
from lorag.pipeline.stages.stage import ChainState
from lorag.training.transfer.held_out import GroundedItem
from lorag.training.transfer.measuring import Task, tasks

NAMED = "the label whose name shares most words"
_NOTHING = ScoreTable(())


def frequent_answer(data: Path, name: str) -> str:
    """The most frequent label of the set's training split; empty if the set has none."""
    labels = Counter(question.label for question in corpus(data, name, "train").questions if question.label)
    return labels.most_common(1)[0][0] if labels else ""


def answered(name: str, items: Sequence[GroundedItem], found: Sequence[Answer]) -> Measured:
    """The scores of a rule's answers."""
    by_id = {item.gold.id: answer for item, answer in zip(items, found, strict=True)}
    scored = answers.score_answers([item.gold for item in items], by_id)
    return Measured(Configuration(name, frozenset()), _NOTHING, _NOTHING, scored, (), {})


def of_answers(task: Task, frequent: str) -> Iterator[Measured]:
    """The floors of a synthesizer's task; `frequent` is the answer that is given to every question, if there is one."""
    for name, stage in ((BEST_SENTENCE, BestSentence()), (ALWAYS_REFUSING, AlwaysRefusing())):
        results = stage.run([ChainState.start(Query(item.question), hits=item.hits) for item in task.answered])
        found = [result.answer for result in results]
        yield answered(name, task.answered, [answer for answer in found if answer is not None])
    if frequent:
        always = [_always(frequent, item) for item in task.answered]
        yield answered(f"always “{frequent}”", task.answered, always)


def _always(text: str, item: GroundedItem) -> Answer:
    """The text, with the first passage as its source."""
    first = item.hits[0].passage
    return Answer(text, False, (Citation(1, first.id, first.source, first.text, first.start, first.end),), Outcome.OK, text)


def of_labels(task: Task, rows: Sequence[JudgeItem]) -> Iterator[Measured]:
    """The floors of a judge's task; `rows` fit the overlap. Without any, only the items' own most frequent label."""
    if len({tuple(item.schema.labels) for item in task.judged}) > 1:
        yield labelled(NAMED, task.judged, NamedLabel())
        return
    yield labelled(MAJORITY, task.judged, MajorityLabel(task.judged))
    overlap = WordOverlap(rows)
    if overlap.tasks:
        yield labelled(OVERLAP, task.judged, overlap)


class NamedLabel:
    """The label whose meaning shares the most words with what is judged; of equal ones the first."""

    def __init__(self) -> None:
        self._words = Bm25Encoder()

    @property
    def key(self) -> Hashable:
        return type(self).__qualname__

    def judge(self, schema: LabelSchema, inputs: Sequence[JudgeInputs]) -> list[Verdict]:
        meanings = {label: self._held(meaning) for label, meaning in schema.labels.items()}
        found = []
        for each in inputs:
            words = self._held(text_of(each))
            best = max(meanings, key=lambda label: len(words & meanings[label]))
            found.append(Verdict(schema.task, best, 1.0, MappingProxyType({})))
        return found

    def _held(self, text: str) -> set[int]:
        return set(self._words.query(text).indices)


def labelled(name: str, items: Sequence[JudgeItem], rule: Labeller) -> Measured:
    """The scores of a rule's labels. Each item may have its own schema."""
    verdicts = [rule.judge(item.schema, [item.inputs])[0] for item in items]
    found = tuple(judged(item.id, item.label, verdict, item.group) for item, verdict in zip(items, verdicts, strict=True))
    return Measured(Configuration(name, frozenset()), _NOTHING, _NOTHING, _NOTHING, found, {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the public sets")
    parser.add_argument("--items", type=int, default=60, help="items a task, as the starters were measured on")
    parser.add_argument("--write", type=Path)
    chosen = parser.parse_args()
    measured: list[tuple[Role, Task, Measured]] = []
    for task in (*public_tasks(Role.SYNTHESIZER, chosen.data, chosen.items), *tasks(Role.SYNTHESIZER, chosen.items)):
        frequent = frequent_answer(chosen.data, task.name) if task.name in READING else ""
        measured += [(Role.SYNTHESIZER, task, floor) for floor in of_answers(task, frequent)]
    rows = judge_items(chosen.data, chosen.items, split="dev")
    for task in (*public_tasks(Role.JUDGE, chosen.data, chosen.items), *tasks(Role.JUDGE, chosen.items)):
        measured += [(Role.JUDGE, task, floor) for floor in of_labels(task, rows.get(task.name.partition(",")[0], []))]
    found = [figure for role, task, floor in measured for figure in figures(role, task, floor.configuration.name, floor)]
    for figure in found:
        print(show(figure))
    if chosen.write is not None:
        sets = [chosen.data / f"{name}.train.jsonl.gz" for name in READING]
        save(chosen.write, {"items": chosen.items, **provenance(sets), "figures": [asdict(each) for each in found]})


if __name__ == "__main__":
    main()
