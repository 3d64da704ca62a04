"""`lorag tune` on tiny models: what it leaves, that it goes on where it was stopped, and what it refuses before any work."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import lorag
import lorag.closed_loop.loop
import lorag.closed_loop.plan
import lorag.closed_loop.rows
import lorag.pipeline.adapters.registry
import lorag.training.run
from lorag.closed_loop.budget import SHARES, questions_within, rows_within, share_of, sizes_of
from lorag.closed_loop.harm import losses
from lorag.closed_loop.loop import PROMOTED, LoopResult, tune
from lorag.closed_loop.rows import feedback_rows
from lorag.closed_loop.state import LOOPS, ORDER, LoopSpec, open_run
from lorag.making import Models, make_rows
from lorag.pipeline.adapters.registry import Version
from lorag.pipeline.errors import DataError, InputError
from lorag.pipeline.evaluation.ablation import Configuration, Measured
from lorag.pipeline.evaluation.scores import ItemScores, ScoreTable
from lorag.pipeline.records import Outcome, Role
from lorag.pipeline.retrieval.embedder import HashingEmbedder
from lorag.watching import SilentListener
from tests.lorag.tiny_domain import lay_example, tiny_recipe
from tests.training.data.making.corpus_of_tanks import documents, scripted


@dataclass
class Noting(SilentListener):
    lines: list[str] = field(default_factory=list)

    def notice(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture
def domain(tiny_base: Path, tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LORAG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(lorag.closed_loop.loop, "load_recipe", tiny_recipe)
    monkeypatch.setattr(lorag.closed_loop.plan, "load_recipe", tiny_recipe)
    folder = lay_example(tmp_path / "tiny", tiny_base, tiny_encoder)
    with lorag.open(folder) as project:
        project.ingest()
    return folder


def run(domain: Path, spec: LoopSpec, listener: Noting | None = None) -> LoopResult:
    with lorag.open(domain) as project:
        return tune(project, spec, listener or Noting())


def stopped_at(monkeypatch: pytest.MonkeyPatch, role: Role) -> list[Role]:
    """Interrupts the first training of `role` at its second step; the list gets the roles that are trained."""
    trained: list[Role] = []
    train = lorag.training.run.train_role

    def watched(of: Role, *, on_progress: Callable[[Any], None], **options: Any) -> Version:
        def progress(at: Any) -> None:
            on_progress(at)
            if of is role and at.step == 2 and trained.count(role) == 1:
                raise KeyboardInterrupt

        trained.append(of)
        return train(of, on_progress=progress, **options)

    monkeypatch.setattr(lorag.training.run, "train_role", watched)
    return trained


def test_from_rows_to_measured_adapters(domain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One run, interrupted in its third training and gone on with."""
    spec, listener = LoopSpec(str(domain)), Noting()
    trained = stopped_at(monkeypatch, Role.SYNTHESIZER)
    with pytest.raises(KeyboardInterrupt):
        run(domain, spec, listener)
    assert trained == [Role.EMBEDDER, Role.REWRITER, Role.SYNTHESIZER]
    result = run(domain, spec, listener)
    assert trained[3:] == [Role.SYNTHESIZER, Role.JUDGE]
    assert result.folder == domain / LOOPS / "0001" and result.page == result.folder / "report.html"
    assert (domain / ".lorag" / "reports" / "report.html").is_file()
    assert result.seconds.keys() >= {"embedder", "rewriter", "synthesizer", "judge", "evaluate"}
    with lorag.open(domain) as project:
        for role in ORDER:
            (version,) = project.registry.list(role)
            card = project.registry.show(role, version.id)
            assert {each.look for each in card.evidence if each.metric == card.evidence[0].metric} == {1}
            promoted = "production" in version.aliases
            assert promoted is (result.outcomes[role] == PROMOTED)
            assert promoted or "is not promoted" in result.outcomes[role] or "is held" in result.outcomes[role]
        assert project.ask("Where is the bridge?").answer is not None
    assert any(line.startswith("dev questions, nDCG@10: the frozen encoder ") for line in listener.lines)


