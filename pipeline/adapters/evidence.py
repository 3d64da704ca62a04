"""Evidence: what an adapter was measured to bring, as typed claims. Knows no card, no registry and no model.

A claim says by which metric, on which data, against what, and in which kind of test. Two claims that agree in these four are
measurements of the same thing; any other stands beside them.
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
    Role.JUDGE: "macro-F1",
}
"""The metric that decides a promotion. A role that is not here has none and is never promoted."""


class DataOrigin(StrEnum):
    """Where rows come from: written by people, made from documents by a model, or from what users said of answers."""

    HUMAN = "human"
    MADE = "made"
    FEEDBACK = "feedback"


class EvidenceKind(StrEnum):
    """What a test says: on held-out items of the adapter's own task, on a general set of another domain (what it lost there), or
    on held-out items of other people's sets (what a training changed there)."""

    HELD_OUT = "held-out"
    GENERAL = "general"
    TRANSFER = "transfer"


@dataclass(frozen=True, slots=True)
class EvidenceData:
    """The items of a test. `digest` is the SHA-256 over the files that hold them, empty if it is not known."""

    name: str
    digest: str
    origin: DataOrigin

    def __str__(self) -> str:
        return f"{self.name} ({self.origin.value})"


@dataclass(frozen=True, slots=True)
class Against:
    """What an adapter was measured against: a version, by its weights' SHA-256, or the bare base, which has none."""

    version: str
    weights_digest: str

    def __str__(self) -> str:
        return f"version {self.version}" if self.weights_digest else "the bare base"


BARE_BASE = Against("base", "")


@dataclass(frozen=True, slots=True)
class Evidence:
    """A paired comparison on `n` items in `groups` independent groups (None: not known). `difference` is tuned − reference.

    `low` and `high` bound the interval of the difference at confidence `level`.
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

    @property
    def subject(self) -> tuple[str, str, str, EvidenceKind]:
        """What is claimed about. Data without a digest is known by its name alone."""
        return self.metric, self.data.digest or f"name {self.data.name}", self.against.weights_digest, self.kind

    @property
    def interval(self) -> str:
        """As people read it: `+0.100 to +0.700`."""
        return f"{self.low:+.3f} to {self.high:+.3f}"

    @property
    def confidence(self) -> str:
        """As people read it: `95 %`."""
        return f"{100 * self.level:g} %"


def with_claims(known: Sequence[Evidence], new: Iterable[Evidence]) -> tuple[Evidence, ...]:
    """`new` before `known`, the newest first; a claim of the same subject replaces its predecessor and no other."""
    latest = {each.subject: each for each in new}
    return (*latest.values(), *(each for each in known if each.subject not in latest))
