"""The questioner on held-out public articles: is its question one that finds the passage, and one that the span answers?

    python -m benchmarks.questioner --data DIR --work DIR [--adapter FOLDER --without SET …] [--sets SET …] [--out FILE]

Passages and spans are those of people's questions. Beside the adapter stand the person's question, the bare base in its plain
prompt, and the cheapest thing: the words of the span's sentence without the span. Measured are the words shared with the
person's question (ROUGE-L), the rank of the passage by BM25 (first, in the first ten), whether the question gives the span away,
and whether the bundled synthesizer, shown the passage, answers with the span (F1 of at least a half). Intervals are by article.
An adapter that did not learn from a set is given with `--adapter`, the set with `--without`. Each set is stored under --work;
the same command resumes. With `--cards` the differences to the bare base become the evidence on the bundled card.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.provenance import provenance, save, stored
from benchmarks.starter_training.build import BASE
from benchmarks.starter_training.bundle import record_evidence
from benchmarks.starter_training.grounded import PASSAGE_CHARS, crop
from benchmarks.starter_training.mixtures import TERSE_SETS
from benchmarks.starter_training.questions import keywords, shares_a_word, stands_alone
from benchmarks.starter_training.replies import reply_of
from benchmarks.starter_training.sources import corpus
from lorag.pipeline.adapters.evidence import BARE_BASE, DataOrigin, Evidence, EvidenceData, EvidenceKind
from lorag.pipeline.adapters.starters import bundled_starters
from lorag.pipeline.contracts import PromptStyle, question, synthesize
from lorag.pipeline.contracts.context import PassageText
from lorag.pipeline.contracts.question import Manner
from lorag.pipeline.engine.bases import resolve_base
from lorag.pipeline.engine.local import LocalEngine, open_engine
from lorag.pipeline.engine.protocol import Generation
from lorag.pipeline.engine.weights import Precision, load_weights
from lorag.pipeline.evaluation.floors.words import WordIndex
from lorag.pipeline.evaluation.significance import mean_interval, paired_difference
from lorag.pipeline.evaluation.text import rouge_f1, token_f1
from lorag.pipeline.records import Role
from lorag.pipeline.retrieval.sentences import sentences
from lorag.pipeline.storage.digests import file_digest

SETS = ("squad_newwiki", "squad_reddit", "qed_nq", "pacific_finance", "medquad")
QUESTIONER, READER = Role.QUESTIONER.value, Role.SYNTHESIZER.value
AGAINST_BASE, HUMAN = "against the bare base", DataOrigin.HUMAN
PERSON, BARE, CLOZE = "a person", "bare base, plain prompt", "words of the sentence"
METRICS = ("ROUGE-L", "BM25 first", "BM25 in ten", "gives the span away", "answered with the span")
OTHERS = 500
"""Passages beside the questions' own that a question is searched in."""

AGREES = 0.5
"""Token F1 from which an answer counts as the span."""


@dataclass(frozen=True, slots=True)
class Item:
    """A person's question on a passage, with the span that answers it."""

    id: str
    article: str
    passage: PassageText
    passage_id: str
    span: str
    asked: str


def items(data: Path, name: str, count: int) -> tuple[list[Item], dict[str, str]]:
    """At most `count` items of a set's test articles, drawn with a fixed seed, and the texts that are searched."""
    whole, rng = corpus(data, name, "test"), random.Random(f"questioner {name}")
    found = []
    for each in whole.questions:
        passage = whole.passages[each.passage_id]
        if not (stands_alone(each.question) and shares_a_word(each.question, passage)):
            continue
        text = crop(passage.text, rng) if len(passage.text) > PASSAGE_CHARS else passage.text
        if span := reply_of(name)(each, text):
            found.append(Item(each.id, passage.article, PassageText(passage.title, text), passage.id, span, each.question))
    drawn = rng.sample(found, min(count, len(found)))
    texts = {item.passage_id: f"{item.passage.title}\n{item.passage.text}" for item in drawn}
    others = [id_ for id_ in whole.passages if id_ not in texts]
    for id_ in rng.sample(others, min(OTHERS, len(others))):
        texts[id_] = f"{whole.passages[id_].title}\n{whole.passages[id_].text}"
    return drawn, texts


def cloze(item: Item) -> str:
    """The content words of the sentence that holds the span, without the span's."""
    text = item.passage.text
    sentence = next((text[a:b] for a, b in sentences(text) if item.span in text[a:b]), text)
    return keywords(sentence.replace(item.span, " "))


def written(engine: LocalEngine, drawn: Sequence[Item], manner: Manner, adapter: str | None) -> list[str]:
    """A question for each item, greedily; empty if the reply is none."""
    style = PromptStyle.TUNED if adapter else PromptStyle.PLAIN
    requests = [
        Generation(question.messages(item.passage, item.span, manner, style), adapter, question.MAX_REPLY_TOKENS)
        for item in drawn
    ]
    return [question.parse(done.text).question for done in engine.generate(requests)]


