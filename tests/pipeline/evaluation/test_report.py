"""The report: its JSON, the soundness of its HTML, and figures drawn where they belong."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from lorag.pipeline.errors import InputError
from lorag.pipeline.evaluation.error_analysis import Loss
from lorag.pipeline.evaluation.judgments import Judged, ReliabilityBin
from lorag.pipeline.evaluation.pricing import Prices
from lorag.pipeline.evaluation.refusal_scores import RefusalRow, RefusalScores
from lorag.pipeline.evaluation.report import calibration
from lorag.pipeline.evaluation.report.charts import (
    difference_extent,
    dot_plot,
    forest_axis,
    forest_strip,
    loss_chart,
    reliability_chart,
    waterfall_chart,
)
from lorag.pipeline.evaluation.report.effects import probability
from lorag.pipeline.evaluation.report.markup import Markup, duration, el, number, signed
from lorag.pipeline.evaluation.report.page import render_page
from lorag.pipeline.evaluation.report.read import read_run
from lorag.pipeline.evaluation.report.records import (
    Ablation,
    AblationRow,
    Calibration,
    Cell,
    Comparison,
    EffectRow,
    Floor,
    FloorComparison,
    ItemTable,
    LabelTable,
    LossCurve,
    LossTable,
    OutcomeCount,
    PricedAnswers,
    Provenance,
    Report,
    Results,
    UsageRow,
)
from lorag.pipeline.evaluation.report.sections import distinct, verdict_kind
from lorag.pipeline.evaluation.report.views import ChainView, CitationView, HitView, QuestionView, Showcase, chain_view
from lorag.pipeline.evaluation.report.write import write_report
from lorag.pipeline.evaluation.risk_coverage import risk_coverage
from lorag.pipeline.evaluation.scores import ItemScores
from lorag.pipeline.records import (
    Answer,
    Citation,
    Hit,
    Outcome,
    Passage,
    Response,
    Rewrite,
    Speaker,
    StageRecord,
    Trace,
    Turn,
    Verdict,
)

EVIL = "<script>alert('&\"x')</script>"
LINE = Comparison("rewriter", "ROUGE-1", 0.5, 0.75, 0.25, 0.1, 0.4, 20, groups=9, level=0.9875)


def chain(lost_at: Loss | None = Loss.RIGHT, text: str = "forty bar") -> ChainView:
    return ChainView(
        rewrite=f"rewritten {EVIL}",
        answer=text,
        refused=False,
        outcome=Outcome.OK,
        hits=(HitView("p1", EVIL, "long " * 200, 0.5, True),),
        citations=(CitationView(1, "p1", f"a{EVIL}.md", f"quoted {EVIL}", True),),
        verdicts=(Verdict("support", "yes", 0.9, MappingProxyType({"yes": 0.9, "no": 0.1})),),
        scores={"F1": 1.0},
        lost_at=lost_at,
        seconds=1.5,
    )


def question(name: str, base: Loss | None, tuned: Loss | None, worst: int = 0) -> QuestionView:
    turns = (Turn(Speaker.USER, EVIL),)
    return QuestionView(name, f"How much {EVIL}?", (EVIL,), chain(base), chain(tuned), turns, f"gold {EVIL}", worst=worst)


def effect(metric: str, name: str, value: float, *, shown: bool = True, interaction: bool = False) -> EffectRow:
    fields = {"n": 20, "groups": 9, "p": 0.0004, "adjusted": 0.012 if shown else 0.3, "standardised": 0.5, "detectable": 0.08}
    return EffectRow(
        metric,
        name,
        value,
        value - 0.1,
        value + 0.1,
        **fields,
        needed=1234,
        rose=7,
        fell=2,
        shown=shown,
        interaction=interaction,
        level=0.9875,
        least_p=2 / 2**9,
        power=0.62,
    )


def scores(name: str, *f1: float) -> ItemTable:
    rows = (ItemScores(f"q{at}", f"d{at}", Outcome.OK, {"F1": value}) for at, value in enumerate(f1))
    return ItemTable("answers", (name,), tuple(rows))


CELLS = {"ROUGE-1": Cell(0.5, 0.4, 0.6, 20), "F1": Cell(0.2, 0.1, 0.3, 20)}
RUNS = Ablation(
    ("ROUGE-1", "F1"),
    (
        AblationRow("base chain", CELLS),
        AblationRow("+ rewriter", CELLS, ("rewriter",)),
        AblationRow("+ synthesizer", CELLS, ("synthesizer",)),
        AblationRow("all adapters", CELLS, ("rewriter", "synthesizer")),
    ),
    {"ROUGE-1": ("rewriter",), "F1": ("rewriter", "synthesizer")},
)


FULL = Report(
    title=f"Report {EVIL}",
    comparisons=(LINE, Comparison("chain", "wrong refusals", 0.3, 0.2, -0.1, -0.2, 0.05, 20, groups=9)),
    ablation=Ablation(
        ("ROUGE-1", "F1"),
        (
            AblationRow("base chain", {"ROUGE-1": Cell(0.5, 0.4, 0.6, 20), "F1": Cell(0.2, None, None, 1)}),
            AblationRow(f"+ {EVIL}", {"ROUGE-1": Cell(0.75, 0.7, 0.8, 20)}),
        ),
    ),
    floors=(Floor("ROUGE-1", f"raw {EVIL}", 0.45, 0.4, 0.5, 20, 10),),
    against_floors=(
        FloorComparison("rewriter", "ROUGE-1", f"raw {EVIL}", 0.45, 0.75, 0.3, 0.1, 0.5, 20, 10, True),
        FloorComparison("chain", "F1", f"sentence {EVIL}", 0.25, 0.2, -0.05, -0.2, 0.1, 20, 10, False),
    ),
    floor_systems=Ablation(("ROUGE-1",), (AblationRow(f"raw {EVIL}", {"ROUGE-1": Cell(0.45, 0.4, 0.5, 20, 10)}),)),
    without_floor={"wrong refusals": f"never refusing {EVIL}"},
    showcases=(Showcase("Shown?", chain()),),
    questions=(
        question("a", Loss.RETRIEVAL, Loss.RIGHT),
        question("b", Loss.RIGHT, Loss.REFUSED),
        question("c", Loss.RIGHT, Loss.RIGHT),
        question("d", Loss.UNUSED, Loss.UNUSED, worst=1),
        question("e", None, Loss.RIGHT),
    ),
    curves=(LossCurve(f"run {EVIL}", ((1, 2.0), (11, 0.5))), LossCurve("not run", ())),
    outcomes=(OutcomeCount("base chain", "synthesizer", 18, 1, 1), OutcomeCount("base chain", "judge", 20, 0, 0)),
    notes=(f"note {EVIL}",),
    provenance=Provenance(
        "today", {"base": {"model": EVIL}, "k": 5}, {"base": "abc"}, {"torch": "2"}, {"data": 7}, {"cpu": "x"}, {"train": 65.0}
    ),
    lower_is_better=("wrong refusals",),
    summary=f"summary {EVIL}",
    runs=RUNS,
    effects=(
        effect("ROUGE-1", "rewriter", 0.25),
        effect("F1", f"a{EVIL}", 0.25, interaction=True),
        effect("F1", "synthesizer", 0.05, shown=False),
        effect("wrong refusals", "synthesizer", 0.25),
    ),
    losses=(
        LossTable(
            "answered questions",
            "right",
            {Loss.REFUSED.value: 1, Loss.UNUSED.value: 1, Loss.RIGHT.value: 2},
            {Loss.REFUSED.value: 0, Loss.UNUSED.value: 1, Loss.RIGHT.value: 3},
        ),
    ),
    refusals=(
        RefusalScores("base chain", (RefusalRow("gold shown", 3, 1, 1), RefusalRow("gold not shown", 2, 2, 0)), 2 / 3, 1.0, 0.8),
        RefusalScores(f"{EVIL}", (RefusalRow("gold shown", 3, 0, 1), RefusalRow("gold not shown", 2, 0, 0)), None, 0.0, 0.0),
    ),
    priced=(
        PricedAnswers("base chain", 11, 12, 13, Prices(1, 0, -2), Cell(-0.417, -0.6, -0.2, 36, 9)),
        PricedAnswers("one group", 1, 0, 0, Prices(1, 0, -2), Cell(1.0, None, None, 1)),
    ),
    risks=(risk_coverage(f"all {EVIL}", "a score", [0.9, 0.8, 0.8, 0.5], [False, True, False, True], 4),),
    calibration=(
        Calibration("base chain", f"support {EVIL}", 9, 8, 0.125, 0.5, 0.4, (ReliabilityBin(0.4, 0.5, 5, 0.5, 0.25),)),
        Calibration("all adapters", f"support {EVIL}", 9, 8, 0.1, 0.3, 0.4, (ReliabilityBin(0.4, 0.5, 5, 0.5, 0.25),)),
    ),
    usage=(UsageRow("synthesize", "base", 4, 2_000, 50, 0.5), UsageRow("judge", "judge-1", 3, 0, 0, None)),
    results=Results(
        (scores("base chain", 0.0, 0.5), scores("all adapters", 1.0, 0.5)),
        (LabelTable(("base chain", "all adapters"), (Judged("j", "a", "a", {"a": 0.75, "b": 0.25}, group="d"),)),),
    ),
)


class Page(HTMLParser):
    """Checks that elements nest, and gathers text, attributes and ids."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in {"meta", "input"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    def values(self, tag: str, name: str) -> list[str]:
        return [value for tag_, name_, value in self.attributes if (tag_, name_) == (tag, name)]

    def count(self, text: str) -> int:
        return sum(text in each for _, each in self.texts)


