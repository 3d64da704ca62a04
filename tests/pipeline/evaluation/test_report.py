"""The report: its JSON, the soundness of its HTML, and figures drawn where they belong."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import MappingProxyType

import pytest

from pipeline.errors import InputError
from pipeline.evaluation.losses import Loss
from pipeline.evaluation.report import (
    Ablation,
    AblationRow,
    Cell,
    ChainView,
    CitationView,
    Comparison,
    Floor,
    HitView,
    LossCurve,
    OutcomeCount,
    Provenance,
    QuestionView,
    Report,
    Showcase,
    chain_view,
    write_report,
)
from pipeline.evaluation.report.charts import dot_plot, forest_strip, loss_chart, waterfall_chart
from pipeline.evaluation.report.markup import Markup, duration, el, number, signed
from pipeline.evaluation.report.sections import verdict_kind
from pipeline.records import (
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
LINE = Comparison("rewriter", "ROUGE-1", 0.5, 0.75, 0.25, 0.1, 0.4, 20)


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


def question(name: str, base: Loss | None, tuned: Loss | None) -> QuestionView:
    turns = (Turn(Speaker.USER, EVIL),)
    return QuestionView(name, f"How much {EVIL}?", (EVIL,), chain(base), chain(tuned), turns, f"gold {EVIL}")


FULL = Report(
    title=f"Report {EVIL}",
    comparisons=(LINE, Comparison("chain", "wrong refusals", 0.3, 0.2, -0.1, -0.2, 0.05, 20)),
    ablation=Ablation(
        ("ROUGE-1", "F1"),
        (
            AblationRow("base chain", {"ROUGE-1": Cell(0.5, 0.4, 0.6, 20), "F1": Cell(0.2, None, None, 1)}),
            AblationRow(f"+ {EVIL}", {"ROUGE-1": Cell(0.75, 0.7, 0.8, 20)}),
        ),
    ),
    floors=(Floor("ROUGE-1", f"raw {EVIL}", 0.45),),
    showcases=(Showcase("Shown?", chain()),),
    questions=(
        question("a", Loss.RETRIEVAL, Loss.RIGHT),
        question("b", Loss.RIGHT, Loss.REFUSED),
        question("c", Loss.RIGHT, Loss.RIGHT),
        question("d", Loss.UNUSED, Loss.UNUSED),
        question("e", None, Loss.RIGHT),
    ),
    curves=(LossCurve(f"run {EVIL}", ((1, 2.0), (11, 0.5))), LossCurve("not run", ())),
    outcomes=(OutcomeCount("base chain", "synthesizer", 18, 1, 1),),
    notes=(f"note {EVIL}",),
    provenance=Provenance(
        "today", {"base": {"model": EVIL}, "k": 5}, {"base": "abc"}, {"torch": "2"}, {"data": 7}, {"cpu": "x"}, {"train": 65.0}
    ),
    lower_is_better=("wrong refusals",),
    summary=f"summary {EVIL}",
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
    }
    assert found["ablation"]["rows"][0]["cells"]["F1"] == {"value": 0.2, "low": None, "high": None, "n": 1}
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
    assert len(drawings) == len(page.values("svg", "aria-label")) == 2 + 2 + 2 + 1
    targets = set(page.values("section", "id"))
    assert {link.removeprefix("#") for link in page.values("a", "href")} == targets
    names = "headline ablation answers losses questions training outcomes notes provenance"
    assert targets == set(names.split())


def test_parts_that_are_not_there_are_left_out(tmp_path: Path) -> None:
    page = render(Report("Small", (LINE,)), tmp_path)
    assert page.values("section", "id") == ["headline", "provenance"]
    assert not [text for tag, text in page.texts if tag == "script"]


def test_questions_carry_the_kind_that_the_filter_asks_for(tmp_path: Path) -> None:
    page = render(FULL, tmp_path)
    assert page.values("details", "data-kind") == ["gained", "lost", "both", "neither"]
    assert page.values("option", "value") == ["", "gained", "lost", "both", "neither"]
    assert page.count("gold at 1") == 10


@pytest.mark.parametrize(
    ("report", "says"),
    [
        (replace(FULL, comparisons=(replace(LINE, base=float("nan")),)), r"report.comparisons\[0\].base is nan"),
        (replace(FULL, comparisons=(replace(LINE, low=0.5),)), "comparison rewriter: interval 0.5 to 0.4 is upside down"),
        (replace(FULL, ablation=Ablation(("MAP",), ())), "no configuration has a figure for 'MAP'"),
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
    assert strip.values("line", "x1") == ["8", "64", "64", "176"] and strip.values("line", "x2") == ["8", "176", "64", "176"]
    assert strip.values("svg", "aria-label") == ["difference +0.500, 95 % interval +0.250 to +0.750"]


def test_a_dot_plot_shows_the_floor_and_leaves_out_an_interval_that_is_not_there() -> None:
    cells = {"base chain": Cell(0.0, None, None, 1), "+ rewriter": Cell(1.0, 0.5, 1.0, 9)}
    plot = Page(dot_plot("F1", cells, Floor("F1", "first", 0.5)))
    # 0 … 1 maps onto 118 … 328
    assert plot.values("circle", "cx") == ["118", "328"]
    assert plot.values("line", "class").count("floor") == 1 and plot.values("line", "class").count("whisker with") == 1
    assert [text for tag, text in plot.texts if tag == "text"][:3] == ["0.00", "0.50", "1.00"]


def test_a_waterfall_falls_from_all_to_right() -> None:
    counts = {loss: 0 for loss in Loss} | {Loss.REFUSED: 1, Loss.UNUSED: 1, Loss.RIGHT: 2}
    chart = Page(waterfall_chart(counts, {Loss.REFUSED, Loss.UNUSED, Loss.RIGHT}, "Base"))
    # 4 questions over 154 pixels from 200: 38.5 a question
    assert chart.values("rect", "x") == ["200", "315.5", "277", "200"]
    assert chart.values("rect", "width") == ["154", "38.5", "38.5", "77"]
    assert chart.values("svg", "aria-label") == ["Base: of 4 questions wrong refusal 1, retrieved, not used 1, right 2"]


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
    assert view.citations == (CitationView(1, "p1", "d.md", "Text.", True),)
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
        (duration(0.418), "0.42 s"),
        (duration(38.2), "38 s"),
        (duration(245), "4 min 05 s"),
        (duration(3725), "1 h 02 min"),
    ],
)
def test_markup_and_figures(made: str, expected: str) -> None:
    assert made == expected
