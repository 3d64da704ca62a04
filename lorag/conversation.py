"""Reads a question and its conversation, from Python values or a JSON file, into a `Query`. Loads no model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lorag.pipeline.chain import check_query
from lorag.pipeline.contracts.context import parse_turn
from lorag.pipeline.errors import InputError
from lorag.pipeline.records import Query, Speaker, Turn

_SPEAKERS = {
    "user": Speaker.USER,
    "human": Speaker.USER,
    "assistant": Speaker.ASSISTANT,
    "ai": Speaker.ASSISTANT,
    "topic": Speaker.TOPIC,
}
_SHAPE = 'a turn is "User: …", "Assistant: …" or {"role": "user", "text": "…"}'


def query_of(question: str | Query, history: Sequence[Turn | str] = ()) -> Query:
    """The question with its history, oldest turn first. A turn may be a line `User: …` or `Assistant: …`.

    Raises InputError for an empty question, a history given in addition to a `Query`, or a turn of another form.
    """
    if isinstance(question, Query):
        if history:
            raise InputError("a Query holds its own history; give the history there")
        query = question
    else:
        if isinstance(history, str):
            raise InputError("history must be a list of turns, oldest first")
        if not isinstance(question, str):
            raise InputError(f"a question is text or a Query, not {type(question).__name__}")
        query = Query(question, tuple(_turn_of(turn) for turn in history))
    check_query(query)
    return query


def _turn_of(turn: object) -> Turn:
    if isinstance(turn, Turn):
        return turn
    if isinstance(turn, str):
        return parse_turn(turn)
    raise InputError(f"a history turn is a Turn or a line such as 'User: …', not {type(turn).__name__}")


def read_history(path: Path) -> tuple[Turn, ...]:
    """The turns in `path`, oldest first: a JSON list of `User: …` lines or of objects with `role` and `text` or `content`.

    Raises InputError that names the file and the number of the wrong turn, counted from 1.
    """
    try:
        turns = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: the history cannot be read ({error.strerror}); check the path") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON ({error}); the history is a list of turns, oldest first") from error
    if not isinstance(turns, list):
        raise InputError(f"{path}: must be a list of turns, oldest first; {_SHAPE}")
    return tuple(_turn(value, f"{path}: turn {number}") for number, value in enumerate(turns, 1))


def _turn(value: Any, where: str) -> Turn:
    if isinstance(value, str):
        try:
            return parse_turn(value)
        except InputError as error:
            raise InputError(f"{where}: {error}") from error
    if not isinstance(value, dict):
        raise InputError(f"{where}: is neither text nor an object; {_SHAPE}")
    if unknown := sorted(value.keys() - {"role", "text", "content"}):
        raise InputError(f"{where}: unknown key {unknown[0]!r}; {_SHAPE}")
    speaker = _SPEAKERS.get(str(value.get("role")).casefold())
    if speaker is None:
        raise InputError(f"{where}: role {value.get('role')!r} is none of {', '.join(_SPEAKERS)}; {_SHAPE}")
    texts = [value[key] for key in ("text", "content") if key in value]
    if len(texts) != 1 or not isinstance(texts[0], str):
        raise InputError(f"{where}: needs its words under `text` or `content`, as one string; {_SHAPE}")
    return Turn(speaker, texts[0].strip())
