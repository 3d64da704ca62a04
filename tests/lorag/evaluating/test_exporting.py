"""A saved run as TREC text, ranx's JSON and an Inspect log, by hand, and what cannot be exported."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from lorag.evaluating.exporting import ExportForm, export_run
from lorag.pipeline.errors import InputError
from lorag.pipeline.evaluation import ranx, trec
from lorag.pipeline.evaluation.retrieval import score_run
from tests.lorag.evaluating.saved_run import QUESTIONS, lay_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return lay_run(tmp_path / "run")


@pytest.mark.parametrize(("form", "reader"), [(ExportForm.TREC, trec), (ExportForm.RANX, ranx)])
def test_the_rankings_of_another_tool_give_the_saved_figures(form: ExportForm, reader, run: Path, tmp_path: Path) -> None:
    done = export_run(run, tmp_path / "out", form, qrels=tmp_path / "qrels")
    assert (done.files, done.items, done.unscored) == ((tmp_path / "out", tmp_path / "qrels"), 10, 0)
    found, judged = reader.read_run(tmp_path / "out"), reader.read_qrels(tmp_path / "qrels")
    assert found.keys() == set(QUESTIONS)
    assert judged == {f"q{n}": {f"d{n}#g": 1} for n in range(10) if n != 8}, "q8 has no gold passage"
    assert [each.passage_id for each in found["q0"]] == ["d0#g", "d1#o"], "the tie keeps the order of the search"
    saved = [json.loads(line) for line in (run / "items.jsonl").read_text().splitlines()[1:11]]
    again = score_run(judged, found, ("nDCG@10", "Recall@5")).per_query
    for row in saved:
        if row["id"] in judged:
            assert {name: values[row["id"]] for name, values in again.items()} == pytest.approx(
                {name: row["scores"][name] for name in again}, rel=1e-6
            )


def test_an_inspect_log_has_a_sample_an_item(run: Path, tmp_path: Path) -> None:
    done = export_run(run, tmp_path / "log.json", ExportForm.INSPECT)
    assert (done.items, done.unscored) == (13, 2)
    log = json.loads((tmp_path / "log.json").read_text())
    assert (log["version"], log["status"]) == (2, "success")
    assert log["eval"].keys() >= {"created", "task", "dataset", "model", "config"}, "what EvalSpec requires"
    assert (log["eval"]["model"], log["eval"]["dataset"]["samples"]) == ("tiny", 13)
    samples = {each["id"]: each for each in log["samples"]}
    assert all(each.keys() >= {"id", "epoch", "input", "target", "output", "scores"} for each in samples.values())
    first = samples["question/q0"]
    assert [(each["role"], each["content"]) for each in first["input"]] == [
        ("system", "Keys"),
        ("user", "Who?"),
        ("assistant", "She."),
        ("user", "Question 0?"),
    ]
    assert first["target"] == ["Gold 0", "or this"]
    assert first["output"]["completion"] == "Answer 0. [1]"
    assert first["scores"]["F1"] == {"value": 0.0, "answer": "Answer 0. [1]"}
    assert first["metadata"]["gold passages"] == ["d0#g"]
    assert samples["rewrite/t0"]["output"]["completion"] == "Who keeps the key?"
    assert samples["judgment/j0"]["scores"]["accuracy, support"]["value"] == "C"
    assert log["stats"]["model_usage"] == {"synthesize: base": {"input_tokens": 900, "output_tokens": 80, "total_tokens": 980}}


def test_what_failed_is_unscored_with_its_reason_and_in_no_mean(run: Path, tmp_path: Path) -> None:
    export_run(run, tmp_path / "log.json", ExportForm.INSPECT)
    log = json.loads((tmp_path / "log.json").read_text())
    samples = {each["id"]: each for each in log["samples"]}
    failed = samples["question/q9"]["scores"]
    assert math.isnan(failed["F1"]["value"])
    assert failed["F1"]["explanation"] == "failed: the engine took more than 5 s"
    assert failed["F1"]["reason"] == "no_response"
    assert "right refusals" not in failed, "which an answerable question never has"
    assert failed["nDCG@10"]["value"] == pytest.approx(0.6309, abs=1e-4)
    unparsed = samples["judgment/j1"]["scores"]["accuracy, support"]
    assert math.isnan(unparsed["value"])
    assert (unparsed["explanation"], unparsed["reason"]) == ("unparsed", "invalid_response_format")
    f1 = next(each for each in log["results"]["scores"] if each["name"] == "F1")
    assert (f1["scored_samples"], f1["unscored_samples"]) == (8, 1)
    assert f1["metrics"]["mean"]["value"] == pytest.approx(sum(range(8)) / 10 / 8)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("report", "is no run folder; name one that `lorag eval chain --out` wrote"),
        ("old", "holds no tests.jsonl, since an earlier LoRAG wrote it; measure again with another --out"),
        ("configuration", "no configuration 'other'; it holds all adapters"),
        ("cut", "is cut off or is no JSON"),
        ("row", "a row is not as `lorag eval chain` writes it"),
        ("space", "id 'q 0' is empty or has white space in it, which TREC files cannot hold"),
        ("place", "cannot be written (No such file or directory)"),
        ("qrels", "--qrels goes with trec and ranx"),
    ],
)
def test_what_cannot_be_exported_is_said_in_one_line(change: str, says: str, run: Path, tmp_path: Path, lorag) -> None:
    items = run / "items.jsonl"
    command = ["eval", "export", run, "--out", tmp_path / "out"]
    if change == "report":
        (run / "report.json").write_text("{}")
    elif change == "old":
        (run / "tests.jsonl").unlink()
    elif change == "configuration":
        command += ["--configuration", "other"]
    elif change == "cut":
        items.write_text(items.read_text()[:-9])
    elif change == "row":
        items.write_text(items.read_text().replace('"ranking"', '"order"'))
    elif change == "space":
        for file in (items, run / "tests.jsonl"):
            file.write_text(file.read_text().replace('"q0"', '"q 0"'))
    elif change == "place":
        command[-1] = tmp_path / "none" / "out"
    else:
        command += ["--format", "inspect", "--qrels", tmp_path / "qrels"]
    done = lorag(*command)
    assert done.code == 2
    assert says in done.error_line
    assert not (tmp_path / "out").exists()


def test_the_command_says_what_it_wrote(run: Path, tmp_path: Path, lorag) -> None:
    done = lorag("eval", "export", run, "--format", "inspect", "--out", tmp_path / "log.json")
    assert done.out.startswith("13 items, 2 of them unscored with the reason: ")
    found = lorag("eval", "export", run, "--out", tmp_path / "a.run", "--qrels", tmp_path / "a.qrels", "-o", "json").json()
    assert found == {"files": [str(tmp_path / "a.run"), str(tmp_path / "a.qrels")], "items": 10, "unscored": 0}


def test_a_configuration_without_rankings_is_refused(run: Path, tmp_path: Path) -> None:
    lines = (run / "items.jsonl").read_text().splitlines()
    (run / "items.jsonl").write_text("\n".join([lines[0], *(line for line in lines if '"kind": "judgment"' in line)]) + "\n")
    with pytest.raises(InputError, match="searched for nothing"):
        export_run(run, tmp_path / "out", ExportForm.TREC)
