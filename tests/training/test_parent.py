"""Training that goes on from another adapter: its weights are the start, the card names it, and what does not fit is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

import lorag.pipeline.adapters.starters
from lorag.pipeline.adapters.canaries import CANARY_FILE, canaries_json
from lorag.pipeline.adapters.card import AdapterCard, card_json
from lorag.pipeline.adapters.proof import CanarySample, record_canaries
from lorag.pipeline.adapters.registry import Registry
from lorag.pipeline.contracts import rewrite
from lorag.pipeline.engine.bases import resolve_base
from lorag.pipeline.engine.local import LocalEngine
from lorag.pipeline.engine.weights import Precision, load_weights
from lorag.pipeline.errors import AdapterError, ConfigError, IdentityMismatch, LoragError, TrainingError
from lorag.pipeline.records import Role, Speaker, Turn
from lorag.pipeline.storage.digests import file_digest
from lorag.training.parent import Continuation, agreed, find_start
from lorag.training.passage_search import plain_retrieval
from lorag.training.recipe import Recipe, parse_recipe
from lorag.training.run import train_role
from lorag.training.transfer.measuring import tasks

WEIGHTS = "adapter_model.safetensors"
TARGETS = ["down_proj", "q_proj", "v_proj"]
HISTORY = (Turn(Speaker.USER, "Where is the key?"), Turn(Speaker.ASSISTANT, "Here."))
THINGS = {"train": ("key", "bell", "ferry", "quay"), "dev": ("porter", "room")}


@pytest.fixture
def parent(tiny_base: Path, tiny_adapter: Any, tiny_card: Callable[..., AdapterCard]) -> Path:
    """A rewriter of rank 4 for the tiny base, as a published folder."""
    folder, base = tiny_adapter(tiny_base, 3, Role.REWRITER), resolve_base(str(tiny_base))
    engine = LocalEngine(load_weights(base, precision=Precision.FP32, device="cpu"))
    engine.load_adapter("x", folder)
    samples = [CanarySample(rewrite.messages(HISTORY, "And at night?"), "Where is the key at night?")]
    (folder / CANARY_FILE).write_text(canaries_json(record_canaries(engine, "x", samples)))
    (folder / "card.json").write_text(card_json(tiny_card(folder, base, Role.REWRITER)))
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for split, things in THINGS.items():
        (tmp_path / "data" / split).mkdir(parents=True)
        rows = [
            {"id": f"{split}-{thing}", "history": [f"User: Where is the {thing}?", "Assistant: Here."]}
            | {"question": "And at night?", "rewrite": f"Where is the {thing} at night?"}
            for thing in things
        ]
        (tmp_path / "data" / split / "rewriter.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path / "data"


def recipe(lora: dict[str, Any] | None = None, **optimiser: Any) -> Recipe:
    steps = {"learning_rate": 1e-2, "warmup_share": 0.0, "batch_size": 2, "max_steps": 4, "checkpoint_every": 1, **optimiser}
    given = {"role": "rewriter", "precision": "fp32", "optimiser": steps}
    return parse_recipe(given if lora is None else {**given, "lora": lora})


@pytest.fixture
def train(data: Path, tiny_base: Path, tmp_path: Path) -> Callable[..., AdapterCard]:
    registry = Registry(tmp_path / "adapters")

    def run(start: str | None, how: Recipe | None = None, **options: Any) -> AdapterCard:
        chosen = tuple(options.pop("tasks", ()))
        continuation = None if start is None else Continuation(find_start(start, Role.REWRITER, registry), chosen)
        version = train_role(
            Role.REWRITER,
            data=data,
            recipe=how or recipe(),
            base=options.pop("base", str(tiny_base)),
            embedder="none",
            registry=registry,
            run_folder=tmp_path / "run",
            retrieval=plain_retrieval("none", 2),
            intents={},
            continuation=continuation,
            **options,
        )
        return registry.show(Role.REWRITER, version.id)

    return run


def test_it_begins_with_the_weights_and_takes_the_shape(train: Any, parent: Path, tmp_path: Path) -> None:
    """A step so small that nothing moves: what comes out is what went in."""
    card = train(str(parent), recipe(learning_rate=1e-9, max_steps=1))
    before, after = load_file(parent / WEIGHTS), load_file(tmp_path / "run" / "adapter" / WEIGHTS)
    assert before.keys() == after.keys()
    assert all((after[name].float() - before[name].float()).abs().max() < 2e-3 for name in before)  # half precision
    assert (card.lora.rank, card.lora.alpha, card.lora.targets) == (4, 8, tuple(TARGETS))
    assert card.parent is not None and card.parent.changes == ()
    assert (card.parent.version, card.parent.weights_digest) == ("rewriter", file_digest(parent / WEIGHTS))


def test_what_was_gained_and_lost_stands_on_the_card(train: Any, parent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoModelForCausalLM

    loads: list[str] = []
    load = AutoModelForCausalLM.from_pretrained

    def counted(location: str, **options: Any) -> Any:
        loads.append(location)
        return load(location, **options)

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", counted)
    card = train(str(parent), tasks=tasks(Role.REWRITER, 6))
    assert len(loads) == 1  # what trained is measured and published
    changes = card.parent.changes
    assert [(each.metric, each.n) for each in changes][:2] == [("ROUGE-1", 6), ("rewrite EM", 6)]
    assert {each.data.name for each in changes} == {"invented conversations"}
    for each in changes:
        assert each.difference == pytest.approx(each.tuned - each.reference)
        assert each.low <= each.difference <= each.high


def test_an_interrupted_run_goes_on_with_the_same_parent_only(train: Any, parent: Path, tmp_path: Path) -> None:
    whole = train(str(parent)).identity.weights_digest

    def stop(at: Any) -> None:
        if at.step == 3:
            raise KeyboardInterrupt

    for path in (tmp_path / "run").glob("checkpoint-*"):
        path.rename(tmp_path / path.name)
    with pytest.raises(KeyboardInterrupt):
        train(str(parent), on_progress=stop)
    with pytest.raises(TrainingError, match="belongs to a run with other settings or data"):
        train(None, recipe({"rank": 4, "alpha": 8, "targets": TARGETS}), resume=True)
    seen: list[int] = []
    assert train(str(parent), resume=True, on_progress=lambda at: seen.append(at.step)).identity.weights_digest == whole
    assert seen[-1] == 4 and len(seen) < 4


def test_a_run_of_its_own_has_no_parent(train: Any) -> None:
    assert train(None, recipe({"rank": 4, "alpha": 8, "targets": TARGETS})).parent is None


def test_the_bundled_starter_and_a_version_can_be_named(
    train: Any, parent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lorag.pipeline.adapters.starters, "FOLDER", tmp_path / "bundled")
    with pytest.raises(AdapterError, match=r"no starter of the rewriter is bundled \(there is: none\)"):
        train("starter")
    (tmp_path / "bundled").mkdir()
    parent.rename(tmp_path / "bundled" / "rewriter")
    first = train("starter")
    (tmp_path / "run").rename(tmp_path / "first-run")
    second = train("candidate")
    assert (second.parent.version, second.parent.weights_digest) == (f"rewriter {first.version}", first.identity.weights_digest)


@pytest.mark.parametrize(
    ("lora", "words"),
    [
        ({"rank": 8}, "lora.rank is 8, rewriter has 4"),
        ({"dora": True}, "lora.dora is true, rewriter has false"),
        ({"alpha": 32}, "lora.alpha is 32, rewriter has 8"),
        ({"targets": ["q_proj"]}, "lora.targets are q_proj, rewriter has down_proj, q_proj, v_proj"),
    ],
)
def test_a_recipe_that_says_something_else_is_refused(parent: Path, lora: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        agreed(recipe(lora), find_start(str(parent), Role.REWRITER, Registry(parent)))


def test_what_the_recipe_says_in_the_same_words_is_taken(parent: Path) -> None:
    start = find_start(str(parent), Role.REWRITER, Registry(parent))
    taken = agreed(recipe({"rank": 4, "dropout": 0.1}), start).lora
    assert (taken.rank, taken.alpha, taken.targets, taken.dropout) == (4, 8, tuple(TARGETS), 0.1)


@pytest.mark.parametrize(("continued", "rate"), [(3e-4, 3e-4), (0.0, 2e-3)])
def test_a_run_that_goes_on_takes_the_rate_for_that(parent: Path, continued: float, rate: float) -> None:
    start = find_start(str(parent), Role.REWRITER, Registry(parent))
    given = recipe({"rank": 4}, learning_rate=2e-3, continued_rate=continued)
    assert agreed(given, start).optimiser.learning_rate == rate
    assert given.optimiser.learning_rate == 2e-3


def test_all_linear_is_compared_when_the_model_is_there(train: Any, parent: Path) -> None:
    with pytest.raises(TrainingError, match=r"has target_modules \['down_proj', 'q_proj', 'v_proj'\], this recipe asks for"):
        train(str(parent), recipe({"targets": "all-linear"}))


def _another_base(train: Any, parent: Path) -> None:
    config = json.loads((parent / "card.json").read_text())
    config["identity"]["base_digest"] = "0" * 16
    (parent / "card.json").write_text(json.dumps(config))
    train(str(parent))


def _another_role(train: Any, parent: Path) -> None:
    config = json.loads((parent / "card.json").read_text())
    config["role"] = "judge"
    (parent / "card.json").write_text(json.dumps(config))
    train(str(parent))


def _damaged(train: Any, parent: Path) -> None:
    (parent / WEIGHTS).write_bytes((parent / WEIGHTS).read_bytes()[:-8])
    train(str(parent))


def _nowhere(train: Any, parent: Path) -> None:
    train("0001-00000000")


@pytest.mark.parametrize(
    ("ask", "error", "words"),
    [
        (_another_base, IdentityMismatch, "was trained on a base with digest 0000"),
        (_another_role, IdentityMismatch, "is a judge adapter; a rewriter begins with one of its own role"),
        (_damaged, AdapterError, "is truncated"),
        (_nowhere, AdapterError, "no version 0001-00000000"),
    ],
)
def test_a_parent_that_does_not_fit_is_refused(
    train: Any, parent: Path, tmp_path: Path, ask: Callable[..., None], error: type[LoragError], words: str
) -> None:
    with pytest.raises(error, match=words):
        ask(train, parent)
    assert not (tmp_path / "adapters").exists()


def test_an_embedder_begins_anew(tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match="the embedder begins anew"):
        find_start("starter", Role.EMBEDDER, Registry(tmp_path))


def test_the_base_of_a_folder_without_a_card_is_not_known(parent: Path) -> None:
    (parent / "card.json").unlink()
    start = find_start(str(parent), Role.REWRITER, Registry(parent))
    assert (start.name, start.base_digest) == (parent.name, "")
