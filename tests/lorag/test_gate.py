"""The gate on the example domain's test rows: what does a role's task without doing anything is refused, what is better passes.

Rows, floors, search, statistics, cards and ledger are the real ones. An engine by script plays the base and the candidate.
"""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml

from lorag.assembly import SharedBase, open_registry
from lorag.evaluating.evaluation import evaluate, evaluate_adapter
from lorag.evaluating.testset import Sizes, read_examples, read_tests
from lorag.pipeline.adapters.canaries import CANARY_FILE, Canary, canaries_json
from lorag.pipeline.adapters.evidence import BARE_BASE, NO_OPS, Evidence, EvidenceKind, floor_reference
from lorag.pipeline.adapters.guards import NEVER
from lorag.pipeline.adapters.registry import Registry
from lorag.pipeline.config import Settings, load_settings
from lorag.pipeline.contracts import judge, rewrite, synthesize
from lorag.pipeline.contracts.style import PromptStyle
from lorag.pipeline.engine.bases import Base
from lorag.pipeline.engine.protocol import ChoiceRequest, Generation
from lorag.pipeline.engine.scripted import ScriptedEngine
from lorag.pipeline.errors import AdapterError, DataError, EngineError
from lorag.pipeline.evaluation.ablation import ChainItem, JudgeItem, RewriteItem, TestSet
from lorag.pipeline.evaluation.answers import F1
from lorag.pipeline.evaluation.floors.systems import BEST_SENTENCE, MAJORITY, UNCHANGED
from lorag.pipeline.evaluation.report.decision import Decision, DecisionCard
from lorag.pipeline.records import Message, Role
from lorag.pipeline.retrieval.encoder_tokens import EncoderTokens
from lorag.promotion import SealedTest, Switch, promote_version, promotion_refusal
from lorag.training.dataset import DataFolder
from tests.examples import kelder

DATA = DataFolder(kelder.FOLDER, kelder.INTENTS)
SIZES = Sizes(questions=120, unanswerable=30, turns=90, judgments=40)
EXAMPLE = "at 19:30 [1]"
"""What the small base replies to most questions: the example of its prompt."""

Rewrites = Callable[[RewriteItem], str]
Answers = Callable[[ChainItem, list[str]], str]
Labels = Callable[[JudgeItem], str]


@pytest.fixture(scope="module")
def domain(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path, tiny_encoder: Path) -> Iterator[Path]:
    """A project on the example's documents with tiny models; the index of evaluation is made once for all tests.

    The tiny encoder reads fewer tokens than that of the example, whose passages must stay as they are.
    """
    folder = tmp_path_factory.mktemp("domain")
    settings = {
        "documents": str(kelder.DOCUMENTS),
        "base": {"model": str(tiny_base), "precision": "fp32", "device": "cpu"},
        "embedder": {"model": str(tiny_encoder), "device": "cpu"},
        "retrieval": {"k": 3},
        "judge": {"intents": kelder.INTENTS},
    }
    (folder / "lorag.yaml").write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EncoderTokens, "room", 0)
        yield folder


class Gate:
    """A registry of its own on the domain, with one candidate whose replies are given."""

    def __init__(self, settings: Settings, publish: Callable[[Registry, Role], str], patch: pytest.MonkeyPatch) -> None:
        self.settings, self.registry, self._patch = settings, open_registry(settings), patch
        self._publish = publish

    def measure(self, role: Role, engine: ScriptedEngine, data: Path = kelder.FOLDER) -> tuple[Evidence, ...]:
        """The claims of a new candidate."""
        self._patch.setattr("lorag.evaluating.measuring.open_base", lambda settings: SharedBase(engine, {}))
        self.version = self._publish(self.registry, role)
        return evaluate_adapter(self.settings, role, self.version, data, sizes=SIZES).claims

    def refusal(self, role: Role) -> str:
        with pytest.raises(AdapterError) as caught:
            self.registry.promote(role, self.version)
        assert "production" not in self.registry.aliases(role)
        assert "\n" not in str(caught.value)
        return str(caught.value)


