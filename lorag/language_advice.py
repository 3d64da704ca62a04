"""What will not work in the languages of a project's documents with its settings, and what to set. Opens no model."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lorag.pipeline.config import DEFAULT_BASE, Settings
from lorag.pipeline.errors import LoragError
from lorag.pipeline.retrieval.bm25 import LANGUAGES, NO_LANGUAGE
from lorag.pipeline.retrieval.encoder_tokens import EncoderTokens
from lorag.pipeline.retrieval.languages import TEXTS, LanguageShare, languages
from lorag.pipeline.retrieval.sentence_encoder import MINILM

if TYPE_CHECKING:
    from lorag.pipeline.retrieval.index import Index

ENGLISH = "English"
IN_BIGRAMS = frozenset({"Chinese", "Japanese", "Korean", "Thai", "Lao", "Khmer", "Burmese"})
"""Languages whose words are found in any `retrieval.language`."""

MULTILINGUAL = "intfloat/multilingual-e5-small"
MANY_UNKNOWN = 0.05
"""Share of unknown tokens from which an encoder cannot tell texts apart well."""


def index_advice(index: Index, settings: Settings) -> tuple[str, ...]:
    """The same for what is in the index, by a sample of its passages. Raises StoreError."""
    return language_advice(languages(passage.text for passage in itertools.islice(index.passages(), TEXTS)), settings)


def language_advice(found: Sequence[LanguageShare], settings: Settings) -> tuple[str, ...]:
    """Lines for the user; none if all is English, or the settings fit."""
    foreign = [each for each in found if each.name != ENGLISH]
    if not foreign:
        return ()
    advice = [*_encoder(foreign, settings.embedder.model), *_words(found[0], settings.retrieval.language)]
    if settings.generation.engine == "local" and settings.base.model == DEFAULT_BASE:
        remedy = "set base.model to a multilingual one, and train with `lorag tune`"
        advice.append(f"base {DEFAULT_BASE} and the starters know English: {remedy}")
    shares = ", ".join(f"{each.name} {each.share:.0%}" for each in found)
    return (f"languages of the documents: {shares}", *advice) if advice else ()


def _encoder(foreign: Sequence[LanguageShare], model: str) -> list[str]:
    lacking = []
    for each in foreign:
        try:
            unknown = EncoderTokens(model).unknown_share(each.sample)
        except LoragError:
            continue  # its own message tells what is missing
        if model == MINILM or unknown >= MANY_UNKNOWN:
            lacking.append(
                f"{each.name} ({unknown:.0%} of its tokens are unknown to it)" if unknown >= MANY_UNKNOWN else each.name
            )
    if not lacking:
        return []
    what = "knows English alone, not" if model == MINILM else "does not know"
    return [
        f"embedder {model} {what} {', '.join(lacking)}: set embedder.model to a multilingual one such as {MULTILINGUAL}, and run "
        "`lorag ingest --rebuild`"
    ]


def _words(main: LanguageShare, language: str) -> list[str]:
    """On BM25: one language a project, that of most of its text."""
    wanted = main.name.lower() if main.name.lower() in LANGUAGES else NO_LANGUAGE
    if main.name in IN_BIGRAMS or wanted == language:
        return []
    why = f"{main.name} has no stemmer here" if wanted == NO_LANGUAGE else f"most text is {main.name}"
    return [f"retrieval.language is {language}, but {why}: set it to {wanted}, and run `lorag ingest --rebuild`"]
