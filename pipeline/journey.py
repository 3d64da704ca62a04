"""One question on its way through the chain: what is known of it so far. Pure data; knows no stage."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from lorag.pipeline.contracts.context import PassageText
from lorag.pipeline.contracts.judge import JudgeInputs
from lorag.pipeline.errors import InputError, LoragError
from lorag.pipeline.records import Answer, Hit, Outcome, Query, Response, Rewrite, StageRecord, Trace, Verdict


class StageWatcher(Protocol):
    """Is told of the stages of one question, in the thread that runs them."""

    def started(self, stage: str, journey: Journey) -> None: ...

    def ended(self, stage: str, journey: Journey, error: BaseException | None) -> None:
        """The stage's record, if it left one, is the last of the journey's. `error` is what ended the question here."""
        ...


@dataclass(slots=True, eq=False)
class Journey:
    """Filled in stage by stage. `error` ends it: no later stage runs, and the answer is failed."""

    query: Query
    rewrite: Rewrite
    hits: tuple[Hit, ...] = ()
    answer: Answer | None = None
    verdicts: list[Verdict] = field(default_factory=list)
    records: list[StageRecord] = field(default_factory=list)
    error: LoragError | None = None
    watcher: StageWatcher | None = None

    @classmethod
    def start(cls, query: Query, watcher: StageWatcher | None = None) -> Journey:
        return cls(query, Rewrite(query.question, Outcome.OK), watcher=watcher)

    @contextmanager
    def watched(self, stage: str) -> Iterator[None]:
        """Within: the question is in `stage`."""
        if self.watcher is None:
            yield
            return
        self.watcher.started(stage, self)
        try:
            yield
        except BaseException as error:
            self.watcher.ended(stage, self, error)
            raise
        self.watcher.ended(stage, self, self.error)

    def response(self) -> Response:
        answer = self.answer or Answer("", refused=False, citations=(), outcome=Outcome.FAILED, error=self.error)
        trace = Trace(tuple(self.records), self.hits)
        return Response(self.query.question, self.rewrite, answer, tuple(self.verdicts), trace)


def check_query(query: Query) -> None:
    """Raises InputError for a blank question, or a NUL or half a surrogate pair in question or history."""
    if not query.question.strip():
        raise InputError("the question is empty; type one")
    for name, text in [("question", query.question), *(("history", turn.text) for turn in query.history)]:
        bad = next((c for c in text if c == "\0" or "\ud800" <= c <= "\udfff"), None)
        if bad is not None:
            raise InputError(f"the {name} holds U+{ord(bad):04X}, which is no text character; remove it")


def message(journey: Journey) -> JudgeInputs:
    """What the intent is judged from: the turn as it was said."""
    return JudgeInputs(message=journey.query.question, history=journey.query.history)


def evidence(journey: Journey) -> JudgeInputs:
    """What answerability is judged from."""
    return JudgeInputs(question=journey.rewrite.question, passages=tuple(PassageText.of(hit.passage) for hit in journey.hits))


def claim(journey: Journey) -> JudgeInputs:
    """What support is judged from: the answer beside what it cites, else beside all that was shown.

    The question is there because a short answer means nothing without it.
    """
    answer = journey.answer
    assert answer is not None
    cited = [journey.hits[citation.number - 1] for citation in answer.citations]
    passages = tuple(PassageText.of(hit.passage) for hit in cited or journey.hits)
    return JudgeInputs(question=journey.rewrite.question, answer=answer.text, passages=passages)
