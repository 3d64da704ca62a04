"""The file of --history: both forms of a turn, and each mistake with the number of the turn that has it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lorag.conversation import query_of, read_history
from lorag.pipeline.errors import InputError
from lorag.pipeline.records import Speaker, Turn


def test_both_forms_of_a_turn(tmp_path: Path) -> None:
    turns = [
        "Topic: keys",
        "User: Who keeps: the key?",
        {"role": "assistant", "text": " The porter. "},
        {"role": "Human", "content": "And at night?"},
        {"role": "ai", "content": ""},
    ]
    (tmp_path / "h.json").write_text(json.dumps(turns), encoding="utf-8")
    assert read_history(tmp_path / "h.json") == (
        Turn(Speaker.TOPIC, "keys"),
        Turn(Speaker.USER, "Who keeps: the key?"),
        Turn(Speaker.ASSISTANT, "The porter."),
        Turn(Speaker.USER, "And at night?"),
        Turn(Speaker.ASSISTANT, ""),
    )


@pytest.mark.parametrize(
    ("turn", "says"),
    [
        ("Who?", "begins with neither 'User: '"),
        (3, "is neither text nor an object"),
        ({"role": "system", "text": "x"}, "role 'system' is none of user, human, assistant, ai, topic"),
        ({"text": "x"}, "role None is none of"),
        ({"role": "user"}, "needs its words under `text` or `content`"),
        ({"role": "user", "text": "a", "content": "b"}, "needs its words under `text` or `content`"),
        ({"role": "user", "text": ["a"]}, "needs its words under `text` or `content`"),
        ({"role": "user", "text": "a", "name": "b"}, "unknown key 'name'"),
    ],
)
def test_a_wrong_turn_is_named_by_its_number(tmp_path: Path, turn: Any, says: str) -> None:
    path = tmp_path / "h.json"
    path.write_text(json.dumps(["User: Hello.", turn]), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_history(path)
    assert says in str(caught.value)
    assert "turn 2: " in str(caught.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"[", "not JSON"),
        (b'"User: Hello."', "must be a list of turns"),
        (b'{"history": []}', "must be a list of turns"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_a_file_that_is_no_list(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "h.json").write_bytes(content)
    with pytest.raises(InputError, match=says):
        read_history(tmp_path / "h.json")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"h\.json: the history cannot be read \(No such file or directory\); check the path"):
        read_history(tmp_path / "h.json")


def test_a_question_or_a_turn_of_another_type_is_an_input_error() -> None:
    wrong: Any = 3
    with pytest.raises(InputError, match="a question is text or a Query, not int"):
        query_of(wrong)
    with pytest.raises(InputError, match=r"a history turn is a Turn or a line such as 'User: …', not int"):
        query_of("Who?", [wrong])
