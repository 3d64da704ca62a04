"""Measures configurations of the chain on one test set, by running the chain's own stages on the test items.

A stage's result for a question depends on its key and those of the stages before it. It is computed once per set of keys. The
16 configurations of four adapters take two runs of rewriting, four of retrieval, eight of answering and two of judging. An
engine with a cache (`Memo`) answers equal requests once. Stages that do not affect a score, such as the judge's checks without
a gate, are not run. Knows no files and no settings: the caller makes the `Parts`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

from lorag.pipeline.chain import ChainOptions, build_chain
from lorag.pipeline.contracts.judge import JudgeInputs, LabelSchema
from lorag.pipeline.engine.protocol import Engine
from lorag.pipeline.evaluation.ablation import (
    NDCG,
    RECALL,
    ChainItem,
    Configuration,
    JudgeItem,
    Measured,
    Search,
    TestSet,
)
from lorag.pipeline.evaluation.answers import GoldAnswer, score_answers
from lorag.pipeline.evaluation.gold_twins import distinct_gold, named_by_gold
from lorag.pipeline.evaluation.judgments import Judged
from lorag.pipeline.evaluation.latency import with_latency
from lorag.pipeline.evaluation.pricing import PLAIN_PRICES, Prices
from lorag.pipeline.evaluation.retrieval import score_run
from lorag.pipeline.evaluation.rewrites import score_rewrites
from lorag.pipeline.evaluation.scores import ItemScores, ScoreTable
from lorag.pipeline.evaluation.trec import Scored
from lorag.pipeline.records import Hit, Outcome, Query, Response, Rewrite, Role, Verdict
from lorag.pipeline.stages import Judge, Retriever
from lorag.pipeline.stages.retriever import DEPTH
from lorag.pipeline.stages.stage import ChainState, Stage, StageResult, upstream

REWRITES, RETRIEVAL, ANSWERS = "rewrite", "retrieve", "synthesize"
"""The stages whose results are scored."""

SCORED: Mapping[str, str] = {"rewrites": REWRITES, "retrieval": RETRIEVAL, "answers": ANSWERS}
"""Each part of `Measured` that a chain has, and the stage that it is scored after."""

PARTS = frozenset({*SCORED, "judgments"})


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of all configurations: one engine, the resident adapter of each generation role, the retrievers with the frozen
    and the tuned encoder, and the options of the serving chain."""

    engine: Engine
    adapters: Mapping[Role, str]
    frozen: Retriever
    tuned: Retriever | None = None
    options: ChainOptions = field(default_factory=ChainOptions)
    prices: Prices = PLAIN_PRICES

    def stages(self, on: frozenset[Role]) -> tuple[Stage, ...]:
        """The chain with these adapters on, as it would serve."""
        adapters = {role: name for role, name in self.adapters.items() if role in on}
        retriever = self.tuned if Role.EMBEDDER in on and self.tuned else self.frozen
        return build_chain(self.engine, adapters, retriever, self.options).stages

    @property
    def reach(self) -> Mapping[str, frozenset[Role]]:
        """Each part of `Measured`, and the adapters that can change it in this chain."""
        stages = self.stages(frozenset())
        found = {part: frozenset(stage.role for stage in upstream(stages, name)) for part, name in SCORED.items()}
        return {**found, "judgments": frozenset({Role.JUDGE})}

    def judge(self, on: frozenset[Role]) -> Judge:
        return Judge(self.engine, self.adapters.get(Role.JUDGE) if Role.JUDGE in on else None)


class Labeller(Protocol):
    """Chooses labels: the judge, or a rule. Within one process, equal keys and inputs give the same verdicts."""

    @property
    def key(self) -> Hashable: ...

    def judge(self, schema: LabelSchema, inputs: Sequence[JudgeInputs]) -> list[Verdict]:
        """One verdict an input, in order."""
        ...


@dataclass(frozen=True, slots=True)
class System:
    """A system to measure: a chain, and what judges the labelled items. Only `parts` of `Measured` are scored, the others are
    empty. `tasks` are the judge tasks that `judge` has labels for (None: all)."""

    configuration: Configuration
    stages: tuple[Stage, ...] = ()
    judge: Labeller | None = None
    parts: frozenset[str] = PARTS
    tasks: frozenset[str] | None = None


