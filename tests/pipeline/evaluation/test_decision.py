"""The card of an adapter: its text, its place and its marks on the page, and what would mislead."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from lorag.pipeline.errors import InputError
from lorag.pipeline.evaluation.report.decision import (
    Comparator,
    Cost,
    Decision,
    DecisionCard,
    GuardLine,
    costs,
    decision_json,
    decision_lines,
    decision_summary,
)
from lorag.pipeline.evaluation.report.page import render_page
from lorag.pipeline.evaluation.report.records import Report
from lorag.pipeline.evaluation.report.write import write_report

EVIL = "<script>alert('&\"x')</script>"


def comparator(against: str, low: float, beaten: bool = True) -> Comparator:
    return Comparator(against, 0.5, 0.625, 0.125, low, 0.25, 0.975, 60, 21, beaten)


FALLEN = GuardLine("citation precision", "the bare base", -0.137, -0.19, -0.08, 0.05, worse=True, lost=True)
WITHIN = GuardLine("words", "the bare base", 4.0, 1.0, 7.0, 20.0, worse=True, lost=False)
KEPT = GuardLine("citation recall", "the bare base", 0.02, -0.01, 0.05, 0.05, worse=False, lost=False)
CARD = DecisionCard(
    role="synthesizer",
    version="0004-9f8e7d6c",
    decision=Decision.PROMOTE,
    reason="",
    metric="F1",
    data="rows/test (human)",
    comparators=(comparator("the floor “best sentence”", 0.0625), comparator("the bare base", 0.09375)),
    guards=(KEPT,),
    look=2,
    looks="This is look 2 of this role.",
    cost=Cost(742.0, 240_123, 180, 16_800, 2_100, 0.42, 0.40),
)
HELD = replace(CARD, decision=Decision.HOLD, reason="citation precision falls", guards=(FALLEN, WITHIN, KEPT))
REJECTED = replace(
    CARD, role="judge", decision=Decision.REJECT, reason="not shown", comparators=(comparator("the floor “kNN”", -0.0625, False),)
)


def test_the_text_says_decision_comparator_interval_groups_guards_looks_and_cost() -> None:
    assert decision_lines(CARD) == (
        "PROMOTE synthesizer 0004-9f8e7d6c",
        "  F1 0.500 → 0.625: +0.125 (97.5 % +0.062 to +0.250) against the floor “best sentence”; 60 items in 21 groups of "
        "rows/test (human)",
        "  better than the bare base: +0.125 (97.5 % +0.094 to +0.250)",
        "  got worse: nothing that is shown, of 1 guards",
        "  looks: This is look 2 of this role.",
        "  cost: 0.42 s a request (the bare base 0.40 s), 93 prompt and 12 reply tokens each over 180 requests, trained in "
        "12 min 22 s on 240,123 tokens",
    )


def test_a_lost_guard_comes_with_its_margin_and_the_reason() -> None:
    lines = decision_lines(HELD)
    assert lines[0] == "HOLD synthesizer 0004-9f8e7d6c"
    (worse,) = [line for line in lines if line.startswith("  got worse: ")]
    assert worse == (
        "  got worse: citation precision -0.137 (-0.190 to -0.080) against the bare base, beyond the margin of 0.05; "
        "words +4.000 (+1.000 to +7.000) against the bare base, within the margin of 20"
    )
    assert lines[-1] == "  why: citation precision falls"


def test_a_comparator_that_is_not_beaten_says_so() -> None:
    assert " against the floor “kNN”, not shown to be better; 60 items" in decision_lines(REJECTED)[1]
    two = replace(REJECTED, comparators=(*REJECTED.comparators, comparator("the bare base", -0.01, False)))
    assert "  not shown to be better than the bare base: " in decision_lines(two)[2]


@pytest.mark.parametrize(
    ("high", "groups", "verdict"),
    [
        (-0.01, 8, "worse"),
        (-0.01, 7, "not shown to be better"),
        (-0.01, None, "not shown to be better"),
        (0.0, 8, "not shown to be better"),
    ],
)
def test_a_loss_that_is_shown_is_called_one(high: float, groups: int | None, verdict: str) -> None:
    lost = replace(comparator("the bare base", -0.25, False), difference=-0.125, high=high, groups=groups)
    assert f", {verdict}; " in decision_lines(replace(REJECTED, comparators=(lost,)))[1]
    assert (f"{verdict} than the bare base") in "".join(
        read(render_page(Report("t", (), decisions=(replace(REJECTED, comparators=(lost,)),)))).text
    )


def test_what_is_not_known_is_said_or_left_out() -> None:
    bare = replace(CARD, guards=(), looks="", cost=Cost(), comparators=(replace(CARD.comparators[0], groups=None),), serving=True)
    lines = decision_lines(bare)
    assert "60 items in an unknown number of groups" in lines[1]
    assert lines[2:] == ("  got worse: not known, since no guard was measured", "  it serves already")


@pytest.mark.parametrize(
    ("cost", "line"),
    [
        (Cost(), ""),
        (Cost(requests=144, latency=0.2), "0.20 s a request, 144 requests"),
        (Cost(trained_seconds=59.6), "trained in 1 min 00 s"),
    ],
)
def test_the_cost_has_what_is_known(cost: Cost, line: str) -> None:
    assert costs(cost) == line


def test_all_decisions_in_one_sentence() -> None:
    cards = (REJECTED, CARD, replace(CARD, role="rewriter"), replace(HELD, role="embedder"))
    assert decision_summary(cards) == "Promote synthesizer, rewriter; hold embedder; reject judge."
    assert decision_summary(()) == ""


def test_the_json_of_a_run_that_is_repeated_has_no_times() -> None:
    assert decision_json(CARD).keys() == {each for each in CARD.__dataclass_fields__ if each != "cost"}
    assert json.loads(json.dumps(decision_json(CARD)))["comparators"][0]["groups"] == 21


class Sections(HTMLParser):
    """The ids of sections and the text of the first one."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "section":
            self.ids.append(str(dict(attrs).get("id")))

    def handle_data(self, data: str) -> None:
        if len(self.ids) == 1:
            self.text.append(data)


