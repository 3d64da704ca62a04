"""MT-RAG tasks (Katsis et al. 2025, arXiv 2501.03468): multi-turn questions with their passages, one JSON object a line.

A generation task: `{"task_id", "conversation_id", "input": [{"speaker", "text"}, …], "contexts": [{"document_id", "text",
"title"?}], "targets": [{"text"}], "Answerability"?}`; the last input is the question, those before it the conversation. A
retrieval query, `{"_id": task id, "text"}` of a `*_rewrite.jsonl`, is the question's standalone form. Other fields, about who
made the set and how, are ignored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from lorag.pipeline.records import Speaker, Turn
from lorag.pipeline.storage.jsonl import read_lines
from lorag.training.data.fields import Fields
from lorag.training.data.formats.source import LeftOut, Source, SourcePassage
from lorag.training.data.rows import QuestionRow, RewriteRow

_SPEAKERS = {"user": Speaker.USER, "agent": Speaker.ASSISTANT, "assistant": Speaker.ASSISTANT}
_SPEAKER_MARK = "|user|:"
_UNANSWERABLE, _CONVERSATIONAL = "UNANSWERABLE", "CONVERSATIONAL"


def read_mtrag(*paths: Path) -> Source:
    """Read task files and files of rewritten queries. Raises DataError naming file and line."""
    passages: dict[str, SourcePassage] = {}
    questions: dict[str, QuestionRow] = {}
    rewrites: dict[str, str] = {}
    left_out: list[LeftOut] = []
    for path in paths:
        for line in read_lines(path):
            fields = Fields(line.where, line.fields)
            if fields.has("_id"):
                rewrites[_task(fields.text("_id"))] = fields.text("text").strip().removeprefix(_SPEAKER_MARK).strip()
                continue
            row, shown, reason = _read_task(fields)
            if row.id in questions:
                raise fields.error(f"task {row.id!r} stands already in these files; give one file of each task")
            passages |= {passage.id: passage for passage in shown}
            if reason:
                left_out.append(LeftOut(row.id, reason))
            else:
                questions[row.id] = row
    return Source(
        tuple(passages.values()),
        tuple(replace(row, standalone=rewrites.get(row.id, "")) for row in questions.values()),
        tuple(_turn(row, rewrites) for row in questions.values() if row.id in rewrites),
        left_out=tuple(left_out),
    )


def _read_task(fields: Fields) -> tuple[QuestionRow, list[SourcePassage], str]:
    """The task, all passages that it shows, and why it is left out ("" if it is not)."""
    turns = [_utterance(turn) for turn in fields.nested_list("input", required=True)]
    if not turns or turns[-1].speaker is not Speaker.USER:
        raise fields.error('"input" must end with the user\'s question')
    contexts = fields.nested_list("contexts", required=True)
    passages = [_passage(context) for context in contexts]
    relevant = [p.id for p, context in zip(passages, contexts, strict=True) if _is_relevant(context)]
    judged = any(context.has("feedback") for context in contexts)
    gold = tuple(dict.fromkeys(relevant if judged else (passage.id for passage in passages)))
    kind = _answerability(fields)
    answerable = kind != _UNANSWERABLE and bool(gold)
    answers = [target.text("text") for target in fields.nested_list("targets", required=True)]
    if answerable and not answers:
        raise fields.error('"targets" is empty; an answerable task needs its answer')
    row = QuestionRow(
        id=_task(fields.text("task_id")),
        question=turns[-1].text,
        answers=tuple(answers) if answerable else (),
        answerable=answerable,
        history=tuple(turns[:-1]),
        passage_ids=gold,
        group=fields.text("conversation_id"),
    )
    return row, passages, _why_left_out(kind, gold)


def _why_left_out(kind: str, gold: Sequence[str]) -> str:
    if kind == _CONVERSATIONAL:
        return "conversational: it asks nothing of the documents"
    if kind not in ("", _UNANSWERABLE) and not gold:
        return "labelled answerable, but no relevant passage"
    return ""


def _utterance(turn: Fields) -> Turn:
    speaker = turn.text("speaker")
    if speaker not in _SPEAKERS:
        raise turn.error(f'"speaker" must be one of {", ".join(_SPEAKERS)}, found {speaker!r}')
    return Turn(_SPEAKERS[speaker], turn.text("text").strip())


def _passage(context: Fields) -> SourcePassage:
    """The set puts the title on a line before the text; passages of one title are one document."""
    passage_id, title, text = context.text("document_id"), context.text("title", "", blank=True).strip(), context.text("text")
    body = text.removeprefix(title).lstrip() if title else text
    return SourcePassage(passage_id, title, body or text, title or passage_id)


def _is_relevant(context: Fields) -> bool:
    """Whether any annotator marked it: `{"feedback": {"relevant": {WHO: {"value": "yes"}}}}`."""
    if not context.has("feedback"):
        return False
    found = context.raw("feedback")
    relevant = found.get("relevant") if isinstance(found, Mapping) else None
    votes = relevant.values() if isinstance(relevant, Mapping) else ()
    return any(isinstance(vote, Mapping) and vote.get("value") == "yes" for vote in votes)


def _answerability(fields: Fields) -> str:
    for key in ("Answerability", "answerability"):
        if fields.has(key):
            labels = fields.texts(key)
            return labels[0].upper() if labels else ""
    return ""


def _turn(row: QuestionRow, rewrites: Mapping[str, str]) -> RewriteRow:
    """The task's turn, under an id of its own, since scores are stored by row id for all roles together."""
    return RewriteRow(
        id=f"{row.id}-turn",
        history=row.history,
        question=row.question,
        rewrite=rewrites[row.id],
        answers=row.answers,
        passage_ids=row.passage_ids if row.answerable else (),
        answerable=row.answerable,
        conversation=row.group,
    )


def _task(text: str) -> str:
    """A task's id, with one of the two separators that the set's files use."""
    return text.replace("<::>", "::")
