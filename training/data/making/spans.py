"""Chooses the spans of passages that questions are asked about, by rules that a reader can see.

Each rule finds the spans of one kind: quantities with units, money, dates, times, codes, names, values of keys, table cells,
list items, reasons, and whole sentences. English rules; no model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence, Set

from lorag.pipeline.evaluation.times import DAY, HALF_DAY, MONTH, MONTHS, TIME, WEEKDAYS, YEAR
from lorag.pipeline.evaluation.units import CODES, SIGNS, UNIT
from lorag.pipeline.retrieval.blocks import Kind, blocks
from lorag.pipeline.retrieval.sentences import sentences
from lorag.training.data.making.records import Span, SpanKind, draw, shuffled
from lorag.training.data.making.settings import MakingSettings
from lorag.training.data.rows import PassageRow

Found = Iterator[tuple[int, int]]

WORDS_A_SPAN = 12
"""A passage gets one span for each of so many words: a short one has nothing else to ask about."""
_LEAST_WORDS, _MOST_WORDS = 3, 25
_SENTENCE_WORDS = (6, 40)

_NUMBER = r"[-+±]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?"
_START = r"(?<![\w.,/:-])"
_QUANTITY = re.compile(rf"{_START}{_NUMBER}(?:\s?(?:[-–±]|to)\s?{_NUMBER})?(?:\s|-)?{UNIT}(?:\s?(?:/|per|an?)\s?{UNIT})?")
_SIGN = "|".join(map(re.escape, sorted(SIGNS, key=len, reverse=True)))
_LETTERS = "|".join(CODES)
_MONEY = re.compile(rf"(?:(?:{_SIGN})\s?|\b(?:{_LETTERS})\s){_NUMBER}(?:\s(?:thousand|million|billion))?")
_DATE = re.compile(
    rf"{_START}\d{{4}}-\d\d-\d\d(?!\d)|{_START}{DAY}\s+{MONTH}{YEAR}|\b{MONTH.replace('month', 'first')}\s+"
    rf"{DAY.replace('day', 'then')}(?!\d|:){YEAR.replace('year', 'last')}"
)
_TIME = re.compile(rf"{_START}(?:{TIME}{HALF_DAY}|(?:[01]?\d|2[0-4]):[0-5]\d)(?![\w:])", re.I)
_CODE = re.compile(r"(?<![\w/.,-])(?=[\w/.-]*\d)(?=[\w/.-]*[A-Z])[A-Z0-9]\w*(?:[-/.]\w+)*(?![\w-])")
_NAME = re.compile(r"(?<![\w'’-])[A-Z][\w'’-]*[a-z](?: +(?:(?:of|the|and|de|van|von|&) +){0,2}(?:[A-Z]\. ?)*[A-Z][\w'’-]*)*")
_LINE_OPENING = re.compile(rf"^[^\w\n]*(?:(?:\d{{1,3}}[.)]|{TIME}|\d?\d:\d\d)[^\w\n]+)?(?=\w)", re.M | re.I)
"""Where a line's own words begin, after the mark of an item and the time of an entry."""
_SMALL = re.compile(r"\b[a-z][a-z'’-]*\b")
_NO_NAMES = frozenset({*MONTHS, *(name for day in WEEKDAYS for name in (day.capitalize(), day.capitalize()[:3]))})
_POSSESSIVE = re.compile(r"['’]s?$")
_KEY = re.compile(r"^[ \t]*(?:[-*+•][ \t]+)?\**([A-Z][\w /()'’-]{1,40})\**:\**[ \t]+(?P<value>[^\n]+)$", re.M)
_CELL = re.compile(r"(?<!\\)\|")
_RULE_ROW = re.compile(r"[|\s:-]+$")
_ITEM = re.compile(r"^[ \t]*(?:[-*+•‣▪–]|\d{1,3}[.)])[ \t]+(?P<item>[^\n]+(?:\n[ \t]+(?![-*+•\d])[^\n]+)*)", re.M)
_CLAUSE = r"(?:[^.;:\n]|[.:](?=\d))+"
_REASON = re.compile(
    rf"\b(?:because|so that|in order to|due to|owing to|unless|within)\b{_CLAUSE}|\bmust (?:not )?(?P<duty>{_CLAUSE})", re.I
)
_CLAUSE_END = re.compile(r",\s+(?:and|but|or|so|which)\b|\s+(?:and|but)\s+(?:must|may|is|are)\b|\s+\(")


def _matches(pattern: re.Pattern[str], part: str = "") -> Callable[[str], Found]:
    def find(text: str) -> Found:
        for match in pattern.finditer(text):
            if part == "" or match[part] is not None:
                yield match.span(part) if part else match.span()

    return find


def _dates(text: str) -> Found:
    for match in _DATE.finditer(text):
        yield _without_stop(text, *match.span())


def _names(text: str, small: Set[str] = frozenset()) -> Found:
    """Runs of words with a capital, without the first word of a sentence, line or table cell unless it is never written small.

    A single word that is written small elsewhere is no name.
    """
    opening = {start for start, _ in sentences(text)} | {match.end() for match in _LINE_OPENING.finditer(text)}
    for match in _NAME.finditer(text):
        start, end = match.span()
        if start in opening or not text[:start].rstrip(' "“‘(*_').endswith(tuple("abcdefghijklmnopqrstuvwxyz0123456789,;-–")):
            first, _, rest = text[start:end].partition(" ")
            if not rest or not small or first.lower() in small:
                start += len(first) + 1
        while (first := text[start:end].partition(" ")[0]) in _NO_NAMES:
            start += len(first) + 1
        name = _POSSESSIVE.sub("", text[start:end])
        if len(name) > 3 and name[:1].isupper() and name not in _NO_NAMES and name.lower() not in small:
            yield start, start + len(name)