def scores(engine: LocalEngine, drawn: Sequence[Item], asked: Sequence[str], index: WordIndex) -> dict[str, list[float]]:
    """Each metric of each item."""
    requests = [
        Generation(synthesize.messages(text or "?", (item.passage,)), READER, synthesize.MAX_REPLY_TOKENS)
        for item, text in zip(drawn, asked, strict=True)
    ]
    answers = [synthesize.parse(done.text, 1).text for done in engine.generate(requests)]
    found: dict[str, list[float]] = {metric: [] for metric in METRICS}
    for item, text, answer in zip(drawn, asked, answers, strict=True):
        ranked = [id_ for id_, _ in index.search(text, 10)]
        values = (
            rouge_f1("rougeL", text, [item.asked]),
            float(ranked[:1] == [item.passage_id]),
            float(item.passage_id in ranked),
            float(item.span.casefold() in text.casefold()),
            float(token_f1(answer, [item.span]) >= AGREES),
        )
        for metric, value in zip(METRICS, values, strict=True):
            found[metric].append(value)
    return found


def measure(engine: LocalEngine, data: Path, name: str, count: int) -> dict[str, Any]:
    """A set's figures: each system's mean and interval for each metric, and the adapter's differences to a person."""
    drawn, texts = items(data, name, count)
    manner = Manner.TERSE if name in TERSE_SETS else Manner.FULL
    asked = {
        PERSON: [item.asked for item in drawn],
        CLOZE: [cloze(item) for item in drawn],
        BARE: written(engine, drawn, manner, None),
        QUESTIONER: written(engine, drawn, manner, QUESTIONER),
    }
    index, groups = WordIndex(texts), [item.article for item in drawn]
    measured = {system: scores(engine, drawn, said, index) for system, said in asked.items()}
    means = {
        system: {metric: _interval(values, groups) for metric, values in by_metric.items()}
        for system, by_metric in measured.items()
    }
    apart = {
        name: {metric: _apart(measured[system][metric], measured[QUESTIONER][metric], groups) for metric in METRICS[1:]}
        for name, system in (("against a person", PERSON), (AGAINST_BASE, BARE))
    }
    shown = [
        {"span": item.span, **{system: said[place] for system, said in asked.items()}} for place, item in enumerate(drawn[:8])
    ]
    return {
        "set": name,
        "manner": manner.value,
        "items": len(drawn),
        "groups": len(set(groups)),
        "passages": len(texts),
        "systems": means,
        **apart,
        "examples": shown,
    }


def _interval(values: Sequence[float], groups: Sequence[str]) -> dict[str, float]:
    found = mean_interval(values, groups=groups)
    return {"value": found.value, "low": found.low, "high": found.high}


def _apart(before: Sequence[float], after: Sequence[float], groups: Sequence[str]) -> dict[str, float | int]:
    found = paired_difference(before, after, groups=groups)
    means = {"reference": sum(before) / len(before), "tuned": sum(after) / len(after)}
    return {**means, "difference": found.value, "low": found.low, "high": found.high, "n": found.n, "groups": found.groups}


def evidence(results: Sequence[Mapping[str, Any]], data: Path) -> tuple[Evidence, ...]:
    """The differences to the bare base as claims, the one on answers first, set by set."""
    return tuple(
        Evidence(
            metric=metric,
            data=EvidenceData(
                f"{result['set']}, held-out articles", file_digest(data / f"{result['set']}.train.jsonl.gz"), HUMAN
            ),
            against=BARE_BASE,
            kind=EvidenceKind.HELD_OUT,
            level=0.95,
            look=None,
            **result[AGAINST_BASE][metric],
        )
        for result in results
        for metric in (METRICS[-1], METRICS[2])
    )


def show(result: Mapping[str, Any]) -> None:
    print(f"{result['set']}, {result['manner']}: {result['items']} questions in {result['groups']} articles")
    for system, figures in result["systems"].items():
        print(f"  {system:26}" + "".join(f"  {metric} {figures[metric]['value']:.2f}" for metric in METRICS), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the public sets")
    parser.add_argument("--work", type=Path, required=True, help="folder for results of single sets")
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument("--adapter", type=Path, default=None, help="folder of a questioner; default: the bundled one")
    parser.add_argument("--without", nargs="*", default=[], help="sets that this questioner did not learn from")
    parser.add_argument("--items", type=int, default=60)
    parser.add_argument("--cards", action="store_true", help="the differences to the base become the bundled card's evidence")
    parser.add_argument("--out", type=Path, default=None, help="file for the results together")
    given = parser.parse_args()
    if given.cards and given.adapter:
        parser.error("--cards is for the bundled questioner: leave out --adapter")
    given.work.mkdir(parents=True, exist_ok=True)
    engine: LocalEngine | None = None
    results = []
    for name in given.sets:
        file = given.work / f"{name}.json"
        if stored(file) is None:
            engine = engine or _engine(given.adapter or bundled_starters()[Role.QUESTIONER])
            learnt = name not in given.without
            save(file, {**measure(engine, given.data, name, given.items), "learnt from other articles of it": learnt})
        results.append(json.loads(file.read_text(encoding="utf-8")))
        show(results[-1])
    if given.cards:
        record_evidence(bundled_starters()[Role.QUESTIONER], evidence(results, given.data))
    if given.out is not None:
        save(given.out, {"sets": results, **provenance(sorted(p for n in given.sets for p in given.data.glob(f"{n}.*")))})


def _engine(adapter: Path) -> LocalEngine:
    engine = open_engine(load_weights(resolve_base(BASE), precision=Precision.NF4))
    engine.load_adapter(QUESTIONER, adapter)
    engine.load_adapter(READER, bundled_starters()[Role.SYNTHESIZER])
    return engine


if __name__ == "__main__":
    main()
