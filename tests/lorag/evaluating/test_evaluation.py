"""Adapters of a project measured against its base: evidence on the card, promotion by it, and indexes that are not the user's."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from lorag.assembly import open_base, open_chain, open_index, version_name
from lorag.evaluating.evaluation import evaluate_adapter, with_adapters
from lorag.evaluating.figures import compare
from lorag.evaluating.measuring import run_configurations
from lorag.evaluating.testset import Sizes
from lorag.pipeline.adapters.evidence import BARE_BASE, DataOrigin, Evidence, EvidenceKind, floor_reference
from lorag.pipeline.adapters.registry import Registry
from lorag.pipeline.config import load_settings
from lorag.pipeline.errors import AdapterError, DataError, InputError
from lorag.pipeline.evaluation.ablation import ALL_ADAPTERS, BASE_CHAIN, NDCG, ChainItem, Configuration, Measured, TestSet
from lorag.pipeline.evaluation.answers import GoldAnswer
from lorag.pipeline.evaluation.floors.systems import BM25, UNCHANGED
from lorag.pipeline.evaluation.floors.systems import HISTORY as HISTORY_FIRST
from lorag.pipeline.evaluation.rewrites import INVENTED, KEPT, ROUGE_1, WORD_ORDER, GoldRewrite, score_rewrites
from lorag.pipeline.evaluation.scores import ItemScores, ScoreTable
from lorag.pipeline.records import Outcome, Query, Response, Rewrite, Role, Speaker, Turn
from lorag.pipeline.retrieval.chunking import chunk
from lorag.pipeline.retrieval.loading import load_folder
from lorag.pipeline.stages import Rewriter

QUESTIONS = (
    "And at night?",
    "Where is it kept?",
    "Who rings the bell?",
    "When does it leave?",
    "Who has it now?",
    "Is it open on Sundays?",
    "What does it cost?",
    "And before noon?",
)
"""One conversation each: the fewest that decide."""
HISTORY = (Turn(Speaker.USER, "Who keeps the key?"), Turn(Speaker.ASSISTANT, "The porter."))
Write = Callable[..., Path]


@pytest.fixture
def passages(project) -> Mapping[str, str]:
    """Document → the id of its one passage."""
    return {d.id: chunk(d)[0].id for d in load_folder(project.documents).documents}


@pytest.fixture
def write(project, tmp_path: Path) -> Write:
    """`write(role, rows, split)` → the data folder."""

    def to(role: Role, rows: Sequence[Mapping[str, Any]], split: str = "test") -> Path:
        path = tmp_path / "data" / split / f"{role.value}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return tmp_path / "data"

    return to


def turns(rewrites: Sequence[str], **more: Any) -> list[dict[str, Any]]:
    return [
        {"id": f"t{n}", "history": [str(t) for t in HISTORY], "question": q, "rewrite": r, "conversation": f"c{n}", **more}
        for n, (q, r) in enumerate(zip(QUESTIONS, rewrites, strict=True))
    ]


def what_rewriters_say(folder: Path, version: str) -> tuple[list[str], list[str]]:
    """The rewrites of the bare base and of the adapter, as the stage reads them."""
    settings = load_settings(folder)
    base = open_base(with_adapters(settings, {Role.REWRITER: Registry(settings.adapters.folder).resolve(Role.REWRITER, version)}))
    queries = [Query(question, HISTORY) for question in QUESTIONS]
    names = (None, base.adapters[Role.REWRITER])
    plain, tuned = ([each.question for each in Rewriter(base.engine, name).rewrite(queries)] for name in names)
    return plain, tuned


@pytest.mark.parametrize("gold_is_tuned", [True, False])
def test_evidence_goes_on_the_card_and_decides_the_promotion(
    gold_is_tuned: bool, project, publish_rewriter, write: Write
) -> None:
    """The gold rewrites are what the one or the other side says, so which of them is right is known beforehand."""
    version = publish_rewriter()
    registry, settings = Registry(project.adapters), load_settings(project.folder)
    plain, tuned = what_rewriters_say(project.folder, version)
    assert set(plain).isdisjoint(tuned)
    seen: list[tuple[str, int, int]] = []
    found = evaluate_adapter(
        settings,
        Role.REWRITER,
        "candidate",
        write(Role.REWRITER, turns(tuned if gold_is_tuned else plain)),
        lambda *told: seen.append(told),
    )
    measured, (evidence, *others) = found.version, found.claims
    over_floors, guards = ([each for each in others if (each.metric == ROUGE_1) == own] for own in (True, False))
    assert {each.metric for each in guards} <= {WORD_ORDER, KEPT, INVENTED}
    assert all(bool(each.against.is_floor) == (each.metric != KEPT) for each in guards)
    right, wrong = (evidence.tuned, evidence.reference) if gold_is_tuned else (evidence.reference, evidence.tuned)
    assert right == 1 > wrong
    assert (evidence.metric, evidence.n, evidence.groups, evidence.level) == (ROUGE_1, 8, 8, 0.975)
    assert (evidence.against, evidence.kind) == (BARE_BASE, EvidenceKind.HELD_OUT)
    assert evidence.difference == pytest.approx(evidence.tuned - evidence.reference)
    assert evidence.low <= evidence.difference <= evidence.high
    assert over_floors[0].against == floor_reference(UNCHANGED)  # then the better one of both, if it is another
    assert [each.against for each in over_floors[1:]] in ([], [floor_reference(HISTORY_FIRST)])
    assert {(each.metric, each.tuned, each.n, each.look) for each in over_floors} == {(ROUGE_1, evidence.tuned, 8, 1)}
    assert measured.id == version
    assert registry.show(Role.REWRITER, version).evidence[0] == evidence  # before the made-up one it came with
    assert seen[-1] == ("+ rewriter", 16, 16)
    if gold_is_tuned:
        assert registry.promote(Role.REWRITER, "candidate").claim == evidence
    else:
        with pytest.raises(AdapterError, match=rf"rewriter {version} is not promoted: ROUGE-1 differs by -.*; train it further"):
            registry.promote(Role.REWRITER, "candidate")
        assert "production" not in registry.aliases(Role.REWRITER)


def test_a_candidate_is_measured_against_what_serves_and_against_the_base(project, publish_rewriter, write: Write, lorag) -> None:
    """Right is what the candidate says: both others are wrong, each by its own measure, and the claim against the one that
    serves decides."""
    registry, settings = Registry(project.adapters), load_settings(project.folder)
    first = publish_rewriter(3)
    registry.promote(Role.REWRITER, first)
    second = publish_rewriter(4)
    plain, served = what_rewriters_say(project.folder, first)
    _, tuned = what_rewriters_say(project.folder, second)
    data = write(Role.REWRITER, turns(tuned))
    assert set(tuned).isdisjoint(served) and set(tuned).isdisjoint(plain)
    over_served, over_base, *_ = evaluate_adapter(settings, Role.REWRITER, "candidate", data).claims
    assert over_served.against == registry.as_reference(registry.resolve(Role.REWRITER, first))
    assert over_base.against == BARE_BASE
    assert over_served.tuned == over_base.tuned == 1
    scored = score_rewrites(
        golds := [
            GoldRewrite(f"t{n}", question, (gold,), f"c{n}")
            for n, (question, gold) in enumerate(zip(QUESTIONS, tuned, strict=True))
        ],
        {gold.id: Rewrite(said, Outcome.OK, said) for gold, said in zip(golds, served, strict=True)},
    ).values(ROUGE_1)
    assert over_served.reference == pytest.approx(sum(scored.values()) / len(scored))
    assert over_served.data == over_base.data and over_served.data.origin is DataOrigin.HUMAN
    assert registry.show(Role.REWRITER, second).evidence[:2] == (over_served, over_base)
    done = lorag("eval", "adapter", "rewriter", "--data", data, "--project", project.folder)
    said = " ".join(done.out.split())
    assert said.startswith(f"PROMOTE rewriter {second} {ROUGE_1} ")
    assert f"version {first}" in said and "better than the bare base" in said and "looks: This is look 1" in said
    assert registry.promote(Role.REWRITER, second).claim == over_served
    alone, *_ = evaluate_adapter(settings, Role.REWRITER, "production", data).claims
    assert alone == over_base  # nothing else serves


def test_what_is_measured_on_made_rows_promotes_nothing(project, publish_rewriter, write: Write, lorag) -> None:
    version = publish_rewriter()
    registry = Registry(project.adapters)
    _, tuned = what_rewriters_say(project.folder, version)
    data = write(Role.REWRITER, [*turns(tuned)[1:], *turns(tuned, origin="made")[:1]])  # one is enough
    done = lorag("eval", "adapter", "rewriter", "--data", data, "--project", project.folder)
    assert "holds made rows, which promote nothing" in " ".join(done.out.split())
    card = registry.show(Role.REWRITER, version)
    assert card.evidence[0].data.origin is DataOrigin.MADE and card.evidence[0].low > 0
    # The claim on rows of people that it came with allows it, as the command said.
    assert f"an earlier claim allows `lorag adapters promote rewriter {version}" in " ".join(done.out.split())
    by_people = next(each for each in card.evidence if each.data.origin is DataOrigin.HUMAN)
    assert registry.promote(Role.REWRITER, version).claim == by_people


def test_what_is_said_of_a_promotion_is_what_a_promotion_does(project, publish_rewriter, write: Write, lorag) -> None:
    version = publish_rewriter()
    _, tuned = what_rewriters_say(project.folder, version)
    data = write(Role.REWRITER, turns(tuned))
    project.set("adapters: {rewriter: none}")
    done = lorag("eval", "adapter", "rewriter", "--data", data, "--project", project.folder)
    said = " ".join(done.out.split())
    assert "`adapters.rewriter: none` in lorag.yaml decides what serves; set it to `production` first" in said
    assert lorag("adapters", "promote", "rewriter", "--project", project.folder).code == 2
    project.set()
    done = lorag("eval", "adapter", "rewriter", "--data", data, "--project", project.folder)
    assert f"let it serve with `lorag adapters promote rewriter {version} --project" in " ".join(done.out.split())


def test_seven_conversations_decide_nothing_and_the_command_says_so(project, publish_rewriter, write: Write, lorag) -> None:
    version = publish_rewriter()
    _, tuned = what_rewriters_say(project.folder, version)
    data = write(Role.REWRITER, turns(tuned)[:7])
    done = lorag("eval", "adapter", "rewriter", "--data", data, "--project", project.folder)
    said = " ".join(done.out.split())
    assert f"{version} is not promoted: data/test (human) has 7 independent groups of items" in said and "is better" not in said
    assert lorag("adapters", "promote", "rewriter", "--project", project.folder).code == 2


def test_an_embedder_is_measured_against_the_one_that_serves(
    project, publish_embedder, write: Write, passages: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lorag.evaluating.measuring.open_base", None)
    registry, first = Registry(project.adapters), publish_embedder(5)
    registry.promote(Role.EMBEDDER, first)
    second = publish_embedder(6)
    rows = [
        {"id": f"q{n}", "question": text, "answers": ["x"], "answerable": True, "passage_ids": [passages[document]]}
        for n, (text, document) in enumerate((("Who keeps the key?", "keys.md"), ("When does the ferry leave?", "ferry.md")))
    ]
    data = write(Role.SYNTHESIZER, rows)
    settings = load_settings(project.folder)
    over_served, over_base, over_floor, recall = evaluate_adapter(settings, Role.EMBEDDER, second, data).claims
    of_the_first, *_ = evaluate_adapter(settings, Role.EMBEDDER, first, data).claims
    assert (over_served.reference, over_base.reference) == (of_the_first.tuned, of_the_first.reference)
    assert (recall.metric, recall.against, recall.level) == ("Recall@5", over_served.against, 0.95)
    assert over_served.against.version == first
    assert (over_floor.against, over_floor.tuned, over_floor.metric) == (floor_reference(BM25), over_served.tuned, NDCG)
    assert {path.name for path in (project.folder / ".lorag" / "evaluation").iterdir()} == {"frozen", first, second}


def test_an_embedder_is_measured_by_retrieval_alone(
    project, publish_embedder, write: Write, passages: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both encoders find the right one of two passages among ten. No base is loaded, and the project's index is not made."""
    monkeypatch.setattr("lorag.evaluating.measuring.open_base", None)
    version = publish_embedder()
    rows = [
        {"id": f"q{n}", "question": text, "answers": ["x"], "answerable": True, "passage_ids": [passages[document]]}
        for n, (text, document) in enumerate((("Who keeps the key?", "keys.md"), ("When does the ferry leave?", "ferry.md")))
    ]
    claims = evaluate_adapter(load_settings(project.folder), Role.EMBEDDER, version, write(Role.SYNTHESIZER, rows)).claims
    evidence = claims[0]
    assert (evidence.metric, evidence.n) == (NDCG, 2)
    assert 0.63 < evidence.reference <= 1 and 0.63 < evidence.tuned <= 1  # first or second: 1 or 1/log2(3)
    state = project.folder / ".lorag"
    assert {path.name for path in state.iterdir()} == {"adapters", "evaluation", ".lock", "project.id"}
    assert {path.name for path in (state / "evaluation").iterdir()} == {"frozen", version}


