"""The stages a question goes through. Each answers batches, item by item: one that fails is marked failed, the rest stand."""

from pipeline.stages.judge import Judge
from pipeline.stages.retriever import Retriever, Searcher
from pipeline.stages.rewriter import Rewriter
from pipeline.stages.synthesizer import Synthesizer

__all__ = ["Judge", "Retriever", "Rewriter", "Searcher", "Synthesizer"]
