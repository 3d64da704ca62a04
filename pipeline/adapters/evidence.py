"""Evidence: an adapter's measured effects, as typed claims. Knows no card, no registry and no model.

A claim names its metric, its data, its reference and its kind of test. Two claims with the same four are measurements of the
same thing; all others are independent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from lorag.pipeline.records import Role
from lorag.pipeline.storage.strict_json import OPTIONAL

LEADING_METRIC: Mapping[Role, str] = {
    Role.REWRITER: "ROUGE-1",
    Role.EMBEDDER: "nDCG@10",
    Role.SYNTHESIZER: "F1",
    Role.JUDGE: "mean task macro-F1",
}
"""The metric that decides a promotion. A role without one is never promoted. The judge's is the mean over its tasks of each
task's macro-F1: over the classes of all tasks pooled, perfect intents hide guesses elsewhere."""

NO_OPS: Mapping[Role, tuple[str, ...]] = {
    Role.REWRITER: ("question unchanged",),
    Role.EMBEDDER: (),
    Role.SYNTHESIZER: ("best sentence", "always refusing"),
    Role.JUDGE: ("most frequent label",),
}
"""The floors that do a role's task without doing anything. The embedder's is the frozen encoder, which is its bare base."""

MIN_GROUPS = 8
"""The fewest independent groups of items that decide anything. The smallest two-sided p of a sign-flip test on 8 is 2/2⁸ = .008,
below .05/4, the strictest level of Holm's correction over the four adapters; on 7 it is not."""


class DataOrigin(StrEnum):
    """Where rows come from: written by people, made from documents by a model, or users' feedback on answers."""

    HUMAN = "human"
    MADE = "made"
    FEEDBACK = "feedback"

    @classmethod
    def of(cls, rows: Iterable[DataOrigin]) -> DataOrigin:
        """The origin of rows together: made if any row is made, else feedback if any row is, else human."""
        found = set(rows)
        return next((origin for origin in (cls.MADE, cls.FEEDBACK) if origin in found), cls.HUMAN)


class EvidenceKind(StrEnum):
    """The items of a test. `HELD_OUT`: held-out ones of the adapter's own task. `SEALED`: those opened for promotion alone.
    `GENERAL`: a set of another domain, which shows losses. `TRANSFER`: held-out ones of public sets, which show what a further
    training changed."""

    HELD_OUT = "held-out"
    SEALED = "sealed"
    GENERAL = "general"
    TRANSFER = "transfer"


@dataclass(frozen=True, slots=True)
class EvidenceData:
    """The items of a test. `digest` is the SHA-256 over the files that hold them, empty if it is not known."""

    name: str
    digest: str
    origin: DataOrigin

    @property
    def identity(self) -> str:
        """What tells the items from others: the digest, or the name if there is none."""
        return self.digest or f"name {self.name}"

    def __str__(self) -> str:
        return f"{self.name} ({self.origin.value})"


@dataclass(frozen=True, slots=True)
class Against:
    """What an adapter was measured against: a version, by its weights' SHA-256, or the bare base, which has none. With `is_floor`
    it is a system without training, by its name."""

    version: str
    weights_digest: str
    is_floor: bool | None = field(default=None, metadata=OPTIONAL)

    @property
    def key(self) -> str:
        """What identifies it: two with one key are the same."""
        return f"floor {self.version}" if self.is_floor else self.weights_digest

    def __str__(self) -> str:
        if self.is_floor:
            return f"the floor “{self.version}”"
        return f"version {self.version}" if self.weights_digest else "the bare base"


BARE_BASE = Against("base", "")


def floor_reference(name: str) -> Against:
    """A floor as a reference of claims."""
    return Against(name, "", is_floor=True)


@dataclass(frozen=True, slots=True)
class Evidence:
    """A paired comparison on `n` items in `groups` independent groups (None: not known). `difference` is tuned − reference.

    `low` and `high` bound the interval of the difference at confidence `level`. `look` is the number of the look at the data, as
    the registry's ledger counts them (None: not counted).
    """

    metric: str
    data: EvidenceData
    against: Against
    kind: EvidenceKind
    reference: float
    tuned: float
    difference: float
    low: float
    high: float
    level: float
    n: int
    groups: int | None = field(default=None, metadata=OPTIONAL)
    look: int | None = field(default=None, metadata=OPTIONAL)

    @property
    def subject(self) -> tuple[str, str, str, EvidenceKind]:
        """The four fields that identify what is measured. Data without a digest is identified by its name."""
        return self.metric, self.data.identity, self.against.key, self.kind

    @property
    def has_enough_groups(self) -> bool:
        """Whether it is on the `MIN_GROUPS` groups that decide."""
        return self.groups is not None and self.groups >= MIN_GROUPS

    @property
    def shows_gain(self) -> bool:
        """Whether the interval lies above 0, on the groups that decide: a gain if more is better."""
        return self.has_enough_groups and self.low > 0

    @property
    def interval(self) -> str:
        """The interval as text: `+0.100 to +0.700`."""
        return f"{self.low:+.3f} to {self.high:+.3f}"

    @property
    def confidence(self) -> str:
        """The confidence level as text: `95 %`, `99.17 %`."""
        return f"{100 * self.level:.4g} %"


def with_claims(known: Sequence[Evidence], new: Iterable[Evidence]) -> tuple[Evidence, ...]:
    """`new` before `known`, the newest first; a claim replaces only an older one of the same subject."""
    latest = {each.subject: each for each in new}
    return (*latest.values(), *(each for each in known if each.subject not in latest))