def read(page: str) -> Sections:
    parser = Sections()
    parser.feed(page)
    return parser


def test_the_page_begins_with_the_cards_and_where_a_floor_wins() -> None:
    report = Report("t", (), decisions=(CARD, HELD, REJECTED), floor_notes=("A floor wins: judge.",), notes=("Other.",))
    found = read(render_page(report))
    assert found.ids[0] == "decision"
    text = "".join(found.text)
    for part in ("Promote", "Hold", "Reject", "against the floor “best sentence”", "beyond the margin of 0.05", "A floor wins"):
        assert part in text, part
    assert "Other." not in text
    assert text.index("Reject") < text.index("A floor wins")


@pytest.mark.parametrize(("count", "folded"), [(5, ""), (7, "2 more")])
def test_many_lines_on_floors_are_folded_and_none_is_lost(count: int, folded: str) -> None:
    notes = tuple(f"A floor wins: {number}." for number in range(count))
    text = "".join(read(render_page(Report("t", (), floor_notes=notes))).text)
    assert all(note in text for note in notes)
    assert (" more" in text) is bool(folded) and folded in text


def test_the_page_and_the_text_have_the_same_figures() -> None:
    text = "".join(read(render_page(Report("t", (), decisions=(HELD,)))).text).replace("\N{MINUS SIGN}", "-")
    for figure in ("+0.125", "0.500", "0.625", "+0.062", "-0.137", "-0.190", "0.42 s a request", "60 items in 21 groups"):
        assert figure in text, figure
        assert any(figure in line for line in decision_lines(HELD)), figure


def test_text_from_outside_is_escaped() -> None:
    evil = replace(
        HELD,
        version=EVIL,
        reason=EVIL,
        looks=EVIL,
        comparators=(replace(CARD.comparators[0], against=EVIL),),
        guards=(replace(FALLEN, metric=EVIL, against=EVIL),),
    )
    assert "<script>alert" not in render_page(Report("t", (), decisions=(evil,), floor_notes=(EVIL,)))


@pytest.mark.parametrize(
    ("card", "says"),
    [
        (replace(CARD, comparators=()), "it was compared with nothing"),
        (replace(CARD, comparators=(comparator("x", 0.5),)), "interval 0.5 to 0.25 is upside down"),
        (replace(CARD, guards=(replace(KEPT, low=1.0),)), "interval 1.0 to 0.05 is upside down"),
    ],
)
def test_a_card_that_would_mislead_is_refused(card: DecisionCard, says: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=says):
        write_report(Report("t", (), decisions=(card,)), tmp_path)
