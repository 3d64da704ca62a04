"""Accepted questions of one document → conversations of two to four turns: the rewriter's rows.

Each turn answers with its span's sentence. Later turns are shortened, by the rules of `shortening` or by the questioner, which
learnt it from human rewrites in reverse; the question as it was is the gold rewrite. A turn is shortened only if a search finds
its passage better with the gold rewrite than with the turn. Some turns stay as they are, and half of those change the subject.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from lorag.pipeline.adapters.evidence import DataOrigin
from lorag.pipeline.contracts import question as contract
from lorag.pipeline.contracts.context import clip, one_line
from lorag.pipeline.contracts.question import Manner
from lorag.pipeline.engine.protocol import Generation
from lorag.pipeline.records import Role, Speaker, Turn
from lorag.training.data.making.corpus import Corpus
from lorag.training.data.making.filters import sentence_of
from lorag.training.data.making.records import Accepted, MadeRow, digest, draw, shuffled
from lorag.training.data.making.round_trip import DEPTH, CorpusSearch, rank_in
from lorag.training.data.making.shortening import shortened
from lorag.training.data.making.synthesizer_rows import answer_of
from lorag.training.data.making.words import content_words
from lorag.training.data.making.writing import Writer, units
from lorag.training.data.rows import RewriteRow, document_of

TURNS = 4
"""Turns of a conversation, at most."""
UNCHANGED = 0.3
"""Share of the later turns that stand alone."""
MOST_UNCHANGED = 0.35
"""The largest such share, if many shortened turns had to be left out."""
_STANDALONE = ("standalone", "new subject")
_NEW_SUBJECT = 0.5
"""Share of those that are asked of another document."""
_ANSWER_CHARS = 200
_BY_MODEL = 0.5
"""Chance that the questioner's form is tried before those of the rules."""


@dataclass(frozen=True, slots=True)
class _Said:
    """A turn as it was said, the question behind it, and how it was shortened."""

    accepted: Accepted
    text: str
    how: str


@dataclass(frozen=True, slots=True)
class _Talk:
    """A conversation so far, and the questions that are still to be asked in it."""

    id: str
    said: tuple[_Said, ...]
    coming: tuple[Accepted, ...]


def rewriter_rows(accepted: Sequence[Accepted], corpus: Corpus, search: CorpusSearch, writer: Writer) -> list[MadeRow]:
    """The rows of all conversations, a row a turn. Turns that no form of shortening fits are left out."""
    talks, others = _begun(accepted, corpus)
    while any(talk.coming for talk in talks):
        talks = _next_turns(talks, others, corpus, search, writer)
    return [row for talk in _balanced(talks) if len(talk.said) > 1 for row in _rows(talk, corpus)]


def _begun(accepted: Sequence[Accepted], corpus: Corpus) -> tuple[list[_Talk], dict[str, list[Accepted]]]:
    """Conversations with their first turn, and for each split the questions of documents that have only one."""
    by_document: dict[str, list[Accepted]] = defaultdict(list)
    for each in accepted:
        if each.candidate.order.manner is Manner.FULL:
            by_document[document_of(each.candidate.span.passage_id)].append(each)
    talks: list[_Talk] = []
    others: dict[str, list[Accepted]] = defaultdict(list)
    for held in by_document.values():
        ranked = shuffled(held, lambda one: ("talk", one.candidate.id))
        while len(ranked) > 1:
            size = min(len(ranked), 2 + int(draw("turns", ranked[0].candidate.id) * (TURNS - 1)))
            first, *rest = ranked[:size]
            del ranked[:size]
            name = f"c-{digest(*(one.candidate.id for one in (first, *rest)))[:10]}"
            talks.append(_Talk(name, (_Said(first, first.candidate.question, "first"),), tuple(rest)))
        for each in ranked:
            others[corpus.split_of(each)].append(each)
    free = {split: shuffled(held, lambda one: ("other", one.candidate.id)) for split, held in others.items()}
    return sorted(talks, key=lambda talk: talk.id), free


def _next_turns(
    talks: Sequence[_Talk], others: Mapping[str, list[Accepted]], corpus: Corpus, search: CorpusSearch, writer: Writer
) -> list[_Talk]:
    """Each conversation with its next question asked, or left out if nothing shortens it."""
    asking = [talk for talk in talks if talk.coming]
    forms: dict[str, list[tuple[str, str]]] = {}
    for unit in units([talk for talk in asking if _is_shortened(talk)]):
        written = _written(unit, writer, corpus)
        forms |= {talk.id: _forms(talk, text, corpus) for talk, text in zip(unit, written, strict=True)}
    ranks = _ranks({text for each in forms.values() for text, _ in each}, search)
    done: list[_Talk] = []
    for talk in talks:
        if not talk.coming:
            done.append(talk)
            continue
        asked = talk.coming[0]
        said: _Said | None = None
        if not _is_shortened(talk):
            said = _unchanged(talk, asked, others.get(corpus.split_of(asked), []))
        else:
            said = next((_Said(asked, text, how) for text, how in forms[talk.id] if _is_worse(ranks[text], asked)), None)
        done.append(replace(talk, said=(*talk.said, *([said] if said else ())), coming=talk.coming[1:]))
    return done