def test_rerank_and_gate_are_measured_as_the_project_serves_them(
    project, publish_rewriter, publish_embedder, passages: Mapping[str, str], tmp_path: Path
) -> None:
    """Each answer of the evaluation is that of the chain which the same settings open, on an index of the project's own."""
    from tests.pipeline.retrieval.test_rerank import tiny_bert

    cross = tiny_bert(tmp_path / "cross", 1)
    rewriter, embedder = publish_rewriter(), publish_embedder()
    project.set(f"retrieval: {{rerank: {cross}, k: 1}}", "judge: {gate: 0.5}")
    settings, registry = load_settings(project.folder), Registry(project.adapters)
    named = {Role.REWRITER: rewriter, Role.EMBEDDER: embedder}
    versions = {role: registry.resolve(role, version) for role, version in named.items()}
    gold = (passages["keys.md"],)
    chain_items = tuple(
        ChainItem(Query(question, HISTORY), GoldAnswer(f"q{n}", ("x",), True, gold)) for n, question in enumerate(QUESTIONS)
    )
    tests = TestSet(chain_items, (), ())
    (found,) = run_configurations(settings, tests, versions, [Configuration("both", frozenset(versions))]).measured
    settings = with_adapters(settings, versions)
    with closing(open_index(settings)) as index:
        index.ingest(settings.documents)
        chain = open_chain(settings, index=index)
        served = {item.gold.id: chain.ask(item.query) for item in chain_items}
    assert {id_: _said(response) for id_, response in found.responses.items()} == {id_: _said(r) for id_, r in served.items()}
    gates = [verdict.probabilities["unanswerable"] >= 0.5 for response in served.values() for verdict in response.verdicts[:1]]
    assert [response.answer.refused for response in found.responses.values()] == gates


