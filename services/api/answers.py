"""Responses of the chat route: OpenAI's forms, with the chain's details under the key `lorag`."""

from __future__ import annotations

import dataclasses
import time
import uuid
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel

from lorag.pipeline.contracts.context import PassageText
from lorag.pipeline.records import Answer, Citation, Hit, Passage, Response, StageRecord, Verdict
from lorag.pipeline.response_json import stage_json
from lorag.pipeline.retrieval.partition import file_name
from lorag.pipeline.shown_verdicts import for_users
from lorag.services.api.metering import Usage


class CitationShown(BaseModel):
    """Passage `number` supports the answer. `quote` is at `start:end` of its text in characters (null if it is cut there). `page`
    is the page of a PDF or slide that it begins on, null for other files. `also` are other sources of the same text."""

    number: int
    passage_id: str
    source: str
    title: str
    quote: str
    start: int | None
    end: int | None
    page: int | None = None
    also: list[str] = []


class PassageShown(BaseModel):
    """A passage as in the prompt, under `number`. `pages` are the pages of a PDF or slides that it is on, `also` other sources of
    the same text, which share its place."""

    number: int
    id: str
    source: str
    title: str
    text: str
    score: float
    pages: list[int] = []
    also: list[str] = []


class VerdictShown(BaseModel):
    """A judgment. `proven`: whether the judge is shown to be better than a floor in this task. If it is not, or if the judgment
    failed, there is no label and no probability."""

    task: str
    label: str
    outcome: Literal["ok", "unparsed", "failed"]
    probabilities: dict[str, float]
    proven: bool


class Extension(BaseModel):
    """The details of an answer of the chain. `answer` is the content without its citation marks `[n]`. `ignored` are the
    parameters and message roles that had no effect."""

    question: str
    rewrite: str
    answer: str
    outcome: Literal["ok", "unparsed", "failed"]
    refused: bool
    citations: list[CitationShown]
    passages: list[PassageShown]
    verdicts: list[VerdictShown]
    adapters: dict[str, str]
    timings: dict[str, float]
    ignored: list[str]
    trace: list[dict[str, Any]] | None = None


class RoleExtension(BaseModel):
    """The adapter that answered: its version, or `base`. `ignored` are the parameters and roles that had no effect."""

    adapters: dict[str, str]
    ignored: list[str]


class TaskExtension(BaseModel):
    """A side task of a chat client, such as a title for the conversation: nothing was searched."""

    task: str
    adapters: dict[str, str]
    ignored: list[str]


class MessageShown(BaseModel):
    role: Literal["assistant"]
    content: str


class ChoiceShown(BaseModel):
    index: int
    message: MessageShown
    finish_reason: Literal["stop", "length"]


class UsageShown(BaseModel):
    """Prompt and completion tokens of the stages that generate text. Scored labels are not counted."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChatCompletion(BaseModel):
    """OpenAI's chat completion. `lorag` holds the chain's details, or the adapter of a single role."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChoiceShown]
    usage: UsageShown
    lorag: Extension | TaskExtension | RoleExtension


@dataclasses.dataclass(frozen=True, slots=True)
class Stage:
    """A stage of the chain has ended."""

    record: StageRecord


@dataclasses.dataclass(frozen=True, slots=True)
class Text:
    """A piece of the reply."""

    text: str


@dataclasses.dataclass(frozen=True, slots=True)
class Done:
    """The whole reply; the last event."""

    content: str
    usage: Usage
    extension: Extension | TaskExtension | RoleExtension


Event = Stage | Text | Done


def content_of(answer: Answer) -> str:
    """The text of a reply as the model wrote it, with citation marks, or the refusal if the model was not called."""
    return answer.reply.strip() or answer.text


def extension(response: Response, adapters: Mapping[str, str], *, trace: bool, ignored: list[str]) -> Extension:
    answer, hits = response.answer, response.trace.hits
    found = {hit.passage.id: hit for hit in hits}
    timings: dict[str, float] = {}
    for record in response.trace.stages:
        timings[record.stage] = round(timings.get(record.stage, 0.0) + record.seconds, 6)
    return Extension(
        question=response.question,
        rewrite=response.rewrite.question,
        answer=answer.text,
        outcome=answer.outcome.value,
        refused=answer.refused,
        citations=[_citation(citation, found[citation.passage_id]) for citation in answer.citations],
        passages=[_passage(number, hit) for number, hit in enumerate(hits, 1)],
        verdicts=[_verdict(for_users(verdict)) for verdict in response.verdicts],
        adapters=dict(adapters),
        timings=timings,
        ignored=ignored,
        **({"trace": [stage_json(record) for record in response.trace.stages]} if trace else {}),
    )


