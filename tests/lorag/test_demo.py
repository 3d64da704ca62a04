"""`lorag demo` from documents to report, on tiny models: what it leaves, that it goes on where it stopped, and its report.json.

One demo is run for the module: interrupted in its third training, gone on with, and run again when finished.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import lorag.demo
import lorag.pipeline.adapters.starters
import lorag.training.run
from lorag.bundled import EXAMPLE, example_folder
from lorag.demo import run_demo
from lorag.evaluating.evaluation import ROLES, evaluate_chain
from lorag.pipeline.adapters.card import read_card
from lorag.pipeline.adapters.evidence import BARE_BASE, floor_reference
from lorag.pipeline.adapters.registry import Registry, Version
from lorag.pipeline.config import load_settings
from lorag.pipeline.engine.weights import Precision
from lorag.pipeline.errors import ConfigError
from lorag.pipeline.evaluation.ablation import OWN_METRIC
from lorag.pipeline.evaluation.floors.systems import UNCHANGED
from lorag.pipeline.records import Role
from lorag.training.recipe import Recipe, changed
from lorag.training.recipe_parts import GenerationLora
from lorag.watching import SilentListener
from tests.lorag.starter_folders import bundle_tiny
from tests.lorag.tiny_domain import THINGS, lay_example, tiny_recipe


@dataclass
class Told:
    """What a run of the demo did: `trained` are the trainings begun and `steps` the optimizer steps told of, in order;
    `lines` are those meant for the user, `noise` is whatever else went to the terminal."""

    trained: list[Role] = field(default_factory=list)
    steps: list[tuple[Role, int]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    published: dict[Role, tuple[str, ...]] = field(default_factory=dict)
    report: dict[str, Any] = field(default_factory=dict)
    noise: str = ""


@dataclass
class Runs:
    out: Path
    example: Path
    interrupted: Told
    finished: Told
    again: Told


@dataclass
class Noting(SilentListener):
    """Keeps the lines that are meant for a person."""

    lines: list[str]

    def notice(self, line: str) -> None:
        self.lines.append(line)


def run(out: Path, patch: pytest.MonkeyPatch, stop_at: tuple[Role, int] | None = None) -> Told:
    told = Told()
    train = lorag.training.run.train_role

    def watched(role: Role, *, on_progress: Callable[[Any], None], **options: Any) -> Version:
        def progress(at: Any) -> None:
            told.steps.append((role, at.step))
            on_progress(at)
            if (role, at.step) == stop_at:
                raise KeyboardInterrupt

        told.trained.append(role)
        return train(role, on_progress=progress, **options)

    noise = io.StringIO()
    with patch.context() as here, redirect_stderr(noise), redirect_stdout(noise):
        here.setattr(lorag.training.run, "train_role", watched)
        if stop_at is None:
            assert run_demo(out, progress=Noting(told.lines)) == out / "report.html"
            told.report = json.loads((out / "report.json").read_text(encoding="utf-8"))
        else:
            with pytest.raises(KeyboardInterrupt):
                run_demo(out, progress=Noting(told.lines))
    told.noise = noise.getvalue()
    registry = Registry(out / "project" / ".lorag" / "adapters")
    told.published = {role: tuple(version.id for version in registry.list(role)) for role in ROLES}
    return told


@pytest.fixture(scope="module")
def runs(tiny_base: Path, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    folder = tmp_path_factory.mktemp("demo")
    example = lay_example(folder / "tiny-domain", tiny_base, tiny_encoder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LORAG_CACHE", str(folder / "cache"))
        patch.setattr(lorag.demo, "example_folder", lambda name: example)
        patch.setattr(lorag.demo, "load_recipe", tiny_recipe)
        patch.setattr(lorag.demo, "DATA", {})  # the tiny example has not all of the judge's tasks
        out = folder / "out"
        return Runs(out, example, run(out, patch, stop_at=(Role.SYNTHESIZER, 2)), run(out, patch), run(out, patch))


def test_an_interrupted_demo_keeps_what_was_finished(runs: Runs) -> None:
    assert runs.interrupted.trained == [Role.REWRITER, Role.EMBEDDER, Role.SYNTHESIZER]
    assert [len(runs.interrupted.published[role]) for role in ROLES] == [1, 1, 0, 0]


def test_run_again_it_goes_on_from_there(runs: Runs) -> None:
    assert runs.finished.trained == [Role.SYNTHESIZER, Role.JUDGE]
    # The second step was told of before its checkpoint was complete, so it is done again; the first is not.
    assert runs.finished.steps == [(Role.SYNTHESIZER, 2), (Role.SYNTHESIZER, 3), *((Role.JUDGE, n) for n in (1, 2, 3))]
    for role in (Role.REWRITER, Role.EMBEDDER):
        assert runs.finished.published[role] == runs.interrupted.published[role]
    assert any(line.startswith("rewriter: ") and "is trained already" in line for line in runs.finished.lines)


def test_a_finished_demo_trains_nothing_and_finds_the_same(runs: Runs) -> None:
    assert (runs.again.trained, runs.again.steps) == ([], [])
    assert runs.again.published == runs.finished.published
    for part in ("comparisons", "ablation", "floors", "questions", "curves", "outcomes"):
        assert runs.again.report[part] == runs.finished.report[part]


def test_the_report_compares_each_role_and_the_chain(runs: Runs) -> None:
    comparisons = runs.finished.report["comparisons"]
    keys = {"role", "metric", "base", "tuned", "difference", "low", "high", "n", "groups", "level", "starter"}
    assert all(each.keys() == keys for each in comparisons)
    assert [each["role"] for each in comparisons] == [*(role.value for role in ROLES), "chain", "chain", "chain"]
    for role, each in zip(ROLES, comparisons, strict=False):
        assert each["metric"] == OWN_METRIC[role]
    for each in comparisons:
        assert each["difference"] == pytest.approx(each["tuned"] - each["base"])
        assert each["low"] <= each["difference"] <= each["high"]
    counts = {(each["role"], each["metric"]): each["n"] for each in comparisons}
    things = len(THINGS["test"])
    assert counts["rewriter", "ROUGE-1"] == counts["synthesizer", "F1"] == counts["chain", "citation recall"] == things
    assert counts["embedder", "nDCG@10"] == 2 * things  # questions and turns
    assert counts["judge", "mean task macro-F1"] == 2 * things


def test_the_table_has_every_configuration_and_figure(runs: Runs) -> None:
    report = runs.finished.report
    rows = {row["configuration"]: row["cells"] for row in report["ablation"]["rows"]}
    assert list(rows) == ["base chain", "+ rewriter", "+ embedder", "+ synthesizer", "+ judge", "all adapters"]
    for cells in rows.values():
        assert cells.keys() == set(report["ablation"]["metrics"]) >= {"nDCG@10", "Recall@5", "ROUGE-1", "rewrite EM", "EM", "F1"}
        assert all(cell["low"] <= cell["value"] <= cell["high"] for cell in cells.values())
    assert {floor["metric"] for floor in report["floors"]} >= {"ROUGE-1", "rewrite EM", "EM", "F1", "mean task macro-F1"}
    kinds = [(question["answered"], question["answerable"]) for question in report["questions"]]
    assert {kind: kinds.count(kind) for kind in kinds} == dict.fromkeys(
        ((True, True), (True, False), (False, True)), len(THINGS["test"])
    )
    assert len(report["showcases"]) == 3
    curves = {curve["name"]: [step for step, _ in curve["points"]] for curve in report["curves"]}
    assert curves == {role.value: [1, 2, 3] for role in ROLES}  # the interrupted one without a gap or a repetition
    assert all(count["ok"] + count["unparsed"] + count["failed"] > 0 for count in report["outcomes"])


def test_each_adapter_carries_its_evidence_and_serves_where_that_speaks_for_it(runs: Runs) -> None:
    registry = Registry(runs.out / "project" / ".lorag" / "adapters")
    comparisons = {each["role"]: each for each in runs.finished.report["comparisons"]}
    allowed: dict[Role, bool] = {}
    for role in ROLES:
        (version,) = registry.list(role)
        evidence, *others = registry.show(role, version.id).evidence
        leading = [evidence, *(each for each in others if each.metric == evidence.metric)]
        assert any(each.against.is_floor for each in leading) and {each.look for each in leading} == {1}
        by_task = [each for each in others if each.metric.startswith("macro-F1, ") and each.against.is_floor]
        assert bool(by_task) is (role is Role.JUDGE)
        assert {key: getattr(evidence, key) for key in ("difference", "n", "groups")} == {
            key: comparisons[role.value][key] for key in ("difference", "n", "groups")
        }
        allowed[role] = version.aliases == ("production",)
        assert not allowed[role] or all(each.low > 0 and each.has_enough_groups for each in leading)
    refused = [line for line in runs.finished.lines if line.startswith("  why: ")]
    assert len(refused) == len(ROLES) - sum(allowed.values())
    cards = {each["role"]: each for each in runs.finished.report["decisions"]}
    assert {role: card["decision"] == "promote" for role, card in cards.items()} == {
        role.value: is_allowed for role, is_allowed in allowed.items()
    }
    for role, card in cards.items():
        assert f"{card['decision'].upper()} {role} {card['version']}" in runs.finished.lines
        assert f"  why: {card['reason']}" in runs.finished.lines or not card["reason"]


def test_the_libraries_add_nothing_to_what_the_user_is_told(runs: Runs) -> None:
    """Their bars and warnings: a model card's examples, a hub that cannot be asked, weights being loaded."""
    assert (runs.finished.noise, runs.again.noise) == ("", "")


