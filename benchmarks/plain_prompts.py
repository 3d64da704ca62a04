"""Which plain prompt is best for the bare base? Run on dev rows, so that the demo's base chain has the best prompt.

    python -m benchmarks.plain_prompts [--data FOLDER] [--base smollm2-135m] [--items 48]

Each role's contract holds one plain prompt; this compares it with variants: without the example, and with one more
example (a refusal, an unchanged question). Measured on dev: token F1 and citation recall, right and wrong refusals, ROUGE-1,
macro-F1.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from lorag.pipeline.config import load_settings
from lorag.pipeline.contracts import PromptStyle, judge, rewrite, synthesize
from lorag.pipeline.contracts.context import PassageText
from lorag.pipeline.engine import ChoiceRequest, Engine, Generation
from lorag.pipeline.engine.bases import resolve_base
from lorag.pipeline.engine.local import open_engine
from lorag.pipeline.engine.weights import load_weights
from lorag.pipeline.evaluation.judgments import Judged, score_judgments
from lorag.pipeline.evaluation.rewrites import GoldRewrite, score_rewrites
from lorag.pipeline.evaluation.text import token_f1
from lorag.pipeline.records import Message
from lorag.training.data.rows import QuestionRow
from lorag.training.dataset import DataFolder, judge_schemas
from lorag.training.examples import search_text
from lorag.training.passage_search import PassageSearch, plain_retrieval

Variant = Callable[[tuple[Message, ...]], tuple[Message, ...]]

REFUSAL_EXAMPLE = (
    Message("user", synthesize.EXAMPLE_USER.replace("When does the reading room close on a Tuesday?", "Who runs the pool?")),
    Message("assistant", synthesize.REFUSAL),
)


def no_example(prompt: tuple[Message, ...]) -> tuple[Message, ...]:
    return prompt[-1:]


def one_example(prompt: tuple[Message, ...]) -> tuple[Message, ...]:
    return prompt[-3:]


def as_is(prompt: tuple[Message, ...]) -> tuple[Message, ...]:
    return prompt


def with_more(extra: Sequence[Message]) -> Variant:
    return lambda prompt: (*extra, *prompt)


def synthesizer(engine: Engine, data: DataFolder, items: int, k: int) -> None:
    rows = data.questions("dev")
    chosen = [*[r for r in rows if r.answerable][: items - items // 4], *[r for r in rows if not r.answerable][: items // 4]]
    passages = data.passages()
    with PassageSearch(passages, plain_retrieval("minilm", k)) as search:
        found = search.find([search_text(row) for row in chosen], k, training=False)
    shown = {row.id: [passages[p] for p in ids] for row, ids in zip(chosen, found, strict=True)}
    print(f"{'synthesizer':24} {'F1':>6} {'cite R':>7} {'right refusals':>15} {'wrong':>6} {'unparsed':>9}")
    for name, variant in (("no example", no_example), ("as it is", as_is), ("and a refusal", with_more(REFUSAL_EXAMPLE))):
        requests = [
            Generation(variant(_ask(row, [p.shown() for p in shown[row.id]])), None, synthesize.MAX_REPLY_TOKENS)
            for row in chosen
        ]
        replies = [synthesize.parse(c.text, k) for c in engine.generate(requests)]
        f1, recall, wrong, right, unparsed = [], [], [], [], 0
        for row, reply in zip(chosen, replies, strict=True):
            unparsed += reply.outcome.value == "unparsed"
            if not row.answerable:
                right.append(float(reply.refused))
                continue
            wrong.append(float(reply.refused))
            f1.append(0.0 if reply.refused else token_f1(reply.text, row.answers))
            cited = {shown[row.id][n - 1].id for n in reply.numbers}
            recall.append(len(cited & set(row.passage_ids)) / len(row.passage_ids))
        print(f"{name:24} {mean(f1):6.3f} {mean(recall):7.3f} {mean(right):15.3f} {mean(wrong):6.3f} {unparsed:9d}", flush=True)


def _ask(row: QuestionRow, passages: Sequence[PassageText]) -> tuple[Message, ...]:
    return synthesize.messages(row.question, passages, PromptStyle.PLAIN)


def rewriter(engine: Engine, data: DataFolder, items: int) -> None:
    rows = [row for row in data.rewrites("dev") if row.history][:items]
    golds = [GoldRewrite(row.id, row.question, (row.rewrite,)) for row in rows]
    print(f"{'rewriter':24} {'ROUGE-1':>8} {'EM':>6}")
    for name, variant in (("no example", no_example), ("one example", one_example), ("as it is", as_is)):
        prompts = [variant(rewrite.messages(row.history, row.question, PromptStyle.PLAIN)) for row in rows]
        replies = engine.generate([Generation(prompt, None, rewrite.MAX_REPLY_TOKENS) for prompt in prompts])
        found = {row.id: rewrite.parse(reply.text, row.question) for row, reply in zip(rows, replies, strict=True)}
        means = score_rewrites(golds, found).means()
        print(f"{name:24} {means['ROUGE-1'].value:8.3f} {means['EM'].value:6.3f}", flush=True)


def judging(engine: Engine, data: DataFolder, items: int) -> None:
    schemas = judge_schemas(data.intents)
    rows = [row for task in schemas for row in [r for r in data.judgments("dev") if r.task == task][: items // 2]]
    print(f"{'judge':24} {'macro-F1':>8}")
    for name, style in (("tuned wording", PromptStyle.TUNED), ("as it is", PromptStyle.PLAIN)):
        judged = []
        for row in rows:
            schema = schemas[row.task]
            labels = tuple(schema.labels)
            probabilities = engine.choice_probabilities([ChoiceRequest(judge.messages(schema, row.inputs, style), labels)])[0]
            best = max(zip(probabilities, labels, strict=True))[1]
            judged.append(Judged(row.id, f"{row.task}: {row.label}", f"{row.task}: {best}"))
        print(f"{name:24} {score_judgments(judged).macro_f1:8.3f}", flush=True)


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("examples/kelder-sound-line"))
    parser.add_argument("--base", default="smollm2-135m")
    parser.add_argument("--items", type=int, default=48)
    options = parser.parse_args()
    settings = load_settings(options.data)
    engine = open_engine(load_weights(resolve_base(options.base)))
    data = DataFolder(options.data, settings.judge.intents)
    synthesizer(engine, data, options.items, settings.retrieval.k)
    rewriter(engine, data, options.items)
    judging(engine, data, options.items)


if __name__ == "__main__":
    main()
