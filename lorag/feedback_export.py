"""Feedback for other tools: Langfuse, Open WebUI, or LoRAG's own records, as JSON Lines if the tool has them.

Langfuse takes events in batches: `POST /api/public/ingestion` with `{"batch": [EVENT, …]}`. A line here is one such event. The
fields are those of `trace-create` and `score-create` in `packages/shared/src/server/ingestion/types.ts` of langfuse/langfuse. A
corrected answer is a score named `output` with the data type `CORRECTION`, as
`content/docs/observability/features/corrections.mdx` of langfuse/langfuse-docs says.

Open WebUI has no JSON Lines for feedback. Its export (`Feedbacks.svelte` of open-webui/open-webui) is one JSON list of the
records in `backend/open_webui/models/feedbacks.py`, so that is written. `data` and `meta` have the fields of
`ResponseMessage.svelte`. Those models take further fields: `data.lorag` holds what Open WebUI has no place for.
"""

from __future__ import annotations

import json
import uuid
from calendar import timegm
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from time import strptime
from typing import Any

from lorag.pipeline.errors import DataError, InputError
from lorag.pipeline.feedback.records import AnswerTrace, Feedback, Rating
from lorag.pipeline.storage.atomic import write_file
from lorag.pipeline.storage.jsonl import write_jsonl
from lorag.pipeline.storage.strict_json import plain

MODEL = "lorag"
_NAMESPACE = uuid.UUID("6b6f5f0e-5c1d-5a52-9a0b-6c6f72616702")


class FeedbackForm(StrEnum):
    LORAG = "lorag"
    LANGFUSE = "langfuse"
    OPENWEBUI = "openwebui"


def as_form(name: FeedbackForm | str) -> FeedbackForm:
    """The form of that name. Raises InputError with the known names."""
    try:
        return FeedbackForm(name)
    except ValueError:
        raise InputError(f"{name!r} is no form of export; there are: {', '.join(FeedbackForm)}") from None


def write_export(entries: Sequence[Feedback], path: Path, form: FeedbackForm) -> None:
    """Write feedback to `path`, whole or not at all. The bytes depend on the feedback alone. Raises DataError."""
    if form is FeedbackForm.OPENWEBUI:
        text = json.dumps([_open_webui(each) for each in entries], ensure_ascii=False) + "\n"
        try:
            write_file(path, text)
        except OSError as error:
            raise DataError(f"{path}: cannot be written ({error.strerror or error}); nothing was changed") from error
        return
    lines = map(plain, entries) if form is FeedbackForm.LORAG else (event for each in entries for event in _langfuse(each))
    write_jsonl(lines, path)


# --- Langfuse ---


def _langfuse(each: Feedback) -> Iterator[dict[str, Any]]:
    """The trace, then a score for each thing that was said. Ids derive from the answer's, so a second import adds nothing."""
    trace, opinion = each.trace, each.opinion
    yield _event(each, "trace-create", trace.asked, _langfuse_trace(trace))
    if opinion.rating is not None:
        value = 1 if opinion.rating is Rating.UP else 0
        yield _score(each, "user-feedback", value, "BOOLEAN", opinion.comment, _details(each))
    elif opinion.comment:
        yield _score(each, "user-feedback", "comment", "CATEGORICAL", opinion.comment, _details(each))
    for reason in opinion.reasons:
        yield _score(each, f"reason-{reason.value}", 1, "BOOLEAN")
    if opinion.not_in_documents:
        yield _score(each, "not-in-documents", 1, "BOOLEAN")
    if opinion.answer:
        yield _score(each, "output", opinion.answer, "CORRECTION")
    if opinion.question:
        yield _score(each, "corrected-question", opinion.question, "CATEGORICAL")


def _langfuse_trace(trace: AnswerTrace) -> dict[str, Any]:
    return {
        "id": trace.id,
        "timestamp": trace.asked,
        "name": MODEL,
        "sessionId": trace.conversation,
        "userId": trace.asked_by or None,
        "input": _messages(trace),
        "output": {"role": "assistant", "content": trace.reply},
        "metadata": {
            "rewrite": trace.rewrite,
            "hits": plain(trace.hits),
            "citations": plain(trace.citations),
            "refused": trace.refused,
            "adapters": dict(trace.adapters),
            "tenant": trace.tenant,
        },
    }


def _score(
    each: Feedback, name: str, value: float | str, kind: str, comment: str = "", metadata: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    body: dict[str, Any] = {"id": _id(each, name), "traceId": each.trace.id, "name": name, "value": value, "dataType": kind}
    body |= {"comment": comment} if comment else {}
    body |= {"metadata": dict(metadata)} if metadata else {}
    return _event(each, "score-create", each.given, body)


def _event(each: Feedback, kind: str, timestamp: str, body: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": _id(each, f"event {body.get('name')} {kind}"), "type": kind, "timestamp": timestamp, "body": dict(body)}


def _details(each: Feedback) -> dict[str, Any]:
    opinion = each.opinion
    named = {"wrong_passages": opinion.wrong_passages, "right_passages": opinion.right_passages}
    return {name: list(ids) for name, ids in named.items() if ids}


# --- Open WebUI ---


def _open_webui(each: Feedback) -> dict[str, Any]:
    trace, opinion = each.trace, each.opinion
    given = timegm(strptime(each.given, "%Y-%m-%dT%H:%M:%SZ"))
    rating = None if opinion.rating is None else 1 if opinion.rating is Rating.UP else -1
    said = {name: value for name, value in plain(opinion).items() if value and name not in ("rating", "reasons", "comment")}
    messages = _messages(trace)
    return {
        "id": _id(each, "feedback"),
        "user_id": each.given_by,
        "version": 0,
        "type": "rating",
        "data": {
            "rating": rating,
            "model_id": MODEL,
            "sibling_model_ids": None,
            "reason": ", ".join(opinion.reasons),
            "comment": opinion.comment,
            **({"lorag": said} if said else {}),
        },
        "meta": {
            "arena": False,
            "model_id": MODEL,
            "message_id": trace.id,
            "message_index": len(messages) + 1,
            "chat_id": trace.conversation,
            "base_models": {MODEL: None},
            "tags": [],
        },
        "snapshot": {"chat": _chat(trace, messages)},
        "created_at": given,
        "updated_at": given,
    }


def _chat(trace: AnswerTrace, messages: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """The chat up to the answer, each message the child of the one before."""
    chain: dict[str, dict[str, Any]] = {}
    before: str | None = None
    replied = {"role": "assistant", "content": trace.reply, "model": MODEL}
    ids = [str(uuid.uuid5(_NAMESPACE, f"{trace.id} {number}")) for number in range(len(messages))]
    for id_, message in zip((*ids, trace.id), (*messages, replied), strict=True):
        if before is not None:
            chain[before]["childrenIds"].append(id_)
        chain[id_] = {"id": id_, "parentId": before, "childrenIds": [], **message}
        before = id_
    chat = {"title": trace.question, "models": [MODEL], "history": {"messages": chain, "currentId": trace.id}}
    return {"id": trace.conversation, "user_id": trace.asked_by, "title": trace.question, "chat": chat}


# --- both ---


def _messages(trace: AnswerTrace) -> list[dict[str, str]]:
    """The conversation with the question as chat messages. A topic line is a system message."""
    roles = {"User": "user", "Assistant": "assistant", "Topic": "system"}
    turns = [line.partition(": ") for line in trace.history]
    return [*({"role": roles[who], "content": text} for who, _, text in turns), {"role": "user", "content": trace.question}]


def _id(each: Feedback, name: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, f"{each.trace.tenant}\0{each.trace.id}\0{name}"))
