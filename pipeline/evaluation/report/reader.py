"""The report's section on refusals: by what the reader saw, the price of silence and error, and which answers to leave out."""

from __future__ import annotations

from collections.abc import Sequence

from lorag.pipeline.evaluation.refusal_scores import RefusalScores
from lorag.pipeline.evaluation.report.charts import risk_chart
from lorag.pipeline.evaluation.report.markup import EN_DASH, MINUS, Markup, el, join, number, signed
from lorag.pipeline.evaluation.report.records import PricedAnswers, Report
from lorag.pipeline.evaluation.report.sections import scrolling, section
from lorag.pipeline.evaluation.risk_coverage import RiskCoverage


def reader(report: Report) -> Markup:
    """Refusals by what was shown, answers with their price, and the risk–coverage curves."""
    return section(
        "reader",
        "When to answer and when to refuse",
        join(el("h3", "Refusals, by the passages shown"), _refusals(report.refusals)) if report.refusals else None,
        join(el("h3", "Right, silent and wrong"), _priced(report.priced)) if report.priced else None,
        join(el("h3", "If only the surest answers were given"), _risks(report.risks)) if report.risks else None,
        lead="A refusal is right if no gold passage was shown: the reader could not answer then. Precision is the share of "
        "refusals that are right, recall the share of such questions that were refused.",
    )


def _refusals(found: Sequence[RefusalScores]) -> Markup:
    kinds = [row.kind for row in found[0].rows]
    figures = ("F1", "F1 of always refusing", "Precision", "Recall", *(f"Refused, {kind}" for kind in kinds))
    rows = [
        el(
            "tr",
            el("th", each.configuration, scope="row"),
            el("td", el("strong", _share(each.f1)), class_="figure"),
            (el("td", _share(value), class_="figure") for value in (each.floor, each.precision, each.recall)),
            (el("td", f"{row.refused} of {row.n}", class_="figure") for row in each.rows),
        )
        for each in found
    ]
    return _table(("System",), figures, rows, "Refusals")


def _priced(found: Sequence[PricedAnswers]) -> Markup:
    rows = []
    for each in found:
        cell = each.score
        span = "no interval" if cell.low is None or cell.high is None else f"{signed(cell.low)} to {signed(cell.high)}"
        rows.append(
            el(
                "tr",
                el("th", each.configuration, scope="row"),
                el("td", el("strong", signed(cell.value)), el("small", span), class_="figure"),
                (el("td", str(count), class_="figure") for count in (each.right, each.silent, each.wrong)),
                el("td", f"{cell.n}, {cell.groups or EN_DASH}", class_="figure"),
            )
        )
    paid = found[0].prices
    named = (("right", paid.right), ("silent", paid.silent), ("wrong", paid.wrong))
    prices = ", ".join(f"{name} {price:{'+g' if price else 'g'}}".replace("-", MINUS) for name, price in named)
    table = _table(("System",), ("Score", "Right", "Silent", "Wrong", "Items, groups"), rows, "Priced answers")
    return join(table, el("p", f"The score is the mean price of an answer: {prices}. A failed answer has none.", class_="note"))


def _risks(found: Sequence[RiskCoverage]) -> Markup:
    figures = [
        el(
            "figure",
            el("figcaption", el("strong", each.configuration), el("small", f" by {each.confidence}, {_areas(each)}")),
            risk_chart(each),
        )
        for each in found
    ]
    note = (
        "From left to right more is answered, the surest first: coverage is the share of questions answered, risk the share of "
        "wrong answers among them. The dashed line is the risk of a confidence that knows nothing; below it the order helps."
    )
    return join(el("div", figures, class_="figures"), el("p", note, class_="note"))


def _areas(each: RiskCoverage) -> str:
    return (
        f"{each.answered} of {each.questions} answered: risk {number(each.risk)}, area under the curve {number(each.aurc)}, "
        f"at best {number(each.aurc - each.excess)}"
    )


def _table(names: Sequence[str], figures: Sequence[str], rows: Sequence[Markup], what: str) -> Markup:
    head = [el("th", name, scope="col") for name in names] + [el("th", name, scope="col", class_="figure") for name in figures]
    return scrolling(el("table", el("thead", el("tr", head)), el("tbody", rows), class_="grid-table"), what)


def _share(value: float | None) -> str:
    return EN_DASH if value is None else number(value)