def render(report: Report, folder: Path) -> Page:
    write_report(report, folder)
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def test_the_json_has_the_comparisons_and_all_else_as_plain_values(tmp_path: Path) -> None:
    write_report(FULL, tmp_path / "new" / "folder")
    found = json.loads((tmp_path / "new" / "folder" / "report.json").read_text(encoding="utf-8"))
    assert found["comparisons"][0] == {
        "role": "rewriter",
        "metric": "ROUGE-1",
        "base": 0.5,
        "tuned": 0.75,
        "difference": 0.25,
        "low": 0.1,
        "high": 0.4,
        "n": 20,
        "starter": None,
        "groups": 9,
        "level": 0.9875,
    }
    assert found["ablation"]["rows"][0]["cells"]["F1"] == {"value": 0.2, "low": None, "high": None, "n": 1, "groups": 0}
    assert found["questions"][1]["tuned"]["lost_at"] == "wrong refusal"
    assert found["questions"][0]["tuned"]["verdicts"][0]["probabilities"] == {"yes": 0.9, "no": 0.1}
    assert found["questions"][0]["history"] == [{"speaker": "user", "text": EVIL}]
    assert found["curves"][0]["points"] == [[1, 2.0], [11, 0.5]]
    assert sorted(each.name for each in (tmp_path / "new" / "folder").iterdir()) == ["report.html", "report.json"]


