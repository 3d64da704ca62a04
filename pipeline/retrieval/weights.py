"""The weights of a search's three scores. Pure data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from lorag.pipeline.errors import InputError


@dataclass(frozen=True, slots=True)
class SearchWeights:
    """How much each score of a passage counts in a hybrid search. Only the proportions matter.

    `words` weighs BM25 divided by the question's best, `vectors` the cosine, and `tokens` the late interaction of the question's
    and the passage's token vectors; 0 leaves a score out. The defaults were chosen on public questions and on the training
    questions of the example domain (benchmarks/retrieval_search.py).

    `history` weighs the words and tokens of the conversation before, 1 being those of the question: what a rewrite left out is
    still searched for. `document` is the share of a token's late interaction that a passage borrows from its document: the
    nearest token may stand in another passage of it that was found.

    Raises InputError for a weight that is no finite number of 0 or more, for a share above 1, and if words and vectors are both
    0: no passage would be found.
    """

    words: float = 0.15
    vectors: float = 0.15
    tokens: float = 1.0
    history: float = 0.3
    document: float = 0.2

    def __post_init__(self) -> None:
        for name, weight in asdict(self).items():
            if not (math.isfinite(weight) and weight >= 0):
                raise InputError(f"search weight {name}: {weight} must be a number of 0 or more")
        if self.document > 1:
            raise InputError(f"search weight document: {self.document} is a share, at most 1")
        if self.words + self.vectors == 0:
            raise InputError("search weights: words and vectors are both 0, so no passage would be found; raise one")

    @property
    def words_share(self) -> float:
        """The share of words in the score that finds the passages, by words and vectors alone."""
        return self.words / (self.words + self.vectors)

    @property
    def tokens_share(self) -> float:
        """The share of the late interaction in the final score."""
        return self.tokens / (self.words + self.vectors + self.tokens)

    def to_dict(self) -> dict[str, float]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> SearchWeights:
        """Raises KeyError, TypeError or ValueError if a weight is missing or no number, InputError as the class does."""
        default = cls()
        history, document = (float(data.get(name, getattr(default, name))) for name in ("history", "document"))
        return cls(float(data["words"]), float(data["vectors"]), float(data["tokens"]), history, document)
