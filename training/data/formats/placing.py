"""The rows of a set with the ids of the new passages. Rows and fields that no longer hold are left out, with the reason.

Knows no split and writes nothing.
"""

from __future__ import annotations

import random
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace

from lorag.training.data.formats.documents import Corpus
from lorag.training.data.formats.gold import answerability_rows, place_question, stands_in
from lorag.training.data.formats.source import LeftOut, Source
from lorag.training.data.rows import EmbedRow, JudgeRow, QuestionRow, RewriteRow


@dataclass(frozen=True, slots=True)
class Placed:
    """The rows with the ids of the new passages."""

    questions: list[QuestionRow]
    rewrites: list[RewriteRow]
    judgments: list[JudgeRow]
    embeds: list[EmbedRow]
    left_out: list[LeftOut]


def normalised(text: str) -> str:
    """`text` with case folded and white space collapsed."""
    return " ".join(text.casefold().split())


def withhold(source: Source, share: float, seed: int) -> Source:
    """`source` without a `share` (0 to 1) of its passages with questions, drawn by `seed`.

    Their questions become unanswerable, with the document as group. Questions that a remaining passage answers are left out.
    """
    documents = {passage.id: passage.document for passage in source.passages}
    single = {row.passage_ids[0] for row in source.questions if row.answerable and len(row.passage_ids) == 1}
    asked = sorted(single & documents.keys())
    withheld = set(random.Random(seed).sample(asked, round(share * len(asked))))
    if not withheld:
        return source
    rest: dict[str, list[str]] = {}
    for passage in source.passages:
        if passage.id not in withheld:
            rest.setdefault(passage.document, []).append(passage.text)
    remaining_ids = documents.keys() - withheld
    answered = {_wording(row) for row in source.questions if row.answerable and not remaining_ids.isdisjoint(row.passage_ids)}
    questions: list[QuestionRow] = []
    left_out = list(source.left_out)
    for row in source.questions:
        key = row.passage_ids[0] if len(row.passage_ids) == 1 and row.answerable else ""
        if key not in withheld:
            questions.append(row)
        elif any(stands_in(text, answer) for text in rest.get(documents[key], ()) for answer in row.answers):
            left_out.append(LeftOut(row.id, "its passage is withheld, but its answer stands elsewhere in the document"))
        elif _wording(row) in answered:
            left_out.append(LeftOut(row.id, "its passage is withheld, but another passage answers the same question"))
        else:
            questions.append(
                replace(row, answers=(), answerable=False, passage_ids=(), quotes=(), group=row.group or documents[key])
            )
    remaining = tuple(passage for passage in source.passages if passage.id not in withheld)
    return replace(source, passages=remaining, questions=tuple(questions), left_out=tuple(left_out))


def as_they_are(source: Source) -> Placed:
    """The rows of a final source. Embedder rows are made of its questions if it has none of its own."""
    embeds, left_out = (list(source.embeds), []) if source.embeds else _embeds(source.questions)
    return Placed(list(source.questions), list(source.rewrites), list(source.judgments), embeds, left_out)


def place(source: Source, corpus: Corpus) -> Placed:
    """Every row with the ids of `corpus`. A question that others' passages answer, but not its own, becomes judgments."""
    questions: list[QuestionRow] = []
    judgments = list(source.judgments)
    left_out: list[LeftOut] = []
    asked: dict[Hashable, QuestionRow] = {}
    for row in sorted(source.questions, key=lambda row: not row.answerable):
        twin = None if row.answerable else asked.get(_wording(row))
        found = place_question(row, corpus)
        if isinstance(found, LeftOut):
            left_out.append(found)
        elif twin is not None and row.passage_ids:
            judgments += answerability_rows(row, twin, corpus)
        else:
            questions.append(found)
            if row.answerable:
                asked[_wording(row)] = found
    rewrites: list[RewriteRow] = []
    for turn in source.rewrites:
        placed, reason = _place_turn(turn, corpus)
        rewrites.append(placed)
        if reason:
            left_out.append(LeftOut(turn.id, f"turn kept without its passages: {reason}"))
    embeds, fragments = _embeds(questions)
    return Placed(questions, rewrites, judgments, embeds, [*left_out, *fragments])


def _wording(row: QuestionRow) -> Hashable:
    """A key that is equal for the same questions; follow-ups are the same only after the same conversation."""
    return (() if row.standalone else row.history, normalised(row.standalone or row.question))


def _place_turn(turn: RewriteRow, corpus: Corpus) -> tuple[RewriteRow, str]:
    """`turn` with the ids of `corpus`, and why it lost its passages ("" if it did not)."""
    bare = replace(turn, passage_ids=(), quotes=())
    if not turn.passage_ids:
        return bare, ""
    if not turn.answers:
        return bare, "it has no answer to find there"
    row = QuestionRow(turn.id, turn.rewrite, turn.answers, True, passage_ids=turn.passage_ids, quotes=turn.quotes)
    placed = place_question(row, corpus)
    if isinstance(placed, LeftOut):
        return bare, placed.reason
    return replace(turn, passage_ids=placed.passage_ids, quotes=placed.quotes), ""


def _embeds(questions: Iterable[QuestionRow]) -> tuple[list[EmbedRow], list[LeftOut]]:
    """The embedder's rows of answerable questions. A follow-up without a standalone form gives none."""
    embeds: list[EmbedRow] = []
    left_out: list[LeftOut] = []
    for row in questions:
        if not row.answerable or not row.passage_ids:
            continue
        if row.history and not row.standalone:
            left_out.append(LeftOut(row.id, "no embedder row: it follows a conversation and has no standalone form"))
        else:
            embeds.append(EmbedRow(row.id, row.standalone or row.question, row.passage_ids, row.near_ids, row.group, row.origin))
    return embeds, left_out
