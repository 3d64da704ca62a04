"""The records of feedback: the trace of an answer as it is kept, a user's opinion on the answer, and both together.

A trace names the passages by id and digest and holds no text of theirs except quotes: a deleted document is not kept here.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TypeVar

from lorag.pipeline.adapters.card import now_utc
from lorag.pipeline.errors import InputError
from lorag.pipeline.records import Outcome, Query, Response
from lorag.pipeline.storage.digests import text_digest
from lorag.pipeline.storage.strict_json import OPTIONAL

FORMAT = 1
MAX_ANSWER, MAX_QUESTION, MAX_COMMENT = 8_000, 2_000, 4_000
"""Characters of the texts of an opinion."""
MAX_HISTORY = 24
"""Earlier turns that a trace keeps, the newest ones. Prompts show fewer."""
ID = re.compile(r"[a-z]{1,16}-[0-9a-f]{32}")


class Rating(StrEnum):
    UP = "up"
    DOWN = "down"


class Reason(StrEnum):
    """Why an answer is not good."""

    INCORRECT = "incorrect"
    INCOMPLETE = "incomplete"
    OFF_TOPIC = "off_topic"
    UNCLEAR = "unclear"
    WRONGLY_REFUSED = "wrongly_refused"
    OTHER = "other"


_Word = TypeVar("_Word", Rating, Reason)


@dataclass(frozen=True, slots=True)
class TraceHit:
    """A passage that was found. `digest` is the SHA-256 of its text."""

    passage_id: str
    digest: str
    score: float


@dataclass(frozen=True, slots=True)
class TraceCitation:
    """The answer cites passage `number`, from 1, with these words of it, on this page if its file has pages."""

    number: int
    passage_id: str
    quote: str
    page: int | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, slots=True)
class AnswerTrace:
    """How one answer came about.

    `history` are the earlier turns as `User: …` and `Assistant: …`. `rewrite` is the question that was searched for. `reply` is
    what the model wrote, with its citation marks; `answer` is without. `hits` are in the order of the prompt, the first is
    number 1. `adapters` name each role's version, or `base`. `tenant` and `asked_by` are of the key that asked.
    `conversation` is the id of the conversation's first answer, as far as the service has followed it.
    """

    id: str
    tenant: str
    asked_by: str
    asked: str
    conversation: str
    question: str
    history: tuple[str, ...]
    rewrite: str
    rewrite_outcome: Outcome
    hits: tuple[TraceHit, ...]
    answer: str
    reply: str
    refused: bool
    outcome: Outcome
    citations: tuple[TraceCitation, ...]
    adapters: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Opinion:
    """What a user says of an answer. Passages are named by id and must be among the trace's hits.

    `answer` is the right answer, `question` the question that should have been searched for. `not_in_documents`: the right reply
    was that the documents do not say.
    """

    rating: Rating | None = None
    reasons: tuple[Reason, ...] = ()
    comment: str = ""
    answer: str = ""
    question: str = ""
    wrong_passages: tuple[str, ...] = ()
    right_passages: tuple[str, ...] = ()
    not_in_documents: bool = False


@dataclass(frozen=True, slots=True)
class Feedback:
    """An opinion and the trace that it speaks of. `given_by` is the name of the key that gave it."""

    format: int
    trace: AnswerTrace
    opinion: Opinion
    given: str
    given_by: str


def new_trace_id(kind: str = "ask") -> str:
    """An id that nobody can guess."""
    return f"{kind}-{secrets.token_hex(16)}"


def trace_of(
    query: Query, response: Response, adapters: Mapping[str, str], *, id: str, tenant: str = "", asked_by: str = ""
) -> AnswerTrace:
    """The trace of a response. Its conversation begins with itself; `RecentTraces` knows better."""
    answer = response.answer
    return AnswerTrace(
        id=id,
        tenant=tenant,
        asked_by=asked_by,
        asked=now_utc(),
        conversation=id,
        question=query.question,
        history=tuple(str(turn) for turn in query.history[-MAX_HISTORY:]),
        rewrite=response.rewrite.question,
        rewrite_outcome=response.rewrite.outcome,
        hits=tuple(TraceHit(hit.passage.id, text_digest(hit.passage.text), float(hit.score)) for hit in response.trace.hits),
        answer=answer.text,
        reply=answer.reply.strip() or answer.text,
        refused=answer.refused,
        outcome=answer.outcome,
        citations=tuple(TraceCitation(each.number, each.passage_id, each.quote, each.page) for each in answer.citations),
        adapters=dict(adapters),
    )


def feedback_on(trace: AnswerTrace, opinion: Opinion, given_by: str = "") -> Feedback:
    """The opinion with its trace, both checked. Raises InputError if the opinion says nothing or contradicts itself."""
    opinion = replace(
        opinion,
        rating=None if opinion.rating is None else _one_of(Rating, opinion.rating),
        comment=opinion.comment.strip(),
        answer=opinion.answer.strip(),
        question=opinion.question.strip(),
        reasons=tuple(dict.fromkeys(_one_of(Reason, each) for each in opinion.reasons)),
        wrong_passages=tuple(dict.fromkeys(opinion.wrong_passages)),
        right_passages=tuple(dict.fromkeys(opinion.right_passages)),
    )
    _check(opinion, {hit.passage_id for hit in trace.hits})
    return Feedback(FORMAT, trace, opinion, now_utc(), given_by)


def _one_of(kind: type[_Word], word: str) -> _Word:
    try:
        return kind(word)
    except ValueError:
        raise InputError(f"{word!r} is no {kind.__name__.lower()} of feedback; there are: {', '.join(kind)}") from None


def _check(opinion: Opinion, found: set[str]) -> None:
    if opinion == Opinion():
        raise InputError("the feedback says nothing; give a rating, a correction, a wrong source or a comment")
    for name, text, most in (
        ("answer", opinion.answer, MAX_ANSWER),
        ("question", opinion.question, MAX_QUESTION),
        ("comment", opinion.comment, MAX_COMMENT),
    ):
        if len(text) > most:
            raise InputError(f"the {name} of the feedback has {len(text)} characters; at most {most} are kept")
        if bad := next((c for c in text if c == "\0" or "\ud800" <= c <= "\udfff"), None):
            raise InputError(f"the {name} of the feedback holds U+{ord(bad):04X}, which is no text character; remove it")
    if opinion.answer and opinion.not_in_documents:
        raise InputError("a corrected answer and `not in the documents` exclude each other; give one of them")
    if opinion.rating is Rating.UP and (opinion.answer or opinion.not_in_documents or opinion.reasons):
        raise InputError("a thumb up says that the answer is right; leave out what says that it is wrong, or rate it down")
    if opinion.right_passages and opinion.not_in_documents:
        raise InputError("a passage that holds the answer and `not in the documents` exclude each other; give one of them")
    if both := set(opinion.wrong_passages) & set(opinion.right_passages):
        raise InputError(f"passage {min(both)!r} is named as wrong and as right; name it once")
    if unknown := {*opinion.wrong_passages, *opinion.right_passages} - found:
        raise InputError(f"passage {min(unknown)[:100]!r} is none of those that the answer was made from")
