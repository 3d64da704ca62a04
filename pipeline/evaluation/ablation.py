"""The chain with adapters on and off, over one test set: what each adapter buys, alone and together.

Every configuration is measured on the same items, and work that two of them share is done once (the engine remembers, see
`MemoEngine`). "Off" means the bare base asked in the contract's plain prompt, or the frozen encoder. Knows no files and no
settings: `Parts` are made by the caller.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.contracts.judge import JudgeInputs, LabelSchema
from pipeline.engine.protocol import Engine
from pipeline.evaluation import answers as answer_metrics
from pipeline.evaluation import rewrites as rewrite_metrics
from pipeline.evaluation.answers import GoldAnswer, score_answers
from pipeline.evaluation.judgments import Judged
from pipeline.evaluation.retrieval import score_run
from pipeline.evaluation.rewrites import GoldRewrite, score_rewrites
from pipeline.evaluation.scores import ItemScores, ScoreTable, pair
from pipeline.evaluation.significance import Interval, macro_f1_interval, mean_interval, paired_difference, paired_macro_f1
from pipeline.evaluation.trec import Scored
from pipeline.records import Answer, Hit, Outcome, Query, Response, Rewrite, Role, Trace
from pipeline.stages import Judge, Retriever, Rewriter, Synthesizer
from pipeline.stages.retriever import Searcher

DEPTH = 10
"""Hits looked at by the retrieval metrics."""

NDCG, RECALL = f"nDCG@{DEPTH}", "Recall@5"
MACRO_F1 = "macro-F1"
OWN_METRIC: Mapping[Role, str] = {
    Role.REWRITER: rewrite_metrics.ROUGE_1,
    Role.EMBEDDER: NDCG,
    Role.SYNTHESIZER: answer_metrics.F1,
    Role.JUDGE: MACRO_F1,
}
"""The metric an adapter is promoted by."""


@dataclass(frozen=True, slots=True)
class ChainItem:
    """A test question. `gold.passage_ids` also judge retrieval; `answered` says whether the synthesizer is asked too."""

    query: Query
    gold: GoldAnswer
    gold_rewrite: str = ""
    answered: bool = True


@dataclass(frozen=True, slots=True)
class RewriteItem:
    """A test turn with history."""

    query: Query
    gold: GoldRewrite


@dataclass(frozen=True, slots=True)
class JudgeItem:
    """A test judgment; `group` is what it is not independent of."""

    id: str
    schema: LabelSchema
    inputs: JudgeInputs
    label: str
    group: str


@dataclass(frozen=True, slots=True)
class TestSet:
    """All that is measured; any part may be empty."""

    __test__ = False

    chain: tuple[ChainItem, ...]
    rewrites: tuple[RewriteItem, ...]
    judgments: tuple[JudgeItem, ...]


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


@dataclass(frozen=True, slots=True)
class Configuration:
    """Which adapters are on."""

    name: str
    on: frozenset[Role]


@dataclass(frozen=True, slots=True)
class Measured:
    """One configuration's per-item results; `responses` by item id, for those that were answered."""

    configuration: Configuration
    rewrites: ScoreTable
    retrieval: ScoreTable
    answers: ScoreTable
    judgments: tuple[Judged, ...]
    responses: Mapping[str, Response]


BASE_CHAIN, ALL_ADAPTERS = "base chain", "all adapters"


def one_at_a_time(roles: Sequence[Role]) -> tuple[Configuration, ...]:
    """The base chain, each adapter alone, and all of them."""
    alone = [Configuration(f"+ {role.value}", frozenset({role})) for role in roles]
    return (Configuration(BASE_CHAIN, frozenset()), *alone, Configuration(ALL_ADAPTERS, frozenset(roles)))


