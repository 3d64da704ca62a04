"""`lorag eval chain --out`: rows as they are done, the same figures each time, and after a SIGKILL the same files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lorag.evaluating.evaluation import evaluate_chain
from lorag.evaluating.run_folder import ITEMS, REQUESTS, RESULT, USAGE
from lorag.evaluating.saved_items import read_saved
from lorag.pipeline.config import load_settings
from lorag.pipeline.errors import DataError
from lorag.pipeline.evaluation.floors.diagnostics import CLOSED_BOOK, ORACLE
from lorag.pipeline.evaluation.floors.stages import NO_MODEL
from lorag.pipeline.evaluation.floors.systems import ALWAYS_REFUSING, BEST_SENTENCE, BM25, BM25_HISTORY, HISTORY, UNCHANGED
from lorag.pipeline.retrieval.chunking import chunk
from lorag.pipeline.retrieval.loading import load_folder
from lorag.pipeline.retrieval.weights import SearchWeights
from lorag.search_tuning import FILE

ROOT = Path(__file__).resolve().parents[2]
ASKED = ("Who keeps the key?", "When does the ferry leave?", "Which room is it?", "Where does it go?", "Who rings?", "How often?")
KEPT = (REQUESTS, ITEMS, RESULT)


@pytest.fixture
def data(project, publish_rewriter, tmp_path: Path) -> Path:
    """Six questions, two of them unanswerable, and six turns, beside a project with a rewriter."""
    publish_rewriter()
    ids = [chunk(document)[0].id for document in load_folder(project.documents).documents]
    history = ["User: Who keeps the key?", "Assistant: The porter."]
    questions = [
        {"id": f"q{n}", "question": text, "answers": ["x"], "answerable": True, "passage_ids": [ids[n % 2]], "group": f"g{n}"}
        if n < 4
        else {"id": f"q{n}", "question": text, "answers": [], "answerable": False, "group": f"g{n}"}
        for n, text in enumerate(ASKED)
    ]
    turns = [
        {"id": f"t{n}", "history": history, "question": text, "rewrite": text if n < 2 else f"{text} For the porter's key?"}
        | {"conversation": f"c{n}", "passage_ids": [ids[n % 2]], "answers": ["x"]}
        for n, text in enumerate(ASKED)
    ]
    write(tmp_path / "data", "synthesizer", questions)
    write(tmp_path / "data", "rewriter", turns)
    return tmp_path / "data"


def write(folder: Path, name: str, rows: list[dict[str, Any]]) -> None:
    (folder / "test").mkdir(parents=True, exist_ok=True)
    (folder / "test" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def files(folder: Path) -> Mapping[str, bytes]:
    return {name: (folder / name).read_bytes() for name in KEPT}


RUN = """
import sys
from pathlib import Path
from lorag.pipeline.config import load_settings
from lorag.pipeline.engine import memo
from lorag.evaluating.evaluation import evaluate_chain
memo.SLICE = 2
evaluate_chain(load_settings(Path(sys.argv[1])), Path(sys.argv[2]), out=Path(sys.argv[3]))
"""


def test_killed_and_run_again_all_files_are_those_of_a_run_that_nobody_stopped(
    project, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lorag.pipeline.engine.memo.SLICE", 2)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    settings = load_settings(project.folder)
    evaluate_chain(settings, data, out=whole)
    command = [sys.executable, "-c", RUN, str(project.folder), str(data), str(killed)]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.DEVNULL)
    while process.poll() is None and (not (killed / REQUESTS).exists() or (killed / REQUESTS).read_bytes().count(b"\n") < 4):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    stopped = (killed / REQUESTS).read_bytes()
    assert 4 <= stopped.count(b"\n") < (whole / REQUESTS).read_bytes().count(b"\n"), "the run was over before the kill"
    assert not (killed / RESULT).exists()
    found = evaluate_chain(settings, data, out=killed)
    assert files(killed) == files(whole)
    evaluate_chain(settings, data, out=killed)  # and once more changes nothing, and asks nothing
    assert files(killed) == files(whole)
    usage = json.loads((killed / USAGE).read_bytes())
    assert {each["adapter"] for each in usage if each["timed"]} == {NO_MODEL}
    assert json.loads((killed / RESULT).read_bytes()) == json.loads(json.dumps(found.to_json()))


def test_rows_are_split_at_newlines_alone(project, data: Path, tmp_path: Path) -> None:
    """What is kept may hold U+2028 and U+0085, which are line ends to `str.splitlines`."""
    rows = [
        {
            "id": f"t\u2028\u0085{n}",
            "history": ["User: Who?"],
            "question": "Who is it?",
            "rewrite": "Who?",
            "conversation": f"c{n}",
        }
        for n in range(2)
    ]
    write(data, "rewriter", rows)
    evaluate_chain(load_settings(project.folder), data, out=tmp_path / "run")
    assert "\u2028" in (tmp_path / "run" / ITEMS).read_text(encoding="utf-8"), "else this test says nothing"
    saved = read_saved(tmp_path / "run", "base chain")
    assert [item.id for item in saved.scores["rewrites"].items] == ["t\u2028\u00850", "t\u2028\u00851"]


def test_two_runs_give_the_same_to_the_last_digit(project, data: Path, tmp_path: Path) -> None:
    settings = load_settings(project.folder)
    for name in ("a", "b"):
        evaluate_chain(settings, data, out=tmp_path / name)
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_a_row_an_item_of_each_configuration(project, data: Path, tmp_path: Path) -> None:
    found = evaluate_chain(load_settings(project.folder), data, out=tmp_path / "run")
    header, *rows = (json.loads(line) for line in (tmp_path / "run" / ITEMS).read_bytes().splitlines())
    kinds = [(row["configuration"], row["kind"], row["id"]) for row in rows]
    names = ("base chain", "+ rewriter", "all adapters")
    wanted = [("question", f"q{n}") for n in range(6)] + [("question", f"t{n}") for n in range(6)]
    wanted += [("rewrite", f"t{n}") for n in range(6)]
    rewritten = [("rewrite", f"t{n}") for n in range(6)]
    searched = wanted[:12]
    floors = [(UNCHANGED, rewritten), (HISTORY, rewritten), (BM25, searched), (BM25_HISTORY, searched)]
    floors += [(BEST_SENTENCE, searched[:6]), (ALWAYS_REFUSING, searched[:6])]
    every = [*((name, wanted) for name in names), *floors]
    assert kinds == [(name, *each) for name, items in every for each in items]
    saved = read_saved(tmp_path / "run", BM25)
    assert (len(saved.scores["retrieval"].values("nDCG@10")), saved.scores["answers"].items) == (4 + 6, ())
    first = rows[0]
    assert len(first["hits"]) == 2
    assert first["scores"].keys() >= {"nDCG@10", "EM", "words"} or first["answer"]["refused"]
    mean = found.ablation.rows[0].cells["nDCG@10"].value
    figures = [row["scores"]["nDCG@10"] for row in rows if row["configuration"] == "base chain" and "nDCG@10" in row["scores"]]
    assert len(figures) == 4 + 6
    assert sum(figures) / len(figures) == pytest.approx(mean)
    assert header["header"]["data"].keys() == {"rewriter.jsonl", "synthesizer.jsonl"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("retrieval: {k: 1}", "was begun with another retrieval.k (4, now 1); set it back, or name another folder"),
        ("seed: 3", "was begun with another sizes.seed (0, now 3)"),
        ("row", "was begun with another data.synthesizer.jsonl ("),
        ("document", "was begun with another documents ("),
        ("adapter", "was begun with another adapters.rewriter ("),
        ("search", "was begun with another search.abc "),
    ],
)
def test_a_run_of_other_settings_is_refused(
    change: str, says: str, project, data: Path, publish_rewriter, lorag, tmp_path: Path
) -> None:
    command = ("eval", "chain", "--data", data, "--project", project.folder, "--out", tmp_path / "run", "--limit", 4)
    assert lorag(*command).code == 0
    before = files(tmp_path / "run")
    if change == "row":
        rows = (data / "test" / "synthesizer.jsonl").read_text().replace('"x"', '"y"')
        (data / "test" / "synthesizer.jsonl").write_text(rows)
    elif change == "document":
        (project.documents / "new.md").write_text("Swans sleep by the pier.\n")
    elif change == "adapter":
        publish_rewriter(seed=4)
    elif change == "search":
        (project.folder / FILE).write_text(json.dumps({"abc": {"weights": SearchWeights(1.0).to_dict()}}))
    else:
        project.set(change)
    done = lorag(*command)
    assert done.code == 2
    assert says in done.error_line
    assert files(tmp_path / "run") == before


def test_gold_that_no_document_holds_is_refused(project, data: Path) -> None:
    (project.documents / "keys.md").write_text("# Keys\n\nThe cook keeps it now.\n")
    with pytest.raises(DataError, match=r"5 gold passages of the test rows are in no document of .*docs, such as 'keys\.md#"):
        evaluate_chain(load_settings(project.folder), data)


def test_the_command_shows_all_tables(project, data: Path, lorag) -> None:
    command = ("eval", "chain", "--data", data, "--project", project.folder)
    text = lorag(*command).out
    for part in (
        "Means over the test items",
        "Paired with the best floor, a system without training",
        "Retrieval on 6 conversation turns",
        "gold rewrite",
        "base chain: of 2 turns that stand alone",
        "What it took; requests are answered in batches",
    ):
        assert part in text, part
    found = lorag(*command, "-o", "json").json()
    assert [row["name"] for row in found["rewrites"]["rows"]] == ["raw question", "base chain", "+ rewriter", "gold rewrite"]
    assert {each["stage"] for each in found["usage"] if each["adapter"] != NO_MODEL} == {"rewrite", "synthesize"}
    assert {each["stage"] for each in found["usage"] if each["adapter"] == NO_MODEL} >= {BM25, BEST_SENTENCE}
    assert {(each["configuration"], each["stage"]) for each in found["outcomes"]} == {
        (name, stage) for name in ("base chain", "+ rewriter", "all adapters") for stage in ("rewrite", "synthesize")
    }


def test_diagnose_answers_with_the_gold_passages_and_without_any(project, data: Path, lorag) -> None:
    command = ("eval", "chain", "--data", data, "--project", project.folder, "--limit", 4, "-o", "json")
    plain, found = lorag(*command).json(), lorag(*command, "--diagnose").json()
    assert plain["diagnostics"] == [] and not any("Lost to retrieval" in note for note in plain["notes"])
    assert [row["configuration"] for row in found["diagnostics"]] == [ORACLE, CLOSED_BOOK]
    assert any(note.startswith("Lost to retrieval: with the gold passages shown") for note in found["notes"])
    assert any(note.startswith("Known without passages: the bare base alone has") for note in found["notes"])
    assert {each["requests"] for each in found["usage"] if each["stage"] == CLOSED_BOOK} == {4}
    assert found["configurations"] == plain["configurations"]
