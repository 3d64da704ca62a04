"""Each format read: what becomes of a good file, and that a bad row is named by file and line."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lorag.pipeline.errors import DataError, InputError
from lorag.pipeline.records import Speaker, Turn
from lorag.training.data.formats.json_file import read_array, read_object
from lorag.training.data.formats.reading import FORMATS, read_files
from lorag.training.data.formats.source import LeftOut, Source, SourcePassage
from lorag.training.data.rows import QuestionRow, RewriteRow

CONTEXT = "The pier is old. It was built in 1911 by Ann Vale. Swans sleep there."


def squad(**more: Any) -> dict[str, Any]:
    answer = {"text": "1911", "answer_start": CONTEXT.index("1911")}
    qa = {"id": "s1", "question": "When was it built?", "answers": [answer, answer], **more}
    return {"version": "1.1", "data": [{"title": "North_Pier", "paragraphs": [{"context": CONTEXT, "qas": [qa]}]}]}


def put(path: Path, value: object, indent: int | None = 1) -> Path:
    text = json.dumps(value, indent=indent)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def lines(path: Path, *rows: Mapping[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


# --- SQuAD ---


@pytest.mark.parametrize("name", ["a.json", "a.json.gz"])
def test_squad(tmp_path: Path, name: str) -> None:
    found = read_files("squad", [put(tmp_path / name, squad())])
    passage = SourcePassage(f"{name}#0.0", "North Pier", CONTEXT, f"{name}#0")
    question = QuestionRow(
        "s1", "When was it built?", ("1911",), True, passage_ids=(passage.id,), quotes=("It was built in 1911 by Ann Vale.",)
    )
    assert found == Source((passage,), (question,))


def test_squad_2_with_a_question_that_has_no_answer(tmp_path: Path) -> None:
    plausible = [{"text": "Ann Vale", "answer_start": 38}]
    value = squad(question="Who broke it?", answers=[], is_impossible=True, plausible_answers=plausible)
    (row,) = read_files("squad", [put(tmp_path / "a.json", value)]).questions
    assert (row.answerable, row.answers, row.passage_ids, row.quotes) == (False, (), ("a.json#0.0",), ())


QA = "data[0].paragraphs[0].qas[0]"


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"answers": [{"text": "1911", "answer_start": "3"}]}, f':14 {QA}.answers[0]: "answer_start" must be a whole number'),
        ({"id": 7}, f':10 {QA}: "id" must be a string, found 7'),
    ],
)
def test_a_bad_squad_row_is_named_by_line_and_way(tmp_path: Path, more: dict[str, Any], says: str) -> None:
    path = put(tmp_path / "a.json", squad(**more))
    with pytest.raises(DataError) as caught:
        read_files("squad", [path])
    assert str(caught.value).startswith(f"{path}{says}")


def test_a_squad_id_stands_once(tmp_path: Path) -> None:
    value = squad()
    value["data"][0]["paragraphs"] *= 2
    with pytest.raises(DataError, match=r"a\.json:1 data\[0\]\.paragraphs\[1\]\.qas\[0\]: id 's1' stands already in this file"):
        read_files("squad", [put(tmp_path / "a.json", value, indent=None)])


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"answers": [{"text": "1911", "answer_start": 3}]}, 'none of its answers is in the paragraph at its "answer_start"'),
        ({"answers": [{"text": " ", "answer_start": 3}]}, 'none of its answers is in the paragraph at its "answer_start"'),
        ({"answers": []}, 'it has no answers, and "is_impossible" is not true'),
        ({"is_impossible": True}, 'it has answers, but "is_impossible" is true'),
        ({"question": " "}, "its question is blank"),
    ],
)
def test_a_squad_row_that_cannot_be_used_is_named_and_costs_no_other(tmp_path: Path, more: dict[str, Any], says: str) -> None:
    value = squad(**more)
    value["data"].append(squad(id="s2")["data"][0])
    found = read_files("squad", [put(tmp_path / "a.json", value)])
    assert [row.id for row in found.questions] == ["s2"]
    assert found.left_out == (LeftOut("s1", says),)


def test_a_squad_answer_that_is_not_at_its_offset_leaves_the_others(tmp_path: Path) -> None:
    answers = [{"text": "1912", "answer_start": 3}, {"text": "Ann Vale", "answer_start": CONTEXT.index("Ann")}]
    found = read_files("squad", [put(tmp_path / "a.json", squad(answers=answers))])
    assert found.questions[0].answers == ("Ann Vale",) and not found.left_out


def test_a_blank_paragraph_costs_its_own_questions_alone(tmp_path: Path) -> None:
    value = squad()
    blank = {"id": "b", "question": "Who?", "answers": [{"text": "Ann", "answer_start": 0}]}
    value["data"][0]["paragraphs"].append({"context": " ", "qas": [blank]})
    found = read_files("squad", [put(tmp_path / "a.json", value)])
    assert found.left_out == (LeftOut("b", "its paragraph is blank"),)
    assert len(found.passages) == len(found.questions) == 1


def test_keys_of_other_editions_are_counted_and_passed_over(tmp_path: Path) -> None:
    value = squad(is_imposible=True, answers=[{"text": "1911", "answer_start": CONTEXT.index("1911"), "answer_end": 3}])
    value |= {"source": "somewhere"}
    value["data"][0]["paragraphs"][0]["document_id"] = 3
    found = read_files("squad", [put(tmp_path / "a.json", value), put(tmp_path / "b.json", squad(split="dev"))])
    assert found.passed_over == {"answer_end": 1, "document_id": 1, "is_imposible": 1, "source": 1, "split": 1}
    assert read_files("rewriting", [put(tmp_path / "c.json", [{**QRECC, "Contexts": []}])]).passed_over == {"Contexts": 1}
    question = {"id": "q", "question": "Who?", "answers": ["Ann"], "passage_id": "p", "url": "x"}
    assert read_files("public", [lines(tmp_path / "d.jsonl", question)]).passed_over == {"url": 1}


def test_half_a_surrogate_pair_is_named_by_line(tmp_path: Path) -> None:
    for format_, value in (("squad", squad(question="Who \ud83d?")), ("rewriting", [CANARD, {**CANARD, "Question": "\udc00"}])):
        text = json.dumps(value, indent=0)
        line = next(number for number, each in enumerate(text.split("\n"), 1) if "\\ud" in each)
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(DataError, match=rf"a\.json:{line}: holds half a surrogate pair"):
            read_files(format_, [tmp_path / "a.json"])
    (tmp_path / "a.json").write_text(json.dumps(squad(question="Who \U0001f600 \\ud83d?")))
    assert read_files("squad", [tmp_path / "a.json"]).questions[0].question == "Who \U0001f600 \\ud83d?"


# --- the JSON file itself ---


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{\n "data": [1,\n}', r"a\.json:3: not JSON"),
        ("[]", r"a\.json:1: a JSON object is expected, not list"),
        ('{"data": [\n {},\n 7]}', r'a\.json:1: "data\[1\]" must be an object, found 7'),
        ("{}", r'a\.json:1: "data" is missing'),
    ],
)
def test_what_is_no_squad_file(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match=says):
        read_files("squad", [tmp_path / "a.json"])


def test_damaged_files_are_told(tmp_path: Path) -> None:
    (tmp_path / "cut.json.gz").write_bytes(gzip.compress(b"{}" * 999)[:-9])
    with pytest.raises(DataError, match="compressed file is cut off or damaged"):
        read_object(tmp_path / "cut.json.gz")
    with pytest.raises(DataError, match="cannot be read"):
        read_object(tmp_path / "none.json")
    (tmp_path / "latin.json").write_bytes(b'{"a": "\xe9"}')
    with pytest.raises(DataError, match="not UTF-8"):
        read_object(tmp_path / "latin.json")


def test_a_place_is_found_past_braces_in_strings_and_equal_keys(tmp_path: Path) -> None:
    """The row at fault is the second of the inner list on line 5."""
    text = '{"b": {"a": "]}"},\n "x": "\\"a\\": [",\n "a": [{"t": "{[\\""},\n\n  {"t": 1}]}'
    (tmp_path / "a.json").write_text(text)
    row = read_object(tmp_path / "a.json").nested_list("a")[1]
    with pytest.raises(DataError, match=r'a\.json:5 a\[1\]: "t" must be a string, found 1'):
        row.text("t")


def test_an_array_file(tmp_path: Path) -> None:
    assert [row.text("t") for row in read_array(put(tmp_path / "a.json", [{"t": "x"}, {"t": "y"}]))] == ["x", "y"]
    with pytest.raises(DataError, match=r"a\.json:5 \[1\]: a JSON object is expected, not int"):
        read_array(put(tmp_path / "a.json", [{"t": "x"}, 3]))
    with pytest.raises(DataError, match="a JSON array with at least one object is expected"):
        read_array(put(tmp_path / "a.json", []))


# --- rewriting ---

CANARD = {
    "History": ["Frank Zappa", "Disbandment", "What group disbanded?", "The Mothers"],
    "QuAC_dialog_id": "C_1",
    "Question": "When?",
    "Question_no": 2,
    "Rewrite": "When did the Mothers disband?",
}
QRECC = {
    "Context": ["What is a pier?", "", "Who built it?", "Ann Vale."],
    "Question": "And when?",
    "Rewrite": "When did Ann Vale build the pier?",
    "Answer": "1911",
    "Answer_URL": "",
    "Conversation_no": 4,
    "Turn_no": 3,
    "Conversation_source": "nq",
}


def test_canard(tmp_path: Path) -> None:
    history = (
        Turn(Speaker.TOPIC, "Frank Zappa - Disbandment"),
        Turn(Speaker.USER, "What group disbanded?"),
        Turn(Speaker.ASSISTANT, "The Mothers"),
    )
    (row,) = read_files("rewriting", [put(tmp_path / "dev.json", [CANARD])]).rewrites
    assert row == RewriteRow("C_1-2", history, "When?", "When did the Mothers disband?", conversation="C_1")


@pytest.mark.parametrize("challenge", [False, True])
def test_qrecc(tmp_path: Path, challenge: bool) -> None:
    row = {**QRECC, "Truth_rewrite": QRECC["Rewrite"], "Truth_passages": []} if challenge else QRECC
    if challenge:
        del row["Rewrite"]
    history = (Turn(Speaker.USER, "What is a pier?"), Turn(Speaker.USER, "Who built it?"), Turn(Speaker.ASSISTANT, "Ann Vale."))
    (found,) = read_files("rewriting", [put(tmp_path / "qrecc_train.json", [row])]).rewrites
    assert found == RewriteRow(
        "qrecc_train-4-3", history, "And when?", "When did Ann Vale build the pier?", conversation="qrecc_train-4"
    )


def test_blank_turns_are_left_out_and_listed(tmp_path: Path) -> None:
    found = read_files("rewriting", [put(tmp_path / "a.json", [CANARD, {**CANARD, "Question_no": 3, "Rewrite": " "}])])
    assert len(found.rewrites) == 1
    assert found.left_out == (LeftOut("C_1-3", "the question or its rewrite is blank"),)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([CANARD, CANARD], r"a\.json:14 \[1\]: turn 'C_1-2' stands already"),
        ([{**CANARD, "Question_no": "2"}], r'a\.json:2 \[0\]: "Question_no" must be a whole number'),
        ([{**CANARD, "History": ["only"]}], r'"History" must begin with the titles'),
        ([{key: value for key, value in QRECC.items() if key != "Rewrite"}], r'a\.json:2 \[0\]: "Rewrite" is missing'),
    ],
)
def test_bad_rewriting_rows(tmp_path: Path, rows: list[dict[str, Any]], says: str) -> None:
    with pytest.raises(DataError, match=says):
        read_files("rewriting", [put(tmp_path / "a.json", rows)])


# --- MT-RAG ---


def vote(value: str) -> dict[str, Any]:
    return {"relevant": {"ann@x": {"value": value, "timestamp": 1}}}


def task(turn: int, **more: Any) -> dict[str, Any]:
    said = [{"speaker": "user", "text": "Who built the pier?"}, {"speaker": "agent", "text": "Ann Vale."}]
    return {
        "conversation_id": "c1",
        "task_id": f"c1<::>{turn}",
        "contexts": [
            {"document_id": "d-0-9", "title": "Pier", "text": "Pier\nBuilt in 1911.", "score": 2.5, "feedback": vote("yes")},
            {"document_id": "d-9-20", "title": "Pier", "text": "Pier\nSwans.", "score": 1.0, "feedback": vote("no")},
        ],
        "input": [*said[: 2 * (turn - 1)], {"speaker": "user", "text": "And when?", "metadata": {}}],
        "targets": [{"speaker": "agent", "text": "In 1911."}],
        "Answerability": ["ANSWERABLE"],
        **more,
    }


def test_mtrag_tasks_with_their_rewrites(tmp_path: Path) -> None:
    tasks = lines(tmp_path / "reference.jsonl", task(2), task(1, Answerability=["CONVERSATIONAL"]))
    rewrites = lines(tmp_path / "pier_rewrite.jsonl", {"_id": "c1<::>2", "text": "|user|: When was the pier built?"})
    found = read_files("mtrag", [tasks, rewrites])
    assert found.passages == (
        SourcePassage("d-0-9", "Pier", "Built in 1911.", "Pier"),
        SourcePassage("d-9-20", "Pier", "Swans.", "Pier"),
    )
    history = (Turn(Speaker.USER, "Who built the pier?"), Turn(Speaker.ASSISTANT, "Ann Vale."))
    (question,) = found.questions
    assert question == QuestionRow(
        "c1::2",
        "And when?",
        ("In 1911.",),
        True,
        history,
        ("d-0-9",),
        standalone="When was the pier built?",
        group="c1",
    )
    (turn,) = found.rewrites
    assert (turn.rewrite, turn.conversation, turn.passage_ids) == ("When was the pier built?", "c1", ("d-0-9",))
    assert turn.id == "c1::2-turn"  # its own: what is measured of the question and of the turn is kept by id
    assert found.left_out == (LeftOut("c1::1", "conversational: it asks nothing of the documents"),)


def test_mtrag_without_votes_all_contexts_are_gold_and_an_unanswerable_task_has_no_answer(tmp_path: Path) -> None:
    bare = [{"document_id": "d", "text": "Swans."}, {"document_id": "e", "text": "Geese."}]
    rows = (
        task(1, contexts=bare),
        task(2, answerability=["UNANSWERABLE"], Answerability=["UNANSWERABLE"], contexts=bare),
    )
    first, second = read_files("mtrag", [lines(tmp_path / "a.jsonl", *rows)]).questions
    assert (first.answerable, first.passage_ids) == (True, ("d", "e"))
    assert (second.answerable, second.answers, second.passage_ids) == (False, (), ("d", "e"))


def test_mtrag_a_task_labelled_answerable_without_a_relevant_passage_is_left_out(tmp_path: Path) -> None:
    """Nothing says that the documents do not answer it: it must not teach a refusal."""
    irrelevant = [{"document_id": "d", "text": "Swans.", "feedback": vote("no")}]
    unanswerable = task(4, contexts=[], Answerability=["UNANSWERABLE"])
    rows = (task(2, contexts=[]), task(3, contexts=irrelevant, Answerability=["PARTIAL"]), unanswerable)
    found = read_files("mtrag", [lines(tmp_path / "a.jsonl", *rows)])
    assert [(row.id, row.answerable) for row in found.questions] == [("c1::4", False)]
    reason = "labelled answerable, but no relevant passage"
    assert found.left_out == (LeftOut("c1::2", reason), LeftOut("c1::3", reason))


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (task(1, input=[{"speaker": "agent", "text": "Hm."}]), r"a\.jsonl:2: \"input\" must end with the user's question"),
        (task(1, input=[{"speaker": "bot", "text": "Hm."}]), r'a\.jsonl:2 "input\[0\]": "speaker" must be one of user, agent'),
        (task(1, targets=[]), r'a\.jsonl:2: "targets" is empty'),
        (task(1, contexts=[{"text": "Swans."}]), r'a\.jsonl:2 "contexts\[0\]": "document_id" is missing'),
        (task(2), r"a\.jsonl:2: task 'c1::2' stands already"),
    ],
)
def test_bad_mtrag_rows(tmp_path: Path, row: dict[str, Any], says: str) -> None:
    with pytest.raises(DataError, match=says):
        read_files("mtrag", [lines(tmp_path / "a.jsonl", task(2), row)])


# --- plain JSON Lines ---


def test_each_plain_file_is_known_by_its_first_row(tmp_path: Path) -> None:
    found = read_files(
        "public",
        [
            lines(tmp_path / "p.jsonl", {"id": "p1", "title": "Pier", "text": "a"}, {"id": "p2", "title": "", "text": "b"}),
            lines(tmp_path / "q.jsonl", {"id": "q", "question": "?", "answers": ["a"], "passage_id": "p1", "answerable": True}),
            lines(
                tmp_path / "r.jsonl",
                {"id": "r1", "history": [], "question": "Who?", "rewrite": "Who?"},
                {"id": "r2", "history": ["User: Who?"], "question": "And when?", "rewrite": "When?"},
                {"id": "r3", "history": ["User: Why?"], "question": "So?", "rewrite": "So why?"},
                {"id": "r4", "history": ["User: Who?"], "question": "So?", "rewrite": "So who?", "conversation": "its own"},
            ),
            lines(
                tmp_path / "l.jsonl", {"id": "l1", "text": "hi", "label": "greet"}, {"id": "l2", "text": "go", "label": "ask_way"}
            ),
        ],
    )
    assert [(each.id, each.document) for each in found.passages] == [("p1", "Pier"), ("p2", "p2")]
    assert found.questions[0].passage_ids == ("p1",)
    first, second, third, named = (row.conversation for row in found.rewrites)
    assert first == second != third
    assert named == "its own"
    assert [(row.task, row.inputs.message, row.label) for row in found.judgments] == [
        ("intent", "hi", "greet"),
        ("intent", "go", "ask_way"),
    ]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"id": "x", "body": "?"}, r"a\.jsonl:1: keys body, id are those of no kind of file known here: passages"),
        ({"id": "x", "text": "?", "label": "only"}, "holds 1 label"),
        ({"id": "x", "question": "?", "answers": [], "passage_id": "p"}, r'a\.jsonl:1: "answers" is empty'),
    ],
)
def test_bad_plain_files(tmp_path: Path, row: dict[str, Any], says: str) -> None:
    with pytest.raises(DataError, match=says):
        read_files("public", [lines(tmp_path / "a.jsonl", row)])


def test_own_rows_are_known_by_the_name_of_their_file(tmp_path: Path) -> None:
    question = {"id": "q", "question": "?", "answers": ["a"], "passage_ids": ["d.md#1"], "answerable": True}
    embed = {"query_id": "q", "query": "?", "positive_ids": ["d.md#1"]}
    found = read_files(
        "own",
        [
            lines(tmp_path / "passages.jsonl", {"id": "d.md#1", "title": "D", "text": "a"}),
            lines(tmp_path / "synthesizer.jsonl", question),
            lines(tmp_path / "embedder.jsonl", embed),
        ],
    )
    assert found.final
    assert found.passages == (SourcePassage("d.md#1", "D", "a", "d.md"),)
    assert (len(found.questions), len(found.embeds)) == (1, 1)
    with pytest.raises(DataError, match=r"mine\.jsonl: the name says what the rows are; call the file one of passages\.jsonl, "):
        read_files("own", [lines(tmp_path / "mine.jsonl", question)])


def test_unknown_formats_are_refused() -> None:
    with pytest.raises(InputError, match="format 'csv' is not known; known: squad, rewriting, mtrag, public, own"):
        read_files("csv", [])
    assert len(FORMATS) == 5