def test_whatever_a_text_holds_stays_text(tmp_path: Path) -> None:
    page = render(FULL, tmp_path)
    scripts = [text for tag, text in page.texts if tag == "script"]
    assert len(scripts) == 1 and "alert" not in scripts[0]
    # title twice, summary, 5 questions …: each comes back as it was put in
    assert page.count(f"Report {EVIL}") == 2
    assert page.count(f"How much {EVIL}?") == 5
    assert page.count(f"quoted {EVIL}") == 11
    assert page.count(f"note {EVIL}") == 1


def test_the_page_needs_nothing_from_outside(tmp_path: Path) -> None:
    page = render(FULL, tmp_path)
    assert not page.values("script", "src") and not [tag for tag, *_ in page.attributes if tag in {"link", "img", "iframe"}]
    assert all(target.startswith("#") for target in page.values("a", "href"))
    styles = "".join(text for tag, text in page.texts if tag == "style")
    assert "url(" not in styles and "@import" not in styles and "prefers-color-scheme: dark" in styles
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"https?://", text)


def test_every_drawing_is_said_in_words_and_every_link_has_its_target(tmp_path: Path) -> None:
    page = render(FULL, tmp_path)
    drawings = [tag for tag, name, _ in page.attributes if (tag, name) == ("svg", "role")]
    # Two strips of the floors, two of the headline and four of the effects, with their axes; waterfalls, dot plots,
    # risk and coverage, reliability by task and system, a loss curve. The combinations are spans.
    assert len(drawings) == len(page.values("svg", "aria-label")) == 2 * (1 + 2) + (3 + 4) + 2 + 2 + 1 + 2 + 1
    assert page.values("span", "aria-label") == ["base chain", "+ rewriter", "+ synthesizer", "all adapters"]
    targets = set(page.values("section", "id"))
    assert {link.removeprefix("#") for link in page.values("a", "href")} == targets
    names = (
        "floors headline effects losses reader answers ablation calibration questions training outcomes usage notes provenance"
    )
    assert targets == set(names.split())


