"""Plain JSON Lines sets: passages, questions with answers, questions in conversation with rewrites, labelled texts.

The keys of the first row decide the kind of the file; every row must then fit (further keys are counted and passed over):

- passages `{"id","title","text"}`
- questions `{"id","question","answers","passage_id" or "passage_ids","answerable"}`, with `history`, `label`, `answer_type`,
  `standalone` if the set has them
- rewriting `{"id","history","question","rewrite"}`, with `rewrites`
- labels `{"id","text","label"}`

Passages of one title are one document; a passage without a title is a document of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from lorag.pipeline.contracts.judge import LabelSchema, intent_schema
from lorag.pipeline.errors import DataError
from lorag.pipeline.records import Speaker, Turn
from lorag.pipeline.storage.jsonl import read_lines
from lorag.training.data.formats.source import Source, SourcePassage
from lorag.training.data.rows import RewriteRow, read_labels, read_passages, read_questions, read_rewrites


def read_public(path: Path) -> Source:
    """Read one .jsonl or .jsonl.gz file. Raises DataError naming file and line."""
    first = next(read_lines(path))
    keys, extra = first.fields.keys(), Counter[str]()
    if {"question", "rewrite"} <= keys:
        rows = read_rewrites(path, extra)
        named = tuple(replace(row, conversation=row.conversation or _conversation(row)) for row in rows)
        return Source(rewrites=named, passed_over=extra)
    if {"question", "answers"} <= keys and keys & {"passage_id", "passage_ids", "answerable"}:
        return Source(questions=read_questions(path, extra), passed_over=extra)
    if {"text", "label"} <= keys:
        return Source(judgments=read_labels(path, label_schema(path), extra), passed_over=extra)
    if {"id", "text"} <= keys:
        rows_ = read_passages(path, extra)
        passages = tuple(SourcePassage(row.id, row.title, row.text, row.title.strip() or row.id) for row in rows_)
        return Source(passages, passed_over=extra)
    raise DataError(
        f"{first.where}: keys {', '.join(sorted(keys))} are those of no kind of file known here: passages (id, title, text), "
        "questions (id, question, answers, passage_id), rewriting (id, history, question, rewrite), labels (id, text, label)"
    )


def label_schema(path: Path) -> LabelSchema:
    """The labels of a file as intents, each with its own words as meaning. Raises DataError for fewer than two."""
    labels: Mapping[str, str] = {
        str(line.fields["label"]): str(line.fields["label"]).replace("_", " ")
        for line in read_lines(path)
        if "label" in line.fields
    }
    if len(labels) < 2:
        raise DataError(f"{path}: holds {len(labels)} label(s); a judge needs at least two to choose from")
    return intent_schema(dict(sorted(labels.items())))


def _conversation(row: RewriteRow) -> str:
    """A key for rows that name no conversation: those with the same first utterance are taken as one."""
    return str(row.history[0] if row.history else Turn(Speaker.USER, row.question)).strip().casefold()
