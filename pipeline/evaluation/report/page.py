"""Puts the sections together into one HTML page with its style and script inside."""

from __future__ import annotations

from importlib.resources import files

from pipeline.evaluation.report import browser, sections
from pipeline.evaluation.report.markup import Markup, el
from pipeline.evaluation.report.records import Report

_NAMES = {
    "headline": "Headline",
    "ablation": "Ablation",
    "answers": "Answers",
    "losses": "Losses",
    "questions": "Questions",
    "training": "Training",
    "outcomes": "Outcomes",
    "notes": "Notes",
    "provenance": "Provenance",
}


def render_page(report: Report) -> str:
    """The whole page as text; parts that the report does not have are left out."""
    parts = _parts(report)
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("title", report.title),
        el("style", Markup(_asset("style.css"))),
    )
    body = el(
        "body",
        el(
            "header",
            el("h1", report.title),
            el("p", report.summary, class_="lead") if report.summary else None,
            el("nav", (el("a", _NAMES[anchor], href=f"#{anchor}") for anchor in parts), aria_label="Sections"),
        ),
        el("main", parts.values()),
        el("script", Markup(_asset("search.js"))) if report.questions else None,
    )
    return f"<!DOCTYPE html>\n{el('html', head, body, lang='en')}\n"


def _parts(report: Report) -> dict[str, Markup]:
    found: dict[str, Markup] = {}
    if report.comparisons:
        found["headline"] = sections.headline(report.comparisons, report.lower_is_better)
    if report.ablation.rows:
        found["ablation"] = sections.ablation_table(report.ablation, report.floors, report.lower_is_better)
    if report.showcases:
        found["answers"] = browser.showcases(report.showcases)
    if sections.analysed(report):
        found["losses"] = sections.losses(report.questions)
    if report.questions:
        found["questions"] = browser.question_browser(report.questions)
    if any(curve.points for curve in report.curves):
        found["training"] = sections.training(report.curves)
    if report.outcomes:
        found["outcomes"] = sections.outcomes(report.outcomes)
    if report.notes:
        found["notes"] = sections.notes(report.notes)
    found["provenance"] = sections.provenance(report.provenance)
    return found


def _asset(name: str) -> str:
    return files("pipeline.evaluation.report").joinpath(name).read_text(encoding="utf-8")