def test_parts_that_are_not_there_are_left_out(tmp_path: Path) -> None:
    page = render(Report("Small", (LINE,)), tmp_path)
    assert page.values("section", "id") == ["headline", "provenance"]
    assert not [text for tag, text in page.texts if tag == "script"]


def test_questions_carry_the_kind_that_the_filter_asks_for(tmp_path: Path) -> None:
    page = render(FULL, tmp_path)
    assert page.values("details", "data-kind") == ["gained", "lost", "both", "neither"]
    assert page.values("option", "value") == ["", "worst", "gained", "lost", "both", "neither", "loss:refused", "loss:unused"]
    assert page.values("details", "data-loss") == ["right", "refused", "right", "unused", "right"]
    assert page.values("details", "data-worst") == ["1"]
    assert page.count("gold at 1") == 10


def test_refusals_prices_and_risk_are_on_the_page(tmp_path: Path) -> None:
    page = render(FULL, tmp_path)
    cells = [text for tag, text in page.texts if tag in {"td", "strong"}]
    at = cells.index("1 of 3")
    assert cells[at - 4 : at + 2] == ["0.800", "0.571", "0.667", "1.000", "1 of 3", "2 of 2"]  # always refusing: 2 · ⅖ / 1.4
    assert cells[cells.index("11") - 1 :][:5] == ["\N{MINUS SIGN}0.417", "11", "12", "13", "36, 9"]
    assert page.count("\N{MINUS SIGN}0.600 to \N{MINUS SIGN}0.200") == 1 and page.count("no interval") == 1
    assert page.count("right +1, silent 0, wrong \N{MINUS SIGN}2") == 1
    # Right, then two of which one is wrong, then wrong: risks 0, ⅓, ½. The area is (0 + ¼ + ⅓ + ½) / 4.
    assert page.count("4 of 8 answered: risk 0.500, area under the curve 0.271") == 1
    said = next(text for text in page.values("svg", "aria-label") if "a score" in text)
    assert said.startswith(f"all {EVIL}, by a score: coverage 0.12 has risk 0.00") and said.endswith(
        "coverage 0.50 has risk 0.50"
    )


def test_calibration_is_by_task_with_the_floor_of_its_brier_score(tmp_path: Path) -> None:
    page = render(FULL, tmp_path)
    assert page.count("9, 8") == 2, "items and groups of each row"
    assert page.count(f"support {EVIL}, base chain") == 1, "the plot's own name"
    assert page.count(calibration.NO_BETTER) == 1, "0.5 is above the floor of 0.4, 0.3 below"
    found = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["calibration"]
    assert [(each["task"], each["configuration"], each["n"], each["groups"], each["floor"]) for each in found] == [
        (f"support {EVIL}", "base chain", 9, 8, 0.4),
        (f"support {EVIL}", "all adapters", 9, 8, 0.4),
    ]


@pytest.mark.parametrize(("proven", "said"), [(True, "support: yes 0.90"), (False, "support: no verdict"), (None, "support: no")])
def test_a_judge_that_is_not_shown_to_beat_a_floor_gives_no_verdict(proven: bool | None, said: str, tmp_path: Path) -> None:
    judged = chain().verdicts[0]
    answered = Response(
        "Why?", Rewrite("Why?", Outcome.OK), Answer("So.", False, (), Outcome.OK), (replace(judged, proven=proven),)
    )
    page = render(Report("Small", (LINE,), showcases=(Showcase("Why?", chain_view(answered)),)), tmp_path)
    assert page.count(said) == 1
    assert page.count("0.90") == (proven is True)
    shown = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["showcases"][0]["chain"]["verdicts"][0]
    assert shown["probabilities"] == ({"yes": 0.9, "no": 0.1} if proven else {})


