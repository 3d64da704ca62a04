"""Feedback on answers → rows of the roles that it speaks for, not yet split.

    a better question           rewriter: that is what the turn should have become
    the right answer            synthesizer and embedder, with the passages that hold it
    a wrong source              embedder: a hard negative; synthesizer: a passage that only seems to answer
    not in the documents        synthesizer: an unanswerable question; judge: passages that do not answer

A thumb alone makes no row: it says that a reader was content, not that the answer is right. Feedback that makes no row is named
with the reason. Pure text; knows no file and no model.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from lorag.pipeline.adapters.evidence import DataOrigin
from lorag.pipeline.contracts.citations import cited_numbers, without_marks
from lorag.pipeline.contracts.context import one_line, parse_turn
from lorag.pipeline.contracts.judge import ANSWERABILITY, JudgeInputs
from lorag.pipeline.contracts.refusals import declines
from lorag.pipeline.feedback.records import AnswerTrace, Feedback, Opinion, Rating
from lorag.pipeline.records import Speaker, Turn
from lorag.pipeline.retrieval.bm25 import Bm25Encoder
from lorag.pipeline.storage.digests import text_digest
from lorag.training.data.formats.gold import stands_in
from lorag.training.data.formats.source import LeftOut, Source, SourcePassage
from lorag.training.data.formats.splitting import groups
from lorag.training.data.rows import EmbedRow, JudgeRow, PassageRow, QuestionRow, RewriteRow, document_of

MOST_GOLD = 3
"""More passages than this that hold an answer alike do not tell which one is meant."""
FEW_TERMS, SHARE = 4, 0.8
"""Of at most so many terms of an answer a passage must hold all, of more this share."""

NO_WORDS = "a rating or a comment alone makes no row"
NO_GOLD = "no passage is known to hold the right answer; mark the source that does"
NO_RIGHT_SOURCE = "a wrong source, but no right one is known"
CHANGED = "the documents have changed: a passage that it names is not there any more"


@dataclass(frozen=True, slots=True)
class Conversations:
    """The conversations of feedback. Those that share an exchange are one group, which no split may cut.

    `group` is the name of an answer's group by the answer's id, `members` are the conversations of each group.
    """

    group: Mapping[str, str]
    members: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, entries: Sequence[Feedback]) -> Conversations:
        roots = groups([_ties(each.trace) for each in entries])
        names = {root: entries[root].trace.conversation for root in set(roots)}
        members: dict[str, dict[str, None]] = {}
        for each, root in zip(entries, roots, strict=True):
            members.setdefault(names[root], {})[each.trace.conversation] = None
        group = {each.trace.id: names[root] for each, root in zip(entries, roots, strict=True)}
        return cls(group, {name: tuple(held) for name, held in members.items()})


def _ties(trace: AnswerTrace) -> set[Hashable]:
    """What ties an answer to others: its conversation, the words of its exchanges, and the question that was searched for."""
    turns = [*_turns(trace), Turn(Speaker.USER, trace.question), Turn(Speaker.ASSISTANT, trace.answer)]
    exchanges = {
        (_plain(said.text), _plain(replied.text))
        for said, replied in zip(turns, turns[1:], strict=False)
        if (said.speaker, replied.speaker) == (Speaker.USER, Speaker.ASSISTANT)
    }
    return {("conversation", trace.conversation), ("question", _plain(trace.rewrite)), *exchanges}


def _plain(text: str) -> str:
    return one_line(without_marks(text)).casefold()


def feedback_source(entries: Sequence[Feedback], passages: Mapping[str, PassageRow], conversations: Conversations) -> Source:
    """The rows of all entries, and why others make none. `passages` are those of the index now, by id.

    The group of a row is its conversation's.
    """
    corpus = _Corpus(passages)
    made = [_Rows.of(each, corpus, conversations.group[each.trace.id]) for each in entries]
    return Source(
        passages=tuple(SourcePassage(row.id, row.title, row.text, document_of(row.id)) for row in passages.values()),
        questions=tuple(row for each in made for row in each.questions),
        rewrites=tuple(row for each in made for row in each.rewrites),
        judgments=tuple(row for each in made for row in each.judgments),
        embeds=tuple(row for each in made for row in each.embeds),
        left_out=tuple(row for each in made for row in each.left_out),
        final=True,
    )


@dataclass(slots=True)
class _Corpus:
    """The passages as they are now, and which of them hold the words of an answer."""

    passages: Mapping[str, PassageRow]
    _encoder: Bm25Encoder = field(default_factory=Bm25Encoder)
    _terms: dict[str, frozenset[int]] = field(default_factory=dict)

    def is_current(self, trace: AnswerTrace, passage_id: str) -> bool:
        """Whether the passage that the trace names is still there with the same text."""
        digest = next(hit.digest for hit in trace.hits if hit.passage_id == passage_id)
        return passage_id in self.passages and text_digest(self.passages[passage_id].text) == digest

    def holding(self, answer: str, question: str, among: Iterable[str]) -> list[str]:
        """Those of `among` that hold the answer: its words as they stand, or nearly all of its terms.

        Terms of the question do not count: an answer without any other says nothing that could be found.
        """
        new = frozenset(self._encoder.query(answer).indices) - frozenset(self._encoder.query(question).indices)
        needed = len(new) if len(new) <= FEW_TERMS else SHARE * len(new)
        verbatim = len(answer.split()) > 1  # one word alone, such as "yes", stands in many passages
        return [
            each
            for each in among
            if new and (len(new & self._of(each)) >= needed or (verbatim and stands_in(self.passages[each].text, answer)))
        ]

    def _of(self, passage_id: str) -> frozenset[int]:
        if passage_id not in self._terms:
            row = self.passages[passage_id]
            self._terms[passage_id] = frozenset(self._encoder.query(f"{row.title}\n{row.text}").indices)
        return self._terms[passage_id]


@dataclass(slots=True)
class _Rows:
    """The rows of one feedback."""

    questions: list[QuestionRow] = field(default_factory=list)
    rewrites: list[RewriteRow] = field(default_factory=list)
    judgments: list[JudgeRow] = field(default_factory=list)
    embeds: list[EmbedRow] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)

    @classmethod
    def of(cls, feedback: Feedback, corpus: _Corpus, group: str) -> _Rows:
        trace, opinion, made = feedback.trace, _plainly(feedback.opinion), cls()
        named = (*opinion.right_passages, *opinion.wrong_passages)
        if not (opinion.answer or opinion.question or named or opinion.not_in_documents):
            made.left_out.append(LeftOut(trace.id, NO_WORDS))
            return made
        gold, why_none = _gold(trace, opinion, corpus)
        if opinion.question:
            made.rewrites.append(_rewrite(trace, opinion, gold, group))
        if opinion.not_in_documents:
            made._unanswerable(trace, opinion, corpus, group)
        elif gold:
            made._answered(trace, opinion, gold, corpus, group)
        elif opinion.answer or named:
            made.left_out.append(LeftOut(trace.id, why_none))
        return made

    def _unanswerable(self, trace: AnswerTrace, opinion: Opinion, corpus: _Corpus, group: str) -> None:
        shown = tuple(hit.passage_id for hit in trace.hits if corpus.is_current(trace, hit.passage_id))
        self.questions.append(
            QuestionRow(
                trace.id,
                trace.question,
                (),
                False,
                _turns(trace),
                near_ids=shown,
                standalone=_standalone(trace, opinion),
                group=group,
                origin=DataOrigin.FEEDBACK,
            )
        )
        self._judged(trace, opinion, shown, "unanswerable", corpus, group)

    def _answered(self, trace: AnswerTrace, opinion: Opinion, gold: tuple[str, ...], corpus: _Corpus, group: str) -> None:
        query, answer = _query(trace, opinion), _answer(opinion)
        wrong = [each for each in opinion.wrong_passages if corpus.is_current(trace, each)]
        holding = corpus.holding(answer, query, wrong) if answer else []
        negatives = tuple(each for each in wrong if each not in {*gold, *holding})
        self.embeds.append(EmbedRow(trace.id, query, gold, negatives, group, DataOrigin.FEEDBACK))
        if not answer:
            return
        self.questions.append(
            QuestionRow(
                trace.id,
                trace.question,
                (answer,),
                True,
                _turns(trace),
                gold,
                negatives,
                standalone=_standalone(trace, opinion),
                group=group,
                origin=DataOrigin.FEEDBACK,
            )
        )
        shown = tuple(hit.passage_id for hit in trace.hits if corpus.is_current(trace, hit.passage_id))
        if set(gold) <= set(shown):
            self._judged(trace, opinion, shown, "answerable", corpus, group)

    def _judged(
        self, trace: AnswerTrace, opinion: Opinion, shown: tuple[str, ...], label: str, corpus: _Corpus, group: str
    ) -> None:
        """Whether the passages that were shown hold the answer, if all of them are still as they were."""
        if shown and len(shown) == len(trace.hits):
            texts = tuple(corpus.passages[each].shown() for each in shown)
            inputs = JudgeInputs(question=_query(trace, opinion), passages=texts)
            row = JudgeRow(trace.id, ANSWERABILITY.task, inputs, label, shown, group, DataOrigin.FEEDBACK)
            self.judgments.append(row)


def _plainly(opinion: Opinion) -> Opinion:
    """A right answer that declines, such as "The documents do not say", means that they do not say."""
    if opinion.answer and not opinion.right_passages and declines(opinion.answer):
        return replace(opinion, answer="", not_in_documents=True)
    return opinion


def _gold(trace: AnswerTrace, opinion: Opinion, corpus: _Corpus) -> tuple[tuple[str, ...], str]:
    """The passages that hold the right answer, and if there are none, why.

    Those that the user marks come first, then those that the corrected answer cites, then those that hold its words: first among
    the passages found, then in the whole corpus. With a thumb up, those cited and not marked as wrong.
    """
    wrong = set(opinion.wrong_passages)
    marked = list(opinion.right_passages)
    if not marked and opinion.answer:
        numbers = [number for number in cited_numbers(opinion.answer) if 1 <= number <= len(trace.hits)]
        marked = [each for each in dict.fromkeys(trace.hits[number - 1].passage_id for number in numbers) if each not in wrong]
    if not marked and opinion.rating is Rating.UP:
        marked = [each for each in dict.fromkeys(cited.passage_id for cited in trace.citations) if each not in wrong]
    if marked:
        current = tuple(each for each in marked if corpus.is_current(trace, each))
        return (current, "") if len(current) == len(marked) else ((), CHANGED)
    if not opinion.answer:
        return (), NO_RIGHT_SOURCE
    answer, query = _answer(opinion), _query(trace, opinion)
    found = [hit.passage_id for hit in trace.hits if hit.passage_id not in wrong and corpus.is_current(trace, hit.passage_id)]
    for among in (found, [each for each in corpus.passages if each not in wrong]):
        holding = corpus.holding(answer, query, among)
        if 1 <= len(holding) <= MOST_GOLD:
            return tuple(holding), ""
    return (), NO_GOLD


def _rewrite(trace: AnswerTrace, opinion: Opinion, gold: tuple[str, ...], group: str) -> RewriteRow:
    answer = _answer(opinion)
    answerable = False if opinion.not_in_documents else True if answer and gold else None
    return RewriteRow(
        trace.id,
        _turns(trace),
        trace.question,
        one_line(opinion.question),
        answers=(answer,) if answer else (),
        passage_ids=gold,
        answerable=answerable,
        conversation=trace.conversation,
        group=group,
        origin=DataOrigin.FEEDBACK,
    )


def _query(trace: AnswerTrace, opinion: Opinion) -> str:
    """The question that should have been searched for, else the one that was."""
    return one_line(opinion.question) or trace.rewrite


def _answer(opinion: Opinion) -> str:
    """The right answer without citation marks; empty if it was not given, or is nothing but marks."""
    return without_marks(opinion.answer).strip()


def _standalone(trace: AnswerTrace, opinion: Opinion) -> str:
    query = _query(trace, opinion)
    return query if trace.history or query != trace.question else ""


def _turns(trace: AnswerTrace) -> tuple[Turn, ...]:
    return tuple(map(parse_turn, trace.history))
