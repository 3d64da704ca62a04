"""Every key of lorag.yaml and of a recipe has an effect: the program reads it, found by types and not by names."""

from __future__ import annotations

from pathlib import Path

import pytest
from mypy.modulefinder import BuildSource
from pydantic import BaseModel

from lorag.pipeline.config import EmbedderSettings, Settings
from lorag.pipeline.records import Role
from lorag.training.recipe import FORMS, EmbeddingRecipe, JudgeRecipe
from lorag.training.recipe_parts import JudgeMix
from tests.attribute_reads import Reads, leaves, read_by

ROOT = Path(__file__).parents[1]
DEFINING = {"lorag.pipeline.config", "lorag.training.recipe"}
"""Modules that check and place settings, which has no effect by itself."""


@pytest.fixture(scope="module")
def reads() -> Reads:
    """Of all that is installed, but the modules that define settings."""
    return read_by(list(_sources()), [ROOT], [role.value for role in Role])


def _sources() -> list[BuildSource]:
    files = [*ROOT.glob("pipeline/**/*.py"), *ROOT.glob("training/**/*.py"), *ROOT.glob("services/**/*.py")]
    front = [path for path in ROOT.glob("lorag/**/*.py") if path.relative_to(ROOT / "lorag").parts[0] not in _ROOMS]
    found = [(".".join(("lorag", *path.relative_to(ROOT).with_suffix("").parts)), path) for path in files]
    found += [(".".join(path.relative_to(ROOT).with_suffix("").parts), path) for path in front]
    return [BuildSource(str(path), name.removesuffix(".__init__"), None) for name, path in found]


_ROOMS = ("pipeline", "training", "services")


CHOOSES = "role"
"""The key of a recipe that chooses its form, which reads it."""


def unread(record: type[BaseModel], reads: Reads, ignored: set[str]) -> list[str]:
    found = [key for key, classes in leaves(record) if not reads.has(classes, key.rpartition(".")[2], ignored)]
    return [key for key in found if key != CHOOSES]


def other_trainer(role: Role, reads: Reads) -> set[str]:
    """Modules that the trainer of this role does not run, and the other one does."""
    contrastive, sft = (reads.closure(f"lorag.training.{name}") for name in ("contrastive", "sft"))
    return sft - contrastive if role is Role.EMBEDDER else contrastive - sft


def test_every_setting_is_read(reads: Reads) -> None:
    assert len(list(leaves(Settings))) > 40
    assert unread(Settings, reads, DEFINING) == []


@pytest.mark.parametrize("role", FORMS)
def test_every_key_of_a_recipe_is_read_by_the_training_of_its_role(role: Role, reads: Reads) -> None:
    assert len(list(leaves(FORMS[role]))) > 20
    assert unread(FORMS[role], reads, DEFINING | other_trainer(role, reads)) == []


class ForgottenEmbedder(EmbedderSettings):
    forgotten: int = 0


class ForgottenSetting(Settings):
    embedder: ForgottenEmbedder = ForgottenEmbedder()


class ForgottenMix(JudgeMix):
    pack_tokens: int = 0  # read of another record


class ForgottenJudge(JudgeRecipe):
    data: ForgottenMix = ForgottenMix()


class ForgottenEmbedding(EmbeddingRecipe):
    precision: str = "nf4"  # read of the generation roles' recipes


@pytest.mark.parametrize(
    ("record", "role", "key"),
    [
        (ForgottenSetting, Role.JUDGE, "embedder.forgotten"),
        (ForgottenJudge, Role.JUDGE, "data.pack_tokens"),
        (ForgottenEmbedding, Role.EMBEDDER, "precision"),
    ],
)
def test_a_key_that_nothing_reads_is_found(record: type[BaseModel], role: Role, key: str, reads: Reads) -> None:
    others: set[str] = set() if issubclass(record, Settings) else other_trainer(role, reads)
    assert unread(record, reads, DEFINING | others) == [key]


PROGRAM = """
import logging
import warnings
from dataclasses import dataclass, replace

from pydantic import BaseModel

log = logging.getLogger("program")

class Part(BaseModel):
    renewed: int
    changed: int
    taken: int

    def model_copy(self, *, update: dict[str, int]) -> "Part": ...

@dataclass(frozen=True)
class Options:
    part: Part
    logged: int
    said: int
    shown: int
    checked: int
    asserted: int
    dropped: int
    stated: int
    read: int
    copied: int
    replaced: int
    carried: int
    computed: int
    idle: int
    dummy: int

    @property
    def twice(self) -> int:
        return 2 * self.computed

    @property
    def unused(self) -> int:
        return 3 * self.idle

@dataclass(frozen=True)
class Plan:
    replaced: int
    copied: int
    carried: int

@dataclass(frozen=True)
class Other:
    dummy: int

def use(options: Options, other: Other | None) -> int:
    log.info("about to use %d", options.logged)
    warnings.warn(f"{options.shown}")
    assert options.asserted > 0
    _ = options.dropped
    options.stated
    if options.checked < 0:
        raise ValueError("below 0")
    if other is None:
        raise ValueError(f"{options.said}")
    part = options.part.model_copy(update={"renewed": int(options.part.renewed), "taken": options.part.changed})
    plan = replace(Plan(0, options.copied, carried=int(options.carried)), replaced=options.replaced)
    return options.read + options.twice + plan.carried + (other.dummy if other else 0) + part.taken
"""


def test_a_copy_counts_as_read_only_if_the_copy_is_read() -> None:
    reads = read_by([BuildSource("program.py", "program", PROGRAM)])
    known = {"read": True, "copied": False, "replaced": False, "carried": True, "computed": True, "idle": False, "dummy": False}
    assert {name: reads.has(["program.Options"], name) for name in known} == known
    found = {name: reads.has(["program.Part"], name) for name in ("renewed", "changed", "taken")}
    assert found == {"renewed": False, "changed": True, "taken": True}


@pytest.mark.parametrize("name", ["logged", "said", "shown", "checked", "asserted", "dropped", "stated"])
def test_what_is_only_said_or_checked_or_comes_to_nothing_is_not_read(name: str) -> None:
    reads = read_by([BuildSource("program.py", "program", PROGRAM)])
    assert not reads.has(["program.Options"], name)
    assert reads.has(["program.Options"], "part")