T = TypeVar("T")


class Bench:
    """Measures configurations of the same parts on the same tests. Decoding is greedy: the same parts give the same figures."""

    def __init__(self, parts: Parts, tests: TestSet) -> None:
        self._parts = parts
        self._tests = tests
        self._gold: dict[Query, set[str]] = {}
        for item in tests.chain:
            self._gold.setdefault(item.query, set()).update(item.gold.passage_ids)
        self._results: dict[Hashable, dict[Query, StageResult]] = {}
        self._scored: dict[Hashable, object] = {}

    def planned(self, configurations: Sequence[Configuration]) -> int:
        """The number of engine requests for all of them, for a progress bar."""
        chains = [self._parts.stages(each.on) for each in configurations]
        chain = self._tests.chain
        queries = {item.query for item in chain} | {item.query for item in self._tests.rewrites}
        turns = [query for query in queries if query.history]
        answered = {item.query for item in chain if item.answered}
        stage_names = {stage.name for stage in upstream(chains[0], ANSWERS)} - {REWRITES, RETRIEVAL} if chains else set()
        judges = {self._parts.judge(each.on).key for each in configurations}
        return (
            len(turns) * len({_stage_key(stages, REWRITES) for stages in chains})
            + sum(len(answered) * len({_stage_key(stages, name) for stages in chains}) for name in stage_names)
            + len(self._tests.judgments) * len(judges)
        )

    def measure(self, configuration: Configuration) -> Measured:
        """Measure one configuration; results that it shares with an earlier one are reused."""
        on = configuration.on
        return self.run(System(configuration, self._parts.stages(on), self._parts.judge(on)))

    def run(self, system: System) -> Measured:
        """Measure any system on the same items; results that it shares with an earlier one are reused."""
        tests, stages, parts = self._tests, system.stages, system.parts
        rewrites, retrieval, answers = ScoreTable(()), ScoreTable(()), ScoreTable(())
        responses, searches, rewritten = dict[str, Response](), dict[str, Search](), dict[str, Rewrite]()
        judgments: tuple[Judged, ...] = ()
        if "rewrites" in parts:
            rewritten |= self._rewrites(stages)
            golds = [item.gold for item in tests.rewrites]
            before = {item.gold.id: "\n".join(turn.text for turn in item.query.history) for item in tests.rewrites}
            rewrites = self._cached(_stage_key(stages, REWRITES), lambda: score_rewrites(golds, rewritten, before))
        if "retrieval" in parts:
            searched = self._states(stages, [item.query for item in tests.chain], RETRIEVAL)
            retrieval = self._cached(_stage_key(stages, RETRIEVAL), lambda: _score_hits(tests.chain, searched))
            pairs = zip(tests.chain, searched, strict=True)
            searches |= {item.gold.id: Search(state.rewrite, state.hits, state.ranking) for item, state in pairs}
        if "answers" in parts:
            items = [item for item in tests.chain if item.answered]
            ended = self._states(stages, [item.query for item in items], ANSWERS)
            answers = self._cached(_stage_key(stages, ANSWERS), lambda: _score_answers(items, ended, self._parts.prices))
            for item, state in zip(items, ended, strict=True):
                responses[item.gold.id] = state.response()
                searches.setdefault(item.gold.id, Search(state.rewrite, state.hits, state.ranking))
        if "judgments" in parts and (judge := system.judge) is not None:
            asked = [item for item in tests.judgments if system.tasks is None or item.schema.task in system.tasks]
            judgments = self._cached((judge.key, system.tasks), lambda: _judge(asked, judge))
        return Measured(system.configuration, rewrites, retrieval, answers, judgments, responses, searches, rewritten)

    def _cached(self, key: Hashable, score: Callable[[], T]) -> T:
        if key not in self._scored:
            self._scored[key] = score()
        return self._scored[key]  # type: ignore[return-value]

    def _states(self, stages: Sequence[Stage], queries: Sequence[Query], name: str) -> list[ChainState]:
        """The questions' states after stage `name`. Runs only the stages that it depends on, and each question once."""
        states = [ChainState.start(query) for query in queries]
        for stage in upstream(stages, name):
            known = self._results.setdefault(_stage_key(stages, stage.name), {})
            live = [state for state in states if state.error is None]
            new = {state.query: state for state in live if state.query not in known}
            results = map(_untimed, stage.run(list(new.values())))
            if stage.name == RETRIEVAL:
                results = map(self._by_gold, new, results)
            known |= zip(new, results, strict=True)
            for state in live:
                state.apply(known[state.query])
                if state.error is not None and stage.name == RETRIEVAL:
                    raise state.error  # a failed search says nothing about the chain: it would only lower the figures
        return states

    def _by_gold(self, query: Query, result: StageResult) -> StageResult:
        """The result with each text that is gold for the question under a gold id."""
        gold = self._gold.get(query)
        if not gold or result.ranking is None or result.hits is None:
            return result
        ranking = named_by_gold(result.ranking, gold)
        return replace(result, ranking=ranking, hits=ranking[: len(result.hits)])

    def _rewrites(self, stages: Sequence[Stage]) -> dict[str, Rewrite]:
        states = self._states(stages, [item.query for item in self._tests.rewrites], REWRITES)
        return {item.gold.id: each.rewrite for item, each in zip(self._tests.rewrites, states, strict=True)}


