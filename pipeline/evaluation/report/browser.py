"""The part of the report where every test question can be looked at, base and tuned side by side."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.evaluation.losses import Loss
from pipeline.evaluation.report.markup import Markup, duration, el, join, number
from pipeline.evaluation.report.records import ChainView, CitationView, HitView, QuestionView, Showcase
from pipeline.evaluation.report.sections import section
from pipeline.records import Outcome, Turn, Verdict

SHOWN_CHARACTERS = 320

_KINDS = {
    "gained": "right only with the adapters",
    "lost": "right only in the base chain",
    "both": "right in both",
    "neither": "right in neither",
}


def showcases(found: Sequence[Showcase]) -> Markup:
    """A few answers of the tuned chain in full."""
    cards = [
        el(
            "article",
            _history(each.history),
            el("p", each.question, class_="question"),
            _rewrite(each.chain.rewrite, each.question),
            _answer(each.chain),
            _citations(each.chain.citations, mark_gold=False),
            _verdicts(each.chain.verdicts),
            class_="card",
        )
        for each in found
    ]
    return section("answers", "Answers of the tuned chain", el("div", cards, class_="cards"))


def question_browser(questions: Sequence[QuestionView]) -> Markup:
    """All questions, closed, with a search box and, where losses were analysed, a choice by outcome."""
    kinds = {kind for each in questions if (kind := question_kind(each)) is not None}
    choice = (
        el(
            "label",
            el("span", "Show"),
            el(
                "select",
                el("option", "all questions", value=""),
                (el("option", text, value=kind) for kind, text in _KINDS.items() if kind in kinds),
                id="kind",
            ),
        )
        if kinds
        else None
    )
    tools = el(
        "form",
        el(
            "label",
            el("span", "Search"),
            el("input", type="search", id="search", placeholder="words in question, answer or passage"),
        ),
        choice,
        el("output", f"{len(questions)} questions", id="found", for_="search kind"),
        class_="tools",
        role="search",
    )
    return section("questions", "Every question", tools, el("div", map(_question, questions), id="list"))


def question_kind(question: QuestionView) -> str | None:
    """Which system got it right: a key of the filter; None where the losses were not analysed."""
    base, tuned = question.base.lost_at, question.tuned.lost_at
    if base is None or tuned is None:
        return None
    return {(False, True): "gained", (True, False): "lost", (True, True): "both"}.get(
        (base is Loss.RIGHT, tuned is Loss.RIGHT), "neither"
    )


def _question(each: QuestionView) -> Markup:
    kind = question_kind(each)
    gold = " / ".join(each.gold_answers) if each.answerable else "not answerable from the documents"
    return el(
        "details",
        el(
            "summary",
            el("span", each.question, class_="question"),
            el("span", _badge(each.base), _arrow(), _badge(each.tuned), class_="badges"),
        ),
        el(
            "div",
            _history(each.history),
            el(
                "dl",
                (el("dt", "Gold answer"), el("dd", gold)),
                (el("dt", "Gold rewrite"), el("dd", each.gold_rewrite)) if each.gold_rewrite else None,
                (el("dt", "Id"), el("dd", each.id)),
                class_="gold",
            ),
            el(
                "div",
                _side("Base chain", each.base, each.question),
                _side("All adapters", each.tuned, each.question),
                class_="sides",
            ),
            class_="body",
        ),
        data_kind=kind,
    )


def _side(name: str, chain: ChainView, question: str) -> Markup:
    scores = [el("li", f"{metric} ", el("strong", number(value, 2))) for metric, value in chain.scores.items()]
    return el(
        "div",
        el("h3", name, el("small", f" {duration(chain.seconds)}") if chain.seconds else None),
        el("p", chain.lost_at.value, class_="verdict " + ("good" if chain.lost_at is Loss.RIGHT else "bad"))
        if chain.lost_at
        else None,
        _rewrite(chain.rewrite, question),
        _answer(chain),
        _citations(chain.citations, mark_gold=True),
        _verdicts(chain.verdicts),
        el("ul", scores, class_="scores") if scores else None,
        _hits(chain.hits),
        class_="side",
    )


def _history(turns: Sequence[Turn]) -> Markup | None:
    return (
        el("ol", (el("li", str(turn)) for turn in turns), class_="history", aria_label="conversation so far") if turns else None
    )


def _rewrite(rewrite: str, question: str) -> Markup:
    return el(
        "p",
        el("span", "searched for ", class_="label"),
        rewrite if rewrite != question else "the question as it is",
        class_="rewrite",
    )


def _answer(chain: ChainView) -> Markup:
    if chain.outcome is Outcome.FAILED:
        return el("p", "No answer came back.", class_="answer refused")
    note = "unparsed reply " if chain.outcome is Outcome.UNPARSED else "refused " if chain.refused else ""
    text = chain.answer or ("the passages do not say" if chain.refused else "(empty)")
    return el(
        "p", el("span", note, class_="label") if note else None, text, class_="answer refused" if chain.refused else "answer"
    )


def _citations(citations: Sequence[CitationView], mark_gold: bool) -> Markup | None:
    if not citations:
        return None
    items = [
        el(
            "li",
            el("blockquote", each.quote),
            el("cite", f"[{each.number}] {each.source}"),
            el("span", "gold", class_="chip good") if mark_gold and each.gold else None,
        )
        for each in citations
    ]
    return el("ul", items, class_="citations")


def _verdicts(verdicts: Sequence[Verdict]) -> Markup | None:
    if not verdicts:
        return None
    return el(
        "p",
        (el("span", f"{each.task}: {each.label} {number(each.probability, 2)}", class_="chip") for each in verdicts),
        class_="chips",
    )


def _hits(hits: Sequence[HitView]) -> Markup | None:
    if not hits:
        return None
    items = [
        el(
            "li",
            el("strong", hit.title or hit.passage_id),
            el("span", f" {number(hit.score)}", class_="label"),
            el("span", "gold", class_="chip good") if hit.gold else None,
            el("p", _short(hit.text)),
            class_="gold-hit" if hit.gold else None,
        )
        for hit in hits
    ]
    place = next((at for at, hit in enumerate(hits, start=1) if hit.gold), None)
    found = f"gold at {place}" if place else "no gold passage"
    return el("details", el("summary", f"{len(hits)} passages, {found}"), el("ol", items), class_="hits")


def _badge(chain: ChainView) -> Markup | None:
    if chain.lost_at is None:
        return None
    right = chain.lost_at is Loss.RIGHT
    return el("span", "right" if right else chain.lost_at.value, class_=f"chip {'good' if right else 'bad'}")


def _arrow() -> Markup:
    return join("\N{RIGHTWARDS ARROW}")


def _short(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS].rsplit(" ", 1)[0] + " \N{HORIZONTAL ELLIPSIS}"
