"""What is measured is what serves: item by item the evaluation's responses are those of `Chain.ask`, rerank and gate included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from lorag.pipeline.chain import Chain, ChainOptions, build_chain
from lorag.pipeline.engine.layer import Layer
from lorag.pipeline.engine.memo import Memo
from lorag.pipeline.engine.protocol import ChoiceRequest, Generation
from lorag.pipeline.engine.scripted import ScriptedEngine
from lorag.pipeline.errors import StoreError
from lorag.pipeline.evaluation.ablation import NDCG, ChainItem, Configuration, TestSet, full_factorial, one_at_a_time
from lorag.pipeline.evaluation.answers import RIGHT_REFUSALS, GoldAnswer
from lorag.pipeline.evaluation.bench import Bench, Parts
from lorag.pipeline.records import Hit, Passage, Query, Response, Role, Speaker, Turn
from lorag.pipeline.retrieval.edge_store import EdgeStore
from lorag.pipeline.retrieval.embedder import HashingEmbedder
from lorag.pipeline.retrieval.index import Index
from lorag.pipeline.retrieval.store import Filter
from lorag.pipeline.stages import Retriever, Searcher
from lorag.pipeline.stages.stage import upstream

ROLES = (Role.REWRITER, Role.EMBEDDER, Role.SYNTHESIZER, Role.JUDGE)
ADAPTERS = {Role.REWRITER: "rw", Role.SYNTHESIZER: "syn", Role.JUDGE: "jd"}
HISTORY = (Turn(Speaker.USER, "Who keeps the key?"), Turn(Speaker.ASSISTANT, "The porter."))
GATED = ChainOptions(gate=0.5, intents={"fact": "a fact", "other": "else"})


class Alphabet:
    """Finds the passages `a`, `b`, `c` and so on for every question, as many as are wanted; with `fails` none for that one."""

    def __init__(self, first: str = "abcdefghijklmnopqrstuvwxyz", fails: str = "-") -> None:
        self._letters, self._fails = first, fails

    def search_many(
        self, questions: Sequence[str], k: int, *, hybrid: bool = True, filter: Filter | None = None, contexts: Sequence[str] = ()
    ) -> list[list[Hit]]:
        if any(self._fails in question for question in questions):
            raise StoreError("index x: torn")
        return [[self._hit(letter, place) for place, letter in enumerate(self._letters[:k])] for _ in questions]

    def _hit(self, letter: str, place: int) -> Hit:
        text = f"The {letter} stands in room {letter}."
        return Hit(Passage(letter, letter, f"{letter}.md", letter, "", text, 0, len(text)), 1 / (place + 1))


class Backwards:
    """A reranker that likes the last of its pool best."""

    def __init__(self) -> None:
        self.pools: list[int] = []

    def rerank(self, question: str, hits: Sequence[Hit], k: int) -> list[Hit]:
        self.pools.append(len(hits))
        return [replace(hit, score=float(place)) for place, hit in enumerate(hits)][::-1][:k]


def reply(request: Generation) -> str:
    """The tuned rewriter adds to the question; answers cite the first passage and are the longer the more was shown."""
    prompt = request.messages[-1].content
    if request.stage == "rewrite":
        return "where is the spare key?" if request.adapter else "where?"
    return f"{'in room' if request.adapter else 'somewhere'} {len(prompt)} [1]"


def weigh(request: ChoiceRequest) -> Sequence[float]:
    """What asks for nothing is unanswerable to the tuned judge, and nothing is to the bare base."""
    prompt = request.messages[-1].content
    unanswerable = "nothing" in prompt if request.adapter else False
    return [0.2, 0.8, *[0.0] * (len(request.choices) - 2)] if unanswerable else [1.0] * len(request.choices)


def items(*questions: str, gold: str = "z") -> tuple[ChainItem, ...]:
    found = []
    for number, question in enumerate(questions):
        answerable = "nothing" not in question
        answer = GoldAnswer(str(number), ("x",) if answerable else (), answerable, (gold,) if answerable else ())
        found.append(ChainItem(Query(question, HISTORY if question.startswith("and") else ()), answer))
    return tuple(found)


TESTS = TestSet(items("where is a?", "and b?", "what of nothing?", "where is z?"), (), ())


def asked(chain: Chain, query: Query) -> Response:
    """What the chain answers, without the stages that change nothing of it."""
    response = chain.ask(query)
    names = {stage.name for stage in upstream(chain.stages, "synthesize")}
    stages = tuple(record for record in response.trace.stages if record.stage in names)
    verdicts = tuple(verdict for verdict in response.verdicts if verdict.task in names)
    return replace(response, trace=replace(response.trace, stages=stages), verdicts=verdicts)


@pytest.mark.parametrize("options", [ChainOptions(), GATED], ids=["plain", "gated"])
@pytest.mark.parametrize("reranks", [False, True], ids=["as found", "reranked"])
@pytest.mark.parametrize("k", [2, 4, 12])
def test_each_response_is_the_chains_own(options: ChainOptions, reranks: bool, k: int) -> None:
    frozen, tuned = (
        Retriever(index, k=k, reranker=Backwards() if reranks else None) for index in (Alphabet(), Alphabet("zyxwvu"))
    )
    parts = Parts(ScriptedEngine(reply, scorer=weigh), ADAPTERS, frozen, tuned, options)
    bench = Bench(parts, TESTS)
    for configuration in full_factorial(ROLES):
        adapters = {role: name for role, name in ADAPTERS.items() if role in configuration.on}
        retriever = tuned if Role.EMBEDDER in configuration.on else frozen
        chain = build_chain(ScriptedEngine(reply, scorer=weigh), adapters, retriever, options)
        found = bench.measure(configuration)
        for item in TESTS.chain:
            expected = asked(chain, item.query)
            assert found.responses[item.gold.id] == expected
            assert found.searches[item.gold.id].hits == expected.trace.hits


def test_a_gated_answer_is_a_refusal_and_counted_as_one() -> None:
    parts = Parts(ScriptedEngine(reply, scorer=weigh), ADAPTERS, Retriever(Alphabet()), options=GATED)
    base, tuned = (Bench(parts, TESTS).measure(each) for each in one_at_a_time((Role.JUDGE,))[:2])
    assert [base.responses[id_].answer.refused for id_ in "0123"] == [True] * 4  # undecided, at the gate: none passes
    assert [tuned.responses[id_].answer.refused for id_ in "0123"] == [True] * 4
    parts = replace(parts, options=ChainOptions(gate=0.7))
    base, tuned = (Bench(parts, TESTS).measure(each) for each in one_at_a_time((Role.JUDGE,))[:2])
    assert [base.responses[id_].answer.refused for id_ in "0123"] == [False] * 4
    assert [tuned.responses[id_].answer.refused for id_ in "0123"] == [False, False, True, False]
    # none of the four has a gold passage among those shown, so refusing each would be right, and one was refused
    assert (base.answers.means()[RIGHT_REFUSALS].value, tuned.answers.means()[RIGHT_REFUSALS].value) == (0, 1 / 4)
    assert tuned.responses["2"].trace.stages[-1].detail == {"refused": True, "gated": True}


def test_the_reranked_order_is_what_is_scored() -> None:
    """The gold passage `t` is the last of a pool of 20, so the reranker puts it first: nDCG goes from 0 to 1."""
    tests = TestSet(items("where is a?", "where is b?", gold="t"), (), ())
    reranker = Backwards()
    found = []
    for retriever in (Retriever(Alphabet(), k=3), Retriever(Alphabet(), k=3, reranker=reranker)):
        parts = Parts(ScriptedEngine(reply), {}, retriever)
        found.append(Bench(parts, tests).measure(Configuration("base", frozenset())))
    assert [each.retrieval.means()[NDCG].value for each in found] == [0, 1]
    assert reranker.pools == [20, 20]
    assert [hit.passage.id for hit in found[1].responses["0"].trace.hits] == ["t", "s", "r"]


def test_with_a_gate_the_judge_doubles_answering_and_nothing_else() -> None:
    """Rewriting by the rewriter, the check by rewriter, embedder and judge, answers by all four."""
    engine, told = ScriptedEngine(reply, scorer=weigh), list[int]()
    retrievers = (Retriever(Alphabet(), k=2), Retriever(Alphabet("zyxwvu"), k=2))
    bench = Bench(Parts(Layer(engine, Memo(told.append)), ADAPTERS, *retrievers, ChainOptions(gate=0.7)), TESTS)
    configurations = full_factorial(ROLES)
    measured = [bench.measure(each) for each in configurations]
    stages = [request.stage for request in engine.requests]
    assert set(stages) == {"rewrite", "answerability", "synthesize"}
    assert stages.count("rewrite") == 2
    # One of the four questions has a history. The rewriter changes that one alone, so of 4 × 8 judgments 3 × 4 + 2 × 4 differ.
    assert stages.count("answerability") == 3 * 4 + 2 * 4
    assert bench.planned(configurations) == 2 * 1 + 8 * 4 + 16 * 4
    gated = sum(each.responses["2"].answer.refused for each in measured)
    assert gated == 8  # wherever the judge is tuned
    assert sum(told) == bench.planned(configurations) - gated  # a gated answer is planned and never asked for


def test_a_search_that_fails_ends_the_measurement() -> None:
    parts = Parts(ScriptedEngine(reply), {}, Retriever(Alphabet(fails="z?")))
    with pytest.raises(StoreError, match="question 'where is z\\?': index x: torn"):
        Bench(parts, TESTS).measure(Configuration("base", frozenset()))


WORDS = ["harbour", "quay", "crane", "ledger", "ferry", "tide", "porter", "bell", "lamp", "signal", "cargo", "winch", "anchor"]
WORDS += ["berth", "pilot"]


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Index:
    """150 passages that share their words in many ways, so that two rankings of them are far from equal."""
    documents, store = tmp_path_factory.mktemp("documents"), tmp_path_factory.mktemp("index")
    for number in range(150):
        words = [WORDS[(number * step + number // 15) % len(WORDS)] for step in (1, 2, 4, 7)]
        (documents / f"{number:03}.md").write_text(f"# Paper {number}\n\nThe {' and the '.join(words)}, note {number % 13}.\n")
    index = Index(EdgeStore(store), HashingEmbedder())
    index.ingest(documents)
    return index


PAIRS = zip(WORDS, WORDS[3:] + WORDS[:3], strict=True)
QUESTIONS = tuple(f"Where are the {a} and the {b}, note {n}?" for n, (a, b) in enumerate(PAIRS))


@pytest.mark.parametrize("hybrid", [True, False], ids=["hybrid", "dense"])
def test_over_a_real_index_each_response_is_the_chains_own(edge: Searcher, hybrid: bool) -> None:
    tests = TestSet(items(*QUESTIONS), (), ())
    for k in (1, 4, 10):
        retriever = Retriever(edge, k=k, hybrid=hybrid)
        parts = Parts(ScriptedEngine(reply, scorer=weigh), ADAPTERS, retriever, options=GATED)
        found = Bench(parts, tests).measure(Configuration("all", frozenset(ROLES)))
        chain = build_chain(ScriptedEngine(reply, scorer=weigh), ADAPTERS, retriever, GATED)
        assert [found.responses[item.gold.id] for item in tests.chain] == [asked(chain, item.query) for item in tests.chain]
        assert all(len(response.trace.hits) == k for response in found.responses.values())


class ByDepth(Alphabet):
    """Orders its hits by how many are asked for, as an index may that fuses what it fetched."""

    def search_many(
        self, questions: Sequence[str], k: int, *, hybrid: bool = True, filter: Filter | None = None, contexts: Sequence[str] = ()
    ) -> list[list[Hit]]:
        found = super().search_many(questions, 20)
        return [(hits[k:] + hits[:k])[:k] for hits in found]


def test_the_first_hits_are_the_same_however_many_are_shown() -> None:
    def first(k: int, found: Sequence[Sequence[Hit]]) -> list[str]:
        return [hit.passage.id for hit in found[0][:k]]

    index = ByDepth()
    assert first(4, index.search_many(["where?"], 4)) != first(4, index.search_many(["where?"], 10))
    ten = Retriever(index, k=10).retrieve(["where?"])
    for k in (1, 2, 4):
        assert first(k, Retriever(index, k=k).retrieve(["where?"])) == first(k, ten)
        assert first(k, Retriever(index).retrieve(["where?"], k=k)) == first(k, ten)
