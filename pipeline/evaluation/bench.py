"""Measures configurations of the chain on one test set; the work that two of them share is done once.

A `Bench` runs a stage once for each setting of the adapters before it, so that all 16 configurations of four adapters take two
runs of rewriting, four of retrieval, eight of answering and two of judging, and an engine that remembers (`Memo`) makes
fewer of those. Knows no files and no settings: `Parts` are made by the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from lorag.pipeline.engine.protocol import Engine
from lorag.pipeline.evaluation.ablation import (
    BEFORE,
    DEPTH,
    NDCG,
    RECALL,
    ChainItem,
    Configuration,
    JudgeItem,
    Measured,
    Search,
    TestSet,
)
from lorag.pipeline.evaluation.answers import score_answers
from lorag.pipeline.evaluation.judgments import Judged
from lorag.pipeline.evaluation.retrieval import score_run
from lorag.pipeline.evaluation.rewrites import score_rewrites
from lorag.pipeline.evaluation.scores import ItemScores, ScoreTable
from lorag.pipeline.evaluation.trec import Scored
from lorag.pipeline.records import Answer, Hit, Outcome, Response, Rewrite, Role, Trace
from lorag.pipeline.stages import Judge, Retriever, Rewriter, Synthesizer
from lorag.pipeline.stages.retriever import Searcher


@dataclass(frozen=True, slots=True)
class Parts:
    """What configurations are put together from: one engine, the resident adapter of each generation role, an index filled
    by the frozen encoder and one filled by the tuned encoder. `k` passages go to the synthesizer."""

    engine: Engine
    adapters: Mapping[Role, str]
    frozen_index: Searcher
    tuned_index: Searcher | None
    k: int
    hybrid: bool = True


T = TypeVar("T")


class Bench:
    """Measures configurations of the same parts on the same tests. Greedy throughout: the same parts give the same figures."""

    def __init__(self, parts: Parts, tests: TestSet) -> None:
        self._parts = parts
        self._tests = tests
        self._done: dict[tuple[str, frozenset[Role]], object] = {}

    def measure(self, configuration: Configuration) -> Measured:
        """One configuration over the test set; what an earlier one had in common with it is not run again."""
        on, tests, parts = configuration.on, self._tests, self._parts
        scored = self._once("rewrites", on, lambda: self._rewrites(on))
        questions, hits, retrieval = self._once("retrieval", on, lambda: self._retrieval(on))
        responses, answers = self._once("answers", on, lambda: self._answers(on, questions, hits))
        judgments = self._once(
            "judgments", on, lambda: _judge(tests.judgments, Judge(parts.engine, self._adapter(Role.JUDGE, on)))
        )
        searches = {
            item.gold.id: Search(rewrite, tuple(found[: parts.k]))
            for item, rewrite, found in zip(tests.chain, questions, hits, strict=True)
        }
        return Measured(configuration, scored, retrieval, answers, judgments, responses, searches)

    def _once(self, part: str, on: frozenset[Role], run: Callable[[], T]) -> T:
        key = (part, on & BEFORE[part])
        if key not in self._done:
            self._done[key] = run()
        return self._done[key]  # type: ignore[return-value]

    def _adapter(self, role: Role, on: frozenset[Role]) -> str | None:
        return self._parts.adapters[role] if role in on else None

    def _rewrites(self, on: frozenset[Role]) -> ScoreTable:
        items = self._tests.rewrites
        found = Rewriter(self._parts.engine, self._adapter(Role.REWRITER, on)).rewrite([item.query for item in items])
        golds = [item.gold for item in items]
        return score_rewrites(golds, {gold.id: rewrite for gold, rewrite in zip(golds, found, strict=True)})

    def _retrieval(self, on: frozenset[Role]) -> tuple[list[Rewrite], list[tuple[Hit, ...]], ScoreTable]:
        parts, items = self._parts, self._tests.chain
        questions = Rewriter(parts.engine, self._adapter(Role.REWRITER, on)).rewrite([item.query for item in items])
        index = parts.tuned_index if Role.EMBEDDER in on and parts.tuned_index else parts.frozen_index
        hits = _retrieve(questions, Retriever(index, k=max(DEPTH, parts.k), hybrid=parts.hybrid))
        return questions, hits, _score_hits(items, questions, hits)

    def _answers(
        self, on: frozenset[Role], questions: Sequence[Rewrite], hits: Sequence[Sequence[Hit]]
    ) -> tuple[dict[str, Response], ScoreTable]:
        synthesizer = Synthesizer(self._parts.engine, self._adapter(Role.SYNTHESIZER, on))
        responses = _answer(self._tests.chain, questions, hits, synthesizer, self._parts.k)
        golds = [item.gold for item in self._tests.chain if item.answered]
        answers = {id_: response.answer for id_, response in responses.items()}
        shown = {id_: [hit.passage for hit in response.trace.hits] for id_, response in responses.items()}
        return responses, score_answers(golds, answers, shown)


def _retrieve(rewrites: Sequence[Rewrite], retriever: Retriever) -> list[tuple[Hit, ...]]:
    """The hits of each rewrite, in order; none for a failed one, which leaves no question to search for."""
    found = iter(retriever.retrieve([rewrite.question for rewrite in rewrites if rewrite.outcome is not Outcome.FAILED]))
    return [() if rewrite.outcome is Outcome.FAILED else next(found) for rewrite in rewrites]


def _answer(
    items: Sequence[ChainItem],
    questions: Sequence[Rewrite],
    hits: Sequence[Sequence[Hit]],
    synthesizer: Synthesizer,
    k: int,
) -> dict[str, Response]:
    """The responses to the items that are answered. Where the rewrite failed the answer has failed with it, unasked."""
    chosen = [(i, q, tuple(h[:k])) for i, q, h in zip(items, questions, hits, strict=True) if i.answered]
    asked = [(rewrite.question, shown) for _, rewrite, shown in chosen if rewrite.outcome is not Outcome.FAILED]
    answers = iter(synthesizer.answer([question for question, _ in asked], [shown for _, shown in asked]))
    responses = {}
    for item, rewrite, shown in chosen:
        failed = rewrite.outcome is Outcome.FAILED
        answer = Answer("", False, (), Outcome.FAILED, error=rewrite.error) if failed else next(answers)
        responses[item.gold.id] = Response(item.query.question, rewrite, answer, trace=Trace(hits=shown))
    return responses


def _score_hits(items: Sequence[ChainItem], rewrites: Sequence[Rewrite], hits: Sequence[Sequence[Hit]]) -> ScoreTable:
    judged = [
        (item.gold, rewrite.outcome, found)
        for item, rewrite, found in zip(items, rewrites, hits, strict=True)
        if item.gold.answerable and item.gold.passage_ids
    ]
    searched = [(gold, found) for gold, outcome, found in judged if outcome is not Outcome.FAILED]
    if not searched:
        return ScoreTable(tuple(ItemScores(gold.id, gold.group or gold.id, outcome, {}) for gold, outcome, _ in judged))
    qrels = {gold.id: dict.fromkeys(gold.passage_ids, 1) for gold, _ in searched}
    run = {gold.id: tuple(Scored(hit.passage.id, hit.score) for hit in found[:DEPTH]) for gold, found in searched}
    scores = score_run(qrels, run, (NDCG, RECALL)).per_query
    return ScoreTable(
        tuple(
            ItemScores(
                gold.id,
                gold.group or gold.id,
                outcome,
                {metric: values[gold.id] for metric, values in scores.items() if gold.id in values},
            )
            for gold, outcome, _ in judged
        )
    )


def _judge(items: Sequence[JudgeItem], judge: Judge) -> tuple[Judged, ...]:
    """Labels are named `task: label`, so that the classes of all tasks stand in one macro-F1."""
    results: dict[str, Judged] = {}
    for task in dict.fromkeys(item.schema.task for item in items):
        batch = [item for item in items if item.schema.task == task]
        verdicts = judge.judge(batch[0].schema, [item.inputs for item in batch])
        for item, verdict in zip(batch, verdicts, strict=True):
            ok = verdict.outcome is Outcome.OK
            results[item.id] = Judged(
                item.id,
                f"{task}: {item.label}",
                f"{task}: {verdict.label}" if ok else None,
                {f"{task}: {label}": p for label, p in verdict.probabilities.items()},
                verdict.outcome,
                item.group,
            )
    return tuple(results[item.id] for item in items)


def planned_requests(tests: TestSet, configurations: Sequence[Configuration]) -> int:
    """Requests to the engine that a `Bench` makes to measure all of them: what a progress bar counts."""
    turns = sum(1 for item in tests.chain if item.query.history)
    each = {
        "rewrites": sum(1 for item in tests.rewrites if item.query.history),
        "retrieval": turns,
        "answers": sum(1 for item in tests.chain if item.answered),
        "judgments": len(tests.judgments),
    }
    return sum(count * len({c.on & BEFORE[part] for c in configurations}) for part, count in each.items())
