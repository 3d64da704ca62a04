"""Question rewriting in conversations, one JSON array a file: CANARD (Elgohary et al. 2019) and QReCC (Anantha et al. 2021).

CANARD: `{"History": [article, section, question, answer, …], "QuAC_dialog_id", "Question", "Question_no", "Rewrite"}`.
QReCC: `{"Context": [question, answer, …], "Question", "Rewrite", "Answer", "Conversation_no", "Turn_no", …}`, also in the form
of its 2021 challenge (`Truth_rewrite` for `Rewrite`).
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from lorag.pipeline.records import Speaker, Turn
from lorag.training.data.fields import Fields
from lorag.training.data.formats.json_file import read_array
from lorag.training.data.formats.source import LeftOut, Source
from lorag.training.data.rows import RewriteRow

_HEADINGS = 2
"""CANARD's history begins with the titles of the article and the section."""


def read_rewriting(path: Path) -> Source:
    """Read a .json or .json.gz file; the keys of each object decide which of the two sets it is of.

    Raises DataError naming file, line and row. A turn whose question or rewrite is blank is left out, and listed.
    Keys of other editions are counted and passed over.
    """
    rows: list[RewriteRow] = []
    left_out: list[LeftOut] = []
    seen: set[str] = set()
    extra: Counter[str] = Counter()
    for fields in read_array(path, extra):
        row = _canard(fields) if fields.has("History") else _qrecc(fields, path)
        fields.finish()
        if row.id in seen:
            raise fields.error(f"turn {row.id!r} stands already in this file; a turn may stand once")
        seen.add(row.id)
        if row.question.strip() and row.rewrite.strip():
            rows.append(row)
        else:
            left_out.append(LeftOut(row.id, "the question or its rewrite is blank"))
    return Source(rewrites=tuple(rows), left_out=tuple(left_out), passed_over=extra)


def _canard(fields: Fields) -> RewriteRow:
    history, dialog = fields.texts("History", blank=True, required=True), fields.text("QuAC_dialog_id")
    if len(history) < _HEADINGS:
        raise fields.error('"History" must begin with the titles of article and section')
    topic = Turn(Speaker.TOPIC, " - ".join(title.strip() for title in history[:_HEADINGS] if title.strip()))
    return RewriteRow(
        id=f"{dialog}-{fields.integer('Question_no')}",
        history=(topic, *_turns(history[_HEADINGS:])),
        question=fields.text("Question", blank=True),
        rewrite=fields.text("Rewrite", blank=True),
        conversation=dialog,
    )


def _qrecc(fields: Fields, path: Path) -> RewriteRow:
    gold = "Truth_rewrite" if fields.has("Truth_rewrite") else "Rewrite"
    conversation = f"{path.name.partition('.')[0]}-{fields.integer('Conversation_no')}"
    fields.pass_over("Answer", "Answer_URL", "Conversation_source", "Truth_answer", "Truth_passages", "Passages")
    return RewriteRow(
        id=f"{conversation}-{fields.integer('Turn_no')}",
        history=_turns(fields.texts("Context", blank=True, required=True)),
        question=fields.text("Question", blank=True),
        rewrite=fields.text(gold, blank=True),
        conversation=conversation,
    )


def _turns(utterances: tuple[str, ...]) -> tuple[Turn, ...]:
    """Alternating questions and answers, the question first; blank ones (an answer not found) are skipped."""
    speakers = (Speaker.USER, Speaker.ASSISTANT)
    return tuple(Turn(speakers[at % 2], text.strip()) for at, text in enumerate(utterances) if text.strip())