def test_a_finished_run_is_followed_by_a_new_one_and_an_open_one_takes_no_other_options(tmp_path: Path) -> None:
    first = open_run(tmp_path, LoopSpec("rows", minutes=5.0))
    first.add_seconds("embedder", 2.0)
    first.update(rows={"embedder": 40}, known={"embedder": ("0001-aa",)})
    again = open_run(tmp_path, LoopSpec("rows", minutes=5.0))
    assert (again.folder, again.state) == (first.folder, first.state)
    with pytest.raises(InputError, match=r"a tuning with other options was stopped in .*0001"):
        open_run(tmp_path, LoopSpec("rows", minutes=6.0))
    again.update(finished=True)
    assert open_run(tmp_path, LoopSpec("rows")).folder.name == "0002"


def test_an_adapter_that_was_published_before_a_kill_is_not_trained_again(domain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = LoopSpec(str(domain), roles=(Role.JUDGE,))
    trained = stopped_at(monkeypatch, Role.REWRITER)
    result = run(domain, spec)
    state = result.folder / "state.json"
    stored = json.loads(state.read_text(encoding="utf-8"))
    state.write_text(json.dumps({**stored, "versions": {}, "outcomes": {}, "finished": False}), encoding="utf-8")
    assert run(domain, spec).folder == result.folder
    assert trained == [Role.JUDGE]
    with lorag.open(domain) as project:
        assert len(project.registry.list(Role.JUDGE)) == len(project.registry.looks(Role.JUDGE)) == 1


def test_what_cannot_be_tuned_is_refused_before_any_work(domain: Path) -> None:
    (domain / "train" / "judge.jsonl").unlink()
    with pytest.raises(DataError, match=r"no train/judge.jsonl in .*; add it, or leave the judge out with --roles"):
        run(domain, LoopSpec(str(domain)))
    with pytest.raises(DataError, match="is no folder"):
        run(domain, LoopSpec(str(domain / "nowhere")))
    assert not (domain / LOOPS).exists()


def test_each_stage_gets_its_share_of_what_is_left() -> None:
    stages = ("synthesizer", "judge", "evaluate")
    whole = SHARES["synthesizer"] + SHARES["judge"] + SHARES["evaluate"]
    assert share_of("synthesizer", stages, 1000.0, 400.0) == pytest.approx(600 * SHARES["synthesizer"] / whole)
    assert share_of("evaluate", ("evaluate",), 1000.0, 400.0) == pytest.approx(600.0)
    assert share_of("judge", ("judge", "evaluate"), 100.0, 400.0) == 0.0


def test_rows_and_items_fit_the_time() -> None:
    assert rows_within(100.0, 90.0, 400) == 0
    assert rows_within(100.0, 200.0, 400) == 200
    assert rows_within(1.0, 1e4, 400) == 32
    assert rows_within(1.0, 1e4, 20) == 20
    sizes = sizes_of(questions_within(900.0, 1.0))
    assert (sizes.questions, sizes.unanswerable, sizes.turns, sizes.judgments) == (100, 25, 100, 50)
    assert questions_within(1.0, 1.0) == 24


def test_the_plan_tells_rows_and_time_and_writes_nothing(domain: Path) -> None:
    with lorag.open(domain) as project:
        free = project.plan_tune(LoopSpec(str(domain)))
        held = project.plan_tune(LoopSpec(str(domain), minutes=0.01))
    assert [each.stage for each in free] == [*(role.value for role in ORDER), "evaluate", "index"]
    assert [each.rows for each in free] == [6, 6, 12, 12, 0, 0]
    assert [each.seconds is None for each in free] == [False] * 4 + [True] * 2
    assert sum(each.seconds or 0.0 for each in held) >= 0.6 * 0.99
    assert not (domain / LOOPS).exists()


def test_an_embedder_that_is_promoted_serves_with_its_own_collection(domain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gate is opened here, since three steps prove nothing; it is tested elsewhere."""
    monkeypatch.setattr(lorag.pipeline.adapters.registry, "require_evidence", lambda card, *_, **__: card.evidence[0])
    with lorag.open(domain) as project:
        before = project.index.info().collection
        result = tune(project, LoopSpec(str(domain), roles=(Role.EMBEDDER,)), Noting())
        assert result.outcomes == {Role.EMBEDDER: PROMOTED}
        assert project.registry.serving(Role.EMBEDDER) is not None
        assert (project.index.info().previous, project.index.info().collection != before) == (before, True)
        assert project.ask("Where is the bridge?").trace is not None


@pytest.fixture
def handbook(tiny_base: Path, tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of documents alone; a scripted model writes the questions."""
    monkeypatch.setenv("LORAG_CACHE", str(tmp_path / "cache"))
    for module in (lorag.closed_loop.loop, lorag.closed_loop.plan):
        monkeypatch.setattr(module, "load_recipe", tiny_recipe)
    monkeypatch.setattr(lorag.closed_loop.rows, "make_rows", partial(make_rows, models=Models(scripted(), HashingEmbedder())))
    folder = tmp_path / "handbook"
    (folder / "docs").mkdir(parents=True)
    for name, text in documents().items():
        (folder / "docs" / name).write_text(text, encoding="utf-8")
    models = f"base: {{model: {tiny_base}, device: cpu}}\nembedder: {{model: {tiny_encoder}, device: cpu}}\n"
    (folder / "lorag.yaml").write_text(f"documents: docs\nchunking: {{min_chars: 40}}\n{models}", encoding="utf-8")
    return folder


def test_from_documents_alone_rows_are_made_once_and_promote_nothing(handbook: Path) -> None:
    spec, listener = LoopSpec(roles=(Role.EMBEDDER,)), Noting()
    result = run(handbook, spec, listener)
    rows = result.folder / "rows"
    assert (rows / "README.md").is_file() and any(line.startswith("made ") for line in listener.lines)
    assert result.outcomes[Role.EMBEDDER] != PROMOTED
    assert {"rows", "embedder", "evaluate"} <= result.seconds.keys()
    state = result.folder / "state.json"
    stored = json.loads(state.read_text(encoding="utf-8"))
    state.write_text(json.dumps({**stored, "outcomes": {}, "finished": False}), encoding="utf-8")
    written = (rows / "train" / "embedder.jsonl").stat().st_mtime_ns
    run(handbook, spec, listener)
    assert (rows / "train" / "embedder.jsonl").stat().st_mtime_ns == written
    with lorag.open(handbook) as project:
        assert project.index.info().passages > 0


def answered(scores: Sequence[float]) -> Measured:
    items = tuple(ItemScores(str(n), str(n), Outcome.OK, {"F1": value}) for n, value in enumerate(scores))
    empty = ScoreTable(())
    return Measured(Configuration("x", frozenset()), empty, empty, ScoreTable(items), (), {})


def test_an_embedder_is_held_if_answers_are_shown_to_fall() -> None:
    before = answered([0.8, 0.7, 0.9, 0.6, 0.8, 0.7, 0.9, 0.8, 0.7, 0.6])
    after = answered([0.6, 0.6, 0.7, 0.5, 0.5, 0.6, 0.7, 0.7, 0.5, 0.5])
    (line,) = losses(before, after)
    assert line.startswith("F1 of the answers falls from 0.750 to 0.590, -0.160 (")
    assert losses(after, before) == losses(before, before) == ()
    slightly = answered([value - 0.01 for value in (0.8, 0.7, 0.9, 0.6, 0.8, 0.7, 0.9, 0.8, 0.7, 0.6)])
    assert losses(before, slightly) == ()


def test_feedback_is_the_test_if_there_is_enough_of_it(handbook: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = Noting()
    with lorag.open(handbook) as project:
        loop = open_run(handbook, LoopSpec(roles=(Role.REWRITER,)))
        assert feedback_rows(project, loop, told) is None and told.lines == []
        turn = {"id": "t", "history": ["User: Where?"], "question": "And now?", "rewrite": "Where now?", "origin": "feedback"}

        def rows(folder: Path) -> None:
            for count, split in ((2, "train"), (60, "test")):
                (folder / split).mkdir(parents=True)
                lines = (json.dumps({**turn, "id": f"{split}-{n}"}) + "\n" for n in range(count))
                (folder / split / "rewriter.jsonl").write_text("".join(lines), encoding="utf-8")

        monkeypatch.setattr(project.feedback, "rows", rows)
        assert feedback_rows(project, loop, told) == loop.folder / "feedback" == feedback_rows(project, loop, told)
        monkeypatch.setattr(lorag.closed_loop.rows, "PROVING_ROWS", 61)
        assert feedback_rows(project, loop, told) is None
    assert told.lines == ["feedback gives 60 test rows; from 61 on they are what adapters are promoted by"]
