"""Questions without an answer, of three kinds, made from accepted ones.

Withheld: the question is asked, and no passage that answers it is shown. Removed: its passage is shown without the sentence that
answers it. Swapped: a name, code, number or date of the question is another one of the corpus (arXiv 2310.19403), and nothing
that a search finds for it answers it. Withheld and removed ones say what is shown, so they train and choose checkpoints; a test
question goes through the whole search, so those are swapped ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from lorag.pipeline.contracts.judge import ANSWERABILITY, JudgeInputs
from lorag.pipeline.records import Outcome
from lorag.pipeline.stages import Judge
from lorag.training.data.making.corpus import Corpus
from lorag.training.data.making.filters import sentence_of
from lorag.training.data.making.others import holds
from lorag.training.data.making.records import Accepted, SpanKind, digest, draw
from lorag.training.data.making.round_trip import DEPTH, CorpusSearch
from lorag.training.data.making.spans import find_spans
from lorag.training.data.making.swaps import VALUES, form
from lorag.training.data.making.words import content_words, share_in
from lorag.training.data.making.writing import units
from lorag.training.data.rows import PassageRow


class Missing(StrEnum):
    """Why a question has no answer."""

    WITHHELD = "withheld"
    REMOVED = "removed"
    SWAPPED = "swapped"


@dataclass(frozen=True, slots=True)
class Unanswerable:
    """A question without an answer, made from `source`; `removed` is the sentence cut out, `ranking` what a search finds."""

    source: Accepted
    kind: Missing
    question: str
    removed: str = ""
    ranking: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return f"{self.source.candidate.id}-{self.kind.value}"


_LEAST_LEFT = 8
"""Words that a passage must have left after its answer's sentence is cut out."""
_SAME_REST = 0.6
"""Share of the question's other content words from which on a passage with the new value may answer it."""
_SHOWN = 3
"""Passages that the judge is asked about."""
_UNANSWERED = 0.5


def withheld(accepted: Sequence[Accepted]) -> list[Unanswerable]:
    """Those whose answering passages are all known: nothing that may answer can be shown."""
    return [Unanswerable(each, Missing.WITHHELD, each.candidate.question) for each in accepted if not each.barred]


def removed(accepted: Sequence[Accepted], corpus: Corpus) -> list[Unanswerable]:
    """Those whose passage has other text without the answer, and that no other passage answers."""
    found = []
    for each in accepted:
        span, text = each.candidate.span, corpus.gold_of(each).text
        sentence = sentence_of(text, span.start, span.end)
        left = text.replace(sentence, "")
        if not (each.also or each.barred or holds(left, span.text)) and len(left.split()) >= _LEAST_LEFT:
            found.append(Unanswerable(each, Missing.REMOVED, each.candidate.question, sentence))
    return found


def swapped(accepted: Sequence[Accepted], corpus: Corpus, search: CorpusSearch, judge: Judge) -> list[Unanswerable]:
    """Those that have something to swap, and whose swapped form is unanswered in the first passages of a search for it."""
    values = _values(corpus)
    pairs = [(each, change) for each in accepted if (change := _swap(each, corpus, values)) is not None]
    found: list[Unanswerable] = []
    for unit in units(pairs):
        rankings = search.find([change.question for _, change in unit], DEPTH)
        free = [
            Unanswerable(each, Missing.SWAPPED, change.question, ranking=tuple(ranking))
            for (each, change), ranking in zip(unit, rankings, strict=True)
            if not any(_may_answer(corpus.passages[name], each, change) for name in ranking)
        ]
        found += _unanswered(free, corpus, judge)
    return found


@dataclass(frozen=True, slots=True)
class _Swap:
    """The question with `new` in the place of another value; `rest` is the question without either."""

    question: str
    new: str
    rest: str


def _values(corpus: Corpus) -> dict[tuple[str, SpanKind], list[str]]:
    """(split, kind) → the values of that kind in the passages of that split, each once, in order."""
    found: dict[tuple[str, SpanKind], dict[str, None]] = defaultdict(dict)
    for passage in corpus.passages.values():
        for span in find_spans(passage):
            if span.kind in VALUES:
                found[corpus.grouping.split_of(passage.id), span.kind][span.text] = None
    return {key: sorted(values) for key, values in found.items()}


def _swap(each: Accepted, corpus: Corpus, values: Mapping[tuple[str, SpanKind], Sequence[str]]) -> _Swap | None:
    """The question with its first name, code or figure replaced by one of the same kind and form that its passage has not."""
    question, gold = each.candidate.question, corpus.gold_of(each)
    shown = f"{gold.title} {gold.text}"
    for span in find_spans(PassageRow("", "", question)):
        same = [
            value
            for value in values.get((corpus.split_of(each), span.kind), ())
            if form(span.kind, value) == form(span.kind, span.text) and value not in shown and value not in question
        ]
        if span.kind in VALUES and same:
            new = same[int(draw("swap", each.candidate.id) * len(same))]
            before, after = question[: span.start], question[span.end :]
            return _Swap(f"{before}{new}{after}", new, f"{before} {after}")
    return None


def _may_answer(passage: PassageRow, each: Accepted, swap: _Swap) -> bool:
    """Whether a passage speaks of the new value and either holds the old answer or has most of the question's other words."""
    text = f"{passage.title} {passage.text}"
    if not holds(text, swap.new):
        return False
    answer = each.candidate.span.text
    return holds(passage.text, answer) or share_in(content_words(swap.rest), content_words(text)) >= _SAME_REST


def _unanswered(free: Sequence[Unanswerable], corpus: Corpus, judge: Judge) -> list[Unanswerable]:
    """Those of which the judge says that the best passages do not hold an answer."""
    shown = [tuple(corpus.passages[name].shown() for name in each.ranking[:_SHOWN]) for each in free]
    asked = [JudgeInputs(question=each.question, passages=rows) for each, rows in zip(free, shown, strict=True)]
    verdicts = judge.judge(ANSWERABILITY, asked) if asked else []
    return [
        each
        for each, verdict in zip(free, verdicts, strict=True)
        if verdict.outcome is Outcome.OK and verdict.probabilities["answerable"] < _UNANSWERED
    ]


def take(pools: Mapping[Missing, Sequence[Unanswerable]], count: int) -> list[Unanswerable]:
    """`count` of them, evenly from the kinds as far as these reach, of unlike questions; which ones is drawn by their ids."""
    rarest_first = sorted(pools, key=lambda kind: (len(pools[kind]), kind))
    ranked = {kind: sorted(pools[kind], key=lambda each: digest("take", each.id)) for kind in rarest_first}
    taken: list[Unanswerable] = []
    used: set[str] = set()
    while len(taken) < count and any(ranked.values()):
        for pool in ranked.values():
            fresh = next((each for each in pool if each.source.candidate.id not in used), pool[0] if pool else None)
            if fresh is None or len(taken) == count:
                continue
            pool.remove(fresh)
            used.add(fresh.source.candidate.id)
            taken.append(fresh)
    return sorted(taken, key=lambda each: each.id)
