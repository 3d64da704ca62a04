"""The stages a question goes through. Each answers batches, item by item: one that fails is marked failed, the rest stand."""

from lorag.pipeline.stages.judge import Judge
from lorag.pipeline.stages.retriever import Retriever, Searcher
from lorag.pipeline.stages.rewriter import Rewriter
from lorag.pipeline.stages.synthesizer import Synthesizer

__all__ = ["Judge", "Retriever", "Rewriter", "Searcher", "Synthesizer"]
