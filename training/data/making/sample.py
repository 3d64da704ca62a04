"""A small part of a making, timed: what a span takes on this machine as it is loaded now, and with what these documents let pass.

How many questions are dropped before the costly votes differs from corpus to corpus more than machines do, so no table of
rates would do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from lorag.training.data.making.corpus import Corpus
from lorag.training.data.making.planning import Pace
from lorag.training.data.making.questions import Tools, make_questions
from lorag.training.data.making.records import Span
from lorag.training.data.making.searching import IndexedCorpus
from lorag.training.data.making.settings import MakingSettings
from lorag.training.passage_search import Retrieval

SPANS, PASSAGES = 32, 128
"""A unit of questions, and passages enough that opening the encoder is a small part of reading them."""


def time_sample(
    spans: Sequence[Span],
    corpus: Corpus,
    retrieval: Retrieval,
    tools: Callable[[IndexedCorpus], Tools],
    settings: MakingSettings,
    clock: Callable[[], float] = time.perf_counter,
) -> Pace:
    """Make questions on the first spans and throw them away. Their order is random by passage, so they stand for all."""
    asked = spans[:SPANS]
    own = dict.fromkeys(span.passage_id for span in asked)
    others = [name for name in corpus.passages if name not in own]
    chosen = [*own, *others[: PASSAGES - len(own)]]
    began = clock()
    with IndexedCorpus([corpus.passages[name] for name in chosen], retrieval) as search:
        filled = clock()
        make_questions(asked, corpus, tools(search), settings)
        return Pace((filled - began) / len(chosen), (clock() - filled) / len(asked))
