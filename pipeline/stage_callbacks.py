"""Calls langchain's callbacks for each stage of a question: one child run per stage, at its start and end. Knows no stage."""

from __future__ import annotations

from langchain_core.callbacks import CallbackManagerForChainRun, CallbackManagerForRetrieverRun

from lorag.pipeline.hit_documents import hit_document
from lorag.pipeline.response_json import stage_json
from lorag.pipeline.stages.stage import ChainState

STAGE_TAG = "lorag:stage"
"""Tag of each stage's run, for filtering."""

RETRIEVE = "retrieve"
"""The stage that is reported as a retriever run: its output is documents."""


class StageCallbacks:
    """A `StageWatcher` for the question whose run `parent` manages.

    A stage's run has its name and is a chain run; `retrieve` is a retriever run. Its input is the question at that point, its
    output the stage of `response_json`, empty if the stage had nothing to do.
    """

    def __init__(self, parent: CallbackManagerForChainRun) -> None:
        self._parent = parent
        self._run: CallbackManagerForChainRun | CallbackManagerForRetrieverRun | None = None
        self._records_before = 0

    def started(self, stage: str, state: ChainState) -> None:
        question = state.rewrite.question
        child = self._parent.get_child(STAGE_TAG)
        if stage == RETRIEVE:
            self._run = child.on_retriever_start({}, question, name=stage)
        else:
            self._run = child.on_chain_start(None, {"question": question}, name=stage)
        self._records_before = len(state.records)

    def ended(self, stage: str, state: ChainState, error: BaseException | None) -> None:
        run, self._run = self._run, None
        if isinstance(run, CallbackManagerForRetrieverRun):
            if error is None:
                run.on_retriever_end([hit_document(hit) for hit in state.hits])
            else:
                run.on_retriever_error(error)
        elif run is not None:
            if error is None:
                records = state.records[self._records_before :]
                run.on_chain_end(stage_json(records[-1]) if records else {})
            else:
                run.on_chain_error(error)