def _values(text: str) -> Found:
    """What follows `Key: ` on a line, to the end of its first sentence."""
    for match in _KEY.finditer(text):
        start, end = match.span("value")
        low, high = next(iter(sentences(text[start:end])), (0, end - start))
        if len(text[start + low : start + high].split()) <= _MOST_WORDS // 2:
            yield _without_stop(text, start + low, start + high)


def _cells(text: str) -> Found:
    """The cells of table rows but those of the head row and of the first column."""
    for block in blocks(text):
        if block.kind is not Kind.TABLE:
            continue
        place, rows = block.start, 0
        for line in text[block.start : block.end].split("\n"):
            if not _RULE_ROW.fullmatch(line):
                rows += 1
                if rows > 1:
                    yield from _row_cells(line, place)
            place += len(line) + 1


def _row_cells(line: str, place: int) -> Found:
    bars = [match.start() for match in _CELL.finditer(line)]
    for low, high in list(zip(bars, bars[1:], strict=False))[1:]:
        cell = line[low + 1 : high]
        if any(letter.isalnum() for letter in cell) and len(cell.split()) <= _MOST_WORDS // 2:
            start = place + low + 1 + len(cell) - len(cell.lstrip())
            yield start, place + high - (len(cell) - len(cell.rstrip()))


def _items(text: str) -> Found:
    for match in _ITEM.finditer(text):
        start, end = match.span("item")
        if _LEAST_WORDS <= len(text[start:end].split()) <= _MOST_WORDS:
            yield _without_stop(text, start, end)


def _reasons(text: str) -> Found:
    """Clauses that give a reason, a limit or a duty, to the end of the clause."""
    for match in _REASON.finditer(text):
        start, end = match.span("duty") if match["duty"] else match.span()
        cut = _CLAUSE_END.search(text, start + 8, end)
        end = cut.start() if cut else end
        if _LEAST_WORDS <= len(text[start:end].split()) <= _MOST_WORDS:
            yield start, start + len(text[start:end].rstrip(" ,"))


def _sentences(text: str) -> Found:
    """Sentences of running text; no heading, table row or bare list mark."""
    for block in blocks(text):
        if block.kind is not Kind.PARAGRAPH:
            continue
        for low, high in sentences(text[block.start : block.end]):
            start, end = block.start + low, block.start + high
            least, most = _SENTENCE_WORDS
            if least <= len(text[start:end].split()) <= most and text[end - 1] in ".!":
                yield start, end


def _without_stop(text: str, start: int, end: int) -> tuple[int, int]:
    return start, start + len(text[start:end].rstrip(" .;,\r\n"))


RULES: Sequence[tuple[SpanKind, Callable[[str], Found]]] = (
    (SpanKind.CELL, _cells),
    (SpanKind.VALUE, _values),
    (SpanKind.QUANTITY, _matches(_QUANTITY)),
    (SpanKind.MONEY, _matches(_MONEY)),
    (SpanKind.DATE, _dates),
    (SpanKind.TIME, _matches(_TIME)),
    (SpanKind.CODE, _matches(_CODE)),
    (SpanKind.REASON, _reasons),
    (SpanKind.NAME, _names),
    (SpanKind.ITEM, _items),
    (SpanKind.SENTENCE, _sentences),
)
"""The rules. What one finds is not found again by a later one, but in whole sentences, items and reasons."""

_WHOLE = {SpanKind.SENTENCE, SpanKind.ITEM, SpanKind.REASON}


def small_words(passages: Iterable[PassageRow]) -> frozenset[str]:
    """The words that the passages write small somewhere: “Loft” is no name beside a “loft”."""
    return frozenset(word for passage in passages for word in _SMALL.findall(passage.text))


def find_spans(passage: PassageRow, small: Set[str] = frozenset()) -> tuple[Span, ...]:
    """All spans of a passage, by their place. `small` are words that are no names by themselves (`small_words`)."""
    found: list[Span] = []
    for kind, rule in RULES:
        places = _names(passage.text, small) if kind is SpanKind.NAME else rule(passage.text)
        for start, end in places:
            inside = kind not in _WHOLE and any(start < span.end and span.start < end for span in found)
            if end > start and not inside and (start, end) not in {(span.start, span.end) for span in found}:
                found.append(Span(passage.id, passage.text[start:end], start, end, kind))
    return tuple(sorted(found, key=lambda span: (span.start, span.end)))


def choose_spans(passage: PassageRow, settings: MakingSettings, small: Set[str] = frozenset()) -> tuple[Span, ...]:
    """At most `per_passage` spans that do not overlap, a whole sentence with the chance `sentences`, the others of unlike kinds.

    What is drawn depends on the passage and the seed alone.
    """
    spans = shuffled(find_spans(passage, small), lambda span: (settings.seed, span.passage_id, span.start, span.end))
    most = min(settings.per_passage, max(1, len(passage.text.split()) // WORDS_A_SPAN))
    chosen: list[Span] = []
    for slot in range(most):
        free = [span for span in spans if all(span.end <= other.start or other.end <= span.start for other in chosen)]
        whole = draw(settings.seed, "sentence", passage.id, slot) < settings.sentences
        wanted = [span for span in free if (span.kind is SpanKind.SENTENCE) is whole]
        used = {span.kind for span in chosen}
        span = next((span for span in wanted if span.kind not in used), next(iter(wanted), None))
        if span is not None:
            chosen.append(span)
    return tuple(chosen)
