"""Training that continues from another adapter: which one, whether recipe and adapter agree, and what the training changed.

Keys of `lora` that the recipe does not set are taken from the parent; those that it sets must equal the parent's.
The learning rate is the recipe's `continued_rate`, if it has one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lorag.pipeline.adapters.card import CARD_FILE, Parent, read_card
from lorag.pipeline.adapters.evidence import Against, Evidence, EvidenceKind
from lorag.pipeline.adapters.inspection import AdapterFacts, inspect_weights
from lorag.pipeline.adapters.lora_settings import CONFIG_FILE
from lorag.pipeline.adapters.registry import Registry
from lorag.pipeline.adapters.starters import STARTER, bundled_starters
from lorag.pipeline.engine.bases import Base
from lorag.pipeline.engine.local import LocalEngine
from lorag.pipeline.errors import AdapterError, ConfigError, IdentityMismatch
from lorag.pipeline.records import Role
from lorag.training.recipe import GenerationRecipe, Recipe, changed
from lorag.training.sft import TrainedAdapter
from lorag.training.transfer.measuring import Task, compare


@dataclass(frozen=True, slots=True)
class StartAdapter:
    """The adapter that a run starts from: its folder, its name, and the facts of its files."""

    folder: Path
    name: str
    facts: AdapterFacts
    base_digest: str
    """Empty if the folder has no card."""


@dataclass(frozen=True, slots=True)
class Continuation:
    """The adapter that a run continues from, and how the change is measured.

    `tasks` are the items that both adapters are compared on; without any, nothing is measured.
    """

    start: StartAdapter
    tasks: tuple[Task, ...] = ()
    on_measured: Callable[[int, int], None] | None = None


def find_start(name: str, role: Role, registry: Registry) -> StartAdapter:
    """The adapter called `name`: `starter` (the bundled one), a folder, or a version or alias of the registry.

    Raises AdapterError if there is no such adapter of this role, or it is damaged.
    """
    folder = _folder(name, role, registry)
    facts = inspect_weights(folder)
    if not (folder / CARD_FILE).is_file():
        return StartAdapter(folder, folder.name, facts, "")
    card = read_card(folder)
    if card.role is not role:
        raise IdentityMismatch(f"{folder}: is a {card.role.value} adapter; a {role.value} begins with one of its own role")
    return StartAdapter(folder, f"{role.value} {card.version}".strip(), facts, card.identity.base_digest)


def _folder(name: str, role: Role, registry: Registry) -> Path:
    if role is Role.EMBEDDER:
        raise AdapterError("the embedder begins anew; --from is for the rewriter, the synthesizer and the judge")
    if name == STARTER:
        bundled = bundled_starters()
        if role not in bundled:
            known = ", ".join(each.value for each in bundled) or "none"
            raise AdapterError(f"no starter of the {role.value} is bundled (there is: {known}); train it without --from")
        return bundled[role]
    folder = Path(name)
    return folder if (folder / CONFIG_FILE).is_file() else registry.resolve(role, name).folder


def agreed(recipe: Recipe, start: StartAdapter) -> GenerationRecipe:
    """The recipe for continuing from `start`, with its LoRA shape if the recipe sets none, and with the rate for that.

    Raises ConfigError if the recipe sets another shape, or is the embedder's.
    """
    if not isinstance(recipe, GenerationRecipe):
        raise ConfigError(f"the {recipe.role} begins anew; going on from an adapter is for the generation roles")
    given = recipe.lora.model_fields_set if "lora" in recipe.model_fields_set else set[str]()
    facts = start.facts
    shape = {
        "rank": facts.rank,
        "alpha": int(facts.alpha) if facts.alpha.is_integer() else facts.alpha,
        "rslora": facts.rslora,
        "dora": facts.dora,
        "activated": bool(facts.invocation),
        "targets": tuple(sorted(facts.targets)),
    }
    for key in shape.keys() & given - {"targets"}:
        if getattr(recipe.lora, key) != shape[key]:
            raise ConfigError(
                f"recipe: lora.{key} is {_shown(getattr(recipe.lora, key))}, {start.name} has {_shown(shape[key])}; "
                "write that, leave the key out, or train without --from"
            )
    targets = recipe.lora.targets
    if "targets" in given and not isinstance(targets, str) and tuple(sorted(targets)) != shape["targets"]:
        raise ConfigError(
            f"recipe: lora.targets are {', '.join(targets)}, {start.name} has {', '.join(start.facts.targets)}; "
            "write those, leave the key out, or train without --from"
        )
    inherited = {key: value for key, value in shape.items() if key not in given}
    optimiser = recipe.optimiser
    return changed(recipe, **inherited, learning_rate=optimiser.continued_rate or optimiser.learning_rate)


def _shown(value: object) -> str:
    return f"{value:g}" if type(value) in (int, float) else str(value).lower()


def require_base(start: StartAdapter, base: Base) -> None:
    """Raises IdentityMismatch if `start` is known to be of another base."""
    if start.base_digest not in ("", base.digest):
        raise IdentityMismatch(
            f"{start.name} was trained on a base with digest {start.base_digest}, {base.id} has {base.digest}; "
            "use that base, or train without --from"
        )


def changes_since(continuation: Continuation, role: Role, engine: LocalEngine, trained: TrainedAdapter) -> Parent:
    """The differences in score to the adapter that the training started from, on items that are not of its data.

    `engine` runs their base; both adapters are unloaded afterwards.
    """
    start, changes = continuation.start, tuple[Evidence, ...]()
    if continuation.tasks:
        engine.load_adapter("before", start.folder)
        engine.load_adapter("after", trained.folder)
        against = Against(start.name, start.facts.weights_digest)
        changes = compare(
            engine,
            role,
            "before",
            "after",
            continuation.tasks,
            continuation.on_measured,
            against=against,
            kind=EvidenceKind.TRANSFER,
        )
        for name in ("before", "after"):
            engine.unload_adapter(name)
    return Parent(start.name, start.facts.weights_digest, changes)
