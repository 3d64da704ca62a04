"""`lorag data import`, and that what it makes goes on through init, ingest and retrieval without a gap."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lorag.assembly import open_index
from lorag.pipeline.config import load_settings
from lorag.training.dataset import DataFolder

TOPICS = ("pier", "ferry", "lamp", "rope", "bell", "chart", "anchor", "mast", "tide", "crane")


def squad_file(path: Path) -> Path:
    """Ten articles of two paragraphs; the second is long enough to be cut."""
    articles = []
    for number, topic in enumerate(TOPICS):
        paragraphs: list[dict[str, Any]] = []
        for part in range(2):
            filler = f"Nobody knows why the {topic} is so. " * (1 + 30 * part)
            context = f"The {topic} of dock {part} was made in {1900 + number} by keeper {number}{part}. {filler}".strip()
            text = f"keeper {number}{part}"
            qa = {"id": f"{topic}-{part}", "question": f"Who made the {topic} of dock {part}?", "is_impossible": False}
            qa["answers"] = [{"text": text, "answer_start": context.index(text)}]
            paragraphs.append({"context": context, "qas": [qa]})
        articles.append({"title": topic.capitalize(), "paragraphs": paragraphs})
    path.write_text(json.dumps({"version": "v2.0", "data": articles}), encoding="utf-8")
    return path


def test_a_set_goes_all_the_way_into_an_index(lorag, project, tmp_path: Path) -> None:
    file, out = squad_file(tmp_path / "docks.json"), tmp_path / "docks"
    embedder = load_settings(project.folder).embedder.model  # passages fit what it reads
    done = lorag("data", "import", "squad", file, "--out", out, "--embedder", embedder)
    assert (done.code, done.err) == (0, "")
    for part in ("synthesizer", "embedder", "train", "10 documents, "):
        assert part in done.out
    assert f"lorag init PROJECT --docs {out}/documents" in done.out
    (tmp_path / "p").mkdir()
    text = (project.folder / "lorag.yaml").read_text().replace("documents: docs", f"documents: {out}/documents")
    (tmp_path / "p" / "lorag.yaml").write_text(text)
    report = lorag("ingest", "--project", tmp_path / "p", "-o", "json").json()
    index = open_index(load_settings(tmp_path / "p"))
    indexed = {passage.id: passage.text for passage in index.passages()}
    index.close()
    folder = DataFolder(out, {})
    assert {row.id: row.text for row in folder.passages().values()} == indexed
    assert (report["added"], report["passages"]) == (10, len(indexed))
    rows = [row for split in ("train", "dev", "test") for row in folder.questions(split)]
    assert len(rows) == 20
    for row in rows:
        (gold,) = row.passage_ids
        assert row.answers[0] in indexed[gold]
        assert row.quotes[0] in indexed[gold]


def test_what_was_made_as_json(lorag, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ("--withhold", 0.25, "--dev", 0.2, "--test", 0.4, "--documents", 5, "--seed", 3, "-o", "json")
    found = lorag("data", "import", "squad", squad_file(tmp_path / "a.json"), "--out", out, *options).json()
    assert found["documents"] in (4, 5)  # a document whose passages are all withheld is gone
    assert {split: sum(row["answerable"] for row in questions(out, split)) for split in found["rows"]} == {
        split: held.get("embedder", 0) for split, held in found["rows"].items()
    }
    assert found["left_out"] == {"its passage is not among the documents": 10}
    made = json.loads((out / "import.json").read_text())
    assert made["options"]["withheld"] == 0.25
    assert made["made_of"].keys() == {"format", "a.json"}


def questions(out: Path, split: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / split / "synthesizer.jsonl").read_text().splitlines()]


def test_labels_are_told_where_they_belong(lorag, tmp_path: Path) -> None:
    rows = ({"id": f"l{n}", "text": f"m{n}", "label": "greet" if n % 2 else "ask_way"} for n in range(20))
    (tmp_path / "l.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = lorag("data", "import", "public", tmp_path / "l.jsonl", "--out", tmp_path / "out")
    assert f"put `judge.intents` of {tmp_path}/out/intents.yaml into the project's lorag.yaml" in done.out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("squad", "{folder}/none.json", "--out", "{folder}/o"), "none.json: cannot be read"),
        (("squad", "{folder}/a.json", "--out", "{folder}"), "is there already; name another folder, or delete it first"),
        (("squad", "{folder}/a.json", "--out", "{folder}/o", "--test", "1"), "together below 1"),
        (("squad", "{folder}/a.json", "--out", "{folder}/o", "--withhold", "1"), "a share from 0 to below 1"),
        (("rewriting", "{folder}/a.json", "--out", "{folder}/o"), "a JSON array with at least one object is expected"),
        (("own", "{folder}/a.json", "--out", "{folder}/o"), "the name says what the rows are"),
    ],
)
def test_bad_input_leaves_nothing(lorag, tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    squad_file(tmp_path / "a.json")
    done = lorag("data", "import", *(each.format(folder=tmp_path) for each in arguments))
    assert done.code == 2
    assert says in done.error_line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json"]
