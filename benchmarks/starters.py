"""The base in its best plain prompt beside each starter, on public rows kept out of training, with 95 % intervals.

    python benchmarks/starters.py --data DIR [--role ROLE] [--items 100] [--adapter FOLDER] [--precision nf4] [--out FILE]

Grounded questions (gold among four passages), exact copying of codes and numbers, refusals; rewriting on CANARD, CAsT and
iKAT; the judge's tasks and a schema it never saw.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.engine.bases import resolve_base
from pipeline.engine.local import LocalEngine, open_engine
from pipeline.engine.weights import Precision, load_weights
from pipeline.errors import InputError
from pipeline.evaluation import answers, rewrites
from pipeline.evaluation.bootstrap import Interval
from pipeline.evaluation.judgments import judged, score_judgments
from pipeline.evaluation.scores import ScoreTable
from pipeline.evaluation.significance import mean_interval
from pipeline.records import Outcome, Rewrite, Role
from pipeline.stages.judge import Judge
from pipeline.stages.rewriter import Rewriter
from pipeline.stages.synthesizer import Synthesizer
from training.starters.build import BASE
from training.starters.held_out import GroundedItem, grounded_items, invented_items, judge_items, turn_items

READING = ("squad_newwiki", "squad_reddit", "qed_nq", "pubmedqa")
REWRITING = ("rewrite_canard", "rewrite_cast", "rewrite_ikat23")
STARTER = "starter"
ANSWER_METRICS = (
    answers.F1,
    answers.EM,
    answers.CITATION_PRECISION,
    answers.CITATION_RECALL,
    answers.RIGHT_REFUSALS,
    answers.WRONG_REFUSALS,
)
REWRITE_METRICS = (rewrites.ROUGE_1, rewrites.EM, rewrites.ENTITY_RECALL, rewrites.HARM)


@dataclass(frozen=True, slots=True)
class Figure:
    """One metric of one system on one set; no interval where there is one group only, or for a macro average."""

    task: str
    metric: str
    system: str
    value: float
    low: float | None
    high: float | None
    n: int


def figures(table: ScoreTable, task: str, system: str, metrics: tuple[str, ...]) -> Iterator[Figure]:
    for metric in metrics:
        values = list(table.values(metric).values())
        if not values:
            continue
        try:
            interval: Interval | None = mean_interval(values, groups=table.groups(metric))
        except InputError:
            interval = None
        low, high = (interval.low, interval.high) if interval else (None, None)
        yield Figure(task, metric, system, sum(values) / len(values), low, high, len(values))


def synthesizer(engine: LocalEngine, adapters: dict[str, str | None], data: Path, items: int) -> Iterator[Figure]:
    sets: dict[str, list[GroundedItem]] = {name: grounded_items(data, name, items) for name in READING}
    sets["codes and numbers"] = invented_items(items)
    for task, rows in sets.items():
        for system, adapter in adapters.items():
            replies = Synthesizer(engine, adapter).answer([row.question for row in rows], [row.hits for row in rows])
            table = answers.score_answers(
                [row.gold for row in rows], {row.gold.id: reply for row, reply in zip(rows, replies, strict=True)}
            )
            yield from figures(table, task, system, ANSWER_METRICS)


def rewriter(engine: LocalEngine, adapters: dict[str, str | None], data: Path, items: int) -> Iterator[Figure]:
    for task in REWRITING:
        rows = turn_items(data, task, items)
        golds = [row.gold for row in rows]
        for system, adapter in adapters.items():
            found = Rewriter(engine, adapter).rewrite([row.query for row in rows])
            table = rewrites.score_rewrites(golds, {gold.id: reply for gold, reply in zip(golds, found, strict=True)})
            yield from figures(table, task, system, REWRITE_METRICS)
        raw = {gold.id: Rewrite(gold.question, Outcome.OK, gold.question) for gold in golds}
        yield from figures(rewrites.score_rewrites(golds, raw), task, "raw question", REWRITE_METRICS)


def judge(engine: LocalEngine, adapters: dict[str, str | None], data: Path, items: int) -> Iterator[Figure]:
    for task, rows in judge_items(data, items).items():
        for system, adapter in adapters.items():
            asked = Judge(engine, adapter)
            verdicts = [asked.judge(row.schema, [row.inputs])[0] for row in rows]
            scores = score_judgments(
                [judged(row.id, row.label, verdict, row.group) for row, verdict in zip(rows, verdicts, strict=True)]
            )
            yield Figure(task, "macro-F1", system, scores.macro_f1, None, None, scores.n)
            yield Figure(task, "accuracy", system, scores.accuracy, None, None, scores.n)


MEASURES = {Role.SYNTHESIZER: synthesizer, Role.REWRITER: rewriter, Role.JUDGE: judge}


def show(figure: Figure) -> str:
    interval = f"({figure.low:.3f} to {figure.high:.3f})" if figure.low is not None else ""
    return f"{figure.task:20} {figure.metric:26} {figure.system:14} {figure.value:.3f} {interval:18} n = {figure.n}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--role", choices=[role.value for role in MEASURES], required=True)
    parser.add_argument("--adapter", type=Path, required=True)
    parser.add_argument("--items", type=int, default=100)
    parser.add_argument("--precision", default="nf4", choices=[precision.value for precision in Precision])
    parser.add_argument("--skip-base", action="store_true", help="measure the starter alone")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    engine = open_engine(load_weights(resolve_base(BASE), precision=Precision(chosen.precision)))
    engine.load_adapter(STARTER, chosen.adapter)
    adapters: dict[str, str | None] = {STARTER: STARTER} if chosen.skip_base else {"base": None, STARTER: STARTER}
    found = []
    for figure in MEASURES[Role(chosen.role)](engine, adapters, chosen.data, chosen.items):
        found.append(figure)
        print(show(figure), flush=True)
    if chosen.out:
        chosen.out.write_text(json.dumps([asdict(figure) for figure in found], indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