def measure(configuration: Configuration, parts: Parts, tests: TestSet) -> Measured:
    """Run one configuration over the test set. Greedy throughout: the same parts give the same figures."""

    def adapter(role: Role) -> str | None:
        return parts.adapters[role] if role in configuration.on else None

    rewriter = Rewriter(parts.engine, adapter(Role.REWRITER))
    rewrites = rewriter.rewrite([item.query for item in tests.rewrites])
    index = parts.tuned_index if Role.EMBEDDER in configuration.on and parts.tuned_index else parts.frozen_index
    retriever = Retriever(index, k=max(DEPTH, parts.k), hybrid=parts.hybrid)
    synthesizer = Synthesizer(parts.engine, adapter(Role.SYNTHESIZER))
    questions = rewriter.rewrite([item.query for item in tests.chain])
    hits = _retrieve(questions, retriever)
    responses = _answer(tests.chain, questions, hits, synthesizer, parts.k)
    golds = [item.gold for item in tests.chain if item.answered]
    return Measured(
        configuration=configuration,
        rewrites=score_rewrites(
            [item.gold for item in tests.rewrites],
            {item.gold.id: found for item, found in zip(tests.rewrites, rewrites, strict=True)},
        ),
        retrieval=_score_hits(tests.chain, questions, hits),
        answers=score_answers(golds, {id_: response.answer for id_, response in responses.items()}),
        judgments=_judge(tests.judgments, Judge(parts.engine, adapter(Role.JUDGE))),
        responses=responses,
    )


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


def interval(measured: Measured, metric: str) -> Interval | None:
    """A configuration's figure with its 95 % interval, clustered by group; None where nothing was measured."""
    if metric == MACRO_F1:
        labelled = [item for item in measured.judgments if item.label is not None]
        if len({item.group for item in labelled}) < 2:
            return None
        return macro_f1_interval(
            [item.gold for item in labelled], [str(item.label) for item in labelled], groups=[item.group for item in labelled]
        )
    table, name = _table(measured, metric)
    values = table.values(name)
    groups = table.groups(name)
    return mean_interval(list(values.values()), groups=groups) if len(set(groups)) > 1 else None


def difference(base: Measured, tuned: Measured, metric: str) -> tuple[float, float, Interval]:
    """Both figures over the items that both have a value for, and the 95 % interval of tuned − base, clustered by group.

    Raises InputError where there are too few items for an interval.
    """
    if metric == MACRO_F1:
        theirs = {item.id: item for item in tuned.judgments}
        both = [(b, theirs[b.id]) for b in base.judgments if b.label is not None and theirs[b.id].label is not None]
        gold, groups = [b.gold for b, _ in both], [b.group for b, _ in both]
        before, after = [str(b.label) for b, _ in both], [str(t.label) for _, t in both]
        found = paired_macro_f1(gold, before, after, groups=groups)
        return macro_f1_interval(gold, before, groups=groups).value, macro_f1_interval(gold, after, groups=groups).value, found
    (left, name), (right, _) = _table(base, metric), _table(tuned, metric)
    paired = pair(left, right, name)
    found = paired_difference(paired.base, paired.tuned, groups=paired.groups)
    return sum(paired.base) / len(paired.base), sum(paired.tuned) / len(paired.tuned), found


REWRITE_EM = "rewrite EM"
"""How tables call the rewrites' exact match, apart from the answers' own."""


def _table(measured: Measured, metric: str) -> tuple[ScoreTable, str]:
    """The table that holds a per-item metric, and what the metric is called there."""
    if metric == REWRITE_EM:
        return measured.rewrites, rewrite_metrics.EM
    if metric in (rewrite_metrics.ROUGE_1, rewrite_metrics.ENTITY_RECALL, rewrite_metrics.HARM):
        return measured.rewrites, metric
    return (measured.retrieval if metric in (NDCG, RECALL) else measured.answers), metric


def planned_requests(tests: TestSet, configurations: Sequence[Configuration]) -> int:
    """Requests to the engine that measuring all of them takes, repeated ones included: what a progress bar counts."""
    each = (
        sum(1 for item in tests.rewrites if item.query.history)
        + sum(1 for item in tests.chain if item.query.history)
        + sum(1 for item in tests.chain if item.answered)
        + len(tests.judgments)
    )
    return each * len(configurations)