@pytest.fixture
def gate(
    domain: Path, tiny_base: Path, tiny_adapter: Any, tiny_card: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Gate:
    monkeypatch.setenv("LORAG_CACHE", str(tmp_path / "cache"))
    read = load_settings(domain)
    own = read.model_copy(update={"adapters": read.adapters.model_copy(update={"folder": tmp_path / "adapters"})})
    own._project = domain
    seeds = iter(range(3, 100))

    def publish(registry: Registry, role: Role) -> str:
        folder = tiny_adapter(tiny_base, next(seeds), role)
        (folder / CANARY_FILE).write_text(canaries_json([Canary((Message("user", "Who?"),), "The porter.", -0.5, -3.0)]))
        card = replace(tiny_card(folder, Base("tiny", "nowhere", "0123456789abcdef"), role), evidence=())
        return registry.publish(role, folder, card).id

    return Gate(own, publish, monkeypatch)


def _tests(sizes: Sizes, role: Role, split: str = "test") -> TestSet:
    return read_tests(DATA, sizes, split, roles=[role])


def rewriter(candidate: Rewrites) -> ScriptedEngine:
    """The base repeats the first half of each question that does not stand alone, which is worse than no rewriter."""
    items = [*_tests(SIZES, Role.REWRITER).rewrites, *_tests(Sizes(), Role.REWRITER, "sealed").rewrites]
    known = {rewrite.messages(item.query.history, item.query.question, style): item for style in PromptStyle for item in items}

    def reply(request: Generation) -> str:
        item = known[request.messages]
        words = item.query.question.split()
        half = item.query.question if item.gold.standalone else " ".join(words[: max(1, len(words) // 2)])
        return candidate(item) if request.adapter else half

    return ScriptedEngine(reply)


def example(item: ChainItem, passages: list[str]) -> str:
    return EXAMPLE


def synthesizer(candidate: Answers, base: Answers = example) -> ScriptedEngine:
    """The base replies the example of its prompt, if nothing else is given, and repeats each question to rewrite."""
    tests = read_tests(DATA, SIZES, roles=[Role.SYNTHESIZER])
    known = {synthesize.messages(item.query.question, [])[0].content.split("\n\n")[0]: item for item in tests.chain}

    def reply(request: Generation) -> str:
        *blocks, question, _ = request.messages[-1].content.split("\n\n")
        if request.stage == "rewrite":
            return question.removeprefix("Question: ")
        passages = re.split(r"\n\n(?=\[\d+\] )", "\n\n".join(blocks))
        return (candidate if request.adapter else base)(known[question], passages)

    return ScriptedEngine(reply)


def judging(candidate: Labels) -> ScriptedEngine:
    """The base gives every item the first label."""
    items = [*_tests(SIZES, Role.JUDGE).judgments, *_tests(Sizes(), Role.JUDGE, "sealed").judgments]
    known = {judge.messages(item.schema, item.inputs, style): item for style in PromptStyle for item in items}

    def score(request: ChoiceRequest) -> list[float]:
        label = candidate(known[request.messages]) if request.adapter else request.choices[0]
        return [0.9 if choice == label else 0.1 for choice in request.choices]

    return ScriptedEngine(scorer=score)


def unchanged(item: RewriteItem) -> str:
    return item.query.question


def truncated(item: RewriteItem) -> str:
    return " ".join(item.query.question.split()[:-1])


def gold(item: RewriteItem) -> str:
    return item.gold.rewrites[0]


def touching_all(item: RewriteItem) -> str:
    """Right, but for a word that every question gets: turns that stand alone do not stay as they are."""
    return f"{gold(item)} please"


def shuffled(item: RewriteItem) -> str:
    """The words of the gold rewrite in random order, the same each time: ROUGE-1 counts them all."""
    words = gold(item).split()
    Random(item.gold.id).shuffle(words)
    return " ".join(words)


def backwards(item: RewriteItem) -> str:
    return " ".join(reversed(gold(item).split()))


def swapped(item: RewriteItem) -> str:
    """Two neighbours of each five words change places."""
    words = gold(item).split()
    for at in range(0, len(words) - 1, 5):
        words[at], words[at + 1] = words[at + 1], words[at]
    return " ".join(words)


@pytest.mark.parametrize("candidate", [shuffled, backwards, swapped])
def test_a_rewriter_of_word_salad_is_held(gate: Gate, candidate: Rewrites) -> None:
    claims = gate.measure(Role.REWRITER, rewriter(candidate))
    assert claims[0].tuned > 0.99  # ROUGE-1
    said = gate.refusal(Role.REWRITER)
    assert "is held: it is better in ROUGE-1" in said and "the margin of `rewrite word order` is 0.1" in said


def nines(text: str) -> str:
    return re.sub(r"\d", "9", text)


def without_digits(text: str) -> str:
    return re.sub(r"\d", "", text)


def renamed(text: str) -> str:
    """Each word with a capital, but for the first, becomes another name."""
    first, *others = text.split()
    return " ".join([first, *("Wexcombe" if word[0].isupper() else word for word in others)])


@pytest.mark.parametrize(
    ("spoiled", "guards"),
    [
        (nines, ("values kept of questions", "values invented in rewrites")),
        (without_digits, ("values kept of questions",)),
        (renamed, ("values kept of questions", "values invented in rewrites")),
    ],
)
def test_a_rewriter_that_changes_numbers_or_names_is_held(
    gate: Gate, spoiled: Callable[[str], str], guards: tuple[str, ...]
) -> None:
    """Each is one word of the gold rewrite, or two, so ROUGE-1 hardly falls."""
    claims = gate.measure(Role.REWRITER, rewriter(lambda item: gold(item) if item.gold.standalone else spoiled(gold(item))))
    assert claims[0].tuned > 0.85 and claims[0].low > 0  # ROUGE-1, and harm on standalone turns is none
    said = gate.refusal(Role.REWRITER)
    assert "is held: it is better in ROUGE-1" in said
    assert all(f"the margin of `{guard}` is" in said for guard in guards)


@pytest.mark.parametrize(("candidate", "better_than_base"), [(unchanged, True), (truncated, True)])
def test_a_rewriter_that_does_nothing_or_cuts_a_word_is_refused(gate: Gate, candidate: Rewrites, better_than_base: bool) -> None:
    claims = gate.measure(Role.REWRITER, rewriter(candidate))
    assert (claims[0].against, claims[0].low > 0) == (BARE_BASE, better_than_base)
    said = gate.refusal(Role.REWRITER)
    assert f"the floor “{UNCHANGED}”" in said and "must lie above 0" in said


def test_a_better_rewriter_passes(gate: Gate) -> None:
    gate.measure(Role.REWRITER, rewriter(gold))
    assert gate.registry.promote(Role.REWRITER, gate.version).version.aliases == ("production",)


def test_a_better_rewriter_that_changes_what_stands_alone_is_held(gate: Gate) -> None:
    gate.measure(Role.REWRITER, rewriter(touching_all))
    said = gate.refusal(Role.REWRITER)
    assert "is held: it is better in ROUGE-1, but harm on standalone turns rises by" in said
    allowed = Registry(gate.registry.folder, {"harm on standalone turns": 1.0})
    assert allowed.promote(Role.REWRITER, gate.version).version.id == gate.version


def refusing(item: ChainItem, passages: list[str]) -> str:
    return synthesize.REFUSAL


def first_passage(item: ChainItem, passages: list[str]) -> str:
    text = passages[0].partition("\n")[2]
    return f"{' '.join(text.split())} [1]"


def right(item: ChainItem, passages: list[str]) -> str:
    """The gold answer with the passage of its quote, or else the first one; a refusal if there is no answer."""
    if not item.gold.answerable:
        return synthesize.REFUSAL
    shown = [kelder.plain(each) for each in passages]
    number = next((n for n, text in enumerate(shown, 1) for quote in item.gold.quotes if kelder.plain(quote) in text), 1)
    return f"{item.gold.answers[0]} [{number}]"


def test_a_synthesizer_that_always_refuses_is_refused(gate: Gate) -> None:
    gate.measure(Role.SYNTHESIZER, synthesizer(refusing))
    assert f"{F1} differs by" in gate.refusal(Role.SYNTHESIZER)


def test_a_synthesizer_that_copies_the_first_passage_is_refused(gate: Gate) -> None:
    by_key = {each.against.key: each for each in gate.measure(Role.SYNTHESIZER, synthesizer(first_passage)) if each.metric == F1}
    assert by_key[BARE_BASE.key].difference > 0 > by_key[floor_reference(BEST_SENTENCE).key].high
    assert f"{F1} differs by" in gate.refusal(Role.SYNTHESIZER)


def test_a_better_synthesizer_passes(gate: Gate) -> None:
    claims = gate.measure(Role.SYNTHESIZER, synthesizer(right))
    assert {each.against.key for each in claims if each.metric == F1} == {
        "",
        *(floor_reference(name).key for name in NO_OPS[Role.SYNTHESIZER]),
    }
    assert gate.registry.promote(Role.SYNTHESIZER, gate.version).claim == claims[0]


def test_a_better_synthesizer_that_refuses_what_it_could_answer_is_held(gate: Gate) -> None:
    """As on the public domain: F1 rises, and so do wrong refusals."""
    answered = iter(range(10_000))
    memory: dict[str, bool] = {}

    def half(item: ChainItem, passages: list[str]) -> str:
        known = memory.setdefault(item.gold.id, next(answered) % 5 > 1)
        return right(item, passages) if known else synthesize.REFUSAL

    gate.measure(Role.SYNTHESIZER, synthesizer(half))
    said = gate.refusal(Role.SYNTHESIZER)
    assert "is held: it is better in F1" in said and "wrong refusals rises by" in said
    assert "the margin of `wrong refusals` is 0.2" in said


def answering_all(item: ChainItem, passages: list[str]) -> str:
    """Right, and never refusing: what no document answers gets an answer too."""
    return right(item, passages) if item.gold.answerable else EXAMPLE


def salad(item: ChainItem, passages: list[str]) -> str:
    """Right, with the words of the answer backwards."""
    said, _, mark = right(item, passages).rpartition(" ")
    return " ".join([*reversed(said.split()), mark]) if item.gold.answerable else synthesize.REFUSAL


@pytest.mark.parametrize(("candidate", "guard"), [(answering_all, "refusing at all"), (salad, "answer word order")])
def test_a_better_synthesizer_that_never_refuses_or_mixes_its_words_is_held(gate: Gate, candidate: Answers, guard: str) -> None:
    """The base never refuses either, so no refusal is lost; and F1 counts words in any order."""
    gate.measure(Role.SYNTHESIZER, synthesizer(candidate))
    said = gate.refusal(Role.SYNTHESIZER)
    assert "is held: it is better in F1" in said and f"the margin of `{guard}` is" in said


def denying(item: ChainItem, passages: list[str]) -> str:
    """The opposite of every right answer, in nearly the same words."""
    return f"not {right(item, passages)}" if item.gold.answerable else synthesize.REFUSAL


def half_right(item: ChainItem, passages: list[str]) -> str:
    """Right on each second question by its id, and the example's reply else."""
    is_known = not item.gold.answerable or int.from_bytes(item.gold.id.encode()[-1:]) % 2 == 0
    return right(item, passages) if is_known else EXAMPLE


def test_a_synthesizer_that_denies_what_is_right_is_held_though_its_f1_is_better(gate: Gate) -> None:
    claims = gate.measure(Role.SYNTHESIZER, synthesizer(denying, half_right))
    figures = {each.metric: each for each in claims if each.against.key == BARE_BASE.key}
    assert figures[F1].low > 0 and figures["right answers"].reference > 0.4 > 0.3 > figures["right answers"].tuned
    said = gate.refusal(Role.SYNTHESIZER)
    assert "is held: it is better in F1, but right answers falls by" in said and "the margin of `right answers` is 0.05" in said


def test_a_synthesizer_of_wrong_numbers_is_held_though_the_base_is_never_right(gate: Gate) -> None:
    """Words beside the numbers make its F1 better, and no right answer can be lost."""

    def wrong_numbers(item: ChainItem, passages: list[str]) -> str:
        said, _, mark = right(item, passages).rpartition(" ")
        return f"{nines(said)} {mark}" if item.gold.answerable else synthesize.REFUSAL

    claims = gate.measure(Role.SYNTHESIZER, synthesizer(wrong_numbers))
    figures = {each.metric: each for each in claims if each.against.key == BARE_BASE.key}
    assert figures[F1].low > 0 and figures["right answers"].reference < 0.05
    said = gate.refusal(Role.SYNTHESIZER)
    assert "is held: it is better in F1, but values invented in answers rises by" in said
    assert f"against the floor “{BEST_SENTENCE}”" in said and "the margin of `values invented in answers` is 0.1" in said


def test_a_synthesizer_that_fails_where_it_would_have_to_refuse_is_held(gate: Gate) -> None:
    """The few refusals that it has are all right ones; on the other such questions there is no reply."""

    def few_refusals(item: ChainItem, passages: list[str]) -> str:
        if not item.gold.answerable and int.from_bytes(item.gold.id.encode()[-2:]) % 16:
            raise EngineError("no reply")
        return right(item, passages)

    claims = gate.measure(Role.SYNTHESIZER, synthesizer(few_refusals))
    (found,) = [each for each in claims if each.against.key == NEVER.key]
    assert found.n >= 30 and found.tuned < 0.5
    assert "the margin of `refusing at all` is" in gate.refusal(Role.SYNTHESIZER)


def citing_all(item: ChainItem, passages: list[str]) -> str:
    """Right, with every passage as its source."""
    said = right(item, passages)
    marks = "".join(f"[{n}]" for n in range(1, len(passages) + 1))
    return said if said == synthesize.REFUSAL else f"{said.rpartition(' ')[0]} {marks}"


def test_a_better_synthesizer_that_cites_all_is_held_though_the_base_cites_nothing(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.lorag.test_gate.EXAMPLE", "at 19:30")
    gate.measure(Role.SYNTHESIZER, synthesizer(citing_all))
    said = gate.refusal(Role.SYNTHESIZER)
    assert "is held: it is better in F1" in said and f"against the floor “{BEST_SENTENCE}”" in said
    assert "the margin of `citation precision of the floor` is 0.05" in said


def majority() -> Labels:
    votes: Mapping[str, Counter[str]] = {
        task: Counter(row.label for row in read_examples(DATA) if row.schema.task == task)
        for task in {row.schema.task for row in read_examples(DATA)}
    }
    return lambda item: votes[item.schema.task].most_common(1)[0][0]


def mostly_right(item: JudgeItem) -> str:
    """Wrong in one of eight items."""
    labels = list(item.schema.labels)
    wrong = labels[(labels.index(item.label) + 1) % len(labels)]
    return wrong if int.from_bytes(item.id.encode()[-3:]) % 8 == 0 else item.label


def test_a_judge_that_says_the_most_frequent_label_is_refused(gate: Gate) -> None:
    gate.measure(Role.JUDGE, judging(majority()))
    assert f"the floor “{MAJORITY}”" in gate.refusal(Role.JUDGE) or "the bare base" in gate.refusal(Role.JUDGE)


def test_a_better_judge_passes(gate: Gate) -> None:
    gate.measure(Role.JUDGE, judging(mostly_right))
    assert gate.registry.promote(Role.JUDGE, gate.version).version.id == gate.version


def test_a_judge_that_fails_where_it_would_be_wrong_is_refused(gate: Gate) -> None:
    """What it answers is all right; a judge that says the most frequent label would have been wrong on the rest."""
    easy = majority()

    def right_or_silent(item: JudgeItem) -> str:
        if easy(item) != item.label:
            raise EngineError("no reply")
        return item.label

    claims = gate.measure(Role.JUDGE, judging(right_or_silent))
    assert claims[0].n == 160 and claims[0].tuned < 0.5  # 40 of each task, the failed ones as wrong
    assert "must lie above 0" in gate.refusal(Role.JUDGE)


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    """The example's data without its documents, to be changed at will."""
    folder = tmp_path / "kelder-sound-line"
    for name in ("train", "dev", "test", "sealed"):
        shutil.copytree(kelder.FOLDER / name, folder / name)
    shutil.copy(kelder.FOLDER / "passages.jsonl", folder)
    return folder


def promote(gate: Gate, role: Role, data: Path, cards: list[DecisionCard] | None = None) -> Switch:
    on_card = None if cards is None else cards.append
    return promote_version(gate.settings, role, gate.version, sealed=SealedTest(data, on_card=on_card))


def test_the_sealed_part_decides_and_is_opened_once(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """The candidate is as good there, on documents that the project's own do not hold."""
    claims = gate.measure(Role.REWRITER, rewriter(gold))
    cards: list[DecisionCard] = []
    switch = promote(gate, Role.REWRITER, kelder.FOLDER, cards)
    assert switch.claim is not None and switch.claim.kind is EvidenceKind.SEALED
    assert [(each.decision, each.reason, each.data) for each in cards] == [(Decision.PROMOTE, "", str(switch.claim.data))]
    assert cards[0].cost.requests and len(cards[0].guards) >= 4
    assert switch.claim.data.digest != claims[0].data.digest and switch.claim.data.name == "kelder-sound-line/sealed"
    assert switch.claim.look == 1 and switch.claim.groups is not None and switch.claim.groups > 20
    on_sealed = [each for each in gate.registry.show(Role.REWRITER, gate.version).evidence if each.kind is EvidenceKind.SEALED]
    assert {(each.metric, each.against.key) for each in on_sealed} >= {
        ("ROUGE-1", floor_reference(UNCHANGED).key),
        ("nDCG@10", floor_reference(UNCHANGED).key),
    }
    assert [each.data.name for each in gate.registry.looks(Role.REWRITER)] == [
        "kelder-sound-line/test",
        "kelder-sound-line/sealed",
    ]
    assert not any("sealed" in str(path) for path in gate.settings.documents.rglob("*"))
    gate.registry.undo(Role.REWRITER, {"candidate": gate.version}, gate.version)
    monkeypatch.setattr("lorag.evaluating.sealed.evaluate_adapter", None)
    assert promote(gate, Role.REWRITER, kelder.FOLDER, cards).claim == switch.claim  # not measured again
    assert replace(cards[1], cost=cards[0].cost) == cards[0] and not cards[1].cost.requests


def test_what_fails_on_the_sealed_part_is_refused_there_and_later(gate: Gate) -> None:
    """Right on the test rows alone, as a candidate that was chosen by them."""
    tests = {item.id for item in _tests(Sizes(), Role.JUDGE).judgments}
    label = majority()
    gate.measure(Role.JUDGE, judging(lambda item: mostly_right(item) if item.id in tests else label(item)))
    assert gate.registry.admitted(Role.JUDGE, gate.version).id == gate.version
    cards: list[DecisionCard] = []
    with pytest.raises(AdapterError, match=f"the floor “{MAJORITY}”|the bare base"):
        promote(gate, Role.JUDGE, kelder.FOLDER, cards)
    assert [each.decision for each in cards] == [Decision.REJECT] and "kelder-sound-line/sealed" in cards[0].reason
    assert "kelder-sound-line/sealed" in gate.refusal(Role.JUDGE)  # without the folder too


def test_only_a_promotion_opens_it_and_only_for_what_passes_before(gate: Gate, sealed: Path) -> None:
    """Its files are damaged, so whoever reads one fails."""
    for path in sealed.glob("sealed/*.jsonl"):
        path.write_text("no JSON\n")
    gate.measure(Role.JUDGE, judging(majority()), sealed)
    with pytest.raises(AdapterError, match="must lie above 0"):
        promote(gate, Role.JUDGE, sealed)
    gate.measure(Role.JUDGE, judging(mostly_right), sealed)
    assert promotion_refusal(gate.settings, Role.JUDGE, gate.version) == ""
    data = DataFolder(sealed, kelder.INTENTS)
    assert data.training_passages() and not data.repeats(Role.JUDGE)
    data.check_leaks(Role.JUDGE)
    evaluate(gate.settings, data, {Role.JUDGE: gate.registry.resolve(Role.JUDGE, gate.version)}, SIZES, full=True)
    with pytest.raises(DataError, match=r"sealed/judge.jsonl:1: not JSON"):
        promote(gate, Role.JUDGE, sealed)
    with pytest.raises(DataError, match="no such data folder"):
        promote(gate, Role.JUDGE, sealed / "nowhere")


def test_without_a_sealed_part_the_test_split_decides(gate: Gate, sealed: Path) -> None:
    shutil.rmtree(sealed / "sealed")
    claims = gate.measure(Role.JUDGE, judging(mostly_right))
    assert promote(gate, Role.JUDGE, sealed).claim == claims[0]


def test_each_candidate_is_a_look_and_the_next_must_show_more(gate: Gate) -> None:
    levels = [gate.measure(Role.JUDGE, judging(candidate))[0].level for candidate in (majority(), mostly_right, mostly_right)]
    assert levels == pytest.approx([1 - 0.025, 1 - 0.05 / 6, 1 - 0.05 / 12])
    first, second, third = gate.registry.looks(Role.JUDGE)
    assert [each.number for each in (first, second, third)] == [1, 2, 3]
    assert first.weights != second.weights != third.weights
    again = evaluate_adapter(gate.settings, Role.JUDGE, gate.version, kelder.FOLDER, sizes=SIZES).claims
    assert again[0].look == 3 and len(gate.registry.looks(Role.JUDGE)) == 3
