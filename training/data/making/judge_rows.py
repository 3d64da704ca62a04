"""Accepted questions → the judge's rows: relevance, answerability and support, by how they are made and without an oracle.

Relevance: 3 is the gold passage, 1 another one of its document without the answer, 0 a far one, and 2 one of the two that a
question of two parts needs. Answerability: the gold passage is shown, or withheld, or shown without the sentence. Support: the
answer or its sentence; a swapped value, a negation, the right answer to another question on the passage; and for “partly” two
statements of which one is changed. Intents cannot be derived. All passages lie on the question's side of the split.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lorag.pipeline.adapters.evidence import DataOrigin
from lorag.pipeline.contracts.context import PassageText, one_line
from lorag.pipeline.contracts.judge import ANSWERABILITY, RELEVANCE, SUPPORT, JudgeInputs, LabelSchema
from lorag.pipeline.contracts.question import Manner
from lorag.pipeline.records import Role
from lorag.pipeline.retrieval.sentences import sentences
from lorag.training.data.making.corpus import Corpus
from lorag.training.data.making.filters import sentence_of
from lorag.training.data.making.others import holds
from lorag.training.data.making.records import Accepted, MadeRow, Span, draw, placed, shuffled
from lorag.training.data.making.swaps import VALUES, negated, other_value, values_of, with_other_value
from lorag.training.data.making.synthesizer_rows import answer_of
from lorag.training.data.rows import JudgeRow, PassageRow, document_of

_SHOWN = 3
"""Passages beside a question of answerability, at most."""
_LEAST_LEFT = 8
_LEAST_WORDS = 4
_TWO_PARTS = 0.15
"""Share of the questions that are joined with another one."""


@dataclass(frozen=True, slots=True)
class _Case:
    """A judgment: what is judged, its label, the passages, and how it was made."""

    schema: LabelSchema
    inputs: JudgeInputs
    label: str
    passage_ids: tuple[str, ...]
    how: str


class _Neighbours:
    """What a question's judgments take from its surroundings: passages, values and questions of its document and side."""

    def __init__(self, accepted: Sequence[Accepted], corpus: Corpus) -> None:
        self.corpus = corpus
        self.of_passage: dict[str, list[Accepted]] = defaultdict(list)
        self.of_document: dict[str, list[Accepted]] = defaultdict(list)
        for each in accepted:
            self.of_passage[each.candidate.span.passage_id].append(each)
            self.of_document[document_of(each.candidate.span.passage_id)].append(each)
        self._documents: dict[str, list[PassageRow]] = defaultdict(list)
        self._sides: dict[str, list[PassageRow]] = defaultdict(list)
        for passage in corpus.passages.values():
            self._documents[document_of(passage.id)].append(passage)
            self._sides[corpus.grouping.split_of(passage.id)].append(passage)
        self._values: dict[str, tuple[Span, ...]] = {}

    def passages(self, each: Accepted) -> Sequence[PassageRow]:
        """Those of its document."""
        return self._documents[document_of(each.candidate.span.passage_id)]

    def values(self, each: Accepted) -> tuple[Span, ...]:
        """The names, codes and figures of its document."""
        document = document_of(each.candidate.span.passage_id)
        if document not in self._values:
            self._values[document] = values_of(self._documents[document])
        return self._values[document]

    def side(self, each: Accepted) -> Sequence[PassageRow]:
        """All passages on its side of the split."""
        return self._sides[self.corpus.split_of(each)]

    def found(self, each: Accepted) -> list[PassageRow]:
        """Those on its side that a search finds and that do not answer it, the best first."""
        split, taken = self.corpus.split_of(each), {*each.passage_ids, *each.barred}
        names = [name for name in each.ranking if name not in taken and self.corpus.grouping.split_of(name) == split]
        return [self.corpus.passages[name] for name in names]


def judge_rows(accepted: Sequence[Accepted], corpus: Corpus) -> list[MadeRow]:
    """Two judgments of each task for a question, as far as its surroundings give them: one with the best label, one without."""
    around = _Neighbours(accepted, corpus)
    rows: list[MadeRow] = []
    for each in accepted:
        cases = (*_relevance(each, around), *_answerability(each, around), *_support(each, around))
        rows += [_made(number, case, each, corpus) for number, case in enumerate(cases, start=1)]
    return rows


def _made(number: int, case: _Case, each: Accepted, corpus: Corpus) -> MadeRow:
    row = JudgeRow(
        id=f"{each.candidate.id}-j{number}",
        task=case.schema.task,
        inputs=case.inputs,
        label=case.label,
        passage_ids=case.passage_ids,
        group=corpus.group_of(each),
        origin=DataOrigin.MADE,
    )
    return MadeRow(Role.JUDGE, corpus.split_of(each), row, (each,), f"{case.schema.task} {case.label}: {case.how}")


def _relevance(each: Accepted, around: _Neighbours) -> Iterator[_Case]:
    gold, question = around.corpus.gold_of(each), each.candidate.question
    yield _relevant(question, gold, "3", "gold")
    if draw("two parts", each.candidate.id) < _TWO_PARTS and (two := _two_parts(each, around)):
        yield _relevant(two, gold, "2", "one of two parts")
        return
    taken = {*each.passage_ids, *each.barred}
    near = [row for row in around.passages(each) if row.id not in taken and not holds(row.text, each.candidate.span.text)]
    far = [row for row in _far(each, around)]
    if near and (not far or draw("near", each.candidate.id) < 0.5):
        yield _relevant(question, min(near, key=lambda row: draw("near", each.candidate.id, row.id)), "1", "same document")
    elif far:
        yield _relevant(question, min(far, key=lambda row: draw("far", each.candidate.id, row.id)), "0", "far")


