"""Data folders: where rows lie, what counts as a leak (design, rule 3), and which passages training may show."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from lorag.pipeline.errors import DataError
from lorag.pipeline.records import Role
from lorag.training.dataset import DataFolder, judge_schemas
from lorag.training.run import held_out_split

Rows = Sequence[Mapping[str, Any]]

PASSAGES: Rows = [{"id": f"{d}.md#{p}", "title": d, "text": f"{d} {p}"} for d in ("a", "b", "c") for p in (1, 2)]


def rewrite(**more: Any) -> Mapping[str, Any]:
    return {"id": "r", "history": ["User: Who?"], "question": "When?", "rewrite": "When is it?", **more}


def answer(*gold: str, **more: Any) -> Mapping[str, Any]:
    return {"id": "s", "question": "When?", "answers": ["now"], "passage_ids": list(gold), "answerable": True, **more}


def query(*gold: str, **more: Any) -> Mapping[str, Any]:
    return {"query_id": "e", "query": "When?", "positive_ids": list(gold), **more}


def judgment(**more: Any) -> Mapping[str, Any]:
    return {"id": "j", "task": "support", "inputs": {"answer": "now"}, "label": "partly", **more}


def lay(folder: Path, files: Mapping[str, Rows]) -> DataFolder:
    for name, rows in {"passages": PASSAGES, **files}.items():
        path = folder / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return DataFolder(folder, {})


def test_rows_are_found_plain_or_compressed(tmp_path: Path) -> None:
    data = lay(tmp_path, {"train/rewriter": [rewrite()]})
    with gzip.open(tmp_path / "train" / "judge.jsonl.gz", "wt") as file:
        file.write(json.dumps(judgment()) + "\n")
    assert data.file("train", Role.REWRITER) == tmp_path / "train" / "rewriter.jsonl"
    assert data.file("train", Role.JUDGE) == tmp_path / "train" / "judge.jsonl.gz"
    assert [row.rewrite for row in data.rewrites("train")] == ["When is it?"]
    assert [row.label for row in data.judgments("train")] == ["partly"]
    assert [(data.has("train", role)) for role in (Role.REWRITER, Role.JUDGE, Role.EMBEDDER)] == [True, True, False]


def test_what_is_not_there_is_said_with_its_folder(tmp_path: Path) -> None:
    data = DataFolder(tmp_path, {})
    with pytest.raises(DataError, match=rf"no train/judge\.jsonl in {tmp_path}; see docs/reference/rows.md"):
        data.file("train", Role.JUDGE)
    with pytest.raises(DataError, match=rf"no passages\.jsonl in {tmp_path}; questions name"):
        data.passages()


def test_a_folder_that_is_missing_is_said_as_such(tmp_path: Path) -> None:
    data = DataFolder(tmp_path / "nowhere", {})
    for read in (lambda: data.file("train", Role.JUDGE), lambda: held_out_split(data, Role.JUDGE)):
        with pytest.raises(DataError, match="nowhere is no folder; name the one whose train/, dev/ and test/ hold the rows"):
            read()


def test_schemas_are_the_built_in_ones_and_the_projects_intents() -> None:
    assert list(judge_schemas({})) == ["relevance", "answerability", "support"]
    assert dict(judge_schemas({"ask": "x", "thank": "y"})["intent"].labels) == {"ask": "x", "thank": "y"}


@pytest.mark.parametrize(
    ("role", "files", "shared"),
    [
        (
            Role.REWRITER,
            {"train/rewriter": [rewrite(conversation="c1")], "test/rewriter": [rewrite(id="t", conversation="c1")]},
            "1 items of test/rewriter.jsonl are in train/rewriter.jsonl too, such as conversation c1",
        ),
        (
            Role.REWRITER,
            {"train/rewriter": [rewrite(passage_ids=["a.md#1"])], "dev/synthesizer": [answer("a.md#1")]},
            "1 items of dev/synthesizer.jsonl are in train/rewriter.jsonl too, such as passage a.md#1",
        ),
        (
            Role.SYNTHESIZER,
            {"train/synthesizer": [answer("a.md#1", "b.md#1")], "test/embedder": [query("b.md#1", "a.md#1")]},
            "2 items of test/embedder.jsonl are in train/synthesizer.jsonl too, such as passage a.md#1",
        ),
        (
            Role.EMBEDDER,
            {"train/embedder": [query("a.md#1", group="g")], "test/judge": [judgment(group="g")]},
            "1 items of test/judge.jsonl are in train/embedder.jsonl too, such as group g",
        ),
        (
            Role.JUDGE,
            {"train/judge": [judgment(group="g")], "dev/rewriter": [rewrite(group="g")]},
            "1 items of dev/rewriter.jsonl are in train/judge.jsonl too, such as group g",
        ),
        (
            Role.JUDGE,
            {"train/judge": [judgment(passage_ids=["a.md#1"])], "test/synthesizer": [answer("a.md#1", "a.md#2")]},
            "1 items of test/synthesizer.jsonl are in train/judge.jsonl too, such as passage a.md#1",
        ),
        (
            Role.EMBEDDER,
            {"train/embedder": [query("b.md#1", group="g")], "test/judge": [judgment(passage_ids=["b.md#1"], group="h")]},
            "1 items of test/judge.jsonl are in train/embedder.jsonl too, such as passage b.md#1",
        ),
    ],
)
def test_leaks_between_any_two_roles_are_refused(role: Role, files: Mapping[str, Rows], shared: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        lay(tmp_path, files).check_leaks(role)
    trained, held_out = files
    places = f"{held_out}.jsonl:1 and {trained}.jsonl:1"
    assert str(caught.value) == f"{shared} ({places}); split by document and by conversation before training"


def test_a_leak_is_told_with_its_lines(tmp_path: Path) -> None:
    data = lay(
        tmp_path,
        {
            "train/judge": [judgment(group="f"), judgment(id="k", group="g"), judgment(id="l", group="g")],
            "test/judge": [judgment(group="a"), judgment(id="m", group="b"), judgment(id="n", group="g")],
        },
    )
    file = tmp_path / "test" / "judge.jsonl"
    file.write_text("\n" + file.read_text())
    with pytest.raises(DataError, match=r"1 items of .* such as group g \(test/judge.jsonl:4 and train/judge.jsonl:2\);"):
        data.check_leaks(Role.JUDGE)


def test_held_out_inputs_that_are_also_trained_on_are_counted(tmp_path: Path) -> None:
    """By what is asked, not by its answer; case and spacing aside."""
    data = lay(
        tmp_path,
        {
            "train/rewriter": [rewrite(id="1", question="Where?"), rewrite(id="2"), rewrite(id="3", history=["User: What?"])],
            "dev/rewriter": [rewrite(id="4", question="Why?"), rewrite(id="5", question=" when? ", rewrite="When was it?")],
            "test/rewriter": [rewrite(id="6", history=["User: Whose?"])],
            "train/judge": [judgment(), judgment(id="j2", inputs={"answer": "then"})],
            "test/judge": [judgment(id="j3", inputs={"answer": "then"}), judgment(id="j4", task="relevance", label="relevant")],
        },
    )
    (line,) = data.repeats(Role.REWRITER)
    assert line.startswith("1 rows of dev/rewriter.jsonl stand word for word in train/rewriter.jsonl too, such as ")
    assert "dev/rewriter.jsonl:2 and train/rewriter.jsonl:2" in line
    (line,) = data.repeats(Role.JUDGE)
    assert "1 rows of test/judge.jsonl" in line and "test/judge.jsonl:1 and train/judge.jsonl:2" in line
    assert data.repeats(Role.EMBEDDER) == ()


def test_a_documents_own_id_may_hold_a_number_sign(tmp_path: Path) -> None:
    """The hash of a passage stands after the last one: `a#1` and `a#2` are two documents, not one called `a`."""
    passages = [{"id": f"a#{n}#{p}", "title": "", "text": f"{n} {p}"} for n in (1, 2) for p in ("x", "y")]
    data = lay(tmp_path, {"passages": passages, "test/embedder": [query("a#1#x")]})
    assert list(data.training_passages()) == ["a#2#x", "a#2#y"]


@pytest.mark.parametrize(
    ("role", "files"),
    [
        (Role.REWRITER, {"train/rewriter": [rewrite()], "test/rewriter": [rewrite(id="t")]}),  # nothing known of their source
        (Role.REWRITER, {"train/rewriter": [rewrite(conversation="c1")], "test/rewriter": [rewrite(conversation="c2")]}),
        (Role.SYNTHESIZER, {"train/synthesizer": [answer("a.md#1")], "test/synthesizer": [answer("b.md#1")]}),
        # A passage that only misleads is no gold passage: any question may be asked beside it.
        (
            Role.SYNTHESIZER,
            {"train/synthesizer": [answer("a.md#1")], "test/synthesizer": [answer("a.md#1", answerable=False, answers=[])]},
        ),
        (Role.EMBEDDER, {"train/embedder": [query("a.md#1", negative_ids=["b.md#1"])], "dev/embedder": [query("b.md#1")]}),
        (Role.JUDGE, {"train/judge": [judgment(passage_ids=["a.md#1"], group="g")], "test/synthesizer": [answer("a.md#2")]}),
        # The leak is another role's business.
        (Role.JUDGE, {"train/judge": [judgment()], "train/embedder": [query("a.md#1")], "test/embedder": [query("a.md#1")]}),
    ],
)
def test_what_is_no_leak(role: Role, files: Mapping[str, Rows], tmp_path: Path) -> None:
    lay(tmp_path, files).check_leaks(role)


def test_training_shows_no_passage_of_a_held_out_document(tmp_path: Path) -> None:
    files = {"train/embedder": [query("a.md#1")], "dev/embedder": [query("b.md#2")], "test/synthesizer": [answer("c.md#1")]}
    data = lay(tmp_path, files)
    assert list(data.training_passages()) == ["a.md#1", "a.md#2"]
    assert len(data.passages()) == 6


def test_without_held_out_rows_training_shows_all(tmp_path: Path) -> None:
    assert len(lay(tmp_path, {}).training_passages()) == 6
