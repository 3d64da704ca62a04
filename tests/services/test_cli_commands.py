"""The commands on a good day: what they print, for people and for programs."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from lorag.pipeline.config import Settings, load_settings
from tests.test_structure import FRONT, ROOMS, ROOT, modules


def test_init_writes_settings_that_load_and_says_what_is_next(lorag, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my docs").mkdir()
    done = lorag("init", "project", "--docs", "my docs")
    assert done.code == 0
    assert "lorag ingest --project project" in done.out
    settings = load_settings(Path("project"))
    assert settings.documents.resolve() == tmp_path / "my docs"
    assert settings.base == Settings(documents=Path()).base
    assert (tmp_path / "project" / "lorag.yaml").read_text().count("#") > 20


def test_init_keeps_an_absolute_path_and_fills_a_folder_that_is_there(lorag, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    assert lorag("init", tmp_path, "--docs", tmp_path / "docs").code == 0
    assert f'documents: "{tmp_path}/docs"' in (tmp_path / "lorag.yaml").read_text()


def test_init_overwrites_nothing(lorag, project) -> None:
    before = project.files()
    done = lorag("init", project.folder, "--docs", project.documents)
    assert done.code == 2
    assert "lorag.yaml: is there already and stays as it is" in done.error_line
    assert project.files() == before


@pytest.mark.parametrize("docs", ["nowhere", "file.txt"])
def test_init_without_a_documents_folder_makes_nothing(lorag, tmp_path: Path, docs: str) -> None:
    (tmp_path / "file.txt").touch()
    done = lorag("init", tmp_path / "project", "--docs", tmp_path / docs)
    assert done.code == 2
    assert "not a folder; give the folder that holds the documents with --docs" in done.error_line
    assert not (tmp_path / "project").exists()


def test_ingest_tells_what_became_of_the_documents(lorag, project) -> None:
    def ingest() -> dict[str, object]:
        report = lorag("ingest", "--project", project.folder, "-o", "json").json()
        shown = {key: report[key] for key in ("added", "changed", "unchanged", "removed", "passages", "counts", "gone")}
        return {**shown, "left_alone": [file["path"] for file in report["files"] if file["status"] == "left_alone"]}

    (project.documents / "photo.png").touch()
    counts = {"seen": 3, "read": 2, "read_in_part": 0, "left_alone": 1, "failed": 0, "kept": 0}
    documents = {"added": 2, "changed": 0, "unchanged": 0, "removed": 0, "passages": 2}
    first = {**documents, "counts": counts, "gone": [], "left_alone": ["photo.png"]}
    assert ingest() == first
    assert ingest() == {**first, "added": 0, "unchanged": 2}
    (project.documents / "ferry.md").unlink()
    (project.documents / "keys.md").write_text("# Keys\n\nThe cook keeps the key in the galley, on the hook by the door.\n")
    fewer = {**counts, "seen": 2, "read": 1}
    changes = {"added": 0, "changed": 1, "removed": 1, "passages": 1}
    assert ingest() == {**first, **changes, "counts": fewer, "gone": ["ferry.md"]}
    text = lorag("ingest", "--project", project.folder)
    assert (text.code, text.out.splitlines(), text.err) == (
        0,
        [
            "2 files: 1 read, 0 read in part, 1 left alone, 0 failed, 0 kept in their old version.",
            "1 passages. Documents: 0 added, 0 changed, 1 unchanged, 0 removed.",
        ],
        "left alone: photo.png: not a kind that is read (.png)\n",
    )


def test_ask_prints_json_and_nothing_else(lorag, project) -> None:
    lorag("ingest", "--project", project.folder)
    done = lorag("ask", "Who keeps the key?", "--project", project.folder, "--output", "json")
    assert (done.code, done.err) == (0, "")
    answer = done.json()
    wanted = ["question", "rewrite", "answer", "refused", "citations", "verdicts", "trace"]
    assert [key for key in answer if key in wanted] == wanted
    for hit in answer["trace"]["hits"]:
        assert Path(hit["source"]).read_text()[hit["start"] : hit["end"]] == hit["text"]


def test_ask_with_a_history_rewrites_the_question(lorag, project, tmp_path: Path) -> None:
    lorag("ingest", "--project", project.folder)
    history = tmp_path / "history.json"
    history.write_text(json.dumps(["User: Who keeps the key?", {"role": "assistant", "content": "The porter."}]))
    answer = lorag("ask", "And at night?", "--project", project.folder, "--history", history, "-o", "json").json()
    prompt = answer["trace"]["stages"][0]["prompt"][-1]["content"]
    assert "User: Who keeps the key?\nAssistant: The porter." in prompt
    history.write_text('["Nobody said this."]')
    done = lorag("ask", "And at night?", "--project", project.folder, "--history", history)
    assert done.code == 2
    assert "history.json: turn 1: " in done.error_line


def test_ask_with_a_trace_shows_each_stage_and_passage(lorag, project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.folder)
    lorag("ingest")
    done = lorag("ask", "Who keeps the key?", "--trace")
    assert (done.code, done.err) == (0, "")
    lines = [line.split() for line in done.out.splitlines() if line.strip()]
    shown = [words[0] for words in lines if len(words) > 3 and words[1] == "base"]
    assert shown[:4] == ["rewrite", "retrieve", "answerability", "synthesize"]
    assert {words[2].partition(":")[0] for words in lines if words[0] in "12"} == {"docs/keys.md", "docs/ferry.md"}


def test_a_document_cannot_steer_the_terminal(lorag, project) -> None:
    (project.documents / "keys.md").write_text("# Keys\x1b[2J\n\nThe [bold]porter[/bold] keeps the key\x1b]0;owned\x07 here.\n")
    lorag("ingest", "--project", project.folder)
    done = lorag("ask", "Who keeps the key?", "--project", project.folder, "--trace")
    assert done.code == 0
    assert "\x1b" not in done.out
    assert "The [bold]porter[/bold] keeps the key\\x1b]0;owned" in done.out


def test_eval_retrieval_scores_a_beir_folder(lorag, project, tmp_path: Path) -> None:
    """Each query repeats one passage word for word, so its vector is that passage's and it comes first."""
    texts = ["The porter keeps the key.", "The ferry leaves at 07:40.", "The bell is rung twice."]
    rows = [{"_id": f"p{n}", "title": "", "text": text} for n, text in enumerate(texts)]
    (tmp_path / "qrels").mkdir()
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "queries.jsonl").write_text(
        "".join(json.dumps({"_id": f"q{n}", "text": text}) + "\n" for n, text in enumerate(texts))
    )
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq0\tp0\t1\nq1\tp1\t1\n")
    run = tmp_path / "run.trec"
    command = ("eval", "retrieval", "--beir", tmp_path, "--embedder", project.encoder, "-k", 2)
    done = lorag(*command, "-o", "json", "--run-out", run)
    assert (done.code, done.err) == (0, "")
    figures = {"nDCG@2": 1.0, "Recall@2": 1.0, "P@2": 0.5, "MRR@2": 1.0, "MAP@2": 1.0, "Success@2": 1.0}
    assert done.json() == {"metrics": figures, "queries": 2, "without_results": [], "not_judged": []}
    assert [line.split()[:4:2] for line in run.read_text().splitlines()[::2]] == [["q0", "p0"], ["q1", "p1"]]
    assert ["nDCG@2", "1.0000"] in [line.split() for line in lorag(*command).out.splitlines()]
    refused = lorag(*command, "--run-out", tmp_path / "nowhere" / "run.trec")
    assert refused.code == 2
    assert "nowhere: no such folder" in refused.error_line
    fused = lorag(*command, "-o", "json", "--hybrid")
    assert fused.json()["metrics"] == figures


