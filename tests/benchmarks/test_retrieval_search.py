"""The benchmark of searches: its sets are cut as it says, and its figures of a made set are those worked out by hand."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.retrieval_search import (
    BM25,
    CHOSEN,
    DEFAULT,
    HISTORY,
    VECTORS,
    Question,
    SearchSet,
    example,
    measure,
    public,
    show,
)
from lorag.bundled import EXAMPLE, example_folder
from lorag.pipeline.records import Passage
from lorag.pipeline.retrieval.embedder import HashingEmbedder

THINGS = ("pump", "mast", "keel", "winch")


def passage(thing: str) -> Passage:
    text = f"The {thing} is checked by its crew."
    return Passage(thing, thing, thing, "", "", text, 0, len(text))


def made_set() -> SearchSet:
    """Each thing is asked for; in the test half it is named in the history alone, and the rewrite names it."""
    dev = [Question(f"d-{thing}", f"who checks the {thing}?", thing, thing, (thing,), thing) for thing in THINGS]
    test = [
        Question(f"t-{thing}", f"who checks the {thing}?", f"the {thing} who sees to it?", "who sees to it?", (thing,), thing)
        for thing in THINGS
    ]
    return SearchSet("made", tuple(map(passage, THINGS)), tuple(dev), tuple(test))


def test_the_figures_of_a_made_set(capsys: pytest.CaptureFixture[str]) -> None:
    result = measure(made_set(), HashingEmbedder(4096))
    means = result["test"]["means"]
    assert list(means) == [BM25, HISTORY, VECTORS, DEFAULT, CHOSEN]
    assert means[BM25] == {"nDCG@10": 0.0, "Recall@5": 0.0}  # no word of the bare question stands in a passage
    for name in (HISTORY, VECTORS, DEFAULT, CHOSEN):
        assert means[name] == {"nDCG@10": 1.0, "Recall@5": 1.0}
    assert (result["passages"], result["test"]["questions"], result["test"]["groups"]) == (4, 4, 4)
    assert result["weights"] == {"words": 0.15, "vectors": 0.15, "tokens": 1.0, "history": 0.3, "document": 0.2}
    assert result["best single search"] == HISTORY
    assert {each["difference"] for each in result["differences"].values()} == {0.0}
    show(result)
    assert "made: 4 test questions in 4 groups; chosen on dev: words 0.15, vectors 0.15, tokens 1" in capsys.readouterr().out


def test_the_example_has_the_items_of_the_demos_evaluation() -> None:
    found = example(example_folder(EXAMPLE), {})
    assert (len(found.test), len({each.group for each in found.test})) == (360, 10)
    assert sum(each.words != each.raw for each in found.test) == 47
    assert not {each.group for each in found.dev} & {each.group for each in found.test}


def test_halves_of_a_public_set_share_no_gold_passage(tmp_path: Path) -> None:
    rows: dict[str, list[dict[str, Any]]] = {
        "squad_reddit.passages": [{"id": f"p{n}", "title": "", "text": f"text {n}"} for n in range(40)],
        "squad_reddit.train": [
            {"id": f"q{n}", "question": f"what is {n}?", "answers": ["x"], "passage_id": f"p{n % 40}", "answerable": n != 0}
            for n in range(80)
        ],
    }
    for name, lines in rows.items():
        with gzip.open(tmp_path / f"{name}.jsonl.gz", "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)
    found = public(tmp_path, "squad_reddit")
    assert len(found.dev) + len(found.test) == 79
    assert len(found.passages) == 40
    assert not {each.gold for each in found.dev} & {each.gold for each in found.test}
