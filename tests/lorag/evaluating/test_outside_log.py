"""A log of Inspect against a saved run: outputs scored by hand, an exported run read back, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lorag.evaluating.comparison import compare_saved
from lorag.evaluating.exporting import ExportForm, export_run
from lorag.evaluating.outside_log import read_logged
from lorag.evaluating.saved_items import read_saved
from lorag.pipeline.errors import DataError, InputError
from lorag.pipeline.evaluation.inspect_read import is_log, read_log
from tests.lorag.evaluating.saved_run import CONFIGURATION, lay_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return lay_run(tmp_path / "run")


def sample(id_: object, output: str, epoch: int = 1, **more: Any) -> dict[str, Any]:
    """A sample as inspect_ai writes it, without its messages and events."""
    reply = {"id": "m1", "content": output, "source": "generate", "role": "assistant", "model": "m"}
    return {
        "id": id_,
        "epoch": epoch,
        "input": f"Question {id_}?",
        "target": "Gold",
        "messages": [{"id": "m0", "content": f"Question {id_}?", "source": "input", "role": "user"}, reply],
        "output": {"model": "m", "choices": [{"message": reply, "stop_reason": "stop"}], "usage": {"total_tokens": 9}},
        "scores": {"match": {"value": "C", "answer": output, "explanation": output}},
        "metadata": {"label_confidence": 0.9},
        "events": [{"event": "span_begin", "id": "s", "type": "init", "name": "init"}],
        **more,
    }


def write(path: Path, samples: list[dict[str, Any]] | None, **more: Any) -> Path:
    log = {
        "version": 2,
        "status": "success",
        "eval": {
            "eval_id": "e",
            "run_id": "r",
            "created": "2026-07-05T09:59:40-04:00",
            "task": "handbook",
            "task_id": "t",
            "dataset": {"name": "handbook", "samples": 10, "sample_ids": ["q0"], "shuffled": False},
            "model": "ollama/gemma3",
            "config": {"epochs": 1, "log_samples": True},
            "packages": {"inspect_ai": "0.3.285"},
            "scorers": [{"name": "match", "options": {}, "metrics": [{"name": "inspect_ai/accuracy"}]}],
        },
        "plan": {"name": "plan", "steps": [{"solver": "generate", "params": {}}], "config": {}},
        "results": {"total_samples": 10, "completed_samples": 10, "scores": []},
        "stats": {"started_at": "", "completed_at": "", "model_usage": {}},
        "samples": samples,
        **more,
    }
    path.write_text(json.dumps(log), encoding="utf-8")
    return path


def test_outputs_are_scored_by_the_gold_answers_question_by_question(run: Path, tmp_path: Path) -> None:
    """The saved F1 of question n is n / 10; q8 has no answer and q9 failed. The golds are `Gold n` and `or this`."""
    outputs = ["Gold 0", "Gold 1 [1]", "Or this!", "no idea", "The passages do not say.", "Gold 9", "Gold 6", "Gold 7"]
    theirs = write(tmp_path / "theirs.json", [sample(f"q{n}", text) for n, text in enumerate(outputs)])
    compared = compare_saved(run, theirs, CONFIGURATION, "")
    (f1,) = [each for each in compared.found.metrics if each.metric == "F1"]
    after = [1, 1, 1, 0, 0, 0.5, 1, 1]  # `Gold 9` for `Gold 5` shares one of two words: 2 · 1 / 4
    assert (f1.effect.n, f1.effect.groups, f1.unshared) == (8, 8, 0)
    assert f1.first == pytest.approx(sum(n / 10 for n in range(8)) / 8)
    assert f1.second == pytest.approx(sum(after) / 8)
    assert f1.effect.value == pytest.approx(sum(now - n / 10 for n, now in enumerate(after)) / 8)
    assert compared.second.configuration == "handbook, ollama/gemma3"
    back = compare_saved(theirs, run, "", CONFIGURATION)
    assert [each.effect.value for each in back.found.metrics] == [-each.effect.value for each in compared.found.metrics]


def test_epochs_give_their_mean_and_a_failed_sample_no_score(run: Path, tmp_path: Path) -> None:
    samples = [
        sample("q0", "Gold 0"),
        sample("q0", "nothing", 2),
        sample("q1", "Gold 1", error={"message": "timeout", "traceback": ""}),
        sample("q2", "Gold 2"),
        sample("q2", "", 2, error={"message": "timeout", "traceback": ""}),
        sample(7, "Gold 7"),
        sample("q8", "Gold 8"),
    ]
    found = read_logged(write(tmp_path / "log.json", samples, status="error"), read_saved(run, CONFIGURATION))
    assert found.scores["answers"].values("F1") == {"q0": 0.5, "q2": 1.0}
    assert [(item.id, item.group, item.outcome.value) for item in found.scores["answers"].items] == [
        ("q0", "d0", "ok"),
        ("q1", "d1", "failed"),
        ("q2", "d2", "ok"),
    ]
    assert "citation precision" not in found.scores["answers"].items[0].values, "an output names no passages"
    assert [note.split("log.json")[1] for note in found.notes[:2]] == [
        " are scored here by the gold answers of the other run; its own scorers (match) are not used.",
        " has the status 'error': it may lack samples.",
    ]
    assert found.notes[2].startswith("2 samples of")


def test_an_exported_run_reads_back_as_it_was(run: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.json"
    export_run(run, log, ExportForm.INSPECT)
    saved = read_saved(run, CONFIGURATION)
    found = read_logged(log, saved)
    for part in ("retrieval", "answers", "rewrites"):
        assert found.scores[part].items == saved.scores[part].items
    assert found.judgments == saved.judgments
    assert (found.configuration, found.digests, found.notes) == (CONFIGURATION, saved.digests, ())
    compared = compare_saved(run, log, CONFIGURATION, "")
    assert {each.metric: (each.effect.value, each.unshared) for each in compared.found.metrics} == {
        "nDCG@10": (0, 0),
        "Recall@5": (0, 0),
        "F1": (0, 0),
    }
    assert compared.found.other_data == ()


def test_the_output_is_the_completion_or_the_text_of_the_first_choice(tmp_path: Path) -> None:
    parts = [{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": "Gold"}, {"type": "text", "text": " 1"}]
    samples = [
        {**sample("a", ""), "output": {"completion": "Gold 1", "choices": []}},
        {**sample("b", ""), "output": {"choices": [{"message": {"content": parts}}]}},
        {**sample("c", ""), "output": {"choices": []}},
    ]
    scores = {"f": {"value": 0.25}, "n": {"value": float("nan")}, "i": {"value": "I"}, "o": {"value": "odd"}, "d": {"value": {}}}
    samples[0]["scores"] = scores
    log = read_log(write(tmp_path / "log.json", samples))
    assert [each.output for each in log.samples] == ["Gold 1", "Gold 1", ""]
    assert log.samples[0].scores == {"f": 0.25, "i": 0.0}
    assert log.samples[1].target == ("Gold",) and log.scorers == ("f", "n", "i", "o", "d", "match")


@pytest.mark.parametrize(
    ("samples", "says"),
    [
        (None, "holds no samples; log them"),
        ([], "holds no samples; log them"),
        ([{"epoch": 1}], "samples[0] has no id"),
        ([{"id": "q0", "scores": {"f": 1}}], "is not as Inspect writes it"),
        ([{"id": "x9", "output": {}}], "no sample is an answered question of"),
    ],
)
def test_a_bad_log_is_refused_in_one_line(samples: Any, says: str, run: Path, tmp_path: Path, lorag) -> None:
    done = lorag("eval", "compare", run, write(tmp_path / "log.json", samples))
    assert done.code == 2
    assert says in done.error_line


def test_a_packed_log_is_refused_with_the_command_that_unpacks_it(run: Path, tmp_path: Path) -> None:
    (tmp_path / "log.eval").write_bytes(b"PK")
    with pytest.raises(DataError, match="is packed; write it as JSON with `inspect log convert --to json"):
        compare_saved(run, tmp_path / "log.eval", CONFIGURATION, "")


def test_what_is_no_log_is_told_apart(run: Path, tmp_path: Path) -> None:
    ranx = tmp_path / "ranx.json"
    ranx.write_text('{"q0": {"d": 1}}')
    assert [is_log(each) for each in (ranx, tmp_path / "none.json", run, write(tmp_path / "log.json", None))] == [
        False,
        False,
        False,
        True,
    ]


def test_gold_answers_and_judgments_must_fit(run: Path, tmp_path: Path) -> None:
    log = write(tmp_path / "log.json", [sample("q0", "Gold 0"), sample("q1", "Gold 1")])
    with pytest.raises(InputError, match="--qrels goes with a run file of another system"):
        compare_saved(run, log, CONFIGURATION, "", tmp_path / "qrels")
    (run / "tests.jsonl").unlink()
    with pytest.raises(InputError, match="needs the gold answers, which .* does not hold; measure again"):
        compare_saved(run, log, CONFIGURATION, "")


def test_the_command_says_how_the_log_was_read(run: Path, tmp_path: Path, lorag) -> None:
    log = write(tmp_path / "log.json", [sample(f"q{n}", f"Gold {n}") for n in range(8)])
    done = lorag("eval", "compare", run, log)
    assert done.code == 0
    assert "its own scorers (match) are not used" in " ".join(done.out.split())
    found = lorag("eval", "compare", run, log, "-o", "json").json()
    assert found["metrics"]["F1"]["B"] == 1.0 and found["metrics"]["F1"]["n"] == 8
