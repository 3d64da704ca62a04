"""Baselines without any model for each metric of a table. A figure below its floor is no achievement."""

from __future__ import annotations

from collections import Counter

from lorag.pipeline.evaluation import answers as answer_metrics
from lorag.pipeline.evaluation import rewrites as rewrite_metrics
from lorag.pipeline.evaluation.ablation import MACRO_F1, REWRITE_EM, Measured, TestSet
from lorag.pipeline.evaluation.answers import score_answers
from lorag.pipeline.evaluation.judgments import Judged, score_judgments
from lorag.pipeline.evaluation.report.records import Floor
from lorag.pipeline.evaluation.rewrites import score_rewrites
from lorag.pipeline.records import Answer, Citation, Outcome, Response, Rewrite
from lorag.pipeline.retrieval.sentences import sentences


def floors(tests: TestSet, base: Measured) -> tuple[Floor, ...]:
    """The floors of the test set; `base` has the first passage that plain retrieval found for each question."""
    return (*_rewrite_floors(tests), *_answer_floors(tests, base), *_judge_floors(tests))


def _rewrite_floors(tests: TestSet) -> tuple[Floor, ...]:
    if not tests.rewrites:
        return ()
    raw = {item.gold.id: Rewrite(item.query.question, Outcome.OK) for item in tests.rewrites}
    means = score_rewrites([item.gold for item in tests.rewrites], raw).means()
    name = "the raw question, unchanged"
    return (
        Floor(rewrite_metrics.ROUGE_1, name, means[rewrite_metrics.ROUGE_1].value),
        Floor(REWRITE_EM, name, means[rewrite_metrics.EM].value),
    )


def _answer_floors(tests: TestSet, base: Measured) -> tuple[Floor, ...]:
    golds = [item.gold for item in tests.chain if item.answered]
    if not golds:
        return ()
    means = score_answers(golds, {gold.id: _first_sentence(base.responses[gold.id]) for gold in golds}).means()
    text = "the first sentence of the first passage"
    cited = "the first passage, always cited"
    names = {
        answer_metrics.EM: text,
        answer_metrics.F1: text,
        answer_metrics.CITATION_PRECISION: cited,
        answer_metrics.CITATION_RECALL: cited,
        answer_metrics.RIGHT_REFUSALS: "never refusing",
        answer_metrics.WRONG_REFUSALS: "never refusing",
    }
    return tuple(Floor(metric, name, means[metric].value) for metric, name in names.items() if metric in means)


def _first_sentence(response: Response) -> Answer:
    if response.rewrite.outcome is Outcome.FAILED:
        return Answer("", False, (), Outcome.FAILED)  # nothing was searched, so there is no first passage
    if not response.trace.hits:
        return Answer("", False, (), Outcome.OK)
    passage = response.trace.hits[0].passage
    start, end = next(iter(sentences(passage.text)), (0, len(passage.text)))
    quote = passage.text[start:end]
    return Answer(quote, False, (Citation(1, passage.id, passage.source, quote, start, end),), Outcome.OK)


def _judge_floors(tests: TestSet) -> tuple[Floor, ...]:
    """The scores of a constant reply: the most frequent label of each task."""
    if not tests.judgments:
        return ()
    found = []
    for task in dict.fromkeys(item.schema.task for item in tests.judgments):
        items = [item for item in tests.judgments if item.schema.task == task]
        common = Counter(item.label for item in items).most_common(1)[0][0]
        found += [Judged(item.id, f"{task}: {item.label}", f"{task}: {common}") for item in items]
    return (Floor(MACRO_F1, "the most frequent label of each task", score_judgments(found).macro_f1),)
