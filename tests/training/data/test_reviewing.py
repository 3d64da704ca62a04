"""Made rows that a person reads: what is shown, what becomes of it, and how far filters are agreed with."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lorag.pipeline.adapters.evidence import DataOrigin
from lorag.pipeline.errors import DataError, InputError, LoragError
from lorag.pipeline.records import Role
from lorag.pipeline.storage import jsonl
from lorag.pipeline.storage.atomic import write_file
from lorag.services.cli import app
from lorag.training.data.reviewed import Agreement, Reviewed, Verdict, agreements, read_reviewed
from lorag.training.data.reviewing import Place, add_reviewed, give_verdict, open_pool, review_items
from lorag.training.dataset import DataFolder
from tests.training.data.made_rows import COUNT, lay_rows, lines, source


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return lay_rows(tmp_path / "rows")


def said(id_: str, verdict: Verdict, question: str = "Q?", answer: str = "door 1", filter: str = "") -> Reviewed:
    return Reviewed(id_, verdict, question, answer, filter)


def test_a_fifth_of_what_is_shown_was_dropped_by_filters_of_soundness(folder: Path) -> None:
    items = review_items(folder, 10)
    assert len(items) == 10 and [each.filter for each in items if each.filter] == ["copy", "copy"]
    assert items == review_items(folder, 10) != review_items(folder, 10, seed=1)
    assert all(each.passages and each.question for each in items)
    every = {each.id: each for each in review_items(folder, 100)}
    assert every["s-u"].answer == "" and every["s-3"].answer == "door 3"


def test_what_is_kept_becomes_a_human_row_and_its_query_too(folder: Path) -> None:
    add_reviewed(folder, said("s-1", Verdict.KEEP, "Where is key 1?"))
    add_reviewed(folder, said("s-2", Verdict.DROP))
    add_reviewed(folder, said("s-3", Verdict.CORRECT, "Behind which door is key 3?", "door three"))
    add_reviewed(folder, said("s-u", Verdict.KEEP, "Who made key 1?", ""))
    data = DataFolder(folder, {})
    kept = {row.id: row for row in data.questions("test")}
    assert {id_: row.origin for id_, row in kept.items()} == dict.fromkeys(("s-1", "s-3", "s-u"), DataOrigin.HUMAN)
    assert (kept["s-3"].question, kept["s-3"].answers) == ("Behind which door is key 3?", ("door three",))
    assert (kept["s-1"].answers, kept["s-u"].answerable) == (("door 1",), False)
    assert {row.query_id: row.query for row in data.embed_rows("test")} == {
        "s-1": "Where is key 1?",
        "s-3": "Behind which door is key 3?",
    }
    assert data.origin("test", Role.SYNTHESIZER) is DataOrigin.HUMAN
    unread = {row.id for row in data.questions("made-test")}
    assert unread == {f"s-{n}" for n in range(COUNT)} - {"s-1", "s-2", "s-3"}
    assert {each.id for each in review_items(folder, 100)} == unread | {f"r-{n}" for n in range(1, 10, 2)}


def test_the_last_verdict_counts(folder: Path) -> None:
    add_reviewed(folder, said("s-1", Verdict.KEEP, "Where is key 1?"))
    add_reviewed(folder, said("s-1", Verdict.DROP))
    assert [each.verdict for each in read_reviewed(folder)] == [Verdict.DROP]
    assert not (folder / "test" / "synthesizer.jsonl").exists()


def test_a_row_that_was_dropped_by_a_filter_becomes_no_row(folder: Path) -> None:
    add_reviewed(folder, said("r-1", Verdict.KEEP, filter="copy"))
    assert {row.origin for row in DataFolder(folder, {}).questions("made-test")} == {DataOrigin.MADE}


def test_a_verdict_can_be_changed_and_the_row_is_as_it_was_made(folder: Path) -> None:
    before = {row.id: row for row in DataFolder(folder, {}).questions("test")}
    for first in (said("s-1", Verdict.DROP), said("s-1", Verdict.CORRECT, "Where?", "door one")):
        add_reviewed(folder, first)
        add_reviewed(folder, said("s-1", Verdict.KEEP, "Where is key 1?"))
        (kept,) = DataFolder(folder, {}).questions("test")
        assert kept == replace(before["s-1"], origin=DataOrigin.HUMAN)
        (query,) = DataFolder(folder, {}).embed_rows("test")
        assert (query.query_id, query.query, query.origin) == ("s-1", "Where is key 1?", DataOrigin.HUMAN)


def test_rows_that_people_wrote_stay_as_they_are(folder: Path) -> None:
    own = {"id": "h-1", "question": "Who?", "answers": ["Ann", "Annie"], "passage_ids": ["d1#0"], "answerable": True}
    with (folder / "test" / "synthesizer.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(own) + "\n")
    assert "h-1" not in {each.id for each in review_items(folder, 100)}
    add_reviewed(folder, said("s-1", Verdict.KEEP))
    add_reviewed(folder, said("s-1", Verdict.DROP))
    (kept,) = DataFolder(folder, {}).questions("test")
    assert (kept.id, kept.answers, kept.origin) == ("h-1", ("Ann", "Annie"), DataOrigin.HUMAN)
    assert len(DataFolder(folder, {}).questions("made-test")) == COUNT


def test_a_correction_goes_on_from_the_last_one(folder: Path) -> None:
    item = next(each for each in open_pool(folder).made if each.id == "s-2")
    give_verdict(folder, item, Verdict.CORRECT, question=" Behind which door is it? ")
    last = give_verdict(folder, item, Verdict.CORRECT, answer="the second door")
    assert (last.question, last.answer) == ("Behind which door is it?", "the second door")
    assert read_reviewed(folder) == (last,)
    kept = give_verdict(folder, item, Verdict.KEEP)
    assert (kept.question, kept.answer) == ("Where is key 2?", "door 2")
    afresh = give_verdict(folder, item, Verdict.CORRECT, answer="the second door")
    assert (afresh.question, afresh.answer) == ("Where is key 2?", "the second door")


def test_a_correction_that_says_nothing_or_contradicts_its_row_is_refused(folder: Path) -> None:
    items = {each.id: each for each in open_pool(folder).made}
    with pytest.raises(InputError, match="a correction needs a question or an answer; drop the row instead"):
        give_verdict(folder, items["s-2"], Verdict.CORRECT, question=" ")
    with pytest.raises(InputError, match="this row says that the passages do not answer; if they do, drop it"):
        give_verdict(folder, items["s-u"], Verdict.CORRECT, answer="the smith")
    assert read_reviewed(folder) == ()


def test_the_answer_is_marked_where_it_was_taken_from(folder: Path) -> None:
    lines(folder / "passages.jsonl", [{"id": "d3#0", "title": "", "text": "Behind door 3, the old door 3."}])
    start = len("Behind door 3, the old ")
    own = {**source(3), "start": start, "end": start + 6}
    lines(folder / "origin.jsonl", [{"id": "s-3", "role": "synthesizer", "split": "test", "how": "", "writer": "x", "of": [own]}])
    assert {each.id: each.place for each in open_pool(folder).made if each.place} == {"s-3": Place(start, start + 6)}
    lines(folder / "passages.jsonl", [{"id": "d3#0", "title": "", "text": "Other words, now that it was edited."}])
    assert [each.place for each in open_pool(folder).made if each.place] == []


def test_nothing_but_the_filter_tells_a_dropped_item_from_a_kept_one(folder: Path) -> None:
    """Else who reads would know what a filter said."""
    near = [{"id": "s-1", "question": "Q?", "answers": ["door 1"], "passage_ids": ["d1#0", "d2#0"], "near_ids": ["d3#0"]}]
    lines(folder / "test" / "synthesizer.jsonl", [{**row, "origin": "made"} for row in near])
    pool = open_pool(folder)
    for each in (*pool.made, *pool.dropped):
        assert len(each.passages) == 1 and each.answer and each.place is not None
        assert each.passages[0].text[each.place.start : each.place.end] == each.answer


READ_SOME = """
import sys
from pathlib import Path
from lorag.training.data.reviewed import Verdict
from lorag.training.data.reviewing import give_verdict, open_pool
folder, wanted = Path(sys.argv[1]), sys.argv[2].split()
items = {item.id: item for item in open_pool(folder).made}
print("ready", flush=True)
sys.stdin.readline()
for id_ in wanted:
    give_verdict(folder, items[id_], Verdict.KEEP)