def _citation(citation: Citation, hit: Hit) -> CitationShown:
    passage = hit.passage
    start = quote_start(passage, citation)
    return CitationShown(
        number=citation.number,
        passage_id=citation.passage_id,
        source=file_name(passage.document_id, passage.source),
        title=PassageText.of(passage).title,
        quote=citation.quote,
        start=start,
        end=None if start is None else start + len(citation.quote),
        page=citation.page,
        **also_in(hit),
    )


def also_in(hit: Hit) -> dict[str, list[str]]:
    """`also`, if other passages have the same text: the names of their files, each once."""
    names = dict.fromkeys(file_name(twin.document_id, twin.source) for twin in hit.twins)
    return {"also": list(names)} if names else {}


def quote_start(passage: Passage, citation: Citation) -> int | None:
    """The quote's offset in the passage's text. A citation has offsets in the source, whose markup the text may lack."""
    places = [citation.start - passage.start] if not passage.segments else []
    places += [s.offset + citation.start - s.source_start for s in passage.segments]
    found = (at for at in places if at >= 0 and citation.quote and passage.text.startswith(citation.quote, at))
    return next(found, None)


def _passage(number: int, hit: Hit) -> PassageShown:
    shown = PassageText.of(hit.passage)
    return PassageShown(
        number=number,
        id=hit.passage.id,
        source=file_name(hit.passage.document_id, hit.passage.source),
        title=shown.title,
        text=shown.text,
        score=hit.score,
        pages=[page.number for page in hit.passage.pages],
        **also_in(hit),
    )


def _verdict(verdict: Verdict) -> VerdictShown:
    return VerdictShown(
        task=verdict.task,
        label=verdict.label,
        outcome=verdict.outcome.value,
        probabilities=dict(verdict.probabilities),
        proven=bool(verdict.proven),
    )


def new_id() -> str:
    """The id of a new answer."""
    return f"chatcmpl-{uuid.uuid4().hex}"


class Envelope:
    """The id, time and model that all pieces of one reply share."""

    def __init__(self, model: str) -> None:
        self.id, self._created, self._model = new_id(), int(time.time()), model

    def completion(self, done: Done) -> dict[str, Any]:
        message = MessageShown(role="assistant", content=done.content)
        whole = ChatCompletion(
            id=self.id,
            object="chat.completion",
            created=self._created,
            model=self._model,
            choices=[ChoiceShown(index=0, message=message, finish_reason=done.usage.finish.value)],
            usage=usage_shown(done.usage),
            lorag=done.extension,
        )
        return whole.model_dump(exclude_unset=True)

    def chunk(
        self, delta: Mapping[str, Any], *, finish: str | None = None, lorag: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        choices = [{"index": 0, "delta": dict(delta), "finish_reason": finish}]
        return {**self._head(), "choices": choices, **({} if lorag is None else {"lorag": dict(lorag)})}

    def stage(self, record: StageRecord) -> dict[str, Any]:
        """A chunk without text that reports a stage. The judge's label comes in the last chunk, if it may be shown."""
        detail = {name: value for name, value in record.detail.items() if name != "probabilities"}
        seconds = round(record.seconds, 6)
        stage = {
            "name": record.stage,
            "adapter": record.adapter,
            "seconds": seconds,
            "outcome": record.outcome.value,
            "detail": detail,
        }
        return self.chunk({}, lorag={"stage": stage})

    def end(self, done: Done) -> dict[str, Any]:
        return self.chunk({}, finish=done.usage.finish.value, lorag=done.extension.model_dump(exclude_unset=True))

    def usage(self, done: Done) -> dict[str, Any]:
        return {**self._head(), "choices": [], "usage": usage_shown(done.usage).model_dump()}

    def _head(self) -> dict[str, Any]:
        return {"id": self.id, "object": "chat.completion.chunk", "created": self._created, "model": self._model}


def usage_shown(usage: Usage) -> UsageShown:
    """The tokens of a reply in OpenAI's form."""
    return UsageShown(
        prompt_tokens=usage.prompt, completion_tokens=usage.completion, total_tokens=usage.prompt + usage.completion
    )
