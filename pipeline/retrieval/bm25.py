"""Text → sparse BM25 vector, by the encoder that comes with Qdrant Edge; the store's engine adds the inverse document frequency.

The same vectors go to Edge and to a server, so both rank alike. Knows nothing of collections.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from lorag.pipeline.errors import ConfigError
from lorag.pipeline.retrieval.bigrams import with_bigrams
from lorag.pipeline.retrieval.store import Sparse

STEMMED = (
    *("arabic", "danish", "dutch", "english", "finnish", "french", "german", "greek", "hungarian", "italian", "norwegian"),
    *("portuguese", "romanian", "russian", "spanish", "swedish", "turkish"),
)
"""Languages with a Snowball stemmer and stop words."""

STOPPED = (
    *(
        "azerbaijani",
        "basque",
        "bengali",
        "catalan",
        "chinese",
        "hebrew",
        "hinglish",
        "indonesian",
        "japanese",
        "kazakh",
        "nepali",
    ),
    *("slovene", "tajik"),
)
"""Languages with stop words alone."""

NO_LANGUAGE = "none"
LANGUAGES = (*STEMMED, *STOPPED, NO_LANGUAGE)


@dataclass(frozen=True, slots=True)
class Bm25Settings:
    """Robertson's k1 and b, the mean passage length in words after stop words, and the language of stemmer and stop words.

    `language` is one of `LANGUAGES`; `none` neither stems nor drops words. Scripts without blanks are read in bigrams in any.

    `average_words` is a constant, not the collection's mean, so that an added document does not change all vectors. 50 is the
    mean of passages of the default size with their headings.
    """

    k1: float = 1.2
    b: float = 0.75
    average_words: float = 50.0
    language: str = "english"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Bm25Encoder:
    """Token ids are hashes of stemmed lower-case words. Loads the engine's library at the first text."""

    def __init__(self, settings: Bm25Settings | None = None) -> None:
        self.settings = settings or Bm25Settings()

    @cached_property
    def _model(self) -> Any:
        import qdrant_edge

        s = self.settings
        try:
            if s.language != NO_LANGUAGE:
                return qdrant_edge.Bm25(qdrant_edge.Bm25Config(k=s.k1, b=s.b, avg_len=s.average_words, language=s.language))
            stemmer, words = qdrant_edge.DisabledStemmer(), qdrant_edge.StopwordsSet()
            config = qdrant_edge.Bm25Config(k=s.k1, b=s.b, avg_len=s.average_words, stemmer=stemmer, stopwords=words)
            return qdrant_edge.Bm25(config)
        except ValueError as error:
            raise ConfigError(
                f"BM25 settings {s.to_dict()}: {error}; use a language such as english, german or french"
            ) from error

    def passage(self, text: str) -> Sparse:
        """Saturated term frequencies, f (k1 + 1) / (f + k1 (1 - b + b length / average_words)).

        Raises:
            ConfigError: the settings are inconsistent or the language is unknown.
        """
        return _sparse(self._model.embed_document(with_bigrams(text)))

    def query(self, text: str) -> Sparse:
        """Weight 1 for each word; empty if the text has only stop words."""
        return _sparse(self._model.embed_query(with_bigrams(text)))


def _sparse(vector: Any) -> Sparse:
    return Sparse(tuple(vector.indices), tuple(vector.values))