def _relevant(question: str, row: PassageRow, label: str, how: str) -> _Case:
    return _Case(RELEVANCE, JudgeInputs(question=question, passages=(row.shown(),)), label, (row.id,), how)


def _far(each: Accepted, around: _Neighbours) -> list[PassageRow]:
    """Passages on its side, of other groups, that no search finds for it and that do not hold its answer."""
    group, grouping, ranked = around.corpus.group_of(each), around.corpus.grouping, set(each.ranking)
    answer = each.candidate.span.text
    return [
        row for row in around.side(each) if grouping.group_of(row.id) != group and row.id not in ranked and answer not in row.text
    ]


def _two_parts(each: Accepted, around: _Neighbours) -> str:
    """The question and another one of its document, whose answer is in another passage, as one; '' if there is none."""
    mine = {*each.passage_ids, *each.barred}
    others = [
        other
        for other in shuffled(
            around.of_document[document_of(each.candidate.span.passage_id)], lambda one: (each.candidate.id, one.candidate.id)
        )
        if other.candidate.order.manner is Manner.FULL and not mine & set(other.passage_ids)
    ]
    if not others or each.candidate.order.manner is Manner.TERSE:
        return ""
    second = others[0].candidate.question
    return f"{each.candidate.question.rstrip(' ?.')}, and {second[:1].lower()}{second[1:].rstrip(' ?.')}?"


def _answerability(each: Accepted, around: _Neighbours) -> Iterator[_Case]:
    gold, question, span = around.corpus.gold_of(each), each.candidate.question, each.candidate.span
    shown = placed(gold, around.found(each)[: _SHOWN - 1], each.candidate.id)
    yield _answerable(question, [row.shown() for row in shown], shown, "answerable", "gold shown")
    left = gold.text.replace(sentence_of(gold.text, span.start, span.end), "").strip()
    cut = not (each.also or each.barred or holds(left, span.text)) and len(left.split()) >= _LEAST_LEFT
    far = around.found(each)[:_SHOWN]
    if cut and (not far or draw("cut", each.candidate.id) < 0.5):
        texts = [PassageText(gold.title, left) if row.id == gold.id else row.shown() for row in shown]
        yield _answerable(question, texts, shown, "unanswerable", "answer sentence removed")
    elif far and not each.barred:
        yield _answerable(question, [row.shown() for row in far], far, "unanswerable", "gold withheld")


def _answerable(question: str, texts: Sequence[PassageText], rows: Sequence[PassageRow], label: str, how: str) -> _Case:
    inputs = JudgeInputs(question=question, passages=tuple(texts))
    return _Case(ANSWERABILITY, inputs, label, tuple(row.id for row in rows), how)


def _support(each: Accepted, around: _Neighbours) -> Iterator[_Case]:
    gold, span = around.corpus.gold_of(each), each.candidate.span
    question, answer = each.candidate.question, answer_of(each)
    sentence = _statement(gold.text, span)
    whole = bool(sentence) and draw("whole", each.candidate.id) < 0.5
    yield _supported(
        "" if whole else question, sentence if whole else answer, gold, "supported", "sentence" if whole else "answer"
    )
    wrong = _wrong(each, around, question, answer, sentence)
    if wrong:
        how = min(wrong, key=lambda name: draw("wrong", each.candidate.id, name))
        asked, said = wrong[how]
        label = "partly" if how == "one of two statements changed" else "unsupported"
        yield _supported(asked, said, gold, label, how)


def _statement(text: str, span: Span) -> str:
    """The sentence of a span on one line; '' if it stands in a table, a heading or a line of a few words."""
    sentence = one_line(sentence_of(text, span.start, span.end))
    return "" if sentence.startswith(("|", "#")) or len(sentence.split()) < _LEAST_WORDS else sentence


def _wrong(each: Accepted, around: _Neighbours, question: str, answer: str, sentence: str) -> Mapping[str, tuple[str, str]]:
    """How → (question, answer) of judgments that the passage does not support, or only in part."""
    values, key, gold = around.values(each), each.candidate.id, around.corpus.gold_of(each)
    found: dict[str, tuple[str, str]] = {}
    kind = each.candidate.span.kind
    if kind in VALUES and (new := other_value(kind, answer, values, key)):
        found["another value of the document"] = (question, new)
    if changed := with_other_value(sentence, values, key):
        found["a value of the sentence changed"] = ("", changed)
    if opposite := negated(sentence):
        found["sentence negated"] = ("", opposite)
    others = [
        one for one in around.of_passage[gold.id] if not holds(answer_of(one), answer) and not holds(answer, answer_of(one))
    ]
    others = [one for one in others if one.candidate.id != key]
    if others:
        other = min(others, key=lambda one: draw("other", key, one.candidate.id))
        found["right answer to another question"] = (question, answer_of(other))
    second = [text for text in _sentences(gold.text) if text != sentence]
    for text in second:
        if sentence and (changed := with_other_value(text, values, key)):
            found["one of two statements changed"] = ("", f"{sentence} {changed}")
            break
    return found


def _sentences(text: str) -> list[str]:
    return [one_line(text[start:end]) for start, end in sentences(text) if not text[start:end].startswith(("|", "#"))]


def _supported(question: str, answer: str, row: PassageRow, label: str, how: str) -> _Case:
    return _Case(SUPPORT, JudgeInputs(question=question, answer=answer, passages=(row.shown(),)), label, (row.id,), how)
