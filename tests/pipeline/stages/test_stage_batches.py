"""Rewriter, synthesizer, judge and retriever over a scripted engine: prompts, order, and items that fail alone."""

from collections.abc import Callable, Sequence

import pytest

from lorag.pipeline.contracts.judge import ANSWERABILITY, JudgeInputs
from lorag.pipeline.contracts.rewrite import PLAIN_TASK, TUNED_TASK
from lorag.pipeline.contracts.synthesize import REFUSAL
from lorag.pipeline.engine.layer import Layer, Request, Result
from lorag.pipeline.engine.protocol import ChoiceRequest
from lorag.pipeline.engine.scripted import Script, ScriptedEngine
from lorag.pipeline.errors import EngineError, InputError, PromptTooLong, StoreError
from lorag.pipeline.records import Hit, Outcome, Passage, Query, Speaker, Turn
from lorag.pipeline.retrieval.store import Filter
from lorag.pipeline.stages import Judge, Retriever, Rewriter, Synthesizer
from lorag.pipeline.stages.attempts import attempt
from lorag.pipeline.stages.stage import ChainState

HISTORY = (Turn(Speaker.USER, "How deep is the Dun berth?"), Turn(Speaker.ASSISTANT, "2.4 m."))


def hit(text: str, number: int = 1) -> Hit:
    return Hit(Passage(f"a.md#{number}", "a.md", "docs/a.md", "A", "", text, 100, 100 + len(text)), 1.0 / number)


def choosy(script: Script | Sequence[str] = ()) -> Layer:
    """Refuses a whole batch, as the local engine does, where one prompt holds `too long`."""

    def refuse(requests: Sequence[Request], ask: Callable[[Sequence[Request]], list[Result]]) -> list[Result]:
        if any("too long" in r.messages[-1].content for r in requests):
            raise PromptTooLong("prompt of 9000 tokens does not fit")
        return ask(requests)

    return Layer(ScriptedEngine(script), refuse)


def test_a_question_without_history_is_left_as_it_is_and_costs_no_call() -> None:
    engine = ScriptedEngine(["How deep is the Kell berth?"])
    rewrites = Rewriter(engine, "rw").rewrite([Query("How deep is Dun?"), Query("And Kell?", HISTORY)])
    assert [(r.question, r.outcome, r.reply) for r in rewrites] == [
        ("How deep is Dun?", Outcome.OK, ""),
        ("How deep is the Kell berth?", Outcome.OK, "How deep is the Kell berth?"),
    ]
    assert [request.adapter for request in engine.requests] == ["rw"]


@pytest.mark.parametrize(("adapter", "task", "messages"), [("rw", TUNED_TASK, 1), (None, PLAIN_TASK, 5)])
def test_the_rewriter_asks_an_adapter_in_the_tuned_words_and_the_base_in_the_plain(
    adapter: str | None, task: str, messages: int
) -> None:
    engine = ScriptedEngine(["x y"])
    rewriter = Rewriter(engine, adapter)
    rewriter.rewrite([Query("And Kell?", HISTORY)])
    (request,) = engine.requests
    assert request == rewriter.request(Query("And Kell?", HISTORY))
    assert len(request.messages) == messages
    assert request.messages[-1].content.endswith(task)


def test_an_unparsed_rewrite_keeps_the_raw_question_and_the_reply() -> None:
    (rewrite,) = Rewriter(ScriptedEngine(["\n …\n"])).rewrite([Query("And Kell?", HISTORY)])
    assert (rewrite.question, rewrite.outcome, rewrite.reply) == ("And Kell?", Outcome.UNPARSED, "\n …\n")


def test_one_rewrite_that_cannot_be_asked_fails_alone() -> None:
    engine = choosy(lambda request: "Rewritten: " + request.messages[-1].content.split("Question: ")[1].split("\n")[0])
    queries = [Query(f"q{n}" if n != 3 else "q3 too long", HISTORY) for n in range(6)]
    rewrites = Rewriter(engine, "rw").rewrite(queries)
    assert [r.outcome.value for r in rewrites] == ["ok", "ok", "ok", "failed", "ok", "ok"]
    assert [r.question for r in rewrites[:3]] == ["Rewritten: q0", "Rewritten: q1", "Rewritten: q2"]
    error = rewrites[3].error
    assert isinstance(error, PromptTooLong)
    assert str(error) == "rewrite (rw), question 'q3 too long': prompt of 9000 tokens does not fit"
    assert str(error.__cause__) == "prompt of 9000 tokens does not fit"


def test_an_answer_quotes_each_passage_it_cites() -> None:
    hits = [hit("The Dun berth dries."), hit("Crews eat at noon. The Kell berth is 6.2 m deep.", 2)]
    (answer,) = Synthesizer(ScriptedEngine(["6.2 m [2]"]), "syn").answer(["How deep is Kell?"], [hits])
    assert (answer.text, answer.refused, answer.outcome, answer.reply) == ("6.2 m", False, Outcome.OK, "6.2 m [2]")
    (citation,) = answer.citations
    assert (citation.number, citation.passage_id, citation.quote) == (2, "a.md#2", "The Kell berth is 6.2 m deep.")
    assert (citation.start, citation.end) == (119, 148)  # 100 + "Crews eat at noon. " is 19 characters long