def test_a_question_that_was_only_searched_for_shows_no_answer(tmp_path: Path) -> None:
    searched = replace(question("s", Loss.RETRIEVAL, Loss.RIGHT), answered=False)
    page = render(Report("Small", (LINE,), questions=(searched,)), tmp_path)
    assert page.count("gold retrieved") == 2 and page.count("forty bar") == 0
    assert [text for tag, text in page.texts if tag == "h4"] == ["Rewrite", "Retrieve", "Judge"] * 2


def test_effects_are_said_in_words_and_folded_where_the_headline_has_them_not(tmp_path: Path) -> None:
    page = render(FULL, tmp_path)
    strips = [text for tag, text in page.texts if tag == "small"]
    assert [text for text in strips if text in {"better", "worse", "not shown", "they help each other", "they overlap"}] == [
        "better",  # against the best floor
        "better",  # the headline's own
        "better",
        "worse",  # wrong refusals rose, and that stands in the headline too
        "they help each other",
        "not shown",
    ]
    assert page.count("1 more metrics") == 1  # F1
    assert page.count("0.05: power 62 %, takes 1\N{NARROW NO-BREAK SPACE}234") == 4
    assert page.count("alone <0.001, 9 groups give 0.004 at least") == 4
    assert page.count("98.75 %") == 4 + 1  # each effect, and the headline's own line
    assert page.count("corrected by Holm's method over all 4 differences, the folded ones too") == 1
    asked = replace(FULL, effects=(replace(FULL.effects[0], primary=True), *FULL.effects[1:]))
    page = render(asked, tmp_path)
    assert (
        page.count("over the 1 questions asked first (each adapter on its own metric), and apart from them over the 3 others")
        == 1
    )
    assert page.count(" asked first") == 2


def test_seven_groups_get_no_verdict(tmp_path: Path) -> None:
    few = Report("Small", (replace(LINE, groups=7),), effects=(replace(FULL.effects[0], groups=7, shown=False),))
    page = render(few, tmp_path)
    said = [text for tag, text in page.texts if tag == "small"]
    assert said.count("too few groups") == 2 and "better" not in said


def test_stages_without_a_bad_item_are_only_counted(tmp_path: Path) -> None:
    page = render(FULL, tmp_path)
    assert page.count("Nothing was unparsed or failed in 1 other stages.") == 1 and page.count("synthesizer") > 0
    page = render(replace(FULL, outcomes=FULL.outcomes[1:]), tmp_path)
    assert page.count("Nothing was unparsed or failed in 1 stages.") == 1


def test_tokens_are_means_and_what_is_not_known_is_a_dash(tmp_path: Path) -> None:
    page = render(FULL, tmp_path)
    cells = [text for tag, text in page.texts if tag == "td"]
    at = cells.index("judge-1") - 5
    assert cells[at : at + 10] == ["base", "4", "500", "12", "0.50 s", "judge-1", "3", "–", "–", "–"]


def test_a_report_of_two_runs_says_its_differences_once(tmp_path: Path) -> None:
    two = replace(FULL, of_two_runs=True, sides=("A", "B"))
    page = render(two, tmp_path)
    assert "headline" not in page.values("section", "id")
    assert page.count("The second run minus the first") == 1
    assert page.count("right only in “A”") == page.count("right only in “B”") == 1


def test_rows_that_no_adapter_can_tell_apart_are_drawn_once() -> None:
    assert [row.configuration for row in distinct(RUNS, "ROUGE-1")] == ["base chain", "+ rewriter"]
    assert len(distinct(RUNS, "F1")) == 4
    assert len(distinct(replace(RUNS, touched_by={}), "ROUGE-1")) == 4


def test_a_combination_that_repeats_a_figure_is_pale(tmp_path: Path) -> None:
    page = render(FULL, tmp_path)
    assert page.values("td", "class").count("figure repeated") == 2  # ROUGE-1 with the synthesizer, without and with the rewriter


