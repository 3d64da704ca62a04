"""Runs and judgments in ranx's JSON, and the choice of the format by the file's extension."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lorag.pipeline.errors import DataError
from lorag.pipeline.evaluation import ranx, run_files
from lorag.pipeline.evaluation.trec import Scored, untied

RUN = {"q1": {"d1": 1.5, "d2": 2.6}, "q2": {"d3": 2, "d2": 1.2, "d5": 3.1}, "q3": {}}
"""As in ranx's own documentation, with an integer and a query without results beside it."""


def test_a_run_is_read_best_first(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps(RUN))
    found = ranx.read_run(tmp_path / "run.json")
    assert found["q1"] == (Scored("d2", 2.6), Scored("d1", 1.5))
    assert [each.passage_id for each in found["q2"]] == ["d5", "d3", "d2"]
    assert found["q3"] == ()


def test_what_is_written_is_the_documented_object(tmp_path: Path) -> None:
    ranx.write_run({"q 1": (Scored("d2", 0.1 + 0.2), Scored("ä", 0.3)), "q2": ()}, tmp_path / "run.json")
    assert json.loads((tmp_path / "run.json").read_text(encoding="utf-8")) == {"q 1": {"d2": 0.1 + 0.2, "ä": 0.3}, "q2": {}}
    ranx.write_qrels({"q1": {"d1": 1, "d2": 0}}, tmp_path / "qrels.json")
    assert ranx.read_qrels(tmp_path / "qrels.json") == {"q1": {"d1": 1, "d2": 0}}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is not JSON"),
        ("[]", "holds no queries"),
        ("{}", "holds no queries"),
        ('{"q": ["d"]}', "query 'q' has no object of passages"),
        ('{"q": {"d": "1"}}', "the score of 'd' is '1'; it must be a finite number"),
        ('{"q": {"d": true}}', "the score of 'd' is True"),
        ('{"q": {"d": 1e999}}', "the score of 'd' is inf"),
        ('{"q": {"d": NaN}}', "is not JSON"),
        ('{"q": {"d": 1, "d": 2}}', "stands there twice"),
    ],
)
def test_a_bad_run_is_refused_in_one_line(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(DataError) as raised:
        ranx.read_run(tmp_path / "run.json")
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("relevance", ["1.0", "true", '"1"', "null"])
def test_a_relevance_is_an_integer(relevance: str, tmp_path: Path) -> None:
    (tmp_path / "qrels.json").write_text(f'{{"q": {{"d": {relevance}}}}}')
    with pytest.raises(DataError, match="it must be an integer"):
        ranx.read_qrels(tmp_path / "qrels.json")


def test_the_extension_chooses_the_format(tmp_path: Path) -> None:
    run, qrels = {"q": (Scored("d", 2.0), Scored("e", 1.0))}, {"q": {"d": 1}}
    for name, begins in (("run.json", "{"), ("run.trec", "q Q0 d 1 2.0 lorag"), ("run.txt", "q Q0 d 1")):
        run_files.write_run(run, tmp_path / name)
        assert (tmp_path / name).read_text().startswith(begins)
        assert run_files.read_run(tmp_path / name) == run
    for name, begins in (("qrels.json", "{"), ("qrels", "q 0 d 1")):
        run_files.write_qrels(qrels, tmp_path / name)
        assert (tmp_path / name).read_text().startswith(begins)
        assert run_files.read_qrels(tmp_path / name) == qrels


def test_a_packed_run_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"packed runs are not read; save it in ranx as \.json or \.trec"):
        run_files.read_run(tmp_path / "run.lz4")


def test_scores_fall_strictly_in_single_precision_and_the_order_stays() -> None:
    ranking = [Scored("b", 0.5), Scored("a", 0.5), Scored("c", 0.5 - 1e-12), Scored("d", 0.7), Scored("e", 0.1)]
    found = untied(ranking)
    assert [each.passage_id for each in found] == ["b", "a", "c", "d", "e"]
    single = np.array([each.score for each in found], dtype=np.float32)
    assert (np.diff(single) < 0).all()
    assert (found[0], found[-1]) == (Scored("b", 0.5), Scored("e", 0.1)), "a score that needs no change keeps all digits"
    assert max(abs(each.score - 0.5) for each in found[:4]) < 1e-6
    assert untied([]) == ()
