"""Gold passages in a ranking that shows identical passages once: one that stands there as a twin is found.

Test rows name a passage by its id. Of identical passages a search shows one, whichever is best, with the others as its twins.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from lorag.pipeline.records import Hit


def named_by_gold(hits: Sequence[Hit], gold: Collection[str]) -> tuple[Hit, ...]:
    """The hits, each under the id of its gold twin if it is not gold itself. Text, title and everything else stay."""
    return tuple(_named(hit, gold) if hit.twins else hit for hit in hits)


def _named(hit: Hit, gold: Collection[str]) -> Hit:
    if hit.passage.id in gold:
        return hit
    twin = next((twin for twin in hit.twins if twin.id in gold), None)
    if twin is None:
        return hit
    others = tuple(hit.passage if each is twin else each for each in hit.twins)
    return replace(hit, passage=replace(hit.passage, id=twin.id), twins=others)


def distinct_gold(gold: Iterable[str], hits: Sequence[Hit]) -> list[str]:
    """The gold ids without those that stand in the ranking as twins of another one: they are one text, and count once."""
    wanted = list(dict.fromkeys(gold))
    hidden = {
        twin.id
        for hit in named_by_gold(hits, wanted)
        if hit.passage.id in wanted
        for twin in hit.twins
        if twin.id != hit.passage.id
    }
    return [each for each in wanted if each not in hidden]