@pytest.mark.parametrize(
    ("report", "says"),
    [
        (replace(FULL, comparisons=(replace(LINE, base=float("nan")),)), r"report.comparisons\[0\].base is nan"),
        (replace(FULL, comparisons=(replace(LINE, low=0.5),)), "comparison rewriter: interval 0.5 to 0.4 is upside down"),
        (replace(FULL, ablation=Ablation(("MAP",), ())), "no configuration has a figure for 'MAP'"),
        (replace(FULL, runs=Ablation(("MAP",), ())), "no configuration has a figure for 'MAP'"),
        (replace(FULL, effects=(replace(FULL.effects[0], high=0.0),)), "effect rewriter on ROUGE-1: interval .* is upside down"),
        (replace(FULL, losses=(LossTable("all", "right", {"right": 1}, {}),)), "losses of all: .* do not count the same"),
        (replace(FULL, questions=(FULL.questions[0], FULL.questions[0])), "a question id stands twice"),
        (replace(FULL, provenance=Provenance(config={"a": object()})), r"config\['a'\] is a object"),
    ],
)
def test_a_report_that_would_mislead_is_refused_and_the_former_one_stays(tmp_path: Path, report: Report, says: str) -> None:
    write_report(Report("Former", (LINE,)), tmp_path)
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    with pytest.raises(InputError, match=says):
        write_report(report, tmp_path)
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before


def test_a_folder_that_cannot_be_made_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="the report cannot be written"):
        write_report(FULL, tmp_path / "file" / "out")


@pytest.mark.parametrize(
    ("low", "high", "lower_is_better", "kind"),
    [
        (0.1, 0.4, False, "better"),
        (0.1, 0.4, True, "worse"),
        (-0.4, -0.1, False, "worse"),
        (-0.4, -0.1, True, "better"),
        (-0.1, 0.1, False, "unclear"),
        (0.0, 0.1, False, "unclear"),
    ],
)
def test_better_worse_or_unclear(low: float, high: float, lower_is_better: bool, kind: str) -> None:
    assert verdict_kind(low, high, lower_is_better) == kind


def test_a_forest_strip_is_drawn_to_scale() -> None:
    # the extent 0 … 1 maps onto pixels 8 … 232
    strip = Page(forest_strip(0.5, 0.25, 0.75, (0.0, 1.0), "better"))
    assert strip.values("circle", "cx") == ["120"]
    # grid lines at .5 and 1, zero, the interval and its two ends
    assert strip.values("line", "x1") == ["120", "232", "8", "64", "64", "176"]
    assert strip.values("line", "x2") == ["120", "232", "8", "176", "64", "176"]
    assert strip.values("svg", "aria-label") == ["difference +0.500, interval +0.250 to +0.750"]


def test_an_interval_that_tells_nothing_does_not_squeeze_the_others() -> None:
    """-0.1 … 0.3 is .4 wide, -1 … 1 five times that, -3 … 3 fifteen times: its value alone stretches the axis."""
    wide = difference_extent([(-0.1, 0.1, 0.3), (-1.0, 0.2, 1.0)])
    assert wide == pytest.approx((-1.12, 1.12))
    extent = difference_extent([(-0.1, 0.1, 0.3), (-3.0, 0.5, 3.0)])
    assert extent == pytest.approx((-0.136, 0.536))
    strip = Page(forest_strip(0.5, -3.0, 3.0, (-1.0, 1.0), "unclear"))
    whiskers = [
        at for at, kind in zip(strip.values("line", "x1"), strip.values("line", "class"), strict=True) if "whisker" in kind
    ]
    assert whiskers == ["8"]  # cut off at both sides, without ends
    assert difference_extent([(0.2, 0.2, 0.2)]) == pytest.approx((-0.012, 0.212))


def test_a_dot_plot_shows_the_floor_and_leaves_out_an_interval_that_is_not_there() -> None:
    cells = {"base chain": Cell(0.0, None, None, 1), "+ rewriter": Cell(1.0, 0.5, 1.0, 9)}
    plot = Page(dot_plot("F1", cells, Floor("F1", "first", 0.5)))
    # 0 … 1 maps onto 126 … 328
    assert plot.values("circle", "cx") == ["126", "328"]
    assert plot.values("line", "class").count("floor") == 1 and plot.values("line", "class").count("whisker with") == 1
    assert [text for tag, text in plot.texts if tag == "text"][:3] == ["0.00", "0.50", "1.00"]


