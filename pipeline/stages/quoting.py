"""Chooses the span of a passage that supports an answer, and locates it in the source. Pure text, no model."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence

from lorag.pipeline.records import Citation, Passage
from lorag.pipeline.retrieval.chunking import locate
from lorag.pipeline.retrieval.pages import page_at
from lorag.pipeline.retrieval.sentences import sentences

Span = tuple[int, int]

_WORD = re.compile(r"\w+(?:[.,:/-]\w+)*")
_STEM = re.compile(r"(?<=\w{3})(?:ies|es|s|ed|ing)$")

ANSWER_WEIGHT = 2.0
"""A word of the answer says more about its support than a word of the question."""


def cite(number: int, passage: Passage, question: str, answer: str) -> Citation:
    """The citation of passage `number`: its supporting sentence, verbatim at `start:end` of the source.

    If markup of the source cuts the sentence, the run that holds the answer is quoted, else the longest. The quote is empty
    only if no character of the passage is verbatim in its source.
    """
    for start, end in support(passage.text, question, answer):
        run = _verbatim(passage, start, end, answer)
        if run is not None:
            quote = passage.text[run[0] : run[1]]
            source_start, source_end = locate(passage, *run)
            page = page_at(passage.pages, run[0])
            return Citation(number, passage.id, passage.source, quote, source_start, source_end, page)
    place, _ = locate(passage, 0, 0)
    return Citation(number, passage.id, passage.source, "", place, place, page_at(passage.pages, 0))


def support(text: str, question: str, answer: str) -> list[Span]:
    """Spans of `text` by how well they support `answer` to `question`, best first; each is one sentence, or the sentences over
    which a verbatim answer runs.

    Spans that hold the answer come before all others. Within each group the weighted overlap decides: words shared with answer
    (double) and question, each by its idf among the sentences (as in BM25). Ties go to the earlier span.
    """
    spans = sentences(text)
    bags = [_words(text[start:end]) for start, end in spans]
    frequency = Counter(word for bag in bags for word in bag)
    asked, answered = _words(question), _words(answer)

    def overlap(span: Span) -> float:
        return math.fsum(
            ((word in asked) + ANSWER_WEIGHT * (word in answered))
            * math.log(1 + (len(spans) - frequency[word] + 0.5) / (frequency[word] + 0.5))
            for word in _words(text[span[0] : span[1]]) & (asked | answered)
        )

    holding = list(dict.fromkeys(_cover(spans, *found) for found in _occurrences(text, answer)))
    rest = [span for span in spans if span not in holding]
    return [span for group in (holding, rest) for span in sorted(group, key=lambda s: (-overlap(s), s))]


def _words(text: str) -> frozenset[str]:
    return frozenset(_STEM.sub("", word) for word in _WORD.findall(text.casefold()))


def _occurrences(text: str, answer: str) -> Iterator[Span]:
    """Spans of `answer` in `text` as whole words; case, white space and punctuation at its ends do not matter."""
    parts = answer.strip().strip(".!?,;:\"'“”").split()
    if not parts:
        return
    pattern = r"\s+".join(re.escape(part) for part in parts)
    for match in re.finditer(rf"(?<!\w){pattern}(?!\w)", text, re.IGNORECASE):
        yield match.span()


def _cover(spans: Sequence[Span], start: int, end: int) -> Span:
    """The sentences from the one that holds `start` to the one that holds `end`."""
    first = max((span for span in spans if span[0] <= start), default=spans[0])
    last = min((span for span in spans if span[1] >= end), key=lambda span: span[1], default=spans[-1])
    return first[0], max(last[1], first[1])


def _verbatim(passage: Passage, start: int, end: int, answer: str) -> Span | None:
    """The run within `start:end` of the passage that is verbatim in the source: one with the answer, else the longest."""
    if not passage.segments:
        return (start, end) if end > start else None
    runs = []
    for segment in passage.segments:
        low, high = max(start, segment.offset), min(end, segment.offset + segment.length)
        text = passage.text[low:high]
        low, high = low + len(text) - len(text.lstrip()), high - len(text) + len(text.rstrip())
        if low < high:
            runs.append((low, high))
    if not runs:
        return None
    holding = [run for run in runs if any(True for _ in _occurrences(passage.text[run[0] : run[1]], answer))]
    return max(holding or runs, key=lambda run: (run[1] - run[0], -run[0]))
