"""The content words of a text, as BM25 counts them: stemmed, lower case, without stop words."""

from __future__ import annotations

from functools import lru_cache

from lorag.pipeline.retrieval.bm25 import Bm25Encoder

_ENCODER = Bm25Encoder()

_ASKING = """
allowed amount another apply approve approximately area ask author average away back become beginning belong besides big bring
built buy call capacity carry cause certain change charge code come common company condition contain cost count create current
date day deadline decide deep depth describe detail die difference different distance do done due during duration early earn
effect else end equal event exact example expect extent extra far fast figure find first follow found frequency frequently get
give go group happen hard heavy height held help high highest hold hour important include increase interval issue item keep
kept kind know large largest last late latest least left length let level limit list live locate location long look lose lost
low lowest made main make many mark match maximum may mean measure meet mention minimum minute moment money month morning most
move much must name need needed new next night normal note number object occur off offer often old one open order organisation
owe own paid part pay people per percent percentage period permit person phone piece place position possible pressure price
problem purpose put quantity quick quickly range rate reach read reason receive record responsible rise role rule run said
same say second see sell send sent serve set share show shut side sign size slow small someone soon sort source speed spend
staff stand start state stay step still stop strength strong sum supply take taken telephone temperature tell term third thing
three time told total turn two type under unit until use used usual value wait want way week weigh weight wide width win
without work write written wrong wrote year
"""
"""Words by which people ask, whatever they ask about: they need not stand in the passage. From those that stand in questions of
public sets and not in their passages most often, without names of things."""

Words = frozenset[int]


@lru_cache(maxsize=8192)
def content_words(text: str) -> Words:
    """The content words of `text`, each as the hash that BM25 has for it."""
    return frozenset(_ENCODER.query(text).indices)


@lru_cache(maxsize=1)
def asking_words() -> Words:
    """The words by which people ask."""
    return content_words(_ASKING)


def share_in(words: Words, other: Words) -> float:
    """The share of `words` that `other` has; 0 if there are none."""
    return len(words & other) / len(words) if words else 0.0
