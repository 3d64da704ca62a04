"""The cross-check itself: it agrees on made collections, and it would see a difference."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks import retrieval_crosscheck

WORDS = ("key", "ferry", "bell", "porter", "quay", "room", "noon", "rope", "lamp", "tide")


def put(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """One set with a gold passage a question, one with graded judgments; twenty passages each."""
    texts = [f"The {WORDS[n % 10]} and the {WORDS[n // 2]} of day {n}." for n in range(20)]
    passages = [{"id": f"p{n}", "title": WORDS[n % 10], "text": text} for n, text in enumerate(texts)]
    questions = [{"id": f"q{n}", "question": f"Which {WORDS[n]}?", "passage_id": f"p{n}", "answerable": n < 9} for n in range(10)]
    for name in ("single", "graded"):
        put(tmp_path / f"{name}.passages.jsonl.gz", passages)
    put(tmp_path / "single.train.jsonl.gz", questions)
    put(tmp_path / "graded.queries.jsonl.gz", questions)
    judged = [{"query_id": f"q{n}", "passage_id": f"p{(n * 3 + m) % 20}", "relevance": m} for n in range(10) for m in range(4)]
    put(tmp_path / "graded.qrels.jsonl.gz", judged)
    return tmp_path


@pytest.fixture
def run(data: Path, tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(retrieval_crosscheck, "MODEL", str(tiny_encoder))
    monkeypatch.setattr(retrieval_crosscheck, "ENCODED_TWICE", 7)
    monkeypatch.setattr(retrieval_crosscheck, "MOST_QUERIES", {"single": 5})
    out = tmp_path / "results" / "out.json"

    def go() -> tuple[object, dict[str, Any]]:
        monkeypatch.setattr(sys, "argv", ["x", "--data", str(data), "--sets", "single,graded", "--out", str(out)])
        with pytest.raises(SystemExit) as ended:
            retrieval_crosscheck.main()
        return ended.value.code, json.loads(out.read_text())

    return go


def test_both_sides_agree_and_a_second_run_measures_nothing(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = run()
    assert code == 0
    assert {name: (each["passages"], each["queries"], each["agree"]) for name, each in found["sets"].items()} == {
        "single": (20, 5, True),
        "graded": (20, 10, True),
    }
    assert {each["passages_encoded_twice"] for each in found["sets"].values()} == {7}
    assert 0 < found["sets"]["graded"]["lorag"]["nDCG@10"] < 1
    assert found["sets"]["graded"]["lorag"].keys() == retrieval_crosscheck.NAMES.keys()
    capsys.readouterr()
    assert run() == (0, found)
    assert capsys.readouterr().out.count("already") == 2


def test_a_difference_ends_the_command(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = retrieval_crosscheck.plain_scores

    def off(*arguments: Any) -> dict[str, float]:
        return {name: value + 0.0002 * (name == "nDCG@10") for name, value in plain(*arguments).items()}

    monkeypatch.setattr(retrieval_crosscheck, "plain_scores", off)
    assert run()[0] == "figures differ: single, graded"
