"""Two saved runs item by item: differences by hand, what is left out, and what flipped."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from lorag.pipeline.errors import InputError
from lorag.pipeline.evaluation.ablation import NDCG, REWRITE_EM
from lorag.pipeline.evaluation.answers import F1
from lorag.pipeline.evaluation.comparison import Change, Flips, compare_runs
from lorag.pipeline.evaluation.effects import effect_of
from lorag.pipeline.evaluation.error_analysis import Loss
from lorag.pipeline.evaluation.judge_metrics import MACRO_F1
from lorag.pipeline.evaluation.judgments import Judged
from lorag.pipeline.evaluation.report.read import SavedRun
from lorag.pipeline.evaluation.report.views import ChainView, QuestionView
from lorag.pipeline.evaluation.scores import ItemScores, ScoreTable
from lorag.pipeline.records import Outcome

METRICS = (NDCG, REWRITE_EM, F1, MACRO_F1)
DIGESTS = {"test/judge.jsonl": "1", "test/rewriter.jsonl": "2", "train/rewriter.jsonl": "3"}


def view(lost_at: Loss) -> ChainView:
    return ChainView("q?", "a", False, Outcome.OK, lost_at=lost_at)


def run(
    f1: Mapping[str, float],
    labels: Mapping[str, str] | None = None,
    lost: Mapping[str, Loss] | None = None,
    digests: Mapping[str, str] = DIGESTS,
    group: str = "",
) -> SavedRun:
    """Items are their own groups unless `group` is given; gold labels are the first letter of an id."""
    rows = tuple(ItemScores(id_, group or id_, Outcome.OK, {F1: value, "words": 3.0}) for id_, value in f1.items())
    judged = tuple(Judged(id_, id_[0], label) for id_, label in (labels or {}).items())
    views = {id_: view(loss) for id_, loss in (lost or {}).items()}
    questions = {id_: QuestionView(id_, "q?", ("a",), each, each, answered=id_ != "searched") for id_, each in views.items()}
    return SavedRun(
        Path("run.json"), "t", "all adapters", "now", digests, {"answers": ScoreTable(rows)}, judged, questions, views
    )


def test_the_difference_is_over_the_items_that_both_have() -> None:
    first = run({"a": 0.0, "b": 0.5, "c": 1.0, "only": 1.0})
    second = run({"c": 0.5, "b": 0.5, "a": 1.0, "other": 0.0, "third": 0.0})
    (found,) = compare_runs(first, second, METRICS).metrics
    assert (found.metric, found.part, found.first, found.second) == (F1, "answers", 0.5, pytest.approx(2 / 3))
    alone = effect_of([1.0, 0.0, -0.5], ["a", "b", "c"])
    assert found.effect == alone  # one metric: Holm's correction leaves its p
    assert found.changed == (Change("a", 0.0, 1.0), Change("c", 1.0, 0.5))
    assert found.unshared == 3


def test_labels_are_compared_by_macro_f1() -> None:
    first = run({}, {"x1": "x", "x2": "y", "y1": "x", "y2": "y"})
    second = run({}, {"x1": "x", "x2": "x", "y1": "x", "y2": "y", "x9": "x"})
    (found,) = compare_runs(first, second, METRICS).metrics
    # A: two of each right, both F1 2/4. B: x 2·2/(2+3) = 4/5, y 2·1/(2+1) = 2/3
    assert (found.metric, found.first, found.second) == (MACRO_F1, pytest.approx(1 / 2), pytest.approx((4 / 5 + 2 / 3) / 2))
    assert found.effect.value == pytest.approx(found.second - found.first)
    assert (found.changed, found.unshared) == ((Change("x2", 0.0, 1.0),), 1)


def test_p_is_corrected_over_all_metrics() -> None:
    first = run(dict.fromkeys("abcdefg", 0.0), {"x1": "x", "x2": "y", "y1": "x"})
    second = run(dict.fromkeys("abcdefg", 1.0), {"x1": "x", "x2": "x", "y1": "x"})
    f1, labels = compare_runs(first, second, METRICS).metrics
    assert f1.effect.p == 2 / 2**7
    assert f1.effect.adjusted == 2 * f1.effect.p
    assert labels.effect.adjusted == labels.effect.p


def test_flips_are_of_answered_questions_that_both_show() -> None:
    lost = {"a": Loss.RIGHT, "b": Loss.REFUSED, "c": Loss.RIGHT, "searched": Loss.RETRIEVAL, "only": Loss.RIGHT}
    after = {"a": Loss.UNUSED, "b": Loss.RIGHT, "c": Loss.RIGHT, "searched": Loss.RIGHT}
    f1 = {"a": 0.0, "b": 1.0}
    assert compare_runs(run(f1, lost=lost), run(f1, lost=after), METRICS).flips == Flips(3, gained=("b",), lost=("a",))


def test_a_question_that_failed_is_neither_gained_nor_lost() -> None:
    lost = {"a": Loss.RIGHT, "b": Loss.FAILED, "c": Loss.RIGHT}
    after = {"a": Loss.FAILED, "b": Loss.RIGHT, "c": Loss.RIGHT}
    f1 = {"a": 0.0, "b": 1.0}
    assert compare_runs(run(f1, lost=lost), run(f1, lost=after), METRICS).flips == Flips(1, gained=(), lost=())


def test_test_files_that_differ_are_named() -> None:
    other = {"test/judge.jsonl": "9", "test/synthesizer.jsonl": "2", "train/rewriter.jsonl": "8"}
    f1 = {"a": 0.0, "b": 1.0}
    found = compare_runs(run(f1), run(f1, digests=other), METRICS)
    assert found.other_data == ("test/judge.jsonl", "test/rewriter.jsonl", "test/synthesizer.jsonl")
    assert compare_runs(run(f1), run(f1), METRICS).other_data == ()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (run({"a": 1.0, "b": 1.0}), run({"c": 1.0, "d": 1.0})),
        (run({"a": 1.0, "b": 1.0}, group="one"), run({"a": 1.0, "b": 1.0})),
        (run({}, {"x1": "x"}), run({}, {"x1": "x"})),
    ],
)
def test_runs_that_share_too_little_are_refused(first: SavedRun, second: SavedRun) -> None:
    with pytest.raises(InputError, match="share no items of at least two documents or conversations"):
        compare_runs(first, second, METRICS)


def test_a_metric_that_one_run_lacks_is_not_compared() -> None:
    first, second = run({"a": 0.0, "b": 1.0}, {"x1": "x", "x2": "x"}), run({"a": 0.0, "b": 1.0})
    assert [each.metric for each in compare_runs(first, second, METRICS).metrics] == [F1]
