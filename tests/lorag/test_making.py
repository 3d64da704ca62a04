"""`lorag data make` as a whole: a folder that trains and tests, the same bytes after a kill, and refusals before any work."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

import lorag
from lorag import making
from lorag.assembly import SharedBase
from lorag.evaluating.testset import Sizes, read_tests, roles_tested
from lorag.making import MakingSpec, Models, make_rows, plan_making
from lorag.pipeline.adapters.evidence import DataOrigin
from lorag.pipeline.config import Settings
from lorag.pipeline.engine.protocol import ChoiceRequest, Completion, Generation
from lorag.pipeline.engine.scripted import ScriptedEngine
from lorag.pipeline.errors import DataError, InputError, LoragError
from lorag.pipeline.records import Role
from lorag.pipeline.retrieval.embedder import HashingEmbedder
from lorag.training.data.making.embedder_rows import FOUND
from lorag.training.data.making.folder import Made
from lorag.training.data.making.human import ROLES
from lorag.training.data.making.planning import Pace
from lorag.training.data.making.records import Filter
from lorag.training.data.making.sample import time_sample
from lorag.training.data.negatives import Negatives, make_pairs
from lorag.training.data.rows import PassageRow
from lorag.training.dataset import DataFolder, judge_schemas
from lorag.training.examples import judge_examples, rank_for, rewrite_examples, synthesize_examples
from tests.training.data.making.corpus_of_tanks import documents, scripted


def lay_project(folder: Path, texts: dict[str, str]) -> Settings:
    (folder / "docs").mkdir(parents=True)
    for name, text in texts.items():
        (folder / "docs" / name).write_text(text, encoding="utf-8")
    (folder / "lorag.yaml").write_text(
        "documents: docs\nbase: {model: ./no-such-base}\nchunking: {min_chars: 40}\n", encoding="utf-8"
    )
    with lorag.open(folder) as project:
        return project.settings


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return lay_project(tmp_path_factory.mktemp("making") / "p", documents())


@dataclass(frozen=True)
class Whole:
    """A run that nothing stopped: what it returned, its folder, and the number of its requests."""

    made: Made
    folder: Path
    requests: int


@pytest.fixture(scope="module")
def whole(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder, engine = tmp_path_factory.mktemp("making") / "rows", scripted()
    return Whole(made(settings, folder, engine), folder, len(engine.requests))


def made(settings: Settings, out: Path, engine: ScriptedEngine | None = None, **more: object) -> Made:
    models = Models(engine or scripted(), HashingEmbedder())
    return make_rows(settings, MakingSpec(out, **more), models=models)  # type: ignore[arg-type]


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def lines(path: Path) -> Iterator[dict[str, object]]:
    return (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())


class Passages:
    """Finds passages by shared words."""

    def __init__(self, passages: dict[str, PassageRow]) -> None:
        self._passages = passages

    def find(self, questions: Sequence[str], k: int, *, training: bool) -> list[list[str]]:
        def shared(question: str, row: PassageRow) -> int:
            return len(set(question.lower().split()) & set(f"{row.title} {row.text}".lower().split()))

        rows = sorted(self._passages.values(), key=lambda row: row.id)
        return [[r.id for r in sorted(rows, key=lambda row: -shared(question, row))[:k]] for question in questions]


def test_the_folder_is_one_that_training_and_evaluation_read(whole: Whole) -> None:
    result, data = whole.made, DataFolder(whole.folder, {})
    data.require()
    for role in ROLES:
        data.check_leaks(role)
        assert data.repeats(role) == ()
        for split in ("train", "dev", "test"):
            assert data.origin(split, role) is DataOrigin.MADE
    assert result.questions.funnel.left == len(result.questions.accepted) > 20
    assert not whole.folder.with_name("rows.making").exists()
    answered = [row for split in ("train", "dev", "test") for row in data.questions(split) if row.answerable]
    passages = data.passages()
    assert all(row.quotes[0] in passages[row.passage_ids[0]].text for row in answered)
    embeds = [row for split in ("train", "dev", "test") for row in data.embed_rows(split)]
    found = {row.id for row in result.rows if row.how == FOUND}
    assert sorted(row.query_id for row in embeds) == sorted([*(row.id for row in answered), *found])
    assert found and found <= {row.query_id for row in data.embed_rows("train")}
    held_out = {name for split in ("dev", "test") for row in data.embed_rows(split) for name in row.positive_ids}
    assert not held_out & {name for row in data.embed_rows("train") for name in row.negative_ids}


def test_training_and_evaluation_take_all_roles(whole: Whole) -> None:
    data = DataFolder(whole.folder, {})
    tests = read_tests(data, Sizes())
    assert {role for role in ROLES if role in roles_tested(tests)} == set(ROLES)
    assert len(rewrite_examples(data.rewrites("train"))) > 5
    assert {row.task for row in data.judgments("train")} == {"relevance", "answerability", "support"}
    assert len(judge_examples(data.judgments("train"), judge_schemas({}))) > 100
    pairs = make_pairs(data.embed_rows("train"), list(data.training_passages().values()), Negatives.RANDOM, 2)
    assert len(pairs) >= len(data.embed_rows("train"))


def test_each_row_has_an_origin_and_each_dropped_question_a_reason(whole: Whole) -> None:
    result, out = whole.made, whole.folder
    origins = {(line["role"], line["id"]): line for line in lines(out / "origin.jsonl")}
    data = DataFolder(out, {})
    rows = [("synthesizer", row.id) for split in ("train", "dev", "test") for row in data.questions(split)]
    rows += [("embedder", row.query_id) for split in ("train", "dev", "test") for row in data.embed_rows(split)]
    rows += [("rewriter", row.id) for split in ("train", "dev", "test") for row in data.rewrites(split)]
    rows += [("judge", row.id) for split in ("train", "dev", "test") for row in data.judgments(split)]
    assert sorted(rows) == sorted(origins)
    dropped = Counter(line["filter"] for line in lines(out / "rejected.jsonl"))
    steps = {step.filter.value: step.dropped for step in result.questions.funnel.steps if step.dropped}
    assert dropped == steps
    card = (out / "README.md").read_text(encoding="utf-8")
    assert f"{result.questions.funnel.asked} questions were asked for" in card
    assert card.count("\n20. ") == 1


def test_a_question_that_was_written_before_is_a_duplicate_and_no_row(whole: Whole) -> None:
    """Whatever dropped the first one: what a copy of it was dropped for is not known to have found its passage."""
    again = [each for each in whole.made.questions.rejected if each.reason.startswith("the same as")]
    assert again and {each.filter for each in again} == {Filter.DUPLICATE}
    assert not {each.candidate.id for each in again} & {row.id for row in whole.made.rows}


def test_rows_without_an_answer_show_none(whole: Whole) -> None:
    data = DataFolder(whole.folder, {})
    rows, passages = data.questions("train"), data.passages()
    refused = [row for row in rows if not row.answerable]
    assert 0.15 <= len(refused) / len(rows) <= 0.2
    kinds = Counter(row.answer_type for row in refused)
    assert set(kinds) >= {"withheld", "removed"}
    answers = {row.question: row.answers[0] for row in rows if row.answerable}
    finder = Passages(passages)
    examples = synthesize_examples(
        rows, passages, rank_for(rows, finder, 3, training=True), k=3, missing_gold=0.0, shuffled=0.0
    )  # fmt: skip
    for row, example in zip(rows, examples, strict=True):
        shown = example.messages[-1].content
        if row.answerable:
            assert row.answers[0] in shown
        elif row.answer_type != "swapped":
            assert answers[row.question] not in shown
            assert example.target == "The passages do not say."
    assert {row.answer_type for row in data.questions("test") if not row.answerable} <= {"swapped"}


def test_another_seed_makes_other_rows(settings: Settings, whole: Whole, tmp_path: Path) -> None:
    made(settings, tmp_path / "rows", seed=1)
    assert content(tmp_path / "rows") != content(whole.folder)


class Killed(ScriptedEngine):
    """Stops after some calls, as a kill does."""

    def __init__(self, engine: ScriptedEngine, calls: int) -> None:
        super().__init__(engine._script or (), scorer=engine._scorer)
        self.calls = calls

    def _count(self) -> None:
        self.calls -= 1
        if self.calls < 0:
            raise KeyboardInterrupt

    def generate(self, requests: Sequence[Generation]) -> list[Completion]:
        self._count()
        return super().generate(requests)

    def choice_probabilities(self, requests: Sequence[ChoiceRequest]) -> list[tuple[float, ...]]:
        self._count()
        return super().choice_probabilities(requests)


@pytest.mark.parametrize("calls", [0, 5, 14])
def test_killed_and_resumed_it_gives_the_same_bytes(settings: Settings, whole: Whole, tmp_path: Path, calls: int) -> None:
    engine, out = scripted(), tmp_path / "rows"
    with pytest.raises(KeyboardInterrupt):
        made(settings, out, Killed(engine, calls))
    assert not out.exists()
    with pytest.raises(InputError, match="a run that was stopped; continue it with --resume, or delete"):
        made(settings, out, engine)
    before = len(engine.requests)
    made(settings, out, engine, resume=True)
    assert content(out) == content(whole.folder)
    assert calls == 0 or len(engine.requests) - before < whole.requests


def test_a_run_goes_on_as_it_was_begun(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        made(settings, tmp_path / "rows", Killed(scripted(), 2))
    with pytest.raises(InputError, match="seed"):
        made(settings, tmp_path / "rows", resume=True, seed=3)
    with pytest.raises(InputError, match="no run to continue"):
        made(settings, tmp_path / "other", resume=True)


def test_the_plan_counts_and_makes_nothing(settings: Settings, tmp_path: Path) -> None:
    plan = plan_making(settings, MakingSpec(tmp_path / "rows"), Models(scripted(), HashingEmbedder()))
    assert (plan.documents, plan.groups, plan.passages) == (20, 20, 80)
    assert plan.questions == 2 * plan.spans
    assert sum(plan.splits.values()) == 20
    assert not (tmp_path / "rows").exists()


def test_minutes_plan_the_spans_by_a_timed_sample_once(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second a passage and 60 a span, then 600: a run that goes on keeps what was planned when it began."""
    paces = iter([Pace(1.0, 60.0), Pace(1.0, 600.0)])
    monkeypatch.setattr("lorag.training.data.making.sample.time_sample", lambda *given: next(paces))
    out, fit = tmp_path / "rows", len(making._prepare(settings, MakingSpec(tmp_path / "rows")).spans) - 5
    minutes = fit + 80 / 60 + 0.5
    with pytest.raises(KeyboardInterrupt):
        made(settings, out, Killed(scripted(), 2), minutes=minutes)
    assert json.loads((tmp_path / "rows.making/plan.json").read_text())["spans"] == fit
    assert made(settings, out, resume=True, minutes=minutes).questions.funnel.spans == fit
    assert next(paces).a_span == 600.0