def _said(response: Response) -> tuple[Any, ...]:
    hits = [(hit.passage.id, pytest.approx(hit.score)) for hit in response.trace.hits]
    return response.rewrite, hits, response.answer, [record.prompt for record in response.trace.stages[:4]]


def test_another_encoder_in_the_settings_makes_the_index_of_evaluation_anew(
    project, publish_rewriter, write: Write, passages: Mapping[str, str], tmp_path: Path
) -> None:
    """The folder is LoRAG's own: a user could not know which one to rebuild."""
    from tests.conftest import save_tiny_encoder

    publish_rewriter()
    rows = turns(QUESTIONS, passage_ids=[passages["keys.md"]], answers=["The porter."])
    data = write(Role.REWRITER, rows)

    def measure() -> tuple[Evidence, ...]:
        return evaluate_adapter(load_settings(project.folder), Role.REWRITER, "candidate", data, sizes=Sizes(turns=2)).claims

    first = measure()
    project.set(encoder=save_tiny_encoder(tmp_path / "other", seed=1))
    assert measure() == first


def test_leaking_data_measures_nothing(project, publish_rewriter, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lorag.evaluating.evaluation.run_configurations", None)
    version = publish_rewriter()
    before = project.files()
    write(Role.REWRITER, turns(QUESTIONS), "train")
    data = write(Role.REWRITER, turns(QUESTIONS))
    with pytest.raises(DataError, match="8 items of test/rewriter.jsonl are in train/rewriter.jsonl too"):
        evaluate_adapter(load_settings(project.folder), Role.REWRITER, version, data)
    assert project.files() == before


def test_too_few_items_are_told_with_the_comparison(project, publish_rewriter, write: Write) -> None:
    publish_rewriter()
    data = write(Role.REWRITER, turns(QUESTIONS)[:1])
    with pytest.raises(InputError, match="rewriter by ROUGE-1: an interval needs at least two independent groups"):
        evaluate_adapter(load_settings(project.folder), Role.REWRITER, "candidate", data)


def measured(name: str, f1: float, ndcg: float) -> Measured:
    answers = ScoreTable(tuple(ItemScores(i, i, Outcome.OK, {"F1": f1, "citation recall": f1}) for i in "abcdefgh"))
    found = ScoreTable(tuple(ItemScores(i, i, Outcome.OK, {NDCG: ndcg}) for i in "abcdefgh"))
    return Measured(Configuration(name, frozenset()), ScoreTable(()), found, answers, (), {})


def test_the_comparisons_are_each_role_alone_and_the_chain_with_everything_on() -> None:
    """With 8 groups p is 2/2⁸, so Holm's levels are those of rising order. Of 8 equal differences the share that Wilson's
    interval allows at that level may be nothing or 1."""
    every = (
        measured(BASE_CHAIN, 0.25, 0.5),
        measured("+ embedder", 0.25, 0.75),
        measured("+ synthesizer", 0.5, 0.5),
        measured(ALL_ADAPTERS, 1.0, 0.75),
    )
    found, notes = compare(every, (Role.EMBEDDER, Role.SYNTHESIZER))
    assert notes == ()
    assert [(each.role, each.metric, each.base, each.tuned, each.difference, round(each.level, 9)) for each in found] == [
        ("embedder", NDCG, 0.5, 0.75, 0.25, 0.975),
        ("synthesizer", "F1", 0.25, 0.5, 0.25, 0.95),
        ("chain", "F1", 0.25, 1.0, 0.75, round(1 - 0.05 / 3, 9)),
        ("chain", "citation recall", 0.25, 1.0, 0.75, 0.975),
        ("chain", NDCG, 0.5, 0.75, 0.25, 0.95),
    ]
    assert all((each.n, each.groups, each.shown) == (8, 8, True) for each in found)
    for each in found:
        squared = float(stats.t.ppf(0.5 + each.level / 2, 7)) ** 2
        share, d = squared / (8 + squared), each.difference
        assert (each.low, each.high) == pytest.approx((d * (1 - share), d + share * (1 - d)))


def test_comparisons_of_too_few_items_are_left_out_and_told() -> None:
    every = [replace(measured(name, 0.5, 0.5), answers=ScoreTable(())) for name in (BASE_CHAIN, "+ embedder", ALL_ADAPTERS)]
    found, notes = compare(every, (Role.EMBEDDER,))
    assert [(each.role, each.metric) for each in found] == [("embedder", NDCG), ("chain", NDCG)]
    few = "an interval needs at least two independent groups of items, found 0; add test items."
    assert notes == (f"Not compared: chain by F1: {few}", f"Not compared: chain by citation recall: {few}")


def test_what_has_no_test_rows_is_left_out_and_told(
    project, publish_rewriter, publish_embedder, write: Write, passages: Mapping[str, str], lorag
) -> None:
    """Turns alone: no question is answered, and the embedder is measured on what the turns look for."""
    publish_rewriter()
    publish_embedder()
    rows = turns(QUESTIONS)
    for at, row in enumerate(rows):
        row |= {"passage_ids": [passages[("keys.md", "ferry.md")[at % 2]]], "answers": ["x"]}
    data = write(Role.REWRITER, rows)
    command = ("eval", "chain", "--data", data, "--project", project.folder)
    found = lorag(*command, "-o", "json").json()
    assert [(each["role"], each["metric"]) for each in found["comparisons"]] == [
        ("rewriter", ROUGE_1),
        ("embedder", NDCG),
        ("chain", NDCG),
    ]
    told = [note.partition(":")[0] for note in found["notes"]]
    won = [each for each in found["against_floors"] if not each["beaten"]]
    assert told == ["A floor wins"] * len(won) + ["Not compared", "Not compared"]
    assert {each["metric"] for each in found["floors"]} >= {ROUGE_1, NDCG}
    for row in rows:
        del row["passage_ids"]
    write(Role.REWRITER, rows)
    done = lorag(*command)
    assert "The embedder adapter is left out: there are no test rows for it." in " ".join(done.out.split())
    (data / "test" / "rewriter.jsonl").unlink()
    assert "that an adapter of this project is measured on" in lorag(*command).error_line


def test_settings_with_chosen_adapters_name_no_other(project, publish_rewriter) -> None:
    version = publish_rewriter()
    registry = Registry(project.adapters)
    settings = load_settings(project.folder)  # names `production` for every role
    chosen = with_adapters(settings, {Role.REWRITER: registry.resolve(Role.REWRITER, version), Role.EMBEDDER: None}).adapters
    assert (chosen.rewriter, chosen.embedder, chosen.synthesizer, chosen.judge) == (version, "none", "none", "none")
    assert version_name(registry.resolve(Role.REWRITER, version)) == f"rewriter-{version}"