def test_eval_retrieval_scores_a_run_that_another_tool_made(lorag, tmp_path: Path) -> None:
    """q1: gold second of two; q2: not in the run, counted as 0; q9: in the run, without judgments."""
    (tmp_path / "a.run").write_text("q1 Q0 x 1 0.9 t\nq1 Q0 y 2 0.5 t\nq9 Q0 x 1 0.9 t\n")
    (tmp_path / "a.qrels").write_text("q1 0 y 1\nq2 0 x 1\n")
    command = ("eval", "retrieval", "--run", tmp_path / "a.run", "--qrels", tmp_path / "a.qrels")
    found = lorag(*command, "-o", "json", "--qrels-out", tmp_path / "b.qrels").json()
    assert found["metrics"]["MRR@10"] == 0.25
    assert (found["queries"], found["without_results"], found["not_judged"]) == (2, ["q2"], ["q9"])
    assert (tmp_path / "b.qrels").read_text() == (tmp_path / "a.qrels").read_text()
    text = lorag(*command).out
    assert "1 of them without results, counted as 0, such as q2" in text
    assert "1 queries of the run have no judgments and no score, such as q9" in text


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ((), "name a BEIR folder with --beir, or a run to score with --run and its --qrels"),
        (("--qrels", "q"), "name a BEIR folder with --beir"),
        (("--run", "r"), "--run needs judgments"),
        (("--run", "r", "--qrels", "q", "--beir", "b"), "--qrels FILE or with --beir DIR, one of the two"),
        (("--run", "r", "--qrels", "q"), "q: cannot be read"),
    ],
)
def test_eval_retrieval_says_what_it_lacks(lorag, options: tuple[str, ...], says: str) -> None:
    done = lorag("eval", "retrieval", *options)
    assert done.code == 2
    assert says in done.error_line