"""


def test_two_who_read_at_once_lose_no_verdict(folder: Path) -> None:
    shares = [[f"s-{n}" for n in range(first, COUNT, 2)] for first in (0, 1)]
    arguments = [[sys.executable, "-c", READ_SOME, str(folder), " ".join(share)] for share in shares]
    readers = [subprocess.Popen(each, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for each in arguments]
    for reader in readers:
        assert reader.stdout is not None and reader.stdout.readline() == "ready\n"
    for reader in readers:
        assert reader.stdin is not None
        reader.stdin.write("go\n")
        reader.stdin.flush()
    assert [reader.communicate(timeout=60)[1] or reader.returncode for reader in readers] == [0, 0]
    every = {f"s-{n}" for n in range(COUNT)}
    assert {each.id for each in read_reviewed(folder)} == every
    data = DataFolder(folder, {})
    assert {row.id for row in data.questions("test")} == {row.query_id for row in data.embed_rows("test")} == every
    assert [row.id for row in data.questions("made-test")] == ["s-u"]


FILES = 7
"""Files that a verdict writes: its own, and three for each of two roles."""


@pytest.mark.parametrize("writes", range(FILES))
@pytest.mark.parametrize("earlier", [False, True], ids=["the first verdict", "a later one"])
def test_killed_between_two_files_it_is_completed_at_the_next_opening(
    folder: Path, monkeypatch: pytest.MonkeyPatch, earlier: bool, writes: int
) -> None:
    if earlier:
        add_reviewed(folder, said("s-1", Verdict.KEEP, "Where is key 1?"))
    left = iter(range(writes))

    def killed(path: Path, content: str | bytes) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        write_file(path, content)

    monkeypatch.setattr(jsonl, "write_file", killed)
    with pytest.raises(KeyboardInterrupt):
        add_reviewed(folder, said("s-2", Verdict.KEEP, "Where is key 2?"))
    monkeypatch.undo()
    open_pool(folder)
    read = {"s-1"} if earlier else set()
    read |= {"s-2"} if writes else set()
    assert {each.id for each in read_reviewed(folder)} == read
    every = {f"s-{n}" for n in range(COUNT)}
    for file, ids in (("synthesizer", every | {"s-u"}), ("embedder", every)):
        assert origins(folder, "test", file) == ({id_: "human" for id_ in read} or dict.fromkeys(ids, "made"))
        assert origins(folder, "made-test", file) == (dict.fromkeys(ids - read, "made") if read else {})


def origins(folder: Path, place: str, role: str) -> dict[str, str]:
    """Id → origin of the rows of a file; empty if there is none."""
    path = folder / place / f"{role}.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    return {row.get("id", row.get("query_id")): row.get("origin", "human") for row in rows}


def test_agreement_with_each_filter() -> None:
    verdicts = [said(f"a{n}", Verdict.DROP if n < 3 else Verdict.KEEP) for n in range(10)]
    verdicts += [said(f"c{n}", Verdict.KEEP if n < 2 else Verdict.DROP, filter="copy") for n in range(5)]
    verdicts += [said("l", Verdict.KEEP, filter="leak")]
    assert agreements(verdicts) == (Agreement("", 7, 10), Agreement("copy", 3, 5), Agreement("leak", 0, 1))
    assert [each.is_weak for each in agreements(verdicts)] == [True, True, False]
    assert [str(each) for each in agreements(verdicts)] == [
        "Of 10 that passed all filters, you keep 7 (0.70), below 0.8: do not train on the rest before you know why.",
        "Of 5 dropped by “copy”, you drop too 3 (0.60), below 0.8: look at this filter.",
        "Of 1 dropped by “leak”, you drop too 0 (0.00).",
    ]


def test_what_cannot_be_reviewed_is_said(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a corrected question must not be empty"):
        add_reviewed(folder, said("s-1", Verdict.CORRECT, "  "))
    (folder / "test" / "synthesizer.jsonl").unlink()
    with pytest.raises(DataError, match="no made test questions; name a folder that `lorag data make` wrote"):
        review_items(folder, 5)
    with pytest.raises(DataError, match="is no folder|no passages.jsonl"):
        review_items(tmp_path / "nowhere", 5)


DAMAGE = {
    "rejected.jsonl": ('{"filter": "copy", "id": "r-1"}', "rejected.jsonl: damaged or not written by `lorag data make`"),
    "origin.jsonl": ('{"id": "s-1", "role": "synthesizer", "split": "test", "of": [{}', "origin.jsonl: damaged or not written"),
    "reviewed.jsonl": ('{"id": "s-1"}', "reviewed.jsonl:1: key 'answer' is missing"),
    "test/embedder.jsonl": ('{"query": "Who?"}', "embedder.jsonl:1: the row has no 'query_id'"),
    "test/synthesizer.jsonl": ('{"id": "s-1", ', "synthesizer.jsonl:1: not JSON"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_file_is_named_in_one_line(folder: Path, name: str) -> None:
    text, message = DAMAGE[name]
    (folder / name).write_text(text + "\n", encoding="utf-8")
    with pytest.raises(LoragError, match=re.escape(message)) as caught:
        add_reviewed(folder, said("s-2", Verdict.KEEP))
        open_pool(folder)
    assert "\n" not in str(caught.value)


def test_in_the_terminal_one_key_a_row(folder: Path) -> None:
    answer = CliRunner().invoke(app, ["data", "review", str(folder), "--rows", "4"], input="k\n?\nb\nd\nq\nWhere?\nk\nk\nx\n")
    assert answer.exit_code == 0, answer.output
    assert "1 of 4" in answer.output and "Answer:" in answer.output and "is no key" in answer.output
    found = read_reviewed(folder)
    assert {each.verdict for each in found} == {Verdict.DROP, Verdict.CORRECT, Verdict.KEEP} and len(found) == 4
    assert [each.question for each in found if each.verdict is Verdict.CORRECT] == ["Where?"]
    assert "that passed all filters, you keep" in answer.output


def test_in_the_terminal_a_verdict_that_cannot_be_taken_is_said_and_asked_again(folder: Path) -> None:
    unanswered = {"id": "s-u", "question": "Who made key 1?", "answers": [], "answerable": False, "near_ids": ["d1#0", "d2#0"]}
    lines(folder / "test" / "synthesizer.jsonl", [{**unanswered, "origin": "made"}])
    (folder / "rejected.jsonl").unlink()
    answer = CliRunner().invoke(app, ["data", "review", str(folder)], input="a\nthe smith\nd\n")
    assert answer.exit_code == 0, answer.output
    assert "the passages do not say" in answer.output and "Key 2 is behind door 2." in answer.output
    assert "this row says that the passages do not answer; if they do, drop it" in answer.output
    assert [each.verdict for each in read_reviewed(folder)] == [Verdict.DROP]
    assert "Every made test row was read already." in CliRunner().invoke(app, ["data", "review", str(folder)]).output


def test_in_the_terminal_no_document_moves_the_cursor_and_the_answer_is_whole(folder: Path) -> None:
    text, start = "\x1b[2J[bold]Behind door 3[/bold].", len("\x1b[2J[bold]Behind ")
    lines(folder / "passages.jsonl", [{"id": "d3#0", "title": "", "text": text}])
    row = {"id": "s-3", "question": "Where?", "answers": ["door 3"], "passage_ids": ["d3#0"], "origin": "made"}
    lines(folder / "test" / "synthesizer.jsonl", [row])
    own = {**source(3), "start": start, "end": start + 6}
    lines(folder / "origin.jsonl", [{"id": "s-3", "role": "synthesizer", "split": "test", "how": "", "writer": "x", "of": [own]}])
    answer = CliRunner().invoke(app, ["data", "review", str(folder)], input="x\n")
    assert "\\x1b[2J[bold]Behind door 3[/bold]." in answer.output and "\x1b" not in answer.output
