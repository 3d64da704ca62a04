"""`lorag eval ablation` and `lorag eval compare` on tiny real models: the report they leave, and what they refuse."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from lorag.evaluating.testset import Sizes
from lorag.pipeline.engine.local import LocalEngine
from lorag.pipeline.engine.protocol import Completion, Generation
from lorag.pipeline.evaluation.ablation import full_factorial
from lorag.pipeline.evaluation.floors.stages import NO_MODEL
from lorag.pipeline.evaluation.floors.systems import ALWAYS_REFUSING, BEST_SENTENCE, BM25, BM25_HISTORY, UNCHANGED
from lorag.pipeline.evaluation.floors.systems import HISTORY as HISTORY_FIRST
from lorag.pipeline.evaluation.report.records import Report
from lorag.pipeline.evaluation.report.write import write_report
from lorag.pipeline.records import Role
from lorag.pipeline.retrieval.chunking import chunk
from lorag.pipeline.retrieval.loading import load_folder

FLOORS = {
    "rewrites": {UNCHANGED, HISTORY_FIRST},
    "retrieval": {BM25, BM25_HISTORY},
    "answers": {BEST_SENTENCE, ALWAYS_REFUSING},
}
HISTORY = ["User: Who keeps the key?", "Assistant: The porter."]


@pytest.fixture
def data(project, tmp_path: Path) -> Path:
    """Two answered questions, one that nothing answers, and two turns whose gold passages are known."""
    passages = {document.id: chunk(document)[0].id for document in load_folder(project.documents).documents}
    keys, ferry = passages["keys.md"], passages["ferry.md"]

    def question(id_: str, text: str, gold: Sequence[str]) -> dict[str, Any]:
        more = {"passage_ids": list(gold), "answerable": True} if gold else {"answerable": False, "near_ids": [keys]}
        return {"id": id_, "question": text, "answers": ["x"] if gold else [], **more}

    def turn(id_: str, text: str, rewrite: str, gold: str) -> dict[str, Any]:
        asked = {"id": id_, "history": HISTORY, "question": text, "rewrite": rewrite, "conversation": id_}
        return asked | {"passage_ids": [gold], "answers": ["x"]}

    rows = {
        Role.SYNTHESIZER: [
            question("q1", "Who keeps the key?", [keys]),
            question("q2", "When does the ferry leave?", [ferry]),
            question("u1", "What does the key cost?", []),
        ],
        Role.REWRITER: [
            turn("t1", "And at night?", "What happens at night?", keys),
            turn("t2", "And the ferry?", "Where does the Marrow Point ferry leave from?", ferry),
        ],
        Role.JUDGE: [
            {"id": f"j{n}", "task": "support", "label": label, "group": f"g{n}"}
            | {"inputs": {"answer": "At 07:40.", "passages": [{"title": "Ferry", "text": "The ferry leaves at 07:40."}]}}
            for n, label in enumerate(("supported", "unsupported"))
        ],
    }
    folder = tmp_path / "data"
    (folder / "test").mkdir(parents=True)
    for role, found in rows.items():
        text = "".join(json.dumps(row) + "\n" for row in found)
        (folder / "test" / f"{role.value}.jsonl").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def report(lorag, project, data: Path, publish_rewriter, publish_embedder, tmp_path: Path) -> Path:
    publish_rewriter()
    publish_embedder()
    done = lorag("eval", "ablation", "--project", project.folder, "--data", data, "--out", tmp_path / "out" / "mine.html")
    assert done.code == 0, done.err
    assert done.out.splitlines()[-1] == f"report: {tmp_path / 'out' / 'mine.html'}"
    return tmp_path / "out" / "mine.html"


def test_the_report_has_every_combination_and_its_effects(report: Path) -> None:
    found = json.loads(report.with_suffix(".json").read_text(encoding="utf-8"))
    names = [each.name for each in full_factorial((Role.REWRITER, Role.EMBEDDER))]
    assert [row["configuration"] for row in found["runs"]["rows"]] == names
    effects = {(each["metric"], each["name"]) for each in found["effects"]}
    assert {("nDCG@10", "rewriter"), ("nDCG@10", "embedder"), ("nDCG@10", "rewriter × embedder")} <= effects
    assert ("ROUGE-1", "rewriter") in effects and ("ROUGE-1", "embedder") not in effects
    assert ("F1", "embedder") in effects and ("F1", "rewriter") not in effects  # no answered question has a history
    for row in found["effects"]:
        assert row["low"] <= row["value"] <= row["high"] and row["p"] <= row["adjusted"] <= 1
    answered, searched = found["losses"]
    assert sum(answered["base"].values()) == sum(answered["tuned"].values()) == 3
    assert sum(searched["base"].values()) == sum(searched["tuned"].values()) == 2
    assert [each["id"] for each in found["questions"]] == ["q1", "q2", "u1", "t1", "t2"]
    assert found["questions"][3]["tuned"]["adapters"]["rewrite"].startswith("rewriter-0001-")
    assert found["questions"][3]["base"]["adapters"] == {"rewrite": "base", "retrieve": "base", "answer": "base"}
    assert [each["id"] for each in found["results"]["lost"]] == ["q1", "q2", "u1", "t1", "t2"]
    asked = {each["stage"] for each in found["usage"] if each["adapter"] != NO_MODEL}
    assert asked == {"rewrite", "synthesize", "support"}
    provenance = found["provenance"]
    assert provenance["tests"]["questions answered"] == 3
    assert provenance["config"]["retrieval"] == {
        "k": 4,
        "hybrid": True,
        "weights": {"words": None, "vectors": None, "tokens": None, "history": None, "document": None},
        "rerank": None,
        "language": "english",
    }
    assert provenance["config"]["judge"]["gate"] is None
    assert len(provenance["digests"]["weights of embedder"]) == 16 and "test/rewriter.jsonl" in provenance["digests"]
    page = report.read_text(encoding="utf-8")
    assert "All 4 combinations of adapters" not in page and "rewriter × embedder" in page  # four are all in the first table


def test_the_report_begins_with_the_decisions_and_counts_the_floors_that_win(report: Path) -> None:
    """Five items decide nothing: everything is held, for too few groups."""
    found = json.loads(report.with_suffix(".json").read_text(encoding="utf-8"))
    assert [(each["role"], each["decision"]) for each in found["decisions"]] == [("rewriter", "hold"), ("embedder", "hold")]
    assert all("independent groups of items" in each["reason"] for each in found["decisions"])
    won = [each for each in found["against_floors"] if not each["beaten"]]
    assert len(found["floor_notes"]) == len(won) > 0
    of = len(found["against_floors"])
    assert found["summary"].startswith(
        f"Hold rewriter, embedder. A system without training is not shown to be beaten in {len(won)} of {of} comparisons. "
    )


def test_every_item_stands_once_for_all_configurations_that_have_it_alike(report: Path) -> None:
    results = json.loads(report.with_suffix(".json").read_text(encoding="utf-8"))["results"]
    names = {each.name for each in full_factorial((Role.REWRITER, Role.EMBEDDER))}
    for part in ("rewrites", "retrieval", "answers"):
        tables = [table for table in results["scores"] if table["part"] == part]
        assert sorted(name for table in tables for name in table["configurations"]) == sorted(names | FLOORS[part])
        assert len({json.dumps(table["items"]) for table in tables}) == len(tables)
    labels, _ = results["labels"]
    assert (set(labels["configurations"]), [item["id"] for item in labels["items"]]) == (names, ["j0", "j1"])


def test_a_report_against_itself_differs_in_nothing(lorag, report: Path) -> None:
    found = lorag("eval", "compare", report, report, "-o", "json").json()
    assert {each["value"] for each in found["metrics"].values()} == {0.0}
    assert {each["detectable"] for each in found["metrics"].values()} == {None}
    assert found["flips"] == {"n": 3, "gained": [], "lost": []}
    assert found["notices"] == []


def test_two_configurations_of_one_report_are_compared_as_the_report_itself_does(lorag, report: Path, tmp_path: Path) -> None:
    page = tmp_path / "two" / "compare.html"
    done = lorag("eval", "compare", report, report.with_suffix(".json"), "--a", "base chain", "--out", page)
    assert done.code == 0, done.err
    assert f"page: {page}" in done.out and "nDCG@10" in done.out
    whole = json.loads(report.with_suffix(".json").read_text(encoding="utf-8"))
    (expected,) = (each for each in whole["comparisons"] if (each["role"], each["metric"]) == ("chain", "nDCG@10"))
    made = json.loads(page.with_suffix(".json").read_text(encoding="utf-8"))
    (found,) = (each for each in made["comparisons"] if each["metric"] == "nDCG@10")
    same = ("base", "tuned", "difference", "n", "groups")  # the interval's level is that of each page's own correction
    assert {key: found[key] for key in same} == pytest.approx({key: expected[key] for key in same})
    text = page.read_text(encoding="utf-8")
    assert "The difference, metric by metric" in text and "right in neither" in text


def test_a_run_folder_and_a_report_of_the_same_run_differ_in_nothing(lorag, project, data: Path, report: Path) -> None:
    """The one by `lorag eval chain`, the other by `lorag eval ablation`: the same items of the same configuration."""
    kept = project.folder / "kept"
    assert lorag("eval", "chain", "--project", project.folder, "--data", data, "--out", kept).code == 0
    found = lorag("eval", "compare", kept, report, "-o", "json").json()
    alone = lorag("eval", "compare", report, report, "-o", "json").json()
    assert found["metrics"] == alone["metrics"]
    assert (found["flips"]["n"], found["notices"]) == (0, [])
    rows = (kept / "items.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (kept / "items.jsonl").write_text("".join(rows)[:-5], encoding="utf-8")
    assert "items.jsonl: is cut off or is no JSON" in lorag("eval", "compare", kept, report).error_line
    (kept / "items.jsonl").write_text(rows[0] + rows[1].replace('"group"', '"grp"'), encoding="utf-8")
    assert (
        "a row is not as `lorag eval chain` writes it (KeyError('group'))"
        in lorag("eval", "compare", kept, report, "--a", "base chain").error_line
    )
    assert "no configuration 'all adapters'; it holds base chain" in lorag("eval", "compare", kept, report).error_line


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("compare", "nowhere", "nowhere"), "nowhere: no such file; name a report's folder, its .json or its .html"),
        (("compare", "{report}", "{report}", "--b", "+ magic"), "no configuration '+ magic'; it holds base chain,"),
        (("compare", "{report}", "{report}", "--out", "page.pdf"), "page.pdf: a report is an .html file"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(lorag, report: Path, arguments: Sequence[str], says: str) -> None:
    done = lorag("eval", *(each.format(report=report) for each in arguments))
    assert done.code == 2
    assert says in done.error_line


def test_a_report_without_items_is_refused(lorag, tmp_path: Path) -> None:
    write_report(Report("Empty", ()), tmp_path)
    done = lorag("eval", "compare", tmp_path, tmp_path)
    assert done.code == 2
    assert "no configuration 'all adapters'; it holds none" in done.error_line


def test_ablation_without_an_adapter_or_with_another_kind_of_file_is_refused(lorag, project, data: Path) -> None:
    done = lorag("eval", "ablation", "--project", project.folder, "--data", data)
    assert done.code == 2
    told = f"no adapter is published in this project; train one first with `lorag train --project {project.folder}`"
    assert told in done.error_line
    done = lorag("eval", "ablation", "--project", project.folder, "--data", data, "--out", "report.pdf")
    assert done.code == 2
    assert "report.pdf: a report is an .html file with its .json beside it" in done.error_line
    done = lorag(
        "eval", "ablation", "--project", project.folder, "--data", data, "--out", data / "test" / "judge.jsonl" / "x.html"
    )
    assert done.code == 2
    assert "judge.jsonl: cannot be made" in done.error_line
    assert not (project.folder / ".lorag" / "ablation").exists()


def test_a_limit_is_of_each_kind_and_a_quarter_of_the_questions_is_unanswerable() -> None:
    assert Sizes.at_most(40, 7) == Sizes(questions=40, unanswerable=10, turns=40, judgments=40, seed=7)
    assert Sizes.at_most(None, 7) == Sizes(seed=7)


def test_run_again_it_asks_the_model_nothing_and_finds_the_same(
    lorag, project, data: Path, report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was answered is kept under the name of all it depends on; another limit is another run."""
    asked: list[Generation] = []
    generate = LocalEngine.generate

    def watched(engine: LocalEngine, requests: Sequence[Generation]) -> list[Completion]:
        asked.extend(each for each in requests if "What does the key cost?" in each.messages[-1].content)
        return generate(engine, requests)

    monkeypatch.setattr(LocalEngine, "generate", watched)
    before = json.loads(report.with_suffix(".json").read_text(encoding="utf-8"))
    arguments = ("eval", "ablation", "--project", project.folder, "--data", data)
    assert lorag(*arguments).code == 0
    assert asked == []
    again = json.loads((project.folder / ".lorag" / "ablation" / "report.json").read_text(encoding="utf-8"))
    for part in ("results", "effects", "runs", "losses", "questions"):
        assert again[part] == before[part]
    (kept,) = (path for path in (project.folder / ".lorag" / "ablation").iterdir() if path.is_dir())
    assert lorag(*arguments, "--limit", 4).code == 0
    assert len(asked) > 0
    assert len([path for path in kept.parent.iterdir() if path.is_dir()]) == 2