def _balanced(talks: Sequence[_Talk]) -> list[_Talk]:
    """The conversations without so many unchanged last turns that at most `MOST_UNCHANGED` of the later turns are unchanged."""
    kept = {talk.id: talk for talk in talks}
    for talk in shuffled(talks, lambda one: ("balance", one.id)):
        later = [said for each in kept.values() for said in each.said[1:]]
        if sum(said.how in _STANDALONE for said in later) <= MOST_UNCHANGED * len(later):
            break
        said = talk.said
        while len(said) > 1 and said[-1].how in _STANDALONE:
            said = said[:-1]
        kept[talk.id] = replace(talk, said=said)
    return list(kept.values())


def _is_shortened(talk: _Talk) -> bool:
    return draw("unchanged", talk.coming[0].candidate.id) >= UNCHANGED


def _unchanged(talk: _Talk, asked: Accepted, others: list[Accepted]) -> _Said:
    """The question as it is, or one of another document."""
    if others and draw("new subject", asked.candidate.id) < _NEW_SUBJECT:
        other = others.pop()
        return _Said(other, other.candidate.question, "new subject")
    return _Said(asked, asked.candidate.question, "standalone")


def _written(talks: Sequence[_Talk], writer: Writer, corpus: Corpus) -> list[str]:
    """What the questioner would say next, '' if it is no question."""
    requests = [
        Generation(
            contract.follow_up_messages(_history(talk, corpus), talk.coming[0].candidate.question, writer.style),
            writer.adapter,
            contract.MAX_REPLY_TOKENS,
            stop=("\n",),
            stage="follow-up",
        )
        for talk in talks
    ]
    return [contract.parse(reply.text).question for reply in writer.engine.generate(requests)]


def _forms(talk: _Talk, written: str, corpus: Corpus) -> list[tuple[str, str]]:
    """Shorter forms of the next question and who made each, in the order in which they are tried."""
    asked = talk.coming[0].candidate
    before = [turn.text for turn in _history(talk, corpus)]
    by_rule = [(text, "by rule") for text in shortened(asked.question, before)]
    known = content_words(asked.question) | content_words(" ".join(before))
    fits = content_words(written) <= known and content_words(written) < content_words(asked.question)
    by_model = [(written, "by the questioner")] if written and fits else []
    first = draw("by model", asked.id) < _BY_MODEL
    return [*by_model, *by_rule] if first else [*by_rule, *by_model]


def _ranks(texts: set[str], search: CorpusSearch) -> dict[str, list[str]]:
    """Turn → what a search for it alone finds."""
    ordered = sorted(texts)
    return dict(zip(ordered, search.find(ordered, DEPTH), strict=True)) if ordered else {}


def _is_worse(ranking: Sequence[str], asked: Accepted) -> bool:
    """Whether the turn finds the passage later than the whole question does, or not at all."""
    rank = rank_in(asked.candidate.span.passage_id, ranking)
    return rank == 0 or rank > asked.scores.rank


def _history(talk: _Talk, corpus: Corpus) -> tuple[Turn, ...]:
    return tuple(turn for said in talk.said for turn in (Turn(Speaker.USER, said.text), _reply(said.accepted, corpus)))


def _reply(accepted: Accepted, corpus: Corpus) -> Turn:
    """The sentence of the answer, or the answer if that is a table row."""
    span = accepted.candidate.span
    sentence = one_line(sentence_of(corpus.gold_of(accepted).text, span.start, span.end))
    text = answer_of(accepted) if sentence.startswith(("|", "#")) else sentence
    return Turn(Speaker.ASSISTANT, clip(text, _ANSWER_CHARS))


def _rows(talk: _Talk, corpus: Corpus) -> list[MadeRow]:
    first = talk.said[0].accepted
    rows = []
    for number, said in enumerate(talk.said):
        asked = said.accepted
        row = RewriteRow(
            id=f"{talk.id}-t{number + 1}",
            history=_history(replace(talk, said=talk.said[:number]), corpus),
            question=said.text,
            rewrite=asked.candidate.question,
            answers=(_reply(asked, corpus).text,),
            passage_ids=corpus.positives(asked),
            quotes=(asked.candidate.span.text,),
            answerable=True,
            conversation=talk.id,
            group=corpus.group_of(first),
            origin=DataOrigin.MADE,
        )
        rows.append(MadeRow(Role.REWRITER, corpus.split_of(first), row, (asked,), said.how))
    return rows
