"""The card that a measured adapter begins with: promote, hold or reject, and all that a reader needs to agree or not.

One record is shown everywhere: `decision_lines` is its text for a terminal, `cards` draws it on the page. It decides nothing: the
gate of promotion does, and the record says what that saw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from lorag.pipeline.evaluation.groups import MIN_GROUPS
from lorag.pipeline.evaluation.report.markup import duration


class Decision(StrEnum):
    """What the evidence allows. `HOLD`: something got worse, or the evidence does not decide. `REJECT`: it is not shown to be
    better than all that it must beat."""

    PROMOTE = "promote"
    HOLD = "hold"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class Comparator:
    """The leading metric against one reference: what serves, the bare base or a floor. `difference` is tuned − reference, with
    its interval at `level`; `beaten` says whether the interval shows the adapter to be better."""

    against: str
    reference: float
    tuned: float
    difference: float
    low: float
    high: float
    level: float
    n: int
    groups: int | None
    beaten: bool

    @property
    def is_worse(self) -> bool:
        """Whether the interval shows a loss, on the groups that decide."""
        return self.high < 0 and self.groups is not None and self.groups >= MIN_GROUPS

    @property
    def verdict(self) -> str:
        return "better" if self.beaten else "worse" if self.is_worse else "not shown to be better"


@dataclass(frozen=True, slots=True)
class GuardLine:
    """A metric that must not get worse by more than `margin`. `worse`: the interval shows a loss; `lost`: beyond the margin.

    One that `must_rise` must be shown to be above −`margin`. On fewer groups than decide it has no verdict.
    """

    metric: str
    against: str
    difference: float
    low: float
    high: float
    margin: float
    worse: bool
    lost: bool
    groups: int | None = None
    must_rise: bool = False

    @property
    def measurable(self) -> bool:
        """Whether enough groups have a value to tell a loss from noise. Of an unknown number, nothing is said."""
        return self.groups is None or self.groups >= MIN_GROUPS


@dataclass(frozen=True, slots=True)
class Cost:
    """What the adapter took: training, and its requests in the evaluation. `latency` is seconds a request in batches, beside the
    bare base's on the same stage. None: not known."""

    trained_seconds: float | None = None
    trained_tokens: int | None = None
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    latency: float | None = None
    base_latency: float | None = None


@dataclass(frozen=True, slots=True)
class DecisionCard:
    """One adapter's card. `comparators` begin with the one that is hardest to beat, `guards` with those that are lost.

    `unmeasured` names the guards without any comparison. `reason` is the gate's own line, empty if it would promote. `serving`:
    the version serves already. `look` counts the looks at the test set so far, with this one (None: not counted); `looks` is the
    gate's line on them.
    """

    role: str
    version: str
    decision: Decision
    reason: str
    metric: str
    data: str
    comparators: tuple[Comparator, ...]
    guards: tuple[GuardLine, ...] = ()
    unmeasured: tuple[str, ...] = ()
    serving: bool = False
    look: int | None = None
    looks: str = ""
    cost: Cost = field(default_factory=Cost)

    @property
    def title(self) -> str:
        return f"{self.decision.value.capitalize()} {self.role} {self.version}"


def decision_lines(card: DecisionCard) -> tuple[str, ...]:
    """The card as lines of text."""
    first, *others = card.comparators
    lines = [
        f"{card.decision.value.upper()} {card.role} {card.version}",
        f"  {card.metric} {first.reference:.3f} → {first.tuned:.3f}: {compared(first)}; {sizes(first)} of {card.data}",
        *(f"  {each.verdict} than {each.against}: {span(each)}" for each in others),
        f"  got worse: {worse(card)}",
        f"  not measurable: {unknown}" if (unknown := not_measurable(card)) else "",
        f"  looks: {card.looks}" if card.looks else "",
        f"  cost: {cost}" if (cost := costs(card.cost)) else "",
        "  it serves already" if card.serving else "",
        f"  why: {card.reason}" if card.reason else "",
    ]
    return tuple(line for line in lines if line)


def decision_json(card: DecisionCard) -> dict[str, Any]:
    """The card without its cost, which differs in each run."""
    return {name: value for name, value in asdict(card).items() if name != "cost"}


def compared(each: Comparator) -> str:
    """The difference from one reference: `+0.091 (95 % +0.041 to +0.140) against the bare base`."""
    return f"{span(each)} against {each.against}{'' if each.beaten else f', {each.verdict}'}"


def span(each: Comparator) -> str:
    return f"{each.difference:+.3f} ({100 * each.level:.4g} % {each.low:+.3f} to {each.high:+.3f})"


def sizes(each: Comparator) -> str:
    groups = "an unknown number of" if each.groups is None else str(each.groups)
    return f"{each.n} items in {groups} groups"


def worse(card: DecisionCard) -> str:
    """The guards that fell, first those that hold the adapter."""
    if not card.guards:
        return "not known, since no guard was measured"
    fallen = [each for each in card.guards if each.worse or each.lost]
    if not fallen:
        return f"nothing that is shown, of {len(card.guards)} guards"
    return "; ".join(guard_text(each) for each in fallen)


def not_measurable(card: DecisionCard) -> str:
    """The guards that have no verdict, with their groups; empty if there is none."""
    few = [f"{each.metric} against {each.against} ({each.groups} groups)" for each in card.guards if not each.measurable]
    named = [*few, *(f"{name} (no two groups of items)" for name in card.unmeasured)]
    return f"{', '.join(named)}; at least {MIN_GROUPS} groups decide" if named else ""


def guard_text(each: GuardLine) -> str:
    verdict = ("not shown to rise beyond" if each.must_rise else "beyond") if each.lost else "within"
    interval = f"{each.low:+.3f} to {each.high:+.3f}"
    return f"{each.metric} {each.difference:+.3f} ({interval}) against {each.against}, {verdict} the margin of {each.margin:g}"


def costs(cost: Cost) -> str:
    """What it took, in one line; empty if nothing is known."""
    parts = []
    if cost.latency is not None:
        beside = f" (the bare base {cost.base_latency:.2f} s)" if cost.base_latency is not None else ""
        parts.append(f"{cost.latency:.2f} s a request{beside}")
    if cost.requests and cost.completion_tokens:
        prompt, reply = cost.prompt_tokens / cost.requests, cost.completion_tokens / cost.requests
        parts.append(f"{prompt:.0f} prompt and {reply:.0f} reply tokens each over {cost.requests} requests")
    elif cost.requests:
        parts.append(f"{cost.requests} requests")
    if cost.trained_seconds is not None:
        tokens = f" on {cost.trained_tokens:,} tokens" if cost.trained_tokens else ""
        parts.append(f"trained in {duration(cost.trained_seconds)}{tokens}")
    return ", ".join(parts)


def decision_summary(cards: Sequence[DecisionCard]) -> str:
    """All decisions in one sentence; empty without cards."""
    named = {decision: [card.role for card in cards if card.decision is decision] for decision in Decision}
    said = "; ".join(f"{decision.value} {', '.join(roles)}" for decision, roles in named.items() if roles)
    return f"{said[:1].upper()}{said[1:]}." if said else ""
