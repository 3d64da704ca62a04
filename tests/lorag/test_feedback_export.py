"""Feedback for other tools: every line has the fields that the tool's own code names, and nothing is lost or written in part."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from lorag.feedback_export import FeedbackForm, as_form, write_export
from lorag.pipeline.errors import DataError, InputError
from lorag.pipeline.feedback.records import Feedback, Opinion, Rating, Reason
from lorag.pipeline.storage.strict_json import build
from tests.pipeline.feedback.given import FERRY, KEYS, answer_id, feedback

HISTORY = ("Topic: keys", "User: Hello", "Assistant: Good day: what now?")
WHOLE = Opinion(Rating.DOWN, (Reason.INCORRECT, Reason.OTHER), "no: é 🗝️\n", "The deputy.", "Who has the key?", (FERRY,), (KEYS,))
ENTRIES = (
    feedback(1, opinion=WHOLE, history=HISTORY, conversation=answer_id(9)),
    feedback(2, opinion=Opinion(Rating.UP)),
    feedback(3, opinion=Opinion(not_in_documents=True, comment="nowhere")),
)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def exported(tmp_path: Path, form: FeedbackForm) -> Path:
    write_export(ENTRIES, tmp_path / "first", form)
    write_export(ENTRIES, tmp_path / "second", form)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    return tmp_path / "first"


def test_lorags_own_lines_read_back_as_what_is_kept(tmp_path: Path) -> None:
    read = [build(Feedback, line, "line") for line in lines(exported(tmp_path, FeedbackForm.LORAG))]
    assert read == list(ENTRIES)


def test_langfuse_gets_a_trace_and_a_score_for_each_thing_said(tmp_path: Path) -> None:
    events = lines(exported(tmp_path, FeedbackForm.LANGFUSE))
    assert all(event.keys() == {"id", "type", "timestamp", "body"} for event in events)
    assert len({event["id"] for event in events}) == len(events)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", event["timestamp"]) for event in events)
    traces = [event["body"] for event in events if event["type"] == "trace-create"]
    assert [each["id"] for each in traces] == [answer_id(number) for number in (1, 2, 3)]
    assert (traces[0]["sessionId"], traces[0]["userId"]) == (answer_id(9), "web")
    assert traces[0]["input"] == [
        {"role": "system", "content": "keys"},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Good day: what now?"},
        {"role": "user", "content": "Who keeps the key?"},
    ]
    assert traces[0]["output"] == {"role": "assistant", "content": "The porter. [1]"}
    assert [hit["passage_id"] for hit in traces[0]["metadata"]["hits"]] == [KEYS, FERRY]
    scores = [event["body"] for event in events if event["type"] == "score-create"]
    said = [(each["traceId"], each["name"], each["value"], each["dataType"]) for each in scores]
    assert said == [
        (answer_id(1), "user-feedback", 0, "BOOLEAN"),
        (answer_id(1), "reason-incorrect", 1, "BOOLEAN"),
        (answer_id(1), "reason-other", 1, "BOOLEAN"),
        (answer_id(1), "output", "The deputy.", "CORRECTION"),
        (answer_id(1), "corrected-question", "Who has the key?", "CATEGORICAL"),
        (answer_id(2), "user-feedback", 1, "BOOLEAN"),
        (answer_id(3), "user-feedback", "comment", "CATEGORICAL"),
        (answer_id(3), "not-in-documents", 1, "BOOLEAN"),
    ]
    assert (scores[0]["comment"], scores[0]["metadata"]) == (
        "no: é 🗝️",
        {"wrong_passages": [FERRY], "right_passages": [KEYS]},
    )


OPEN_WEBUI = {"id": str, "user_id": str, "version": int, "type": str, "data": dict, "meta": dict, "snapshot": dict}
"""`FeedbackModel` of Open WebUI, besides its two times."""


def test_open_webui_gets_its_own_records_in_one_list(tmp_path: Path) -> None:
    found = json.loads(exported(tmp_path, FeedbackForm.OPENWEBUI).read_text(encoding="utf-8"))
    for each in found:
        assert each.keys() == {*OPEN_WEBUI, "created_at", "updated_at"}
        assert all(isinstance(each[key], kind) for key, kind in OPEN_WEBUI.items())
        assert each["created_at"] == each["updated_at"] > 1_700_000_000
        assert UUID(each["id"])
    first = found[0]
    assert [each["data"]["rating"] for each in found] == [-1, 1, None]
    assert (first["data"]["reason"], first["data"]["comment"]) == ("incorrect, other", "no: é 🗝️")
    assert first["data"]["lorag"] == {
        "answer": "The deputy.",
        "question": "Who has the key?",
        "wrong_passages": [FERRY],
        "right_passages": [KEYS],
    }
    assert "lorag" not in found[1]["data"]
    assert (first["meta"]["chat_id"], first["meta"]["message_id"], first["meta"]["message_index"]) == (
        answer_id(9),
        answer_id(1),
        5,
    )
    chat = first["snapshot"]["chat"]["chat"]["history"]
    at, said = chat["currentId"], []
    while at is not None:
        message = chat["messages"][at]
        said.append(message["content"])
        assert all(chat["messages"][child]["parentId"] == at for child in message["childrenIds"])
        at = message["parentId"]
    assert said == ["The porter. [1]", "Who keeps the key?", "Good day: what now?", "Hello", "keys"]


@pytest.mark.parametrize("form", list(FeedbackForm))
def test_a_file_that_cannot_be_written_is_said_in_one_line(tmp_path: Path, form: FeedbackForm) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(DataError, match="cannot be written"):
        write_export(ENTRIES, tmp_path / "out", form)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_unknown_form_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match="'csv' is no form of export; there are: lorag, langfuse, openwebui"):
        as_form("csv")