@pytest.mark.parametrize(
    ("reply", "text", "numbers", "outcome"),
    [
        pytest.param("6.2 m", "6.2 m", [], Outcome.UNPARSED, id="no mark"),
        pytest.param("6.2 m [1][7]", "6.2 m", [1], Outcome.UNPARSED, id="a passage that was not shown"),
    ],
)
def test_a_malformed_answer_is_marked_and_cites_only_what_was_shown(
    reply: str, text: str, numbers: list[int], outcome: Outcome
) -> None:
    (answer,) = Synthesizer(ScriptedEngine([reply])).answer(["How deep?"], [[hit("It is 6.2 m deep.")]])
    assert (answer.text, [c.number for c in answer.citations], answer.outcome) == (text, numbers, outcome)


def test_without_hits_the_answer_is_the_refusal_and_nothing_is_asked() -> None:
    engine = ScriptedEngine(["yes [1]"])
    refused, answered = Synthesizer(engine).answer(["a?", "b?"], [[], [hit("Yes.")]])
    assert (refused.text, refused.refused, refused.outcome) == (REFUSAL, True, Outcome.OK)
    assert (answered.text, len(engine.requests)) == ("yes", 1)


def test_one_answer_that_cannot_be_asked_fails_alone_with_no_text() -> None:
    answers = Synthesizer(choosy(lambda _: "yes [1]")).answer(["a?", "too long?"], [[hit("Yes.")]] * 2)
    assert [(a.text, a.outcome, a.refused) for a in answers] == [("yes", Outcome.OK, False), ("", Outcome.FAILED, False)]
    assert isinstance(answers[1].error, PromptTooLong)


def test_a_streamed_reply_reads_as_the_same_answer() -> None:
    hits = [hit("The Kell berth is 6.2 m deep.")]
    synthesizer = Synthesizer(ScriptedEngine(lambda _: "it is 6.2 m [1]"), "syn")
    written = synthesizer.write(ChainState.start(Query("How deep is Kell?"), hits=hits))
    pieces = []
    with pytest.raises(StopIteration) as end:
        while True:
            pieces.append(next(written).text)
    assert pieces == ["it", " is", " 6.2", " m", " [1]"]
    assert end.value.value.answer == synthesizer.answer(["How deep is Kell?"], [hits])[0]


def test_the_judge_takes_the_likeliest_label_and_keeps_all_probabilities() -> None:
    engine = ScriptedEngine(scorer=lambda request: [1, 3])
    (verdict,) = Judge(engine, "jd").judge(ANSWERABILITY, [JudgeInputs(question="How deep?")])
    assert (verdict.task, verdict.label, verdict.probability, verdict.outcome) == (
        "answerability",
        "unanswerable",
        0.75,
        Outcome.OK,
    )
    assert dict(verdict.probabilities) == {"answerable": 0.25, "unanswerable": 0.75}
    (request,) = engine.requests
    assert isinstance(request, ChoiceRequest)
    assert (request.choices, request.adapter) == (("answerable", "unanswerable"), "jd")


def test_a_verdict_that_cannot_be_had_has_no_label() -> None:
    items = [JudgeInputs(question="a?"), JudgeInputs(question="too long?"), JudgeInputs()]
    verdicts = Judge(choosy()).judge(ANSWERABILITY, items)
    assert [(v.label, v.outcome) for v in verdicts] == [("answerable", Outcome.OK), ("", Outcome.FAILED), ("", Outcome.FAILED)]
    assert dict(verdicts[1].probabilities) == {}
    assert [type(v.error) for v in verdicts] == [type(None), PromptTooLong, InputError]


