"""Identical passages share a place in a ranking: one text in eight folders would else fill it, and the model read it eight times.

Two passages are twins if their texts are the same up to white space and Unicode's canonical forms: copies differ in line breaks,
and programs in how they write an accent. Case stays: `IT` and `it`, or two identifiers, are not the same words. A short text
says little without its heading ("Open from 9 to 5"), so below `LONG` characters title and section must be the same too.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import replace

from lorag.pipeline.records import Citation, Hit, Passage
from lorag.pipeline.retrieval.chunking import locate

LONG = 200
"""Characters from which on a text is taken for the same whatever it stands under."""

Key = tuple[str, str, str]


def twin_key(passage: Passage) -> Key:
    """What twins have in common."""
    text = _folded(passage.text)
    return (text, "", "") if len(text) >= LONG else (text, _folded(passage.title), _folded(passage.section))


def fold_twins(hits: Sequence[Hit]) -> list[Hit]:
    """`hits`, best first, with each text once: at its best place, with that score, and the others as its twins."""
    twins: dict[Key, list[Passage]] = {}
    best: dict[Key, Hit] = {}
    for hit in hits:
        key = twin_key(hit.passage)
        best.setdefault(key, hit)
        twins.setdefault(key, []).append(hit.passage)
    return [replace(hit, twins=(*hit.twins, *twins[key][1:])) if len(twins[key]) > 1 else hit for key, hit in best.items()]


def twins_of(citation: Citation, hits: Sequence[Hit]) -> tuple[Passage, ...]:
    """The other passages that hold the words of the citation."""
    return next((hit.twins for hit in hits if hit.passage.id == citation.passage_id), ())


def quote_place(passage: Passage, quote: str) -> tuple[int, int] | None:
    """Where the words stand in the source of a twin. None if its white space, or markup in between, is another."""
    start = passage.text.find(quote) if quote else -1
    if start < 0:
        return None
    place = locate(passage, start, start + len(quote))
    return place if place[1] - place[0] == len(quote) else None


def _folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())
