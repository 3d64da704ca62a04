"""Whether rows can be made of a corpus at all: whether it is English running text. Each refusal says what to do."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lorag.pipeline.errors import DataError
from lorag.pipeline.retrieval.blocks import Kind, blocks
from lorag.training.data.rows import PassageRow

_ENGLISH = (
    "the of and to in a is that for it as was with be by on not he are this from at or have an they which you were all we her "
    "she there their one so if will no has when who what its into out up them can only other may any must"
)
_FREQUENT = frozenset(_ENGLISH.split())
_WORD = re.compile(r"[^\W\d_]+")
LEAST_FREQUENT = 0.15
"""Share of English function words in running text below which it is not English. English texts have .3 to .5, German, French
and Spanish ones below .08."""
LEAST_PROSE = 0.1
"""Share of the letters that must stand outside tables and code."""


def require_english_prose(passages: Sequence[PassageRow]) -> None:
    """Raises DataError for a corpus of tables and code alone, and for one in another language."""
    prose = [text for passage in passages for text in _prose(passage.text)]
    letters = sum(len(text) for text in prose)
    whole = sum(len(passage.text) for passage in passages)
    if letters < LEAST_PROSE * whole:
        raise DataError(
            f"{letters / max(1, whole):.0%} of the documents' text stands outside of tables and code, too little to write "
            "questions about; add documents with running text"
        )
    words = [word.lower() for text in prose for word in _WORD.findall(text)]
    share = sum(word in _FREQUENT for word in words) / max(1, len(words))
    if share < LEAST_FREQUENT:
        raise DataError(
            f"{share:.0%} of the documents' words are English function words: they are in another language, and the questioner "
            "was trained on English alone; write rows by hand, see docs/reference/rows.md"
        )


def _prose(text: str) -> list[str]:
    return [text[block.start : block.end] for block in blocks(text) if block.kind not in (Kind.TABLE, Kind.CODE)]