def test_a_sample_is_timed_by_its_passages_and_its_spans(settings: Settings, tmp_path: Path) -> None:
    """A clock that tells 0, 40 and 120 seconds: filling the index with all 80 passages, then the questions on 32 spans."""
    ticks = iter([0.0, 40.0, 120.0])
    work = making._prepare(settings, MakingSpec(tmp_path / "rows"))
    base, retrieval = SharedBase(scripted(), {}), making._retrieval(settings, Models(embedder=HashingEmbedder()))
    pace = time_sample(
        work.spans, work.corpus, retrieval, lambda search: making._tools(base, None, search), work.settings, lambda: next(ticks)
    )
    assert pace == Pace(40.0 / 80, 80.0 / 32)


def test_human_rows_are_added_and_their_test_documents_train_nothing(settings: Settings, whole: Whole, tmp_path: Path) -> None:
    passages = DataFolder(whole.folder, {}).passages()
    asked = sorted(name for name in passages if name.startswith(("alden", "brask")))
    folder = tmp_path / "human"
    row = {"id": "h1", "question": "how heavy is it?", "answers": ["100 kg"], "passage_ids": asked[:1], "answerable": True}
    (folder / "test").mkdir(parents=True)
    (folder / "test/synthesizer.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    made(settings, tmp_path / "rows", human=folder)
    data = DataFolder(tmp_path / "rows", {})
    assert [each.id for each in data.questions("test")] == ["h1"]
    assert data.origin("test", Role.SYNTHESIZER) is DataOrigin.HUMAN
    assert data.origin("test", Role.EMBEDDER) is DataOrigin.MADE
    assert list(lines(tmp_path / "rows/made-test/synthesizer.jsonl"))
    trained = {name for row in data.embed_rows("train") for name in row.positive_ids}
    assert not any(name.startswith(asked[0].partition("#")[0]) for name in trained)
    row["passage_ids"] = ["gone.md#1"]
    (folder / "test/synthesizer.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    with pytest.raises(DataError, match="names passage 'gone.md#1', which the project's documents do not hold"):
        made(settings, tmp_path / "more", human=folder)


GERMAN = "Der Hafen liegt an der Mündung des Flusses und wird von dem Meister geführt, der dort seit Jahren wohnt. " * 4
TABLE = "| item | value |\n| --- | --- |\n" + "".join(f"| pump {at} | {at} kg |\n" for at in range(30))


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({f"{n}.md": text for n, text in enumerate(list(documents().values())[:5])}, "too few to hold any out; at least 8"),
        ({f"{n}.md": GERMAN for n in range(10)}, "English function words: they are in another language"),
        ({f"{n}.md": f"# T{n}\n\n{TABLE}" for n in range(10)}, "stands outside of tables and code, too little"),
        ({f"{n}.md": f"# T{n}\n\nIt is the x{n} of the y{n} at the z{n}." for n in range(10)}, "spans to ask about, too few"),
    ],
)
def test_documents_that_nothing_can_be_made_of_are_refused(texts: dict[str, str], message: str, tmp_path: Path) -> None:
    settings = lay_project(tmp_path / "p", texts)
    engine = ScriptedEngine([])
    with pytest.raises(LoragError, match=message):
        made(settings, tmp_path / "rows", engine)
    assert engine.requests == []
    assert not (tmp_path / "rows.making").exists()


def test_questions_that_all_fail_are_said_with_the_worst_filter(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none of .* passed the filters: “form” alone dropped"):
        made(settings, tmp_path / "rows", ScriptedEngine(lambda request: "what does this passage say here?"))
    assert list(tmp_path.iterdir()) == []
