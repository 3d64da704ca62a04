"""SQuAD JSON, versions 1.1 and 2.0 (Rajpurkar et al. 2016, arXiv 1606.05250; 2018, arXiv 1806.03822).

`{"data": [{"title", "paragraphs": [{"context", "qas": [{"id", "question", "answers": [{"text", "answer_start"}]}]}]}]}`. An
article is a document, a paragraph a passage. Strict: an answer that is not at its offset is refused.
"""

from __future__ import annotations

from pathlib import Path

from lorag.pipeline.retrieval.sentences import sentences
from lorag.training.data.fields import Fields
from lorag.training.data.formats.json_file import read_object
from lorag.training.data.formats.source import Source, SourcePassage
from lorag.training.data.rows import QuestionRow


def read_squad(path: Path) -> Source:
    """Read a .json or .json.gz file. Raises DataError naming file, line and the path to the row at fault."""
    root = read_object(path)
    articles = root.nested_list("data", required=True)
    root.pass_over("version")
    root.finish()
    passages: list[SourcePassage] = []
    questions: list[QuestionRow] = []
    seen: set[str] = set()
    for number, article in enumerate(articles):
        title = article.text("title", "", blank=True).replace("_", " ")
        document = f"{path.name}#{number}"
        for place, paragraph in enumerate(article.nested_list("paragraphs", required=True)):
            passage = SourcePassage(f"{document}.{place}", title, paragraph.text("context"), document)
            passages.append(passage)
            for qa in paragraph.nested_list("qas", required=True):
                row = _question(qa, passage)
                if row.id in seen:
                    raise qa.error(f"id {row.id!r} stands already in this file; ids must differ")
                seen.add(row.id)
                questions.append(row)
            paragraph.finish()
        article.finish()
    return Source(tuple(passages), tuple(questions))


def _question(qa: Fields, passage: SourcePassage) -> QuestionRow:
    impossible = qa.flag("is_impossible") or False
    answers = [_answer(answer, passage.text) for answer in qa.nested_list("answers", required=True)]
    qa.pass_over("plausible_answers")
    row_id, question = qa.text("id"), qa.text("question")
    qa.finish()
    if impossible and answers:
        raise qa.error('"is_impossible" is true, but there are "answers"')
    if not impossible and not answers:
        raise qa.error('"answers" is empty; give one, or set "is_impossible" to true')
    quotes = (_sentence(passage.text, *answers[0]),) if answers else ()
    texts = dict.fromkeys(passage.text[start:end] for start, end in answers)
    return QuestionRow(row_id, question, tuple(texts), not impossible, passage_ids=(passage.id,), quotes=quotes)


def _answer(answer: Fields, context: str) -> tuple[int, int]:
    """Its span in `context`, without white space at its ends."""
    text, start = answer.text("text"), answer.integer("answer_start")
    answer.finish()
    if start < 0 or context[start : start + len(text)] != text:
        found = context[max(0, start) : max(0, start) + len(text)]
        raise answer.error(f'"answer_start" {start} points at {found[:40]!r}, not at the answer {text[:40]!r}')
    start += len(text) - len(text.lstrip())
    return start, start + len(text.strip())


def _sentence(context: str, start: int, end: int) -> str:
    """The sentence or sentences that the answer overlaps."""
    over = [(low, high) for low, high in sentences(context) if low < end and start < high]
    return context[min(start, over[0][0]) : max(end, over[-1][1])] if over else context[start:end]