class Shelf:
    """An index that finds by substring, and fails for questions that hold `bad`."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, bool, Filter | None]] = []
        self.contexts: list[Sequence[str]] = []

    def search_many(
        self, questions: Sequence[str], k: int, *, hybrid: bool = True, filter: Filter | None = None, contexts: Sequence[str] = ()
    ) -> list[list[Hit]]:
        self.asked.append((k, hybrid, filter))
        self.contexts.append(contexts)
        if any("bad" in question for question in questions):
            raise StoreError("index x: torn")
        return [[hit(f"{question} {n}", n) for n in range(1, k + 1)] for question in questions]


class Backwards:
    """A reranker that likes the last best."""

    def rerank(self, question: str, hits: Sequence[Hit], k: int) -> list[Hit]:
        return list(reversed(hits))[:k]


def test_retrieval_passes_k_mode_and_filter_on() -> None:
    shelf = Shelf()
    retriever = Retriever(shelf, k=2, hybrid=False, filter={"document_id": "a.md"})
    assert [[h.passage.text for h in hits] for hits in retriever.retrieve(["p", "q"])] == [["p 1", "p 2"], ["q 1", "q 2"]]
    retriever.retrieve(["p"], filter={"document_id": "b.md"})
    assert shelf.asked == [(10, False, {"document_id": "a.md"}), (10, False, {"document_id": "b.md"})]


def test_the_conversation_goes_to_the_search_with_the_question_as_it_was_asked() -> None:
    shelf = Shelf()
    history = (Turn(Speaker.USER, "x" * 2000), Turn(Speaker.ASSISTANT, "By the porter."))
    follow_up, alone = ChainState.start(Query("And today?", history)), ChainState.start(Query("Who keeps the key?"))
    Retriever(shelf).run([follow_up, alone])
    Retriever(shelf).run([alone])
    (context, none), nothing = shelf.contexts
    assert context.endswith("x By the porter. And today?") and len(context) == 1000
    assert (none, nothing) == ("", ())


def test_a_search_looks_as_deep_as_it_is_measured_and_shows_k() -> None:
    shelf = Shelf()
    (result,) = Retriever(shelf, k=2).run([ChainState.start(Query("p"))])
    assert result.hits is not None and result.ranking is not None
    assert [h.passage.text for h in result.hits] == ["p 1", "p 2"]
    assert (len(result.ranking), result.ranking[:2]) == (10, result.hits)
    (result,) = Retriever(shelf, k=12).run([ChainState.start(Query("p"))])
    assert result.hits == result.ranking is not None and len(result.ranking) == 12
    assert [k for k, *_ in shelf.asked] == [10, 12]


def test_a_reranker_chooses_from_a_larger_pool() -> None:
    shelf = Shelf()
    (hits,) = Retriever(shelf, k=2, reranker=Backwards()).retrieve(["p"])
    assert [h.passage.text for h in hits] == ["p 20", "p 19"]
    (hits,) = Retriever(shelf, k=6, reranker=Backwards()).retrieve(["p"])
    assert (hits[0].passage.text, len(hits)) == ("p 24", 6)
    (result,) = Retriever(shelf, k=2, reranker=Backwards()).run([ChainState.start(Query("p"))])
    assert [h.passage.text for h in result.ranking or ()] == [f"p {n}" for n in range(20, 10, -1)]
    assert result.hits == (result.ranking or ())[:2]


def test_a_failed_search_is_never_an_empty_result() -> None:
    good, bad = Retriever(Shelf(), k=1, encoder="hashing").rank(["p", "bad"])
    assert isinstance(good, tuple)
    assert isinstance(bad, StoreError)
    assert str(bad) == "retrieve (hashing), question 'bad': index x: torn"
    with pytest.raises(StoreError, match="question 'bad'"):
        Retriever(Shelf(), k=1).retrieve(["p", "bad"])


def test_a_server_that_is_away_is_asked_once() -> None:
    calls = []

    def run(items: Sequence[int]) -> list[int]:
        calls.append(list(items))
        error = EngineError("http://x: refused")
        error.retry = True
        raise error

    results = attempt("synthesize", None, range(8), run, str)
    assert calls == [[0, 1, 2, 3, 4, 5, 6, 7]]
    assert [(str(r), r.retry) for r in results if isinstance(r, EngineError)] == [
        (f"synthesize (base), question '{n}': http://x: refused", True) for n in range(8)
    ]


@pytest.mark.parametrize(
    ("raised", "shown"),
    [
        pytest.param(RuntimeError("CUDA out of memory\nmore"), "s (base), question 'x': CUDA out of memory", id="library"),
        pytest.param(MemoryError(), "s (base), question 'x': MemoryError", id="no message"),
    ],
)
def test_a_librarys_error_becomes_an_engine_error_of_one_line(raised: Exception, shown: str) -> None:
    def run(items: Sequence[str]) -> list[str]:
        raise raised

    (error,) = attempt("s", None, ["x"], run, str)
    assert isinstance(error, EngineError)
    assert (str(error), error.retry, error.__cause__) == (shown, False, raised)


def test_a_mistake_in_our_own_code_is_not_hidden() -> None:
    def run(items: Sequence[str]) -> list[str]:
        return [item.nothing for item in items]  # type: ignore[attr-defined]

    with pytest.raises(AttributeError):
        attempt("s", None, ["x"], run, str)


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda: Rewriter(ScriptedEngine()).rewrite([]), id="rewriter"),
        pytest.param(lambda: Synthesizer(ScriptedEngine()).answer([], []), id="synthesizer"),
        pytest.param(lambda: Judge(ScriptedEngine()).judge(ANSWERABILITY, []), id="judge"),
        pytest.param(lambda: Retriever(Shelf()).retrieve([]), id="retriever"),
    ],
)
def test_an_empty_batch_is_empty(call: Callable[[], list[object]]) -> None:
    assert call() == []