def test_a_waterfall_falls_from_all_to_right() -> None:
    chart = Page(waterfall_chart(FULL.losses[0], FULL.losses[0].base, "Base"))
    # 4 questions over 154 pixels from 200: 38.5 a question
    assert chart.values("rect", "x") == ["200", "315.5", "277", "200"]
    assert chart.values("rect", "width") == ["154", "38.5", "38.5", "77"]
    assert chart.values("svg", "aria-label") == ["Base: of 4 questions wrong refusal 1, retrieved, not used 1, right 2"]
    other = Page(waterfall_chart(FULL.losses[0], FULL.losses[0].tuned, "Tuned"))  # the same lines; an empty one has no bar
    assert other.values("rect", "width") == ["154", "38.5", "115.5"]
    assert [text for tag, text in other.texts if tag == "text"][::2] == [
        "all questions",
        "wrong refusal",
        "retrieved, not used",
        "right",
    ]


def test_a_reliability_plot_is_drawn_to_scale() -> None:
    # confidence 0 … 1 onto 44 … 284, the share that was right onto 256 … 16
    chart = Page(reliability_chart(FULL.calibration[0]))
    assert (chart.values("circle", "cx"), chart.values("circle", "cy"), chart.values("circle", "r")) == (["164"], ["196"], ["12"])
    assert "0.50 is right 0.25 of 5" in chart.values("svg", "aria-label")[0]


def test_the_axis_of_a_forest_has_round_figures_inside() -> None:
    axis = Page(forest_axis((-0.13, 0.24)))
    assert [text for tag, text in axis.texts if tag == "text"] == ["−0.1", "0", "+0.1", "+0.2"]
    fine = Page(forest_axis((-0.004, 0.09)))
    assert [text for tag, text in fine.texts if tag == "text"] == ["0", "+0.05"]


def test_a_loss_curve_starts_and_ends_at_its_losses() -> None:
    chart = Page(loss_chart(LossCurve("run", ((0, 2.0), (5, 1.0), (10, 0.0)))))
    # steps 0 … 10 onto 40 … 330, losses 0 … 2 onto 124 … 10
    assert chart.values("polyline", "points") == ["40.0,10.0 185.0,67.0 330.0,124.0"]


def test_a_flat_figure_still_has_an_axis() -> None:
    assert Page(loss_chart(LossCurve("run", ((3, 0.0),)))).values("polyline", "points") == ["40.0,124.0"]
    assert Page(dot_plot("F1", {"a": Cell(0.5, 0.5, 0.5, 2)}, None)).values("circle", "cx") != []


def test_a_response_as_it_is_shown() -> None:
    passage = Passage("p1", "d", "d.md", "Title", "", "Text.", 0, 5)
    answer = Answer("", False, (Citation(1, "p1", "d.md", "Text.", 0, 5),), Outcome.UNPARSED, "raw reply")
    stages = (StageRecord("rewrite", "base", 0.5, Outcome.OK), StageRecord("retrieve", "base", 0.25, Outcome.OK))
    response = Response("q?", Rewrite("whole q?", Outcome.OK), answer, trace=Trace(stages, (Hit(passage, 0.7),)))
    view = chain_view(response, {"p1"}, {"F1": 0.5}, Loss.MISREAD)
    assert (view.rewrite, view.answer, view.seconds, view.lost_at) == ("whole q?", "raw reply", 0.75, Loss.MISREAD)
    assert view.hits == (HitView("p1", "Title", "Text.", 0.7, True),)
    assert view.citations == (CitationView(1, "p1", "d", "Text.", True),)
    assert not chain_view(response).hits[0].gold


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (el("p", "a<b", class_="x"), '<p class="x">a&lt;b</p>'),
        (el("p", Markup("<b>"), None, ["c", ["&"]]), "<p><b>c&amp;</p>"),
        (el("a", data_label='"q"', hidden=True, title=None, draggable=False), '<a data-label="&quot;q&quot;" hidden></a>'),
        (el("input", size=3.0), '<input size="3">'),
        (number(-0.5), "−0.500"),
        (signed(0.25, 2), "+0.25"),
        (signed(-0.25, 2), "−0.25"),
        (probability(0.0004), "<0.001"),
        (probability(0.0123), "0.012"),
        (probability(0.5), "0.50"),
        (duration(0.418), "0.42 s"),
        (duration(38.2), "38 s"),
        (duration(245), "4 min 05 s"),
        (duration(3725), "1 h 02 min"),
    ],
)
def test_markup_and_figures(made: str, expected: str) -> None:
    assert made == expected


