"""What a data set holds, whatever its format: passages, and rows of the roles in the set's own passage ids.

Knows no file format and no split.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from lorag.training.data.rows import EmbedRow, JudgeRow, QuestionRow, RewriteRow


@dataclass(frozen=True, slots=True)
class SourcePassage:
    """A passage of the set. Passages with the same `document` key form one document, in their order."""

    id: str
    title: str
    text: str
    document: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A row or passage that is left out, and why."""

    id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Source:
    """A data set as read.

    The `passage_ids` of a question that is not answerable are passages that mislead. `group` of a question is its conversation,
    if it has one. With `final` the passages are already those of an index: their ids are kept and no documents are made.
    `passed_over` are the keys that the format does not know, with the number of objects that had each.
    """

    passages: tuple[SourcePassage, ...] = ()
    questions: tuple[QuestionRow, ...] = ()
    rewrites: tuple[RewriteRow, ...] = ()
    judgments: tuple[JudgeRow, ...] = ()
    embeds: tuple[EmbedRow, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    final: bool = False
    passed_over: Mapping[str, int] = field(default_factory=dict)


def merged(sources: Iterable[Source]) -> Source:
    """The sources as one, in their order."""
    read = list(sources)
    return Source(
        passages=tuple(each for source in read for each in source.passages),
        questions=tuple(each for source in read for each in source.questions),
        rewrites=tuple(each for source in read for each in source.rewrites),
        judgments=tuple(each for source in read for each in source.judgments),
        embeds=tuple(each for source in read for each in source.embeds),
        left_out=tuple(each for source in read for each in source.left_out),
        final=any(source.final for source in read),
        passed_over=sum((Counter(source.passed_over) for source in read), Counter()),
    )
