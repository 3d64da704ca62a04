"""The records that cross stage borders: frozen, plain, and free of any model library.

Nothing here loads, computes or decides. A record states what was found or produced. Text offsets count Unicode code points, end
exclusive, as Python slices do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from lorag.pipeline.errors import LoragError
from lorag.pipeline.storage.strict_json import OPTIONAL


def _nothing() -> Mapping[str, Any]:
    return MappingProxyType({})


class Role(StrEnum):
    """The job an adapter does. `QUESTIONER` only makes training data."""

    REWRITER = "rewriter"
    EMBEDDER = "embedder"
    SYNTHESIZER = "synthesizer"
    JUDGE = "judge"
    QUESTIONER = "questioner"


class Outcome(StrEnum):
    """How an item ended. All three are counted and shown; none is ever turned into a score of zero."""

    OK = "ok"
    UNPARSED = "unparsed"
    FAILED = "failed"


class Speaker(StrEnum):
    """The speaker of a conversation turn. A topic line states the subject and has no speaker."""

    USER = "user"
    ASSISTANT = "assistant"
    TOPIC = "topic"


@dataclass(frozen=True, slots=True)
class Turn:
    """One earlier utterance of a conversation. Its text form is `User: …`, `Assistant: …` or `Topic: …`."""

    speaker: Speaker
    text: str

    def __str__(self) -> str:
        return f"{self.speaker.value.capitalize()}: {self.text}"


@dataclass(frozen=True, slots=True)
class Message:
    """One chat message of a prompt; `role` is `system`, `user` or `assistant`."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of passage text that is verbatim in the source file.

    `offset` counts from the start of the passage, `source_start` from the start of the decoded source file; both in
    characters, as is `length`.
    """

    offset: int
    source_start: int
    length: int


@dataclass(frozen=True, slots=True)
class PageStart:
    """Page `number` (of a PDF, or slide of a presentation), from 1, begins at `offset` of a text."""

    number: int
    offset: int


@dataclass(frozen=True, slots=True)
class Document:
    """A loaded document.

    `id` is the path relative to the documents folder, with `/`; a row of a .jsonl file is `file.jsonl#ROW_ID`. `source` is the
    file as the user gave it. `digest` is the SHA-256 of the bytes the text came from. `segments` maps `text` onto the source if
    the two differ (HTML). If it is empty, offsets count in the source (.txt, .md), the extracted text (.pdf) or the row's text
    (.jsonl). `pages` are in order, and empty if the file has none.
    """

    id: str
    title: str
    text: str
    source: str
    digest: str
    metadata: Mapping[str, Any] = field(default_factory=_nothing)
    segments: tuple[Segment, ...] = ()
    pages: tuple[PageStart, ...] = ()


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document: `text` equals `document.text[start:end]`.

    `id` is `DOCUMENT_ID#HASH8`, derived from the content, so that edits elsewhere in the document do not change it. `section`
    is the headings above it, joined by ` > `. `segments` and `pages` are as for `Document`, counted from the passage start; the
    first page begins at 0 or before it. `header` is the header of the table within which it begins, '' if there is none: search
    and models read it before the text, and it is never quoted.
    """

    id: str
    document_id: str
    source: str
    title: str
    section: str
    text: str
    start: int
    end: int
    metadata: Mapping[str, Any] = field(default_factory=_nothing)
    segments: tuple[Segment, ...] = ()
    pages: tuple[PageStart, ...] = ()
    header: str = field(default="", metadata=OPTIONAL)

    @property
    def shown(self) -> str:
        """The text below its table's header."""
        return f"{self.header}\n{self.text}" if self.header else self.text


@dataclass(frozen=True, slots=True)
class Hit:
    """A retrieved passage. `score` is the index's (cosine for dense, weighted sum for hybrid) or a cross-encoder's after it;
    higher is better. `twins` are the other passages with the same text, which share its place, best first."""

    passage: Passage
    score: float
    twins: tuple[Passage, ...] = field(default=(), metadata=OPTIONAL)

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the passage and its twins."""
        return (self.passage.id, *(twin.id for twin in self.twins))


@dataclass(frozen=True, slots=True)
class Rewrite:
    """What the rewriter made of a turn. `question` is the raw one if the reply was unparsed or the stage was off.

    `error` says why the outcome is failed; no later stage uses `question` then.
    """

    question: str
    outcome: Outcome
    reply: str = ""
    error: LoragError | None = None


@dataclass(frozen=True, slots=True)
class Citation:
    """Passage `number` (from 1, as prompted) supports the answer; `quote` is verbatim at `start:end` of `source`. `page` is the
    page of a PDF or slide on which it begins, from 1, None for other files."""

    number: int
    passage_id: str
    source: str
    quote: str
    start: int
    end: int
    page: int | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, slots=True)
class Answer:
    """A synthesized answer. `text` is without citation marks, `reply` is what the model wrote, `error` why it failed."""

    text: str
    refused: bool
    citations: tuple[Citation, ...]
    outcome: Outcome
    reply: str = ""
    error: LoragError | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judgment: the most likely label of a closed schema. `probabilities` over all labels sum to 1.

    A failed verdict has no label and no probabilities; `error` says why. `proven` says whether the judge is shown to be better
    than a floor in this task (None: not known). If it is not, the label is not shown to users (`shown_verdicts`).
    """

    task: str
    label: str
    probability: float
    probabilities: Mapping[str, float]
    outcome: Outcome = Outcome.OK
    error: LoragError | None = None
    proven: bool | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, slots=True)
class StageRecord:
    """What one stage did for one question: adapter identity (`base` if none), prompt, reply and wall time in seconds.
    Comparisons ignore the time."""

    stage: str
    adapter: str
    seconds: float = field(compare=False)
    outcome: Outcome
    prompt: tuple[Message, ...] = ()
    reply: str = ""
    detail: Mapping[str, Any] = field(default_factory=_nothing)


@dataclass(frozen=True, slots=True)
class Trace:
    """The stages of a question in order, and its hits."""

    stages: tuple[StageRecord, ...] = ()
    hits: tuple[Hit, ...] = ()


@dataclass(frozen=True, slots=True)
class Query:
    """A question with the conversation before it (oldest turn first)."""

    question: str
    history: tuple[Turn, ...] = ()


@dataclass(frozen=True, slots=True)
class Response:
    """The chain's whole reply to a `Query`."""

    question: str
    rewrite: Rewrite
    answer: Answer
    verdicts: tuple[Verdict, ...] = ()
    trace: Trace = field(default_factory=Trace)
