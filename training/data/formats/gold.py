"""From the set's gold passages to LoRAG's: which chunks of the documents hold the answer, and in which words.

An answer that occurs verbatim in its passage is located in the sentence that fits the question best. Any other answer gets all
chunks of its passages. Pure text, no model.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from lorag.pipeline.adapters.evidence import DataOrigin
from lorag.pipeline.contracts.context import PassageText
from lorag.pipeline.contracts.judge import ANSWERABILITY, JudgeInputs
from lorag.pipeline.records import Passage
from lorag.pipeline.retrieval.sentences import sentences
from lorag.pipeline.stages.quoting import support
from lorag.training.data.formats.documents import Corpus, DocumentSpan
from lorag.training.data.formats.source import LeftOut
from lorag.training.data.rows import JudgeRow, QuestionRow, document_of

Span = tuple[int, int]


def place_question(row: QuestionRow, corpus: Corpus) -> QuestionRow | LeftOut:
    """`row` with the ids of `corpus`, its first document as group if it has none, and the sentence of its answer as quote.

    There is a quote only if one chunk holds the answer. Passages of an unanswerable question become its `near_ids`. The row is
    left out if a passage is not in the corpus, or if an answerable question names none.
    """
    row = replace(row, group=corpus.names.get(row.group, row.group))
    unknown = [passage_id for passage_id in row.passage_ids if passage_id not in corpus.spans]
    if unknown:
        return LeftOut(row.id, "its passage is not among the documents")
    whole = [corpus.spans[passage_id] for passage_id in row.passage_ids]
    row = replace(row, group=row.group or (whole[0].document if whole else ""))
    everything = tuple(piece for at in whole for piece in corpus.overlapping(at.document, at.start, at.end))
    if not row.answerable:
        return replace(row, passage_ids=(), near_ids=_ids(everything), quotes=())
    if not whole:
        return LeftOut(row.id, "it is answerable, but names no passage")
    for at in whole:
        for sentence, answer in _candidates(row, corpus.texts[at.document][at.start : at.end]):
            return _quoted(row, corpus, at, sentence, answer)
    if not everything:
        return LeftOut(row.id, "its passage holds nothing but headings")
    return replace(row, passage_ids=_ids(everything), quotes=())


def answerability_rows(row: QuestionRow, twin: QuestionRow, corpus: Corpus) -> tuple[JudgeRow, ...]:
    """Two judgments of a question that its own passages do not answer, but those of `twin`, already placed, do.

    One is of the misleading passages, one of the answering passages.
    """
    places = [corpus.spans[passage_id] for passage_id in row.passage_ids]
    misleading = tuple(PassageText(corpus.pieces[p.document][0].title, corpus.texts[p.document][p.start : p.end]) for p in places)
    ids = _ids(tuple(piece for p in places for piece in corpus.overlapping(p.document, p.start, p.end)))
    wanted = set(twin.passage_ids)
    home = corpus.pieces[document_of(twin.passage_ids[0])]
    gold = tuple(PassageText.of(piece) for piece in home if piece.id in wanted)

    origin = DataOrigin.of((row.origin, twin.origin))

    def judged(row_id: str, passages: tuple[PassageText, ...], label: str, passage_ids: tuple[str, ...]) -> JudgeRow:
        inputs = JudgeInputs(question=row.question, passages=passages)
        return JudgeRow(row_id, ANSWERABILITY.task, inputs, label, passage_ids, twin.group, origin)

    return judged(row.id, misleading, "unanswerable", ids), judged(f"{row.id}-gold", gold, "answerable", twin.passage_ids)


def stands_in(text: str, answer: str) -> bool:
    """Whether `answer` occurs in `text` as whole words, ignoring case and white space."""
    return next(_occurrences(text, answer), None) is not None


def _candidates(row: QuestionRow, text: str) -> Iterator[tuple[Span, Span]]:
    """Spans of sentence and answer in `text`, for each answer that occurs there; the set's own quotes first."""
    for quote in row.quotes:
        at = text.find(quote)
        for answer in row.answers:
            for start, end in _occurrences(quote, answer) if at >= 0 else ():
                yield (at, at + len(quote)), (at + start, at + end)
    for answer in row.answers:
        if stands_in(text, answer):
            sentence = support(text, row.question, answer)[0]
            found = next(_occurrences(text, answer, *sentence), None)
            if found is None:  # the best sentence is not one that holds the answer
                found = next(_occurrences(text, answer))
                sentence = _around(text, found)
            yield sentence, found


def _around(text: str, answer: Span) -> Span:
    """The sentence or sentences that `answer` overlaps."""
    over = [(start, end) for start, end in sentences(text) if start < answer[1] and answer[0] < end]
    return (min(answer[0], over[0][0]), max(answer[1], over[-1][1])) if over else answer


def _quoted(row: QuestionRow, corpus: Corpus, at: DocumentSpan, sentence: Span, answer: Span) -> QuestionRow | LeftOut:
    """The row with the chunks that hold the answer. If it is one chunk, the quote is the part of the sentence inside it."""
    pieces = corpus.overlapping(at.document, at.start + answer[0], at.start + answer[1])
    if not pieces:
        return LeftOut(row.id, "its answer stands in a heading, which no passage holds")
    if len(pieces) > 1:
        return replace(row, passage_ids=_ids(pieces), quotes=())
    piece = pieces[0]
    start, end = max(piece.start, at.start + sentence[0]), min(piece.end, at.start + sentence[1])
    quote = corpus.texts[at.document][start:end].strip()
    return replace(row, passage_ids=_ids(pieces), quotes=(quote,) if quote and quote in piece.text else ())


def _occurrences(text: str, answer: str, start: int = 0, end: int | None = None) -> Iterator[Span]:
    words = answer.split()
    if words:
        flexible = r"\s+".join(map(re.escape, words))
        pattern = re.compile(rf"(?<!\w){flexible}(?!\w)", re.IGNORECASE)
        for match in pattern.finditer(text, start, len(text) if end is None else end):
            yield match.span()


def _ids(pieces: tuple[Passage, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(piece.id for piece in pieces))
