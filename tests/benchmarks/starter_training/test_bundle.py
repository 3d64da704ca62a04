"""From a finished run to what ships: weights in half precision, invented canaries, a card that says all, measured evidence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from benchmarks.starter_training import build, bundle, mixtures
from benchmarks.starter_training.build import train_starter
from benchmarks.starter_training.bundle import bundle_starter, invented_examples, record_evidence
from benchmarks.starter_training.mixtures import SETS, rewriter_examples
from benchmarks.starter_training.sets import LICENCES
from lorag.pipeline.adapters.canaries import read_canaries
from lorag.pipeline.adapters.card import read_card
from lorag.pipeline.adapters.inspection import inspect_folder
from lorag.pipeline.adapters.starters import STARTER_DATA
from lorag.pipeline.errors import TrainingError
from lorag.pipeline.records import Role
from tests.claims import claim

RECIPE = """
role: rewriter
precision: nf4
lora: {rank: 4, alpha: 8, dropout: 0, targets: [q_proj, v_proj, down_proj]}
optimiser:
  {learning_rate: 2.0e-2, warmup_share: 0, batch_size: 1, max_steps: 3, max_length: 960, pack_tokens: 960, checkpoint_every: 1}
"""


@pytest.fixture
def tiny(tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe of three steps on the tiny base, and few invented rows."""
    monkeypatch.setenv("LORAG_CACHE", str(tmp_path / "cache"))
    for module in (build, bundle):
        monkeypatch.setattr(module, "BASE", str(tiny_base))
    monkeypatch.setattr(mixtures, "FOLLOW_UPS", 10)
    monkeypatch.setattr(mixtures, "TURNS", dict.fromkeys(mixtures.TURNS, 0.2))
    monkeypatch.setattr(mixtures, "STANDALONE", {})
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


@pytest.fixture
def run(tiny: Path, data: Path, tmp_path: Path) -> Path:
    train_starter(Role.REWRITER, data, tmp_path / "run", recipe=tiny)
    return tmp_path / "run"


def test_a_finished_run_becomes_a_starter(run: Path, tiny: Path, data: Path, tmp_path: Path) -> None:
    card = bundle_starter(Role.REWRITER, run, data, recipe=tiny, into=tmp_path / "bundle")
    place = tmp_path / "bundle" / "rewriter"
    names = {"adapter_config.json", "adapter_model.safetensors", "canaries.json", "card.json", "README.md", "recipe.yaml"}
    assert {path.name for path in place.iterdir()} == names
    assert read_card(place) == card
    assert card.identity.weights_digest == inspect_folder(place).weights_digest
    assert {str(tensor.dtype) for tensor in load_file(place / "adapter_model.safetensors").values()} == {"float16"}
    assert (card.data.name, set(card.data.files)) == (STARTER_DATA, {f"{name}.train.jsonl.gz" for name in SETS[Role.REWRITER]})
    assert card.data.rows == len(rewriter_examples(data, "train", 0))
    assert (card.training.steps, card.lora.rank, card.evidence) == (3, 4, ())
    assert 0 < card.training.tokens <= 3 * 960
    assert all(f"| {name} | {LICENCES[name]} |" in card.notes for name in SETS[Role.REWRITER])
    learnt = {example.target for example in rewriter_examples(data, "train", 0)}
    assert not learnt & {canary.reply for canary in read_canaries(place)}


def test_a_starter_that_begins_with_another_goes_on_from_its_weights(
    tiny: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = train_starter(Role.REWRITER, data, tmp_path / "first", recipe=tiny)
    monkeypatch.setattr(build, "STARTS_FROM", {Role.REWRITER: Role.SYNTHESIZER})
    monkeypatch.setattr(build, "bundled_starters", lambda: {})
    with pytest.raises(TrainingError, match="the starter rewriter begins with the synthesizer, which is not bundled"):
        train_starter(Role.REWRITER, data, tmp_path / "second", recipe=tiny)
    monkeypatch.setattr(build, "bundled_starters", lambda: {Role.SYNTHESIZER: first.folder})
    second = train_starter(Role.REWRITER, data, tmp_path / "second", recipe=tiny)
    assert second.losses[0][1] < first.losses[0][1]


def test_what_was_measured_stays_with_the_same_weights(run: Path, tiny: Path, data: Path, tmp_path: Path) -> None:
    into = tmp_path / "bundle"
    bundle_starter(Role.REWRITER, run, data, recipe=tiny, into=into)
    evidence = claim(data="rewrite_canard")
    card = record_evidence(into / "rewriter", [evidence])
    assert card.evidence == read_card(into / "rewriter").evidence == (evidence,)
    assert "rewrite_canard" in (into / "rewriter" / "README.md").read_text(encoding="utf-8")
    assert bundle_starter(Role.REWRITER, run, data, recipe=tiny, into=into).evidence == card.evidence


def test_a_run_that_is_not_finished_or_of_another_recipe_is_refused(tiny: Path, data: Path, tmp_path: Path, run: Path) -> None:
    longer = tmp_path / "longer.yaml"
    longer.write_text(RECIPE.replace("max_steps: 3", "max_steps: 9"), encoding="utf-8")
    with pytest.raises(TrainingError, match="has 3 steps, this mixture and recipe 9"):
        bundle_starter(Role.REWRITER, run, data, recipe=longer, into=tmp_path / "bundle")
    with pytest.raises(TrainingError, match="no complete checkpoint"):
        bundle_starter(Role.REWRITER, tmp_path / "nothing", data, recipe=tiny, into=tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("role", [Role.REWRITER, Role.SYNTHESIZER, Role.JUDGE, Role.QUESTIONER])
def test_canaries_are_invented_the_same_each_time(role: Role) -> None:
    made = invented_examples(role, 12)
    assert made == invented_examples(role, 12)
    assert len({example.messages for example in made}) == len(made) == 12
    assert len({example.target for example in made}) > 1


def test_each_set_of_a_mixture_has_its_licence_told() -> None:
    assert {name for names in SETS.values() for name in names} == set(LICENCES)
    readme = (Path(mixtures.__file__).parent / "README.md").read_text(encoding="utf-8")
    told: dict[str, Any] = {}
    for line in readme.splitlines():
        if line.startswith("| ") and "licence" not in line:
            sets, _, licence = (part.strip() for part in line.strip("|").split("|"))
            told |= {name: licence for name in LICENCES if name in sets.replace(",", " ").split()}
    assert told == LICENCES
