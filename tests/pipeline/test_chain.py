"""The chain over a scripted engine and a real in-memory index: order, switches, trace, failures, streaming, JSON."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from lorag.pipeline.chain import Chain, ChainOptions, Final, StageDone, TextDelta, build_chain, response_json
from lorag.pipeline.contracts.synthesize import REFUSAL
from lorag.pipeline.engine.protocol import ChoiceRequest, Generation
from lorag.pipeline.engine.scripted import ScriptedEngine
from lorag.pipeline.errors import EngineError, InputError, LoragError, PromptTooLong, StoreError
from lorag.pipeline.records import Hit, Outcome, Passage, Query, Role, Speaker, Turn
from lorag.pipeline.retrieval.client_store import ClientStore
from lorag.pipeline.retrieval.embedder import HashingEmbedder
from lorag.pipeline.retrieval.index import Index
from lorag.pipeline.retrieval.store import Filter
from lorag.pipeline.stages import Retriever, Searcher, Synthesizer

HISTORY = (Turn(Speaker.USER, "How deep is the Dun berth?"), Turn(Speaker.ASSISTANT, "2.4 m."))
STAGES = ["rewrite", "retrieve", "answerability", "synthesize", "support"]


class Shelf:
    """An index of two passages: `Dun` for questions that name it, `Kell` for the rest, none for `nothing`."""

    def search_many(
        self, questions: Sequence[str], k: int, *, hybrid: bool = True, filter: Filter | None = None, contexts: Sequence[str] = ()
    ) -> list[list[Hit]]:
        if any("torn" in question for question in questions):
            raise StoreError("index x: torn; run `lorag ingest`")
        return [[] if "nothing" in q else [self._hit("Dun" if "Dun" in q else "Kell")] for q in questions]

    def _hit(self, name: str) -> Hit:
        text = f"The {name} berth is {len(name)} m deep."
        return Hit(Passage(f"{name}.md#1", f"{name}.md", f"docs/{name}.md", name, "", text, 7, 7 + len(text)), 0.5)


def reply(request: Generation) -> str:
    prompt = request.messages[-1].content
    if "stands alone" in prompt or "without the conversation" in prompt:
        return "How deep is the Kell berth?"
    if "explode" in prompt:
        raise PromptTooLong("prompt of 9000 tokens does not fit the context of 8192 tokens; shorten the question")
    return "3 m [1]" if "Dun berth is" in prompt else "4 m [1]"


def choice_probabilities(request: ChoiceRequest) -> Sequence[float]:
    if "shaky" in request.messages[-1].content:
        raise EngineError("weights lost")
    return [1, 3] if request.choices[0] == "answerable" else [8, 1, 1][: len(request.choices)]


def chain(*, engine: ScriptedEngine | None = None, index: Searcher | None = None, options: ChainOptions | None = None) -> Chain:
    engine = engine or ScriptedEngine(reply, scorer=choice_probabilities)
    adapters = {Role.REWRITER: "rw", Role.SYNTHESIZER: "syn", Role.JUDGE: "jd"}
    return build_chain(engine, adapters, Retriever(index or Shelf(), k=1, encoder="hashing (1a2b)"), options)


def test_a_question_goes_through_every_stage_in_order() -> None:
    response = chain().ask(Query("And Kell?", HISTORY))
    assert response.question == "And Kell?"
    assert response.rewrite.question == "How deep is the Kell berth?"
    assert (response.answer.text, response.answer.refused) == ("4 m", False)
    assert [(v.task, v.label, v.probability) for v in response.verdicts] == [
        ("answerability", "unanswerable", 0.75),
        ("support", "supported", 0.8),
    ]
    records = response.trace.stages
    assert [r.stage for r in records] == STAGES
    assert [r.adapter for r in records] == ["rw", "hashing (1a2b)", "jd", "syn", "jd"]
    assert [r.reply for r in records] == ["How deep is the Kell berth?", "", "unanswerable", "4 m [1]", "supported"]
    assert all(r.outcome is Outcome.OK and r.seconds >= 0 for r in records)
    assert [h.passage.id for h in response.trace.hits] == ["Kell.md#1"]
    assert records[1].detail["found"] == [{"passage_id": "Kell.md#1", "score": 0.5}]


def test_the_trace_holds_the_prompts_that_were_sent() -> None:
    engine = ScriptedEngine(reply, scorer=choice_probabilities)
    response = chain(engine=engine).ask(Query("And Kell?", HISTORY))
    assert [r.prompt for r in response.trace.stages if r.prompt] == [request.messages for request in engine.requests]
    assert "Answer: 4 m" in response.trace.stages[-1].prompt[-1].content


@pytest.mark.parametrize(
    ("options", "stages"),
    [
        (ChainOptions(), STAGES),
        (ChainOptions(rewrite=False), STAGES[1:]),
        (ChainOptions(answerability=False), ["rewrite", "retrieve", "synthesize", "support"]),
        (ChainOptions(support=False), STAGES[:-1]),
        (ChainOptions(rewrite=False, answerability=False, support=False), ["retrieve", "synthesize"]),
        (ChainOptions(intents={"figure": "one number", "other": "else"}), ["intent", *STAGES]),
    ],
)
def test_stages_can_be_switched_off(options: ChainOptions, stages: list[str]) -> None:
    response = chain(options=options).ask(Query("And Kell?", HISTORY))
    assert [r.stage for r in response.trace.stages] == stages
    assert [v.task for v in response.verdicts] == [s for s in stages if s in ("intent", "answerability", "support")]
    assert response.rewrite.question == ("How deep is the Kell berth?" if options.rewrite else "And Kell?")


def test_a_chain_is_the_stages_that_it_is_given() -> None:
    engine = ScriptedEngine(reply)
    bare = Chain([Retriever(Shelf()), Synthesizer(engine)])
    response = bare.ask(Query("How deep is Dun?", HISTORY))
    assert [(r.stage, r.adapter) for r in response.trace.stages] == [("retrieve", "base"), ("synthesize", "base")]


@pytest.mark.parametrize(
    ("gate", "refused"),
    [(None, False), (0.76, False), (0.75, True), (0.0, True)],
)
def test_the_gate_refuses_at_its_threshold_and_asks_no_further(gate: float | None, refused: bool) -> None:
    engine = ScriptedEngine(reply, scorer=choice_probabilities)
    response = chain(engine=engine, options=ChainOptions(gate=gate)).ask(Query("How deep is Dun?"))
    assert response.answer.refused is refused
    assert response.answer.text == (REFUSAL if refused else "3 m")
    assert any(isinstance(r, Generation) for r in engine.requests) is not refused
    synthesize = next(r for r in response.trace.stages if r.stage == "synthesize")
    assert synthesize.detail.get("gated", False) is refused
    assert [v.task for v in response.verdicts] == ["answerability"] + ([] if refused else ["support"])


def test_no_hits_is_the_refusal_without_a_call() -> None:
    engine = ScriptedEngine(reply, scorer=choice_probabilities)
    response = chain(engine=engine).ask(Query("nothing here?"))
    assert (response.answer.text, response.answer.refused, response.answer.outcome) == (REFUSAL, True, Outcome.OK)
    assert (response.verdicts, engine.requests) == ((), [])


@pytest.mark.parametrize(
    ("query", "message"),
    [
        pytest.param(Query(""), "the question is empty; type one", id="empty"),
        pytest.param(Query(" \n\t"), "the question is empty; type one", id="blank"),
        pytest.param(Query("a\0b"), "the question holds U+0000, which is no text character; remove it", id="NUL"),
        pytest.param(Query("a\ud83d"), "the question holds U+D83D, which is no text character; remove it", id="surrogate"),
        pytest.param(Query("a", (Turn(Speaker.USER, "\udfff"),)), "the history holds U+DFFF, which is", id="history"),
    ],
)
def test_a_question_that_is_no_text_is_refused_before_any_work(query: Query, message: str) -> None:
    engine = ScriptedEngine(reply, scorer=choice_probabilities)
    for call in (chain(engine=engine).ask, lambda q: list(chain(engine=engine).stream(q))):
        with pytest.raises(InputError) as caught:
            call(query)
        assert str(caught.value).startswith(message)
    with pytest.raises(InputError, match="query 2 of 2: "):
        chain(engine=engine).ask_many([Query("fine?"), query])
    assert engine.requests == []


@pytest.mark.parametrize(
    ("question", "kind", "message"),
    [
        ("explode?", PromptTooLong, "synthesize (syn), question 'explode?': prompt of 9000 tokens does not fit"),
        ("torn?", StoreError, "retrieve (hashing (1a2b)), question 'torn?': index x: torn"),
    ],
)
def test_what_ends_a_single_question_is_raised_in_one_line(question: str, kind: type[LoragError], message: str) -> None:
    for call in (chain().ask, lambda q: list(chain().stream(q)), lambda q: chain().ask_many([q])):
        with pytest.raises(kind) as caught:
            call(Query(question))
        assert str(caught.value).startswith(message)
        assert "\n" not in str(caught.value)


def test_in_a_batch_a_question_fails_alone_and_goes_no_further() -> None:
    responses = chain().ask_many([Query("Dun?"), Query("torn?"), Query("explode?"), Query("Kell?")])
    assert [r.answer.text for r in responses] == ["3 m", "", "", "4 m"]
    assert [r.answer.outcome.value for r in responses] == ["ok", "failed", "failed", "ok"]
    assert [type(r.answer.error) for r in responses] == [type(None), StoreError, PromptTooLong, type(None)]
    assert [r.stage for r in responses[1].trace.stages] == ["rewrite", "retrieve"]
    assert responses[1].trace.stages[-1].outcome is Outcome.FAILED
    assert "torn" in responses[1].trace.stages[-1].detail["error"]


def test_a_failed_verdict_is_marked_and_ends_nothing() -> None:
    response = chain().ask(Query("shaky Dun?"))
    assert response.answer.text == "3 m"
    assert [(v.task, v.label, v.outcome) for v in response.verdicts] == [
        ("answerability", "", Outcome.FAILED),
        ("support", "", Outcome.FAILED),
    ]


def test_with_a_gate_a_failed_verdict_lets_no_answer_pass() -> None:
    gated = chain(options=ChainOptions(gate=0.9))
    with pytest.raises(EngineError, match="answerability .*weights lost"):
        gated.ask(Query("shaky Dun?"))
    failed, passed = gated.ask_many([Query("shaky Dun?"), Query("Dun?")])
    assert (failed.answer.outcome, failed.answer.text, passed.answer.text) == (Outcome.FAILED, "", "3 m")


def test_an_unparsed_rewrite_goes_on_with_the_raw_question() -> None:
    engine = ScriptedEngine(lambda request: "…" if "stands alone" in request.messages[-1].content else "4 m [1]")
    response = chain(engine=engine, options=ChainOptions(answerability=False, support=False)).ask(Query("And Kell?", HISTORY))
    assert (response.rewrite.outcome, response.rewrite.question) == (Outcome.UNPARSED, "And Kell?")
    assert "Question: And Kell?" in response.trace.stages[-1].prompt[-1].content


def test_many_questions_are_answered_as_each_alone_and_progress_is_told() -> None:
    queries = [Query("Dun?"), Query("And Kell?", HISTORY), Query("nothing?")] * 12
    told: list[tuple[str, int, int]] = []
    many = chain().ask_many(queries, lambda stage, done, total: told.append((stage, done, total)))
    single = [chain().ask(query) for query in queries[:3]] * 12
    assert [(r.question, r.rewrite, r.answer, r.verdicts) for r in many] == [
        (r.question, r.rewrite, r.answer, r.verdicts) for r in single
    ]
    assert told == [(stage, done, 36) for stage in STAGES for done in (32, 36)]


def test_no_questions_are_no_responses() -> None:
    assert chain().ask_many([]) == []


def test_a_stream_tells_each_stage_the_reply_and_the_same_response() -> None:
    events = list(chain().stream(Query("And Kell?", HISTORY)))
    assert [e.record.stage for e in events if isinstance(e, StageDone)] == STAGES
    assert [e.text for e in events if isinstance(e, TextDelta)] == ["4", " m", " [1]"]
    kinds = [type(e).__name__ for e in events]
    assert kinds == ["StageDone"] * 3 + ["TextDelta"] * 3 + ["StageDone"] * 2 + ["Final"]
    final, asked = events[-1], chain().ask(Query("And Kell?", HISTORY))
    assert isinstance(final, Final)
    assert (final.response.answer, final.response.verdicts) == (asked.answer, asked.verdicts)


@pytest.mark.parametrize(("query", "options"), [(Query("nothing?"), ChainOptions()), (Query("Dun?"), ChainOptions(gate=0.5))])
def test_a_stream_that_refuses_has_no_text_but_the_final_answer(query: Query, options: ChainOptions) -> None:
    events = list(chain(options=options).stream(query))
    assert not [e for e in events if isinstance(e, TextDelta)]
    final = events[-1]
    assert isinstance(final, Final)
    assert final.response.answer.refused


def test_closing_a_stream_closes_the_engines() -> None:
    closed: list[bool] = []

    class Watched(ScriptedEngine):
        def stream(self, request: Generation):  # type: ignore[no-untyped-def]
            try:
                yield from super().stream(request)
            finally:
                closed.append(True)

    events = chain(engine=Watched(reply, scorer=choice_probabilities)).stream(Query("Dun?"))
    next(event for event in events if isinstance(event, TextDelta))
    assert closed == []
    events.close()
    assert closed == [True]


@pytest.mark.parametrize(
    "build",
    [
        pytest.param(lambda: ChainOptions(gate=1.5), id="out of range"),
        pytest.param(lambda: ChainOptions(gate=0.5, answerability=False), id="nothing to gate on"),
    ],
)
def test_a_gate_that_cannot_work_is_refused(build: Callable[[], object]) -> None:
    with pytest.raises(InputError, match="gate"):
        build()


def test_json_of_a_real_index_quotes_the_source_file(tmp_path: Path) -> None:
    source = tmp_path / "berths.md"
    text = "# Berths\n\n## Dun\n\nThe Dun berth dries at low water. It is 2.4 m deep at half tide.\n"
    source.write_text(text)
    index = Index(ClientStore(":memory:"), HashingEmbedder())
    index.ingest(tmp_path)
    engine = ScriptedEngine(lambda _: "2.4 m deep [1]", scorer=choice_probabilities)
    answered = chain(engine=engine, index=index).ask(Query("How deep is the Dun berth at half tide?"))
    shown = json.loads(json.dumps(response_json(answered)))
    assert {"question", "rewrite", "answer", "refused", "citations", "verdicts", "trace"} <= shown.keys()
    (citation,) = shown["citations"]
    assert set(citation) == {"number", "passage_id", "source", "quote", "start", "end", "page"}
    assert citation["source"] == str(source)
    assert citation["quote"] == "It is 2.4 m deep at half tide."
    assert text[citation["start"] : citation["end"]] == citation["quote"]
    assert [stage["stage"] for stage in shown["trace"]["stages"]] == STAGES
    assert shown["trace"]["stages"][3]["prompt"][0]["role"] == "user"
    assert shown["verdicts"][0]["probabilities"] == {}, "the judge is not shown to be better than a floor"
    assert shown["trace"]["stages"][2]["detail"]["probabilities"] == {"answerable": 0.25, "unanswerable": 0.75}


@pytest.mark.parametrize(("proven", "marks"), [(None, [None] * 3), (frozenset({"support"}), [False, False, True])])
def test_verdicts_say_whether_the_judge_is_shown_to_beat_a_floor(proven: frozenset[str] | None, marks: list[bool | None]) -> None:
    """It marks the verdicts and changes nothing else."""
    options = ChainOptions(intents={"figure": "a number", "other": "else"}, proven=proven)
    response = chain(options=options).ask(Query("How deep is Dun?"))
    assert [verdict.proven for verdict in response.verdicts] == marks
    given = response_json(response)["verdicts"]
    assert [each["proven"] for each in given] == marks
    for verdict, each in zip(response.verdicts, given, strict=True):
        assert verdict.label and verdict.probabilities, "the record keeps them"
        told = (verdict.label, verdict.probability, dict(verdict.probabilities)) if verdict.proven else ("", 0.0, {})
        assert (each["label"], each["probability"], each["probabilities"]) == told
    plain = chain(options=replace(options, proven=None)).ask(Query("How deep is Dun?"))
    assert (response.answer, response.trace) == (plain.answer, plain.trace)


def test_json_of_a_failed_answer_says_why() -> None:
    _, failed = chain().ask_many([Query("Dun?"), Query("explode?")])
    shown = response_json(failed)
    assert (shown["outcome"], shown["answer"], shown["refused"]) == ("failed", "", False)
    assert "9000 tokens" in shown["error"]