def _stage_key(stages: Sequence[Stage], name: str) -> Hashable:
    """The key of stage `name`'s results: two configurations with the same key have the same results."""
    return name, tuple(stage.key for stage in upstream(stages, name))


def _untimed(result: StageResult) -> StageResult:
    """The result without its seconds, which differ in each run: a repeated evaluation gives the same bytes."""
    return result if result.record is None else replace(result, record=replace(result.record, seconds=0.0))


def _score_answers(items: Sequence[ChainItem], states: Sequence[ChainState], prices: Prices) -> ScoreTable:
    ended = {item.gold.id: state.response() for item, state in zip(items, states, strict=True)}
    answers = {id_: response.answer for id_, response in ended.items()}
    shown = {id_: [hit.passage for hit in response.trace.hits] for id_, response in ended.items()}
    asked = {item.gold.id: "\n".join(_asked(item, state)) for item, state in zip(items, states, strict=True)}
    golds = [_distinct(item.gold, ended[item.gold.id].trace.hits) for item in items]
    return with_latency(score_answers(golds, answers, shown, prices, asked), ended)


def _distinct(gold: GoldAnswer, hits: Sequence[Hit]) -> GoldAnswer:
    ids = tuple(distinct_gold(gold.passage_ids, hits))
    return gold if ids == gold.passage_ids else replace(gold, passage_ids=ids)


def _asked(item: ChainItem, state: ChainState) -> tuple[str, ...]:
    """What an answer may take a value from beside its passages."""
    return *(turn.text for turn in item.query.history), item.query.question, state.rewrite.question


def _score_hits(items: Sequence[ChainItem], states: Sequence[ChainState]) -> ScoreTable:
    judged = [
        (item.gold, state) for item, state in zip(items, states, strict=True) if item.gold.answerable and item.gold.passage_ids
    ]
    searched = [(gold, state.ranking) for gold, state in judged if state.error is None]
    scores: Mapping[str, Mapping[str, float]] = {}
    if searched:
        qrels = {gold.id: dict.fromkeys(distinct_gold(gold.passage_ids, found), 1) for gold, found in searched}
        run = {gold.id: tuple(Scored(hit.passage.id, hit.score) for hit in found[:DEPTH]) for gold, found in searched}
        scores = score_run(qrels, run, (NDCG, RECALL)).per_query
    return ScoreTable(
        tuple(
            ItemScores(
                gold.id,
                gold.group or gold.id,
                state.rewrite.outcome,
                {metric: values[gold.id] for metric, values in scores.items() if gold.id in values},
            )
            for gold, state in judged
        )
    )


def _judge(items: Sequence[JudgeItem], judge: Labeller) -> tuple[Judged, ...]:
    """Labels are named `task: label`, so that one macro-F1 covers the classes of all tasks."""
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
