"""The arms of the closed loop's proof, and the share of the human gain with its interval."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from benchmarks.closed_loop import Arm, Sources, macro_f1, report, sentences_as_questions, share_kept
from lorag.pipeline.records import Role
from lorag.training.data.rows import EmbedRow, PassageRow, QuestionRow
from lorag.training.dataset import DataFolder


def test_the_share_is_fiellers() -> None:
    """Against the closed form of Fieller (1954) for independent pairs, each its own group."""
    rng = np.random.default_rng(3)
    human = rng.normal(0.2, 0.1, 60)
    made = 0.7 * human + rng.normal(0.0, 0.05, 60)
    found = share_kept(made.tolist(), human.tolist(), [str(n) for n in range(60)])
    assert found["value"] == pytest.approx(made.sum() / human.sum())
    t, n = stats.t.ppf(0.975, 59), 60
    (vx, cov), (_, vy) = np.cov(made, human) / n
    a, b, c = human.mean() ** 2 - t * t * vy, made.mean() * human.mean() - t * t * cov, made.mean() ** 2 - t * t * vx
    root = math.sqrt(b * b - a * c)
    assert found["low"] == pytest.approx((b - root) / a, abs=0.006)
    assert found["high"] == pytest.approx((b + root) / a, abs=0.006)


def test_a_human_gain_that_is_not_shown_gives_no_interval() -> None:
    found = share_kept([0.1, -0.1, 0.2, 0.0], [0.1, -0.2, 0.1, -0.1], ["a", "b", "c", "d"])
    assert (found["low"], found["high"]) == (None, None)


def lines(path: Path, rows: list[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def asked(id_: str, passage: str, origin: str) -> dict[str, object]:
    return {"id": id_, "question": f"What of {id_}?", "answers": ["x"], "passage_ids": [passage], "origin": origin}


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    """200 human training questions, 10 made ones beside them, 30 that filters dropped, some of a test document."""
    texts = [{"id": f"d{n}#0", "title": "", "text": "x"} for n in range(4)]
    human, made = tmp_path / "human", tmp_path / "made"
    people = [asked(f"h-{n}", "d0#0", "human") for n in range(200)]
    for folder in (human, made):
        lines(folder / "passages.jsonl", texts)
        lines(folder / "test/synthesizer.jsonl", [asked("t", "d3#0", "human")])
        lines(folder / "dev/synthesizer.jsonl", [asked("v", "d2#0", "human" if folder is human else "made")])
    lines(human / "train/synthesizer.jsonl", people)
    lines(made / "train/synthesizer.jsonl", [*people, *(asked(f"m-{n}", "d1#0", "made") for n in range(10))])
    dropped = [
        {"filter": "written" if n == 0 else "copy", "id": f"r-{n}", "question": "Q?", "span": "x", "passage": f"d{n % 4}#0"}
        for n in range(30)
    ]
    lines(made / "rejected.jsonl", dropped)
    return Sources(DataFolder(human, {}), DataFolder(made, {}))


def test_the_rows_of_each_arm(sources: Sources) -> None:
    def ids(arm: Arm, seed: int = 0) -> list[str]:
        found = sources.rows(arm, Role.SYNTHESIZER, seed)
        assert all(isinstance(row, QuestionRow) for row in found)
        return [row.id for row in found if isinstance(row, QuestionRow)]

    made = [f"m-{n}" for n in range(10)]
    assert ids(Arm.MADE) == made
    assert len(ids(Arm.HUMAN)) == 200 and len(set(ids(Arm.FEW))) == 125
    assert ids(Arm.MADE_AND_FEW) == [*made, *ids(Arm.FEW)]
    assert ids(Arm.FEW) != ids(Arm.FEW, seed=1)
    every = {id_ for seed in range(40) for id_ in ids(Arm.UNFILTERED, seed)}
    assert len(ids(Arm.UNFILTERED)) == 10
    assert every == {*made, *(f"dropped-r-{n}" for n in range(1, 30) if n % 4 in (0, 1))}


def test_an_arm_holds_its_own_rows_and_the_human_test(sources: Sources, tmp_path: Path) -> None:
    folder = DataFolder(sources.lay(tmp_path / "arm", Arm.MADE, Role.SYNTHESIZER, 0), {})
    assert len(folder.questions("train")) == 10
    assert ([row.id for row in folder.questions("dev")], [row.id for row in folder.questions("test")]) == (["v"], ["t"])
    folder.check_leaks(Role.SYNTHESIZER)


def test_sentences_stand_in_for_questions() -> None:
    text = "The pump is old. It runs. A spare stands in the yard. The crew starts it by hand. Nobody has the key."
    rows = list(sentences_as_questions([PassageRow("d#0", "Pump", text)], 0))
    assert len({row.query for row in rows}) == 3
    assert all(row.query in text and len(row.query.split()) >= 4 and row.positive_ids == ("d#0",) for row in rows)
    assert rows == list(sentences_as_questions([PassageRow("d#0", "Pump", text)], 0))


def test_the_report_pairs_items_over_seeds() -> None:
    """Items of ten groups: untuned .2, made .3 in one seed and .5 in the other, human .6: made keeps half of the gain."""

    def run(arm: Arm, seed: int, value: float) -> dict[str, object]:
        items = {f"question {n}": {"group": str(n), "scores": {"nDCG@10": value, "Recall@5": value}} for n in range(10)}
        return {"arm": arm.value, "role": "embedder", "seed": seed, "rows": 5, "items": {"served": items}}

    runs = [run(Arm.UNTUNED, 0, 0.2), run(Arm.MADE, 0, 0.3), run(Arm.MADE, 1, 0.5), run(Arm.HUMAN, 0, 0.6)]
    found = report(runs, Role.EMBEDDER)["nDCG@10, served"]
    assert {arm: each["value"] for arm, each in found["arms"].items()} == pytest.approx(
        {"untuned": 0.2, "made rows": 0.4, "all human rows": 0.6}
    )
    assert {arm: each["value"] for arm, each in found["differences"].items()} == pytest.approx(
        {"made rows": 0.2, "all human rows": 0.4}
    )
    assert found["share of the human gain"]["made rows"]["value"] == pytest.approx(0.5)
    assert (found["arms"]["untuned"]["n"], found["rows"]["made rows"]) == (10, 5)


def test_rows_on_which_the_voters_agree(tmp_path: Path) -> None:
    made = tmp_path / "made"
    rows = [{"query_id": id_, "query": "q", "positive_ids": ["d0#0"], "origin": "made"} for id_ in ("m-1", "m-2")]
    lines(made / "passages.jsonl", [{"id": "d0#0", "title": "", "text": "x"}])
    lines(made / "train/embedder.jsonl", rows)
    how = {"m-1": "question", "m-2": "question that finds its passage"}
    lines(made / "origin.jsonl", [{"id": id_, "role": "embedder", "how": each} for id_, each in how.items()])
    sources = Sources(DataFolder(made, {}), DataFolder(made, {}))
    assert len(sources.rows(Arm.MADE, Role.EMBEDDER, 0)) == 2
    (row,) = sources.rows(Arm.VOTED, Role.EMBEDDER, 0)
    assert isinstance(row, EmbedRow) and row.query_id == "m-1"


def test_macro_f1_by_task() -> None:
    items = {
        str(n): {"gold": f"support: {gold}", "label": f"support: {label}", "group": str(n), "scores": {}}
        for n, (gold, label) in enumerate([("yes", "yes"), ("yes", "no"), ("no", "no"), ("no", "no")])
    }
    assert macro_f1(items)["macro-F1, support"] == pytest.approx((2 / 3 + 4 / 5) / 2)
