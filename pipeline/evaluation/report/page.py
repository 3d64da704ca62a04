"""Puts the sections together into one HTML page with its style and script inside."""

from __future__ import annotations

from importlib.resources import files

from lorag.pipeline.evaluation.report import appendix, browser, calibration, cards, effects, floors, reader, sections
from lorag.pipeline.evaluation.report.markup import Markup, el
from lorag.pipeline.evaluation.report.records import Report

_NAMES = {
    "decision": "Decision",
    "floors": "Floors",
    "headline": "Headline",
    "effects": "Effects",
    "losses": "Losses",
    "reader": "Refusals",
    "answers": "Answers",
    "ablation": "Ablation",
    "calibration": "Calibration",
    "questions": "Questions",
    "training": "Training",
    "outcomes": "Outcomes",
    "usage": "Time",
    "notes": "Notes",
    "provenance": "Provenance",
}


def render_page(report: Report) -> str:
    """The whole page as text; empty parts of the report are left out."""
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
    if report.decisions or report.floor_notes:
        found["decision"] = cards.decisions(report)
    if report.against_floors:
        found["floors"] = floors.floors(report)
    if report.comparisons and not report.of_two_runs:  # there the effects have the same figures
        found["headline"] = sections.headline(report)
    if report.effects:
        found["effects"] = effects.effects(report)
    if report.losses:
        found["losses"] = sections.losses(report.losses, report.sides)
    if report.refusals or report.priced or report.risks:
        found["reader"] = reader.reader(report)
    if report.showcases:
        found["answers"] = browser.showcases(report.showcases)
    if report.ablation.rows:
        found["ablation"] = sections.ablation_table(report.ablation, report.runs, report.floors, report.lower_is_better)
    if report.calibration:
        found["calibration"] = calibration.calibration(report.calibration)
    if report.questions:
        found["questions"] = browser.question_browser(report.questions, report.sides)
    if any(curve.points for curve in report.curves):
        found["training"] = appendix.training(report.curves)
    if report.outcomes:
        found["outcomes"] = appendix.outcomes(report.outcomes)
    if report.usage:
        found["usage"] = appendix.usage(report.usage)
    if report.notes:
        found["notes"] = appendix.notes(report.notes)
    found["provenance"] = appendix.provenance(report.provenance)
    return found


def _asset(name: str) -> str:
    return files("lorag.pipeline.evaluation.report").joinpath(name).read_text(encoding="utf-8")
