"""The stages a question passes through. Each runs on a batch; an item that fails is marked failed and the others are kept."""

from lorag.pipeline.stages.judge import Judge
from lorag.pipeline.stages.retriever import Retriever, Searcher
from lorag.pipeline.stages.rewriter import Rewriter
from lorag.pipeline.stages.synthesizer import Synthesizer

__all__ = ["Judge", "Retriever", "Rewriter", "Searcher", "Synthesizer"]
