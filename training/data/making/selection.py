"""Chooses among the questions that passed: one a span, no near-duplicates over the whole corpus, and the quotas.

Every choice is by score and then by a digest of the question's place, so that the order of the input does not matter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lorag.pipeline.contracts.question import Manner
from lorag.training.data.making.records import Accepted, Filter, Rejected, digest
from lorag.training.data.making.settings import MakingSettings
from lorag.training.data.rows import document_of

Embed = Callable[[Sequence[str]], NDArray[np.float32]]
_CELLS = 1 << 24


@dataclass(frozen=True, slots=True)
class Selected:
    """The questions that are left, in the order of their ids, and the dropped ones."""

    accepted: tuple[Accepted, ...]
    rejected: tuple[Rejected, ...]


def best_first(accepted: Accepted) -> tuple[float, int, str]:
    """A sort key: the votes' sum, then the harder for a search by words, then the place."""
    scores = accepted.scores
    votes = sum(vote for vote in (scores.own_span, scores.reader_f1, scores.answerable, scores.supported) if vote is not None)
    return (-round(votes, 3), -min(scores.word_rank or 99, 99), digest(accepted.candidate.id))


def without_duplicates(accepted: Sequence[Accepted], embed: Embed, settings: MakingSettings) -> Selected:
    """One question a span, and of questions at least `duplicate` alike the best one; `embed` gives a unit vector each."""
    ranked = sorted(accepted, key=best_first)
    if not ranked:
        return Selected((), ())
    vectors = embed([each.candidate.question for each in ranked])
    kept: list[int] = []
    rejected: list[Rejected] = []
    spans: set[tuple[str, int, int]] = set()
    for at, each in enumerate(ranked):
        span = each.candidate.span
        place = (span.passage_id, span.start, span.end)
        if place in spans:
            rejected.append(Rejected(each.candidate, Filter.SPAN, "another question on its span is better"))
            continue
        similar = vectors[kept] @ vectors[at] if kept else np.zeros(0, dtype=np.float32)
        if similar.size and float(similar.max()) >= settings.duplicate:
            other = ranked[kept[int(similar.argmax())]].candidate
            rejected.append(Rejected(each.candidate, Filter.DUPLICATE, f"says nearly the same as {other.id}: {other.question}"))
            continue
        spans.add(place)
        kept.append(at)
    return Selected(_by_id([ranked[at] for at in kept]), tuple(rejected))


def within_quotas(accepted: Sequence[Accepted], settings: MakingSettings) -> Selected:
    """At most so many a passage and a document, and at most the shares `what`, `terse` and `easy` of all that is left."""
    kept, rejected = _a_place(sorted(accepted, key=best_first), settings)
    before = -1
    while before != len(kept):  # dropping for one share changes the others
        before = len(kept)
        for share, name, has in (
            (settings.easy, "that a search by words alone has first", _is_easy),
            (settings.what, "with “what”", _asks_what),
            (settings.terse, "that are terse", _is_terse),
        ):
            kept, more = _at_most(kept, share, name, has)
            rejected += more
    return Selected(_by_id(kept), tuple(rejected))


def _is_easy(each: Accepted) -> bool:
    return each.scores.word_rank == 1


def _asks_what(each: Accepted) -> bool:
    return "what" in each.candidate.question.casefold().split()[:3]


def _is_terse(each: Accepted) -> bool:
    return each.candidate.order.manner is Manner.TERSE


def _a_place(ranked: Sequence[Accepted], settings: MakingSettings) -> tuple[list[Accepted], list[Rejected]]:
    counts: Counter[str] = Counter()
    kept: list[Accepted] = []
    rejected: list[Rejected] = []
    for each in ranked:
        passage = each.candidate.span.passage_id
        document = document_of(passage)
        if counts[passage] >= settings.per_passage:
            rejected.append(Rejected(each.candidate, Filter.QUOTA, f"{settings.per_passage} of its passage are kept"))
        elif counts[f"document {document}"] >= settings.per_document:
            rejected.append(Rejected(each.candidate, Filter.QUOTA, f"{settings.per_document} of its document are kept"))
        else:
            counts.update((passage, f"document {document}"))
            kept.append(each)
    return kept, rejected


def _at_most(
    ranked: Sequence[Accepted], share: float, name: str, has: Callable[[Accepted], bool]
) -> tuple[list[Accepted], list[Rejected]]:
    """Drop the worst of those that `has` names until they are at most `share` of what is left."""
    named = [each for each in ranked if has(each)]
    others = len(ranked) - len(named)
    most = len(named) if share >= 1 else int(share * others / (1 - share) + 1e-9)
    dropped = {each.candidate.id for each in named[most:]}
    kept = [each for each in ranked if each.candidate.id not in dropped]
    reason = f"more than {share:.0%} are questions {name}"
    return kept, [Rejected(each.candidate, Filter.QUOTA, reason) for each in named[most:]]


def _by_id(accepted: Sequence[Accepted]) -> tuple[Accepted, ...]:
    return tuple(sorted(accepted, key=lambda each: each.candidate.id))
