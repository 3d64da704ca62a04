"""Gold passages instead of what was found, and no passages at all: what each shows the model, by a scripted one."""

from __future__ import annotations

from lorag.pipeline.engine.protocol import Generation
from lorag.pipeline.engine.scripted import ScriptedEngine
from lorag.pipeline.evaluation.ablation import ChainItem, Configuration, TestSet, mean
from lorag.pipeline.evaluation.answers import CITATION_RECALL, EM, RIGHT_REFUSALS, GoldAnswer
from lorag.pipeline.evaluation.bench import Bench, Parts
from lorag.pipeline.evaluation.floors.diagnostics import CLOSED_BOOK, ORACLE, diagnostic_systems
from lorag.pipeline.evaluation.floors.words import WordSearcher
from lorag.pipeline.records import Passage, Query, Role
from lorag.pipeline.stages import Retriever

TEXTS = {"bell#1": "The bell is rung at night.", "gate#1": "Not before noon.", "bell#2": "A bell, a bell, a bell."}
PASSAGES = tuple(Passage(id_, "d.md", "docs/d.md", "", "", text, 0, len(text)) for id_, text in TEXTS.items())
TESTS = TestSet(
    (
        ChainItem(Query("When is the bell shut?"), GoldAnswer("q", ("noon",), True, ("gate#1",), group="q")),
        ChainItem(Query("Who feeds the bell?"), GoldAnswer("u", (), False, group="u")),
        ChainItem(Query("bell?"), GoldAnswer("s", ("x",), True, ("bell#1",), group="s"), answered=False),
    ),
    (),
    (),
)
ROLES = frozenset({Role.SYNTHESIZER})


def reply(request: Generation) -> str:
    prompt = request.messages[-1].content
    if "noon" in prompt:
        return "noon [1]"
    return "The passages do not say." if "[1]" in prompt or "feeds" in prompt else "midnight"


def test_what_is_shown_and_what_is_answered() -> None:
    engine = ScriptedEngine(reply)
    parts = Parts(engine, {Role.SYNTHESIZER: "syn"}, Retriever(WordSearcher(PASSAGES), k=1))
    bench = Bench(parts, TESTS)
    found_by_words = bench.measure(Configuration("all adapters", ROLES))
    assert mean(found_by_words, EM) == 0  # the passage with the most bells comes first
    engine.requests.clear()
    oracle, closed = (bench.run(system) for system in diagnostic_systems(parts, TESTS, ROLES, PASSAGES))
    assert (oracle.configuration.name, closed.configuration.name) == (ORACLE, CLOSED_BOOK)
    assert (mean(oracle, EM), mean(oracle, CITATION_RECALL), mean(oracle, RIGHT_REFUSALS)) == (1, 1, 1)
    assert [hit.passage.id for hit in oracle.responses["q"].trace.hits] == ["gate#1"]
    assert [hit.passage.id for hit in oracle.responses["u"].trace.hits] == ["bell#2"]  # no gold: what was found
    assert oracle.responses.keys() == closed.responses.keys() == {"q", "u"}
    assert (mean(closed, EM), mean(closed, CITATION_RECALL), closed.responses["u"].answer.refused) == (0, 0, True)
    assert closed.responses["q"].answer.text == "midnight" and closed.responses["q"].trace.hits == ()
    asked = [request for request in engine.requests if isinstance(request, Generation) and request.stage == CLOSED_BOOK]
    assert len(asked) == 2 and all(request.adapter is None and "bell is rung" not in str(request.messages) for request in asked)


def test_without_answered_questions_there_is_nothing_to_diagnose() -> None:
    parts = Parts(ScriptedEngine(), {}, Retriever(WordSearcher(PASSAGES)))
    assert diagnostic_systems(parts, TestSet(TESTS.chain[2:], (), ()), ROLES, PASSAGES) == ()
