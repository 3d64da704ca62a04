"""TREC runs and judgments in and out, and the order of equal scores."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorag.pipeline.errors import DataError, InputError
from lorag.pipeline.evaluation.trec import Scored, rank, read_qrels, read_run, write_qrels, write_run


def test_equal_scores_are_ordered_as_trec_eval_orders_them() -> None:
    found = rank([Scored("a", 1.0), Scored("c", 1.0), Scored("b", 2.0)])
    assert [scored.passage_id for scored in found] == ["b", "c", "a"]


def test_a_run_survives_the_round_trip_with_all_digits(tmp_path: Path) -> None:
    run = {"q1": (Scored("p2", 0.1 + 0.2), Scored("p1", 0.3)), "q2": (Scored("p9", -4.0),)}
    write_run(run, tmp_path / "a.run", tag="mine")
    assert (tmp_path / "a.run").read_text().splitlines()[0] == "q1 Q0 p2 1 0.30000000000000004 mine"
    assert read_run(tmp_path / "a.run") == run


def test_a_run_is_ordered_by_score_whatever_the_rank_column_says(tmp_path: Path) -> None:
    (tmp_path / "a.run").write_text("q Q0 low 1 0.1 t\n\nq Q0 high 2 0.9 t\n")
    assert [scored.passage_id for scored in read_run(tmp_path / "a.run")["q"]] == ["high", "low"]


def test_judgments_survive_the_round_trip(tmp_path: Path) -> None:
    qrels = {"q1": {"p1": 2, "p2": 0}, "q2": {"p1": -1}}
    write_qrels(qrels, tmp_path / "qrels")
    assert (tmp_path / "qrels").read_text().splitlines()[0] == "q1 0 p1 2"
    assert read_qrels(tmp_path / "qrels") == qrels


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("q Q0 p 1 0.5\n", "a.run:1: 5 fields"),
        ("q Q0 p 1 0.5 t\nq Q0 p2 2 high t\n", "a.run:2: score 'high' is not a number"),
        ("q Q0 p 1 nan t\n", "a.run:1: score 'nan' is not finite"),
        ("q Q0 p 1 0.5 t\nq Q0 p 2 0.4 t\n", "a.run:2: passage 'p' is listed twice"),
    ],
)
def test_a_broken_run_is_refused_with_its_line(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "a.run").write_text(text)
    with pytest.raises(DataError, match=says):
        read_run(tmp_path / "a.run")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("q 0 p\n", "qrels:1: 3 fields"),
        ("q 0 p 1\nq 0 r 0.5\n", "qrels:2: relevance '0.5' is not an integer"),
        ("q 0 p 1\nq 0 p 1\n", "qrels:2: passage 'p' is judged twice"),
    ],
)
def test_broken_judgments_are_refused_with_their_line(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "qrels").write_text(text)
    with pytest.raises(DataError, match=says):
        read_qrels(tmp_path / "qrels")


def test_files_that_are_missing_or_not_text_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none.run: cannot be read"):
        read_run(tmp_path / "none.run")
    (tmp_path / "bytes.run").write_bytes(b"q Q0 \xff 1 1 t\n")
    with pytest.raises(DataError, match="bytes.run: not UTF-8"):
        read_run(tmp_path / "bytes.run")


def test_ids_with_white_space_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'my file.md' is empty or has white space"):
        write_run({"q": (Scored("my file.md", 1.0),)}, tmp_path / "a.run")
    assert not (tmp_path / "a.run").exists()


def test_a_ranking_that_its_scores_contradict_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="query 'q': passage 'b' scores more than the one before it"):
        write_run({"q": (Scored("a", 1.0), Scored("b", 2.0))}, tmp_path / "a.run")
