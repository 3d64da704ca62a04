"""SQuAD JSON, versions 1.1 and 2.0 (Rajpurkar et al. 2016, arXiv 1606.05250; 2018, arXiv 1806.03822).

`{"data": [{"title", "paragraphs": [{"context", "qas": [{"id", "question", "answers": [{"text", "answer_start"}]}]}]}]}`. An
article is a document, a paragraph a passage. A question that cannot be used, such as one whose answers are not at their offsets,
is left out, and the others come in. Keys of other editions are counted and passed over.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from lorag.pipeline.retrieval.sentences import sentences
from lorag.training.data.fields import Fields
from lorag.training.data.formats.json_file import read_object
from lorag.training.data.formats.source import LeftOut, Source, SourcePassage
from lorag.training.data.rows import QuestionRow


def read_squad(path: Path) -> Source:
    """Read a .json or .json.gz file. Raises DataError naming file, line and the path to the row at fault."""
    extra: Counter[str] = Counter()
    root = read_object(path, extra)
    articles = root.nested_list("data", required=True)
    root.pass_over("version")
    root.finish()
    passages: list[SourcePassage] = []
    questions: list[QuestionRow] = []
    left_out: list[LeftOut] = []
    seen: set[str] = set()
    for number, article in enumerate(articles):
        title = article.text("title", "", blank=True).replace("_", " ")
        document = f"{path.name}#{number}"
        for place, paragraph in enumerate(article.nested_list("paragraphs", required=True)):
            passage = SourcePassage(f"{document}.{place}", title, paragraph.text("context", blank=True), document)
            if passage.text.strip():
                passages.append(passage)
            for qa in paragraph.nested_list("qas", required=True):
                row = _question(qa, passage)
                if row.id in seen:
                    raise qa.error(f"id {row.id!r} stands already in this file; ids must differ")
                seen.add(row.id)
                if isinstance(row, LeftOut):
                    left_out.append(row)
                else:
                    questions.append(row)
            paragraph.finish()
        article.finish()
    return Source(tuple(passages), tuple(questions), left_out=tuple(left_out), passed_over=extra)


def _question(qa: Fields, passage: SourcePassage) -> QuestionRow | LeftOut:
    impossible = qa.flag("is_impossible") or False
    given = [_answer(answer, passage.text) for answer in qa.nested_list("answers", required=not impossible)]
    answers = [answer for answer in given if answer is not None]
    qa.pass_over("plausible_answers")
    row_id, question = qa.text("id"), qa.text("question", blank=True)
    qa.finish()
    if not question.strip():
        return LeftOut(row_id, "its question is blank")
    if not passage.text.strip():
        return LeftOut(row_id, "its paragraph is blank")
    if impossible and given:
        return LeftOut(row_id, 'it has answers, but "is_impossible" is true')
    if not impossible and not given:
        return LeftOut(row_id, 'it has no answers, and "is_impossible" is not true')
    if not impossible and not answers:
        return LeftOut(row_id, 'none of its answers is in the paragraph at its "answer_start"')
    quotes = (_sentence(passage.text, *answers[0]),) if answers else ()
    texts = dict.fromkeys(passage.text[start:end] for start, end in answers)
    return QuestionRow(row_id, question, tuple(texts), not impossible, passage_ids=(passage.id,), quotes=quotes)


def _answer(answer: Fields, context: str) -> tuple[int, int] | None:
    """Its span in `context`, without white space at its ends; None if it is not at its offset."""
    text, start = answer.text("text", blank=True), answer.integer("answer_start")
    answer.finish()
    if not text.strip() or start < 0 or context[start : start + len(text)] != text:
        return None
    start += len(text) - len(text.lstrip())
    return start, start + len(text.strip())


def _sentence(context: str, start: int, end: int) -> str:
    """The sentence or sentences that the answer overlaps."""
    over = [(low, high) for low, high in sentences(context) if low < end and start < high]
    return context[min(start, over[0][0]) : max(end, over[-1][1])] if over else context[start:end]
