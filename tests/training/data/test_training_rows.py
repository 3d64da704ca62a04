"""The readers of training rows: each schema read whole, each fault named with file and line, the public sets as they are."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from lorag.pipeline.contracts.context import PassageText
from lorag.pipeline.contracts.judge import BUILT_IN, JudgeInputs, intent_schema
from lorag.pipeline.errors import DataError
from lorag.pipeline.records import Speaker, Turn
from lorag.pipeline.storage.jsonl import read_lines
from lorag.training.data.rows import (
    EmbedRow,
    JudgeRow,
    PassageRow,
    QuestionRow,
    RewriteRow,
    Row,
    read_embeds,
    read_judgments,
    read_labels,
    read_passages,
    read_questions,
    read_rewrites,
    require_passages,
)
from lorag.training.data.writing import write_rows

INTENT = intent_schema({"how_to": "steps", "other": "anything else"})
SCHEMAS = {**BUILT_IN, "intent": INTENT}

Reader = Callable[[Path], tuple[Row, ...]]
Fields = dict[str, object]


def judgments(path: Path) -> tuple[JudgeRow, ...]:
    return read_judgments(path, SCHEMAS)


REWRITE: Fields = {"id": "c1-t2", "history": ["User: Who?", "Assistant: Ann."], "question": "When?", "rewrite": "When did Ann?"}
QUESTION: Fields = {"id": "q1", "question": "Who?", "answers": ["Ann"], "passage_ids": ["p1"], "answerable": True}
JUDGE: Fields = {"id": "j1", "task": "intent", "inputs": {"message": "Hi"}, "label": "other"}
EMBED: Fields = {"query_id": "q1", "query": "Who?", "positive_ids": ["p1"]}
PASSAGE: Fields = {"id": "p1", "title": "T", "text": "Ann."}
GOOD: Mapping[Reader, Mapping[str, object]] = {
    read_rewrites: REWRITE,
    read_questions: QUESTION,
    judgments: JUDGE,
    read_embeds: EMBED,
    read_passages: PASSAGE,
}


def put(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


HISTORY = (Turn(Speaker.USER, "Who?"), Turn(Speaker.ASSISTANT, "Ann."))
WHOLE: tuple[tuple[Reader, Fields, Row], ...] = (
    (read_rewrites, REWRITE, RewriteRow("c1-t2", HISTORY, "When?", "When did Ann?")),
    (
        read_rewrites,
        REWRITE
        | {"rewrites": ["x"], "answers": ["in May"], "passage_ids": ["p1"], "quotes": ["in May"]}
        | {"answerable": False, "conversation": "c1", "group": "G1"},
        RewriteRow("c1-t2", HISTORY, "When?", "When did Ann?", ("x",), ("in May",), ("p1",), ("in May",), False, "c1", "G1"),
    ),
    (read_questions, QUESTION, QuestionRow("q1", "Who?", ("Ann",), True, passage_ids=("p1",))),
    (
        read_questions,
        {"id": "q1", "question": "Who?", "answers": ["", "Ann", " "]},
        QuestionRow("q1", "Who?", ("Ann",), True),
    ),
    (
        read_questions,
        {"id": "q1", "question": "Who?", "answers": ["Ann"], "passage_id": "p1", "answerable": True},
        QuestionRow("q1", "Who?", ("Ann",), True, passage_ids=("p1",)),
    ),
    (
        read_questions,
        QUESTION | {"passage_id": "p1", "passage_ids": ["p2", "p1"]},
        QuestionRow("q1", "Who?", ("Ann",), True, passage_ids=("p2", "p1")),
    ),
    (
        read_questions,
        {"id": "q1", "question": "Who?", "history": ["User: a"], "answers": [], "answerable": False, "near_ids": ["p9"]}
        | {"voice": "expert", "group": "G1", "standalone": "Who?", "label": "no", "answer_type": "span", "quotes": ["b"]},
        QuestionRow(
            "q1", "Who?", (), False, (Turn(Speaker.USER, "a"),), (), ("p9",), ("b",), "Who?", "no", "span", "expert", "G1"
        ),
    ),
    (
        read_questions,
        {"id": "q1", "question": "Who?", "answers": [], "answerable": False, "passage_ids": ["p1"], "removed": ["Ann."]},
        QuestionRow("q1", "Who?", (), False, passage_ids=("p1",), removed=("Ann.",)),
    ),
    (judgments, JUDGE, JudgeRow("j1", "intent", JudgeInputs(message="Hi"), "other")),
    (
        judgments,
        {"id": "j2", "task": "relevance", "label": "3", "passage_ids": ["p1"], "group": "G1"}
        | {"inputs": {"question": "Who?", "history": ["User: a"], "passages": [{"title": "", "text": "Ann."}, {"text": "B"}]}},
        JudgeRow(
            "j2",
            "relevance",
            JudgeInputs(
                question="Who?",
                history=(Turn(Speaker.USER, "a"),),
                passages=(PassageText("", "Ann."), PassageText("", "B")),
            ),
            "3",
            ("p1",),
            "G1",
        ),
    ),
    (read_embeds, EMBED, EmbedRow("q1", "Who?", ("p1",))),
    (
        read_embeds,
        EMBED | {"negative_ids": ["p2"], "group": "G1"},
        EmbedRow("q1", "Who?", ("p1",), ("p2",), "G1"),
    ),
    (read_passages, {"id": "p1", "text": "Ann."}, PassageRow("p1", "", "Ann.")),
)


@pytest.mark.parametrize(("reader", "fields", "row"), WHOLE)
def test_row_is_read_and_written_back(reader: Reader, fields: dict[str, object], row: Row, tmp_path: Path) -> None:
    assert reader(put(tmp_path / "in.jsonl", fields)) == (row,)
    assert write_rows([row], tmp_path / "new" / "out.jsonl.gz") == 1
    assert reader(tmp_path / "new" / "out.jsonl.gz") == (row,)


@pytest.mark.parametrize("reader", GOOD)
def test_extra_key_names_line_and_what_is_known(reader: Reader, tmp_path: Path) -> None:
    row = GOOD[reader]
    name = "query_id" if reader is read_embeds else "id"
    path = put(tmp_path / "rows.jsonl", row, {**row, name: "z", "anwsers": []})
    with pytest.raises(DataError, match=r'rows\.jsonl:2: unknown "anwsers"; known here: .*id'):
        reader(path)


@pytest.mark.parametrize("reader", GOOD)
def test_repeated_id_names_both_lines(reader: Reader, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"rows\.jsonl:2: id .* stands already at .*rows\.jsonl:1"):
        reader(put(tmp_path / "rows.jsonl", GOOD[reader], GOOD[reader]))


FAULTS: tuple[tuple[Reader, dict[str, object], str], ...] = (
    (read_rewrites, {"question": 1}, '"question" must be a string, found 1'),
    (read_rewrites, {"rewrite": " "}, '"rewrite" is empty'),
    (read_rewrites, {"rewrite": None}, '"rewrite" must be a string, found null'),
    (read_rewrites, {"history": "User: a"}, '"history" must be a list'),
    (read_rewrites, {"history": ["a"]}, "begins with neither"),
    (read_rewrites, {"history": [7]}, r'"history\[0\]" must be a string, found 7'),
    (read_rewrites, {"rewrites": [""]}, r'"rewrites\[0\]" is empty'),
    (read_questions, {"answers": []}, '"answers" is empty'),
    (read_questions, {"answers": [" "]}, '"answers" is empty'),
    (read_questions, {"answers": "Ann"}, '"answers" must be a list'),
    (read_questions, {"answerable": 1}, '"answerable" must be true or false, found 1'),
    (read_questions, {"passage_id": "p7"}, 'p7.* is not among "passage_ids"'),
    (read_questions, {"passage_ids": ["p1", "p1"]}, "names a passage twice"),
    (read_questions, {"removed": ["Ann."]}, '"removed" takes the answer out of the passages; set "answerable" to false'),
    (read_questions, {"near_ids": ["p1"]}, "a gold passage of the same row"),
    (judgments, {"label": "how"}, "label 'how' is not one of task 'intent': how_to, other"),
    (judgments, {"label": 3}, '"label" must be a string, found 3'),
    (judgments, {"task": "mood"}, "judge task 'mood' has no label schema; known tasks: relevance"),
    (judgments, {"inputs": {}}, 'rows.jsonl:1 "inputs": nothing to judge'),
    (judgments, {"inputs": {"history": ["User: a"]}}, "nothing to judge"),
    (judgments, {"inputs": {"text": "a"}}, '"inputs": unknown "text"'),
    (judgments, {"inputs": {"passages": [{"title": "T", "text": ""}]}}, r'"inputs" "passages\[0\]": "text" is empty'),
    (judgments, {"inputs": {"passages": [{"id": "p", "text": "a"}]}}, 'unknown "id"'),
    (read_embeds, {"positive_ids": []}, '"positive_ids" is empty'),
    (read_embeds, {"negative_ids": ["p1"]}, "a gold passage of the same row"),
    (read_passages, {"text": "\n"}, '"text" is empty'),
    (read_passages, {"id": 4}, '"id" must be a string, found 4'),
)


@pytest.mark.parametrize(("reader", "change", "message"), FAULTS)
def test_faulty_field_is_named(reader: Reader, change: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"rows\.jsonl:1.*{message}|^(?=.*{message}).*rows\.jsonl:1"):
        reader(put(tmp_path / "rows.jsonl", {**GOOD[reader], **change}))


@pytest.mark.parametrize("reader", GOOD)
def test_each_required_field_is_missed(reader: Reader, tmp_path: Path) -> None:
    optional = {"passage_ids", "answerable", "title"}
    for key in GOOD[reader].keys() - optional:
        with pytest.raises(DataError, match=f'rows.jsonl:1: "{key}" is missing'):
            reader(put(tmp_path / "rows.jsonl", {k: v for k, v in GOOD[reader].items() if k != key}))


BROKEN = (
    (b"", r"f\.jsonl: has no rows"),
    (b"\n  \n", r"f\.jsonl: has no rows"),
    (b'{"id": 1}\n{"id": \n', r"f\.jsonl:2: not JSON"),
    (b'{"id": 1}\n\n["a"]\n', r"f\.jsonl:3: a JSON object is expected, not list"),
    (b'{"a": 1, "a": 2}\n', r"f\.jsonl:1: not JSON \(key 'a' stands there twice"),
    (b'{"a": "\xff"}\n', r"f\.jsonl:1: not UTF-8 text"),
    (b"[" * 100_000, r"f\.jsonl:1: not"),
)


@pytest.mark.parametrize(("data", "message"), BROKEN)
def test_broken_file_is_named_with_its_line(data: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    path.write_bytes(data)
    with pytest.raises(DataError, match=message):
        list(read_lines(path))


def test_missing_and_cut_off_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.jsonl: cannot be read \(No such file"):
        list(read_lines(tmp_path / "none.jsonl"))
    whole = gzip.compress("".join(f'{{"id": "{n}"}}\n' for n in range(500)).encode(), mtime=0)
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(whole[:-20])
    with pytest.raises(DataError, match=r"cut\.jsonl\.gz:\d+: the compressed file is cut off"):
        list(read_lines(cut))
    cut.write_bytes(b"no gzip at all")
    with pytest.raises(DataError, match=r"cut\.jsonl\.gz: cannot be read \(Not a gzipped file"):
        list(read_lines(cut))


def test_byte_order_mark_and_blank_lines_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "f.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": "\xc3\xa9"}\r\n\r\n{"b": 1}')
    assert [(line.where, dict(line.fields)) for line in read_lines(path)] == [(f"{path}:1", {"a": "é"}), (f"{path}:3", {"b": 1})]


def test_required_passages() -> None:
    passages = [PassageRow("p1", "", "a")]
    require_passages([EmbedRow("q", "a", ("p1",)), QuestionRow("q", "a", ("b",), True, passage_ids=("p1",))], passages, "f")
    for row in (
        EmbedRow("q", "a", ("p1",), ("p2",)),
        QuestionRow("q", "a", (), False, near_ids=("p2",)),
        RewriteRow("q", (), "a", "a", passage_ids=("p2",)),
    ):
        with pytest.raises(DataError, match="f: row 'q' names passage 'p2'"):
            require_passages([row], passages, "f")


DATA = os.environ.get("LORAG_DATA", "")
public = pytest.mark.skipif(not DATA, reason="LORAG_DATA names no folder of public sets")

# rows in each file, as its own README counts them
PUBLIC: tuple[tuple[str, Reader, int], ...] = (
    ("cisi.passages", read_passages, 1460),
    ("medquad.passages", read_passages, 24063),
    ("medquad.train", read_questions, 12840),
    ("nq_dpr_dev.questions", read_questions, 8756),
    ("nq_open.questions", read_questions, 3610),
    ("pacific_finance.passages", read_passages, 555),
    ("pacific_finance.train", read_questions, 1982),
    ("pubmedqa.train", read_questions, 1000),
    ("qed_nq.train", read_questions, 1340),
    ("rewrite_alexa_cqr.train", read_rewrites, 198),
    ("rewrite_canard.train", read_rewrites, 2403),
    ("rewrite_cast.train", read_rewrites, 900),
    ("rewrite_disflqa.train", read_rewrites, 7257),
    ("rewrite_gecor.train", read_rewrites, 2377),
    ("rewrite_ikat23.train", read_rewrites, 426),
    ("rewrite_pacific.train", read_rewrites, 3097),
    ("squad_newwiki.passages", read_passages, 1018),
    ("squad_newwiki.train", read_questions, 5033),
    ("squad_reddit.train", read_questions, 9777),
    ("unanswerable_derived.train", read_questions, 3248),
)


@public
@pytest.mark.parametrize(("name", "reader", "count"), PUBLIC)
def test_public_set_loads_as_it_is(name: str, reader: Reader, count: int) -> None:
    assert len(reader(Path(DATA) / f"{name}.jsonl.gz")) == count


@public
@pytest.mark.parametrize(
    ("name", "labels", "count"),
    [("intent_clinc150.test", 151, 5495), ("intent_hwu64.test", 64, 1076), ("product_category.val", 10, 3088)],
)
def test_public_labels_load_as_judgments(name: str, labels: int, count: int) -> None:
    path = Path(DATA) / f"{name}.jsonl.gz"
    names = sorted({str(line.fields["label"]) for line in read_lines(path)})
    assert len(names) == labels
    rows = read_labels(path, intent_schema(dict.fromkeys(names, "")))
    assert len(rows) == count
    assert {row.label for row in rows} == set(names)
    with pytest.raises(DataError, match=f"label '{names[-1]}' is not one of task 'intent'|label .* is not one of"):
        read_labels(path, intent_schema(dict.fromkeys(names[:-1], "")))
