"""The end of the report: the adapters' training, unparsed and failed items, cost, and provenance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lorag.pipeline.evaluation.report.charts import loss_chart
from lorag.pipeline.evaluation.report.markup import EN_DASH, Markup, duration, el
from lorag.pipeline.evaluation.report.records import LossCurve, OutcomeCount, Provenance, UsageRow
from lorag.pipeline.evaluation.report.sections import scrolling, section
from lorag.pipeline.evaluation.row_file import flat


def training(curves: Sequence[LossCurve]) -> Markup:
    """A small loss curve for each training run."""
    figures = [
        el("figure", el("figcaption", el("strong", curve.name), f" ends at {curve.points[-1][1]:.3f}"), loss_chart(curve))
        for curve in curves
        if curve.points
    ]
    return section("training", "Training loss", el("div", figures, class_="figures"))


def outcomes(counts: Sequence[OutcomeCount]) -> Markup:
    """The numbers of unparsed and failed items, which no mean shows."""
    incomplete = [each for each in counts if each.unparsed or each.failed]
    head = [el("th", name, scope="col") for name in ("Configuration", "Stage")]
    head += [el("th", name, scope="col", class_="figure") for name in ("ok", "unparsed", "failed")]
    rows = [
        el(
            "tr",
            el("th", each.configuration, scope="row"),
            el("td", each.stage),
            (el("td", str(count), class_="figure") for count in (each.ok, each.unparsed, each.failed)),
        )
        for each in incomplete
    ]
    clean = len(counts) - len(incomplete)
    return section(
        "outcomes",
        "Unparsed and failed",
        scrolling(el("table", el("thead", el("tr", head)), el("tbody", rows)), "Outcomes") if rows else None,
        el("p", f"Nothing was unparsed or failed in {clean} {'other ' if rows else ''}stages.", class_="note") if clean else None,
        lead="An unparsed answer is scored on its raw text. A failed item has no score; it is counted here instead.",
    )


def usage(rows: Sequence[UsageRow]) -> Markup:
    """Tokens and time a request, by stage and adapter."""
    head = [el("th", name, scope="col") for name in ("Stage", "Adapter")]
    names = ("Requests", "Prompt tokens", "Reply tokens", "Time a request")
    head += [el("th", name, scope="col", class_="figure") for name in names]
    body = [
        el(
            "tr",
            el("th", each.stage, scope="row"),
            el("td", each.adapter),
            (
                el("td", text, class_="figure")
                for text in (
                    str(each.requests),
                    _each(each.prompt_tokens, each.requests),
                    _each(each.completion_tokens, each.requests),
                    EN_DASH if each.latency is None else duration(each.latency),
                )
            ),
        )
        for each in rows
    ]
    return section(
        "usage",
        "Tokens and time",
        scrolling(el("table", el("thead", el("tr", head)), el("tbody", body)), "Tokens and time"),
        lead="Means over the requests that the model answered, each once however many configurations share it. Time is that of "
        "batches, shared among their requests.",
    )


def _each(total: int, count: int) -> str:
    return f"{total / count:.0f}" if total else EN_DASH


def provenance(found: Provenance) -> Markup:
    """All that is needed to reproduce the figures."""
    parts: list[tuple[str, Mapping[str, Any]]] = [
        ("Test items", found.tests),
        ("Machine", found.machine),
        ("Versions", found.versions),
        ("Seeds", found.seeds),
        ("Digests", found.digests),
        ("Configuration", flat(dict(found.config))),
        ("Time by stage", {stage: duration(seconds) for stage, seconds in found.seconds.items()}),
    ]
    blocks = [
        el("div", el("h3", name), el("dl", ((el("dt", key), el("dd", str(value))) for key, value in values.items())))
        for name, values in parts
        if values
    ]
    return section("provenance", "Where this comes from", el("div", blocks, class_="facts"), lead=found.created)


def notes(texts: Sequence[str]) -> Markup:
    """Remarks by the report's author."""
    return section("notes", "Notes", el("ul", (el("li", text) for text in texts)))
