"""A run file of another system against a saved run: the paired difference by hand, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lorag.evaluating.comparison import compare_saved
from lorag.pipeline.errors import DataError, InputError
from lorag.pipeline.evaluation.ablation import NDCG
from tests.lorag.evaluating.saved_run import CONFIGURATION, lay_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return lay_run(tmp_path / "run")


def outside(path: Path, queries: range = range(10)) -> Path:
    """The gold passage first for each question."""
    ranked = {f"q{n}": {"other": 1.0, f"d{n}#g": 2.0} for n in queries}
    lines = [f"{query} Q0 {id_} 1 {score} theirs\n" for query, found in ranked.items() for id_, score in found.items()]
    path.write_text(json.dumps(ranked) if path.suffix == ".json" else "".join(lines))
    return path


@pytest.mark.parametrize("name", ["theirs.run", "theirs.json"])
def test_the_difference_is_paired_over_the_saved_questions(name: str, run: Path, tmp_path: Path) -> None:
    compared = compare_saved(run, outside(tmp_path / name), CONFIGURATION, "")
    (ndcg,) = [each for each in compared.found.metrics if each.metric == NDCG]
    # q8 has no gold. Even questions had 1 already; q1, q3, q5, q7, q9 rise from 1/log2(3) to 1.
    second_place = 0.6309297535714575
    assert (ndcg.effect.n, ndcg.effect.groups) == (9, 9)
    assert ndcg.first == pytest.approx((4 + 5 * second_place) / 9)
    assert ndcg.second == pytest.approx(1.0)
    assert ndcg.effect.value == pytest.approx(5 * (1 - second_place) / 9)
    assert (ndcg.effect.rose, ndcg.effect.fell) == (5, 0)
    assert compared.found.other_data == ()


def test_either_side_may_be_the_run_file(run: Path, tmp_path: Path) -> None:
    theirs = outside(tmp_path / "theirs.run")
    there, back = compare_saved(run, theirs, CONFIGURATION, ""), compare_saved(theirs, run, "", CONFIGURATION)
    assert [each.effect.value for each in back.found.metrics] == [-each.effect.value for each in there.found.metrics]


def test_a_question_without_results_counts_as_nothing_found(run: Path, tmp_path: Path, lorag) -> None:
    theirs = outside(tmp_path / "theirs.run", range(2, 12))
    done = lorag("eval", "compare", run, theirs)
    assert f"{theirs} has no results for 2 of 9 judged questions; they count as 0." in done.out
    assert f"3 queries of {theirs} are no judged questions of the other run and are left out." in done.out  # q8, q10, q11
    found = lorag("eval", "compare", run, theirs, "-o", "json", "--out", tmp_path / "page.html").json()
    assert found["metrics"][NDCG]["n"] == 9
    assert found["metrics"][NDCG]["B"] == pytest.approx(7 / 9)
    assert "they count as 0" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_judgments_from_a_file_replace_those_of_the_run(run: Path, tmp_path: Path) -> None:
    (run / "tests.jsonl").unlink()
    theirs = outside(tmp_path / "theirs.json")
    with pytest.raises(InputError, match="needs the gold passages, which .* does not hold; name them with --qrels"):
        compare_saved(run, theirs, CONFIGURATION, "")
    (tmp_path / "qrels").write_text("".join(f"q{n} 0 d{n}#g 1\n" for n in range(10)))
    compared = compare_saved(run, theirs, CONFIGURATION, "", tmp_path / "qrels")
    assert compared.found.metrics[0].effect.n == 9


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x9 Q0 d 1 0.5 t\n", "no query is a question of"),
        ("q0 Q0 d 1 0.5\n", "theirs.run:1: 5 fields"),
        ("", "no query is a question of"),
    ],
)
def test_a_bad_run_file_is_refused(text: str, says: str, run: Path, tmp_path: Path, lorag) -> None:
    (tmp_path / "theirs.run").write_text(text)
    done = lorag("eval", "compare", run, tmp_path / "theirs.run")
    assert done.code == 2
    assert says in done.error_line


def test_two_run_files_have_no_groups(tmp_path: Path) -> None:
    first, second = outside(tmp_path / "a.run"), outside(tmp_path / "b.json")
    with pytest.raises(InputError, match="one of the two must be a saved run, whose documents group the items"):
        compare_saved(first, second, "", "")


def test_judgments_without_a_run_file_are_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--qrels goes with a run file"):
        compare_saved(run, run, CONFIGURATION, CONFIGURATION, tmp_path / "qrels")


def test_ranx_json_with_a_fault_is_no_report(run: Path, tmp_path: Path) -> None:
    (tmp_path / "theirs.json").write_text('{"q0": {"d": 1}, "q1": ["d"]}')
    with pytest.raises(DataError, match="query 'q1' has no object of passages"):
        compare_saved(run, tmp_path / "theirs.json", CONFIGURATION, "")