def test_eval_retrieval_with_an_adapter_of_the_project(lorag, project, publish_embedder, tmp_path: Path) -> None:
    command = ("eval", "retrieval", "--beir", tmp_path, "--embedder", project.encoder, "--project", project.folder)
    done = lorag(*command, "--adapter", "candidate")
    assert done.code == 2
    assert "no embedder adapter is candidate" in done.error_line
    publish_embedder()
    done = lorag(*command, "--adapter", "candidate")
    assert done.code == 2
    assert "corpus.jsonl: cannot be read" in done.error_line


def test_doctor_says_what_is_here(lorag, project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    done = lorag("doctor", "--project", project.folder, "-o", "json")
    assert (done.code, done.err) == (0, "")
    found = done.json()
    assert found["cores"] == len(os.sched_getaffinity(0))
    assert found["memory"] > 2**28
    assert found["versions"].keys() >= {"torch", "peft", "qdrant-edge-py"}
    assert found["project"]["adapters"] == dict.fromkeys(("rewriter", "embedder", "synthesizer", "judge"), "none")
    assert found["problems"] == [f"index {project.folder}/.lorag/index: nothing ingested yet; run `lorag ingest` first"]
    lorag("ingest", "--project", project.folder)
    text = lorag("doctor", "--project", project.folder).out
    assert "2 passages in " in text
    assert text.endswith("Nothing is missing.\n")


def test_doctor_survives_a_broken_project_and_none(lorag, project, tmp_path: Path) -> None:
    project.set("adapters: {judge: 0007-0123abcd}", "store: {path: elsewhere}")
    found = lorag("doctor", "--project", project.folder, "-o", "json").json()
    assert any("no version 0007-0123abcd of the judge" in problem for problem in found["problems"])
    (project.folder / "lorag.yaml").write_text("documents: [")
    found = lorag("doctor", "--project", project.folder, "-o", "json").json()
    assert len(found["problems"]) == 1
    assert lorag("doctor", "--project", tmp_path, "-o", "json").json()["project"] is None


def test_every_command_that_a_message_or_the_documentation_names_is_one(lorag) -> None:
    sources = [path.read_text(encoding="utf-8") for room in (*ROOMS, FRONT) for path, _ in modules(room)]
    pages = [path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md"))]
    named = {
        tuple(words.split())
        for text in (*sources, *pages)
        for words in re.findall(r"`lorag ((?:(?:eval|adapters) )?[a-z-]+)", text)
    }
    for text in sources:  # `command("eval", "adapter", …)` makes a hint
        for first, second in re.findall(r"""(?<![.\w])command\(['"]([a-z-]+)['"](?:, ['"]([a-z-]+)['"])?""", text):
            named.add((first, second) if first in ("eval", "adapters") else (first,))
    assert named >= {("ingest",), ("init",), ("train",), ("adapters", "promote"), ("eval", "adapter")}
    for words in named:
        assert lorag(*words, "--help").code == 0, words
