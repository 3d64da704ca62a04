"""What every stage promises: states stay as they are, a key tells apart what differs, and who reads whom."""

from collections.abc import Callable, Sequence

import pytest

from lorag.pipeline.chain import ChainOptions, build_chain
from lorag.pipeline.contracts.judge import SUPPORT, JudgeInputs
from lorag.pipeline.engine.protocol import ChoiceRequest, Generation
from lorag.pipeline.engine.scripted import ScriptedEngine
from lorag.pipeline.records import Hit, Outcome, Passage, Query, Role, Speaker, Turn
from lorag.pipeline.retrieval.store import Filter
from lorag.pipeline.stages import Judge, Retriever, Rewriter, Synthesizer
from lorag.pipeline.stages.judge import Check, answerability, intent, support
from lorag.pipeline.stages.stage import ChainState, Stage, StageResult, upstream

HISTORY = (Turn(Speaker.USER, "How deep is the Dun berth?"),)
PASSAGE = Passage("a#1", "a", "a.md", "A", "", "The berth is 4 m deep.", 0, 22)
ENGINE, OTHER = ScriptedEngine(), ScriptedEngine()


class One:
    def search_many(
        self, questions: Sequence[str], k: int, *, hybrid: bool = True, filter: Filter | None = None, contexts: Sequence[str] = ()
    ) -> list[list[Hit]]:
        return [[Hit(PASSAGE, 1.0)] for _ in questions]


class Same:
    def rerank(self, question: str, hits: Sequence[Hit], k: int) -> list[Hit]:
        return list(hits)[:k]


INDEX, ANOTHER, RERANKER = One(), One(), Same()
OPTIONS = ChainOptions(gate=0.9, intents={"figure": "a number", "other": "else"})
ADAPTERS = {Role.REWRITER: "rw", Role.SYNTHESIZER: "syn", Role.JUDGE: "jd"}


@pytest.mark.parametrize(
    "make",
    [
        pytest.param([lambda: Rewriter(ENGINE), lambda: Rewriter(ENGINE, "rw"), lambda: Rewriter(OTHER, "rw")], id="rewriter"),
        pytest.param(
            [lambda: Synthesizer(ENGINE), lambda: Synthesizer(ENGINE, "syn"), lambda: Synthesizer(OTHER, "syn")], id="synthesizer"
        ),
        pytest.param(
            [
                lambda: Retriever(INDEX),
                lambda: Retriever(ANOTHER),
                lambda: Retriever(INDEX, k=5),
                lambda: Retriever(INDEX, hybrid=False),
                lambda: Retriever(INDEX, filter={"source": "a"}),
                lambda: Retriever(INDEX, filter={"source": ["a", "b"]}),
                lambda: Retriever(INDEX, encoder="embedder-1"),
                lambda: Retriever(INDEX, reranker=RERANKER),
            ],
            id="retriever",
        ),
        pytest.param(
            [
                lambda: support(Judge(ENGINE)),
                lambda: support(Judge(ENGINE, "jd")),
                lambda: answerability(Judge(ENGINE, "jd")),
                lambda: answerability(Judge(ENGINE, "jd"), 0.5),
                lambda: answerability(Judge(ENGINE, "jd"), 0.6),
                lambda: intent(Judge(ENGINE, "jd"), {"a": "x", "b": "y"}),
                lambda: intent(Judge(ENGINE, "jd"), {"a": "x", "b": "z"}),
            ],
            id="judge",
        ),
    ],
)
def test_a_key_says_all_that_decides_beside_the_inputs(make: Sequence[Callable[[], Stage]]) -> None:
    keys = [each().key for each in make]
    assert len(set(keys)) == len(keys)
    assert keys == [each().key for each in make]  # a second object of the same parts is the same stage


def test_stages_leave_journeys_as_they_are() -> None:
    engine = ScriptedEngine(lambda request: "4 m [1]")
    chain, state = build_chain(engine, ADAPTERS, Retriever(INDEX), OPTIONS), ChainState.start(Query("And Kell?", HISTORY))
    for stage in chain.stages:
        results = stage.run([state])
        assert state.records == [] and state.answer is None and state.hits == () and state.verdicts == []
        assert [type(result) for result in results] == [StageResult]


def test_a_request_carries_the_stage_and_the_adapter_that_make_it() -> None:
    engine = ScriptedEngine(lambda request: "4 m [1]")
    response = build_chain(engine, ADAPTERS, Retriever(INDEX), OPTIONS).ask(Query("And Kell?", HISTORY))
    asked = [(request.stage, request.adapter) for request in engine.requests]
    assert asked == [("intent", "jd"), ("rewrite", "rw"), ("answerability", "jd"), ("synthesize", "syn"), ("support", "jd")]
    assert [record.stage for record in response.trace.stages if record.prompt] == [stage for stage, _ in asked]
    kinds = [ChoiceRequest, Generation, ChoiceRequest, Generation, ChoiceRequest]
    assert [type(request) for request in engine.requests] == kinds


@pytest.mark.parametrize(
    ("gate", "stage", "stages"),
    [
        (None, "rewrite", ["rewrite"]),
        (None, "retrieve", ["rewrite", "retrieve"]),
        (None, "synthesize", ["rewrite", "retrieve", "synthesize"]),
        (0.9, "synthesize", ["rewrite", "retrieve", "answerability", "synthesize"]),
        (None, "support", ["rewrite", "retrieve", "synthesize", "support"]),
        (0.9, "intent", ["intent"]),
        (None, "nothing", []),
    ],
)
def test_a_stage_depends_on_those_that_set_what_it_reads(gate: float | None, stage: str, stages: list[str]) -> None:
    options = ChainOptions(gate=gate, intents=OPTIONS.intents)
    assert [each.name for each in upstream(build_chain(ENGINE, {}, Retriever(INDEX), options).stages, stage)] == stages


def test_a_verdict_whose_prompt_cannot_be_made_fails_with_an_empty_prompt() -> None:
    """There is nothing to judge: the error is the verdict's own, and no prompt is shown that was never sent."""
    nothing = Check(Judge(ENGINE), SUPPORT, lambda state: JudgeInputs())
    (result,) = nothing.run([ChainState.start(Query("q?"))])
    assert result.record is not None and result.verdict is not None
    assert (result.record.outcome, result.record.prompt, result.verdict.outcome) == (Outcome.FAILED, (), Outcome.FAILED)
    assert "nothing to judge" in result.record.detail["error"]