def test_the_project_that_it_leaves_is_measured_to_the_same_figures(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    """`lorag eval chain` takes the adapters that serve, and of a role without one the candidate."""
    monkeypatch.setenv("LORAG_CACHE", str(runs.out / "cache"))
    found = evaluate_chain(load_settings(runs.out / "project"), runs.example).to_json()
    assert found["comparisons"] == runs.finished.report["comparisons"]
    assert found["floors"] == runs.finished.report["floors"]
    assert found["configurations"] == {row["configuration"]: row["cells"] for row in runs.finished.report["ablation"]["rows"]}


def test_the_page_stands_beside_it_and_needs_nothing_else(runs: Runs) -> None:
    page = (runs.out / "report.html").read_text(encoding="utf-8")
    assert "what each adapter buys" in page
    assert "http://" not in page.replace("http://www.w3.org/", "") and "<link" not in page


def test_the_bundled_settings_have_the_line_that_the_demo_replaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = lorag.demo.project_in(tmp_path)
    assert made.settings.documents == example_folder(EXAMPLE) / "documents"
    (tmp_path / "example").mkdir()
    (tmp_path / "example" / "lorag.yaml").write_text("documents: elsewhere\n")
    monkeypatch.setattr(lorag.demo, "example_folder", lambda name: tmp_path / "example")
    with pytest.raises(ConfigError, match="must hold the line `documents: documents`"):
        lorag.demo.project_in(tmp_path)


@dataclass
class Begun:
    """A demo with a starter for the rewriter: its report, its lines, its registry, and the digest of the starter's weights."""

    report: dict[str, Any]
    lines: list[str]
    registry: Registry
    starter: str


@pytest.fixture(scope="module")
def begun(
    tiny_base: Path, tiny_encoder: Path, tiny_adapter: Any, tiny_card: Any, tmp_path_factory: pytest.TempPathFactory
) -> Begun:
    folder = tmp_path_factory.mktemp("demo-from-starters")
    example = lay_example(folder / "tiny-domain", tiny_base, tiny_encoder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LORAG_CACHE", str(folder / "cache"))
        patch.setattr(lorag.demo, "example_folder", lambda name: example)
        patch.setattr(lorag.demo, "load_recipe", recipe_without_a_shape)
        patch.setattr(lorag.demo, "DATA", {})
        adapter = tiny_adapter(tiny_base, 3, Role.REWRITER)
        place = bundle_tiny(folder / "bundle" / "rewriter", adapter, tiny_base, Role.REWRITER, tiny_card, Precision.NF4)
        patch.setattr(lorag.pipeline.adapters.starters, "FOLDER", place.parent)
        told = run(folder / "out", patch)
    registry = Registry(folder / "out" / "project" / ".lorag" / "adapters")
    return Begun(told.report, told.lines, registry, read_card(place).identity.weights_digest)


def recipe_without_a_shape(role: Role, path: Path | None = None) -> Recipe:
    """`tiny_recipe` that leaves rank, alpha and targets to the adapter that a run begins with."""
    made = tiny_recipe(role, path)
    return made if role is not Role.REWRITER else changed(made, lora=GenerationLora())


def test_training_goes_on_from_the_starter(begun: Begun) -> None:
    starter, tuned = begun.registry.list(Role.REWRITER)
    assert begun.registry.show(Role.REWRITER, starter.id).identity.weights_digest == begun.starter
    parent = begun.registry.show(Role.REWRITER, tuned.id).parent
    assert parent is not None
    assert (parent.version, parent.weights_digest) == (f"rewriter {starter.id}", begun.starter)
    (judge,) = begun.registry.list(Role.JUDGE)  # there is no starter of the others
    assert begun.registry.show(Role.JUDGE, judge.id).parent is None


def test_the_tables_set_the_starter_between_base_and_tuned(begun: Begun) -> None:
    rows = {row["configuration"]: row["cells"] for row in begun.report["ablation"]["rows"]}
    assert list(rows)[:3] == ["base chain", "starter adapters", "+ rewriter"]
    beside = {each["role"]: each["starter"] for each in begun.report["comparisons"][:4]}
    assert beside["rewriter"] == rows["starter adapters"]["ROUGE-1"]["value"]
    assert beside["embedder"] is beside["synthesizer"] is beside["judge"] is None
    assert any(note.startswith("The rewriter against its starter, paired: ROUGE-1 ") for note in begun.report["notes"])
    assert [row["configuration"] for row in begun.report["runs"]["rows"]].count("starter adapters") == 0


def test_only_what_is_better_than_the_starter_takes_its_place(begun: Begun) -> None:
    starter, tuned = begun.registry.list(Role.REWRITER)
    evidence = begun.registry.show(Role.REWRITER, tuned.id).evidence
    over_starter, over_base, over_floor = evidence[:3]
    assert over_floor.against == floor_reference(UNCHANGED)
    assert over_starter.against == begun.registry.as_reference(starter) and over_base.against == BARE_BASE
    compared = begun.report["comparisons"][0]
    assert (over_starter.reference, over_starter.tuned) == (compared["starter"], compared["tuned"])
    serves = begun.registry.aliases(Role.REWRITER)["production"]
    decide = [each for each in evidence if each.metric == over_starter.metric]
    assert serves == starter.id or all(each.low > 0 and each.has_enough_groups for each in decide)
    assert any(line.startswith(f"  why: rewriter {tuned.id}") for line in begun.lines) is (serves == starter.id)
