"""The page's first section: a card for each adapter, and where a system without training wins."""

from __future__ import annotations

from collections.abc import Sequence

from lorag.pipeline.evaluation.report.decision import Comparator, Decision, DecisionCard, GuardLine, costs, not_measurable, sizes
from lorag.pipeline.evaluation.report.markup import Markup, el, join, number, signed
from lorag.pipeline.evaluation.report.records import Report
from lorag.pipeline.evaluation.report.sections import section

NOTES_SHOWN = 5
"""The lines on floors that are not folded: the adapters' come first, then those of the chain."""

_CHIPS = {Decision.PROMOTE: "good", Decision.HOLD: "held", Decision.REJECT: "bad"}


def decisions(report: Report) -> Markup:
    """The cards, then a line for each comparison that a floor wins."""
    shown, folded = report.floor_notes[:NOTES_SHOWN], report.floor_notes[NOTES_SHOWN:]
    more = el("details", el("summary", f"{len(folded)} more"), _notes(folded), class_="more") if folded else None
    return section(
        "decision",
        "Promote, hold or reject",
        el("div", (_card(card) for card in report.decisions), class_="decisions") if report.decisions else None,
        join(el("h3", "Where a system without training wins"), _notes(shown), more) if shown else None,
    )


def _notes(notes: Sequence[str]) -> Markup:
    return el("ul", (el("li", note) for note in notes), class_="floor-notes")


def _card(card: DecisionCard) -> Markup:
    first = card.comparators[0]
    chip = el("span", card.decision.value.capitalize(), class_=f"chip {_CHIPS[card.decision]}")
    return el(
        "article",
        el("h3", chip, el("span", card.role, class_="role"), el("small", card.version)),
        el("p", _lead(card, first), class_="verdict-line"),
        el("p", card.reason, class_="why") if card.reason else None,
        el(
            "dl",
            _row("Against", el("ul", (el("li", _comparator(each)) for each in card.comparators))),
            _row("Got worse", _guards(card)),
            _row("Not measurable", unknown) if (unknown := not_measurable(card)) else None,
            _row("Groups", f"{sizes(first)} of {card.data}"),
            _row("Looks", card.looks) if card.looks else None,
            _row("Cost", cost) if (cost := costs(card.cost)) else None,
        ),
        class_=f"card decision {card.decision.value}",
        aria_label=card.title,
    )


def _lead(card: DecisionCard, first: Comparator) -> Markup:
    kind = _kind(first)
    return join(
        el("span", signed(first.difference), class_=f"delta {kind}"),
        f" {card.metric} ({number(first.reference)} → {number(first.tuned)}) against {first.against}",
        ". It serves already" if card.serving else None,
    )


def _comparator(each: Comparator) -> Markup:
    return join(
        el("span", f"{each.verdict} than {each.against}", class_=_kind(each)),
        " ",
        el("small", signed(each.difference), " ", _interval(each.low, each.high, f"{100 * each.level:.4g}\N{NO-BREAK SPACE}% ")),
    )


def _kind(each: Comparator) -> str:
    return "better" if each.beaten else "worse" if each.is_worse else "unclear"


def _guards(card: DecisionCard) -> Markup:
    if not card.guards:
        return join("not known: no guard was measured")
    fallen = [each for each in card.guards if each.worse or each.lost]
    if not fallen:
        return join(f"nothing that is shown, of {len(card.guards)} guards")
    return el("ul", (el("li", _guard(each)) for each in fallen))


def _guard(each: GuardLine) -> Markup:
    return join(
        el("span", f"{each.metric} {signed(each.difference)}", class_="worse" if each.lost else "unclear"),
        " ",
        el(
            "small",
            _interval(each.low, each.high),
            f" against {each.against}, {'beyond' if each.lost else 'within'} the margin of {each.margin:g}",
        ),
    )


def _interval(low: float, high: float, level: str = "") -> Markup:
    """An interval that no line break divides."""
    return el("span", f"({level}{signed(low)} to {signed(high)})", class_="interval")


def _row(name: str, body: str) -> Markup:
    return join(el("dt", name), el("dd", body))
