"""Two saved runs → their differences, as records of the same report. Measures nothing and loads no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from lorag.evaluating.figures import METRICS
from lorag.evaluating.outside_log import read_logged
from lorag.evaluating.outside_run import read_outside
from lorag.evaluating.saved_items import read_saved
from lorag.pipeline.adapters.card import now_utc
from lorag.pipeline.errors import InputError
from lorag.pipeline.evaluation.ablation import LOWER_IS_BETTER, OWN_METRIC
from lorag.pipeline.evaluation.answers import CITATION_RECALL
from lorag.pipeline.evaluation.comparison import RunComparison, compare_runs
from lorag.pipeline.evaluation.error_analysis import Loss, LostPair, question_score, waterfall, worst
from lorag.pipeline.evaluation.inspect_read import is_log
from lorag.pipeline.evaluation.judge_metrics import task_f1, tasks_of
from lorag.pipeline.evaluation.report.read import SavedRun, is_report
from lorag.pipeline.evaluation.report.records import Comparison, EffectRow, LossTable, Provenance, Report
from lorag.pipeline.evaluation.report.views import QuestionView


@dataclass(frozen=True, slots=True)
class ComparedRuns:
    """Two saved runs and their differences."""

    first: SavedRun
    second: SavedRun
    found: RunComparison

    def report(self) -> Report:
        """The page of the comparison."""
        return comparison_report(self.first, self.second, self.found)

    def to_json(self) -> dict[str, Any]:
        """Every figure, and each item that changed."""
        return to_json(self.first, self.second, self.found)


def compare_saved(
    first: Path, second: Path, first_configuration: str, second_configuration: str, qrels: Path | None = None
) -> ComparedRuns:
    """Read two reports or run folders and compare a configuration of each. Raises InputError.

    One of the two may be a run file of another system, see `read_outside`, or a log of Inspect, see `read_logged`; they have no
    configurations.
    """
    outside = tuple(path for path in (first, second) if is_log(path) or not is_report(path))
    if outside == (first, second):
        raise InputError(
            f"{first} and {second} are run files; one of the two must be a saved run, whose documents group the items"
        )
    if qrels is not None and not (outside and not is_log(outside[0])):
        raise InputError("--qrels goes with a run file of another system; reports, run folders and logs hold their own scores")
    if outside == (first,):
        after = read_saved(second, second_configuration)
        before = _read_other(first, after, qrels)
    else:
        before = read_saved(first, first_configuration)
        after = _read_other(second, before, qrels) if outside else read_saved(second, second_configuration)
    return ComparedRuns(before, after, compare_runs(before, after, (*METRICS, *_task_metrics(before, after))))


def _read_other(path: Path, saved: SavedRun, qrels: Path | None) -> SavedRun:
    return read_logged(path, saved) if is_log(path) else read_outside(path, saved, qrels)


def _task_metrics(first: SavedRun, second: SavedRun) -> tuple[str, ...]:
    """The macro-F1 of each judge task that both runs have."""
    other = set(tasks_of(second.judgments))
    return tuple(task_f1(task) for task in tasks_of(first.judgments) if task in other)


SIDES = ("A", "B")
HEADLINE_METRICS = (*OWN_METRIC.values(), CITATION_RECALL)
"""The metrics at the top of the page. The others are below, folded."""


def comparison_report(first: SavedRun, second: SavedRun, found: RunComparison) -> Report:
    """The page of a comparison: figures, flips, and both traces of each question that both runs hold."""
    pairs = _pairs(first, second)
    return Report(
        title="Two runs compared",
        comparisons=tuple(
            Comparison(
                each.part,
                each.metric,
                each.first,
                each.second,
                each.effect.value,
                each.effect.low,
                each.effect.high,
                each.effect.n,
                groups=each.effect.groups,
                level=each.effect.level,
            )
            for each in found.metrics
            if each.metric in HEADLINE_METRICS
        ),
        questions=_questions(first, second, pairs),
        notes=(*first.notes, *second.notes, *notices(found)),
        provenance=Provenance(
            created=now_utc(),
            config={side: describe(run) for side, run in zip(SIDES, (first, second), strict=True)},
            digests=_digests(first.digests, second.digests),
        ),
        lower_is_better=LOWER_IS_BETTER,
        summary=_summary(first, second, found),
        sides=SIDES,
        of_two_runs=True,
        effects=tuple(
            EffectRow.of(each.metric, f"A {each.first:.3f}, B {each.second:.3f}", each.effect) for each in found.metrics
        ),
        losses=_losses(first, pairs),
    )


def describe(run: SavedRun) -> str:
    """A run in one line."""
    return f"{run.path} ({', '.join(part for part in (run.configuration, run.created) if part)})"


def notices(found: RunComparison) -> list[str]:
    """Warnings that a reader needs before the figures."""
    lines = []
    if found.other_data:
        lines.append(f"The test data of the two runs differ: {', '.join(found.other_data)}. Items are matched by id.")
    unshared = {each.metric: each.unshared for each in found.metrics if each.unshared}
    if unshared:
        counts = ", ".join(f"{metric} {count}" for metric, count in unshared.items())
        lines.append(f"Items that only one run has a value for are left out: {counts}.")
    return lines


def to_json(first: SavedRun, second: SavedRun, found: RunComparison) -> dict[str, Any]:
    """The output of `lorag eval compare -o json`: every figure, and each item that changed."""
    return {
        "runs": {side: describe(run) for side, run in zip(SIDES, (first, second), strict=True)},
        "metrics": {
            each.metric: {
                "part": each.part,
                SIDES[0]: each.first,
                SIDES[1]: each.second,
                **asdict(EffectRow.of(each.metric, "B − A", each.effect)),
                "unshared": each.unshared,
                "changed": [asdict(change) for change in each.changed],
            }
            for each in found.metrics
        },
        "flips": asdict(found.flips),
        "notices": [*first.notes, *second.notes, *notices(found)],
    }


def _summary(first: SavedRun, second: SavedRun, found: RunComparison) -> str:
    shown = [each for each in found.metrics if each.effect.shown]
    text = (
        f"A is {describe(first)}, B is {describe(second)}. {len(shown)} of {len(found.metrics)} metrics differ by more than noise"
    )
    flips = found.flips
    if not flips.n:
        return f"{text}."
    return f"{text}; of {flips.n} questions {len(flips.gained)} are right in B alone and {len(flips.lost)} in A alone."


def _pairs(first: SavedRun, second: SavedRun) -> list[LostPair]:
    """The questions that both runs hold with a loss."""
    pairs = []
    for id_, before in first.views.items():
        after = second.views.get(id_)
        if after is not None and before.lost_at is not None and after.lost_at is not None:
            scores = (question_score(each.scores, loss) for each, loss in ((before, before.lost_at), (after, after.lost_at)))
            pairs.append(LostPair(id_, before.lost_at, after.lost_at, *scores))
    return pairs


def _questions(first: SavedRun, second: SavedRun, pairs: Sequence[LostPair]) -> tuple[QuestionView, ...]:
    places = {id_: at for at, id_ in enumerate(worst(pairs), start=1)}
    return tuple(
        replace(
            first.questions[each.id],
            base=first.views[each.id],
            tuned=second.views[each.id],
            worst=places.get(each.id, 0),
        )
        for each in pairs
    )


def _losses(first: SavedRun, pairs: Sequence[LostPair]) -> tuple[LossTable, ...]:
    answered = [each for each in pairs if first.questions[each.id].answered]
    if not answered:
        return ()
    counts = [waterfall(each.base for each in answered), waterfall(each.tuned for each in answered)]
    base, tuned = ({loss.value: count for loss, count in each.items()} for each in counts)
    return (LossTable("answered questions that both show", Loss.RIGHT.value, base, tuned),)


def _digests(first: Mapping[str, str], second: Mapping[str, str]) -> dict[str, str]:
    """Each digest once if both runs have the same, else one for each run."""
    found = {}
    for name in dict.fromkeys([*first, *second]):
        before, after = first.get(name, "absent"), second.get(name, "absent")
        found[name] = before if before == after else f"A {before}, B {after}"
    return found
