"""Tells langchain's callbacks of each stage of a question: a child run a stage, as it starts and as it ends. Knows no stage."""

from __future__ import annotations

from langchain_core.callbacks import CallbackManagerForChainRun, CallbackManagerForRetrieverRun

from lorag.pipeline.hit_documents import hit_document
from lorag.pipeline.response_json import stage_json
from lorag.pipeline.stages.stage import Journey

STAGE_TAG = "lorag:stage"
"""Tag of each stage's run, to pick them out with."""

RETRIEVE = "retrieve"
"""The stage whose run is a retriever's: its output is documents."""


class StageCallbacks:
    """A `StageWatcher` for the question whose run `parent` manages.

    A stage's run is named after it and is a chain run, with the question as it then reads as input and the stage of
    `response_json` as output (nothing where the stage had nothing to do); `retrieve` is a retriever run.
    """

    def __init__(self, parent: CallbackManagerForChainRun) -> None:
        self._parent = parent
        self._run: CallbackManagerForChainRun | CallbackManagerForRetrieverRun | None = None
        self._told = 0

    def started(self, stage: str, journey: Journey) -> None:
        question = journey.rewrite.question
        child = self._parent.get_child(STAGE_TAG)
        if stage == RETRIEVE:
            self._run = child.on_retriever_start({}, question, name=stage)
        else:
            self._run = child.on_chain_start(None, {"question": question}, name=stage)
        self._told = len(journey.records)

    def ended(self, stage: str, journey: Journey, error: BaseException | None) -> None:
        run, self._run = self._run, None
        if isinstance(run, CallbackManagerForRetrieverRun):
            if error is None:
                run.on_retriever_end([hit_document(hit) for hit in journey.hits])
            else:
                run.on_retriever_error(error)
        elif run is not None:
            if error is None:
                records = journey.records[self._told :]
                run.on_chain_end(stage_json(records[-1]) if records else {})
            else:
                run.on_chain_error(error)
