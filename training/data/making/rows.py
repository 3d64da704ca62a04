"""All rows of all roles, from the questions that passed."""

from __future__ import annotations

from lorag.training.data.making.conversations import rewriter_rows
from lorag.training.data.making.corpus import Corpus
from lorag.training.data.making.embedder_rows import embedder_rows
from lorag.training.data.making.judge_rows import judge_rows
from lorag.training.data.making.questions import Questions, Tools
from lorag.training.data.making.records import MadeRow
from lorag.training.data.making.settings import MakingSettings
from lorag.training.data.making.synthesizer_rows import synthesizer_rows


def make_rows(questions: Questions, corpus: Corpus, tools: Tools, settings: MakingSettings) -> list[MadeRow]:
    """The rows of embedder, synthesizer, rewriter and judge."""
    accepted = questions.accepted
    return [
        *embedder_rows(accepted, questions.rejected, corpus, settings.negatives),
        *synthesizer_rows(accepted, corpus, tools.search, tools.voters.judge, settings.unanswerable),
        *rewriter_rows(accepted, corpus, tools.search, tools.writer),
        *judge_rows(accepted, corpus),
    ]