@pytest.mark.parametrize("name", ["report.json", "report.html", ""])
def test_a_run_is_read_back_as_it_was_written(tmp_path: Path, name: str) -> None:
    write_report(FULL, tmp_path)
    run = read_run(tmp_path / name, "all adapters")
    assert run.scores["answers"].values("F1") == {"q0": 1.0, "q1": 0.5}
    assert run.judgments == FULL.results.labels[0].items
    assert run.questions == {each.id: each for each in FULL.questions}
    assert run.views["b"] == FULL.questions[1].tuned
    assert (run.path, run.digests, run.created) == (tmp_path / "report.json", {"base": "abc"}, "today")
    assert read_run(tmp_path / name, "base chain").views["b"] == FULL.questions[1].base


def test_a_configuration_that_the_page_does_not_show_has_scores_alone(tmp_path: Path) -> None:
    table = replace(FULL.results.scores[0], configurations=("base chain", "+ judge"))
    write_report(replace(FULL, results=Results((table,))), tmp_path, "other")
    run = read_run(tmp_path / "other.html", "+ judge")
    assert run.scores["answers"].values("F1") == {"q0": 0.0, "q1": 0.5}
    assert (run.questions, run.views, run.judgments) == ({}, {}, ())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda data: data | {"format": 1}, "is no report of format 2 \\(it has 1\\)"),
        (lambda data: [data], "is no report of format 2 \\(it has none\\)"),
        (lambda data: {key: part for key, part in data.items() if key != "results"}, "key 'results' is missing; make"),
        (lambda data: data | {"questions": [{"id": 3}]}, r"questions\[0\]: key .* is missing"),
        (lambda data: data, "no configuration 'mine'; it holds base chain, all adapters"),
    ],
)
def test_a_file_that_is_no_such_report_is_refused(tmp_path: Path, change: Any, says: str) -> None:
    write_report(FULL, tmp_path)
    data = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    (tmp_path / "report.json").write_text(json.dumps(change(data)), encoding="utf-8")
    with pytest.raises(InputError, match=says):
        read_run(tmp_path, "mine")


@pytest.mark.parametrize(("content", "says"), [(None, "no such file; name a report"), ("{", "is not a report's JSON")])
def test_a_file_that_is_not_there_or_no_json_is_refused(tmp_path: Path, content: str | None, says: str) -> None:
    if content is not None:
        (tmp_path / "report.json").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=says):
        read_run(tmp_path, "all adapters")


def test_what_a_floor_wins_stands_first() -> None:
    html = render_page(FULL)
    page = Page(html)
    sections = page.values("section", "id")
    assert sections[0] == "floors"
    lead = next(text for _, text in page.texts if text.startswith("A floor wins"))
    assert lead.startswith("A floor wins 1 of 2 comparisons")
    starter = replace(FULL.against_floors[0], role="starter judge", beaten=False)
    both = Page(render_page(replace(FULL, against_floors=(*FULL.against_floors, starter))))
    assert any(text.startswith("A floor wins 1 of 2 comparisons") for _, text in both.texts)  # starters are not counted
    first = html.index('id="floors"')
    assert first < html.index("the floor wins") < html.index(">better<") < html.index('id="headline"')
    assert any("never refusing" in text for _, text in page.texts)
    assert Page(render_page(replace(FULL, against_floors=()))).values("section", "id")[0] == "headline"


def test_a_comparison_with_a_floor_upside_down_is_refused(tmp_path: Path) -> None:
    wrong = FloorComparison("chain", "F1", "sentence", 0.2, 0.2, 0.0, 0.1, -0.1, 20, 10, False)
    with pytest.raises(InputError, match="chain against its floor by F1: interval 0.1 to -0.1 is upside down"):
        write_report(Report("t", (), against_floors=(wrong,)), tmp_path)
