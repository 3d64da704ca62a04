"""The part of the report that shows every test question, base and tuned side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lorag.pipeline.evaluation.error_analysis import Loss
from lorag.pipeline.evaluation.report.markup import Markup, duration, el, join, number
from lorag.pipeline.evaluation.report.sections import section
from lorag.pipeline.evaluation.report.views import (
    ChainView,
    CitationView,
    HitView,
    QuestionView,
    Showcase,
)
from lorag.pipeline.records import Outcome, Turn, Verdict
from lorag.pipeline.shown_verdicts import is_withheld

SHOWN_CHARACTERS = 320

_KINDS = {
    "gained": "right only in “{tuned}”",
    "lost": "right only in “{base}”",
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
            el("p", el("span", "searched for ", class_="label"), each.chain.rewrite, class_="rewrite")
            if each.chain.rewrite != each.question
            else None,
            _answer(each.chain),
            _citations(each.chain.citations, mark_gold=False),
            _verdicts(each.chain.verdicts),
            class_="card",
        )
        for each in found
    ]
    return section("answers", "Answers of the tuned chain", el("div", cards, class_="cards"))


def question_browser(questions: Sequence[QuestionView], sides: Sequence[str]) -> Markup:
    """All questions, closed, with a search box and, if losses were analysed, a filter by outcome."""
    choice = _choice(questions, dict(zip(("base", "tuned"), sides, strict=True)))
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
    items = [_question(each, sides) for each in questions]
    lead = f"Two marks a question: where “{sides[0]}” lost it, then “{sides[1]}”. Open one to see both traces side by side."
    return section("questions", "Every question", tools, el("div", items, id="list"), lead=lead if choice else "")


def _choice(questions: Sequence[QuestionView], names: Mapping[str, str]) -> Markup | None:
    kinds = {kind for each in questions if (kind := question_kind(each)) is not None}
    if not kinds:
        return None
    worst = sum(1 for each in questions if each.worst)
    lost = [loss for loss in Loss if loss is not Loss.RIGHT and any(each.tuned.lost_at is loss for each in questions)]
    options = [
        el("option", "all questions", value=""),
        el("option", f"the {worst} worst, worst first", value="worst") if worst else None,
        *(el("option", text.format(**names), value=kind) for kind, text in _KINDS.items() if kind in kinds),
    ]
    by_loss = [el("option", loss.value, value=f"loss:{loss.name.lower()}") for loss in lost]
    group = el("optgroup", by_loss, label=f"lost by “{names['tuned']}”: where") if by_loss else None
    return el("label", el("span", "Show"), el("select", options, group, id="kind"))


def question_kind(question: QuestionView) -> str | None:
    """The system that got it right, as a key of the filter; None if the losses were not analysed."""
    base, tuned = question.base.lost_at, question.tuned.lost_at
    if base is None or tuned is None:
        return None
    return {(False, True): "gained", (True, False): "lost", (True, True): "both"}.get(
        (base is Loss.RIGHT, tuned is Loss.RIGHT), "neither"
    )


def _question(each: QuestionView, sides: Sequence[str]) -> Markup:
    gold = " / ".join(each.gold_answers) if each.answerable else "not answerable from the documents"
    facts = [
        ("Gold answer", gold if each.answered else ""),
        ("Gold rewrite", each.gold_rewrite),
        ("Id", each.id),
        ("Note", "" if each.answered else "searched for only; its gold answer is a whole sentence"),
    ]
    return el(
        "details",
        el(
            "summary",
            el("span", each.question, class_="question"),
            el("span", _badge(each.base, each), _arrow(), _badge(each.tuned, each), class_="badges"),
        ),
        el(
            "div",
            _history(each.history),
            el("dl", ((el("dt", name), el("dd", text)) for name, text in facts if text), class_="gold"),
            el(
                "div",
                (_side(name, view, each) for name, view in zip(sides, (each.base, each.tuned), strict=True)),
                class_="sides",
            ),
            class_="body",
        ),
        data_kind=question_kind(each),
        data_worst=str(each.worst) if each.worst else None,
        data_loss=each.tuned.lost_at.name.lower() if each.tuned.lost_at else None,
    )


def _side(name: str, chain: ChainView, question: QuestionView) -> Markup:
    scores = [el("li", f"{metric} ", el("strong", number(value, 2))) for metric, value in chain.scores.items()]
    return el(
        "div",
        el("h3", name, el("small", f" {duration(chain.seconds)}") if chain.seconds else None),
        el("p", _lost(chain.lost_at, question), class_="verdict " + ("good" if chain.lost_at is Loss.RIGHT else "bad"))
        if chain.lost_at
        else None,
        _stage("Rewrite", chain, _rewrite(chain.rewrite, question.question)),
        _stage("Retrieve", chain, _hits(chain.hits)),
        _stage("Answer", chain, _answer(chain), _citations(chain.citations, mark_gold=True)) if question.answered else None,
        _stage("Judge", chain, _verdicts(chain.verdicts)) if chain.verdicts else None,
        el("ul", scores, class_="scores") if scores else None,
        class_="side",
    )


def _stage(name: str, chain: ChainView, *body: Markup | None) -> Markup:
    adapter = chain.adapters.get(name.lower())
    return el("div", el("h4", name, el("small", f" {adapter}") if adapter else None), body, class_="stage")


def _lost(loss: Loss, question: QuestionView) -> str:
    return "gold retrieved" if loss is Loss.RIGHT and not question.answered else loss.value


def _history(turns: Sequence[Turn]) -> Markup | None:
    return (
        el("ol", (el("li", str(turn)) for turn in turns), class_="history", aria_label="conversation so far") if turns else None
    )


def _rewrite(rewrite: str, question: str) -> Markup:
    return el("p", rewrite) if rewrite != question else el("p", "the question as it is", class_="label")


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
    return el("p", (el("span", _verdict(each), class_="chip") for each in verdicts), class_="chips")


def _verdict(each: Verdict) -> str:
    if each.outcome is Outcome.FAILED:
        return f"{each.task}: not judged"
    return f"{each.task}: no verdict" if is_withheld(each) else f"{each.task}: {each.label} {number(each.probability, 2)}"


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


def _badge(chain: ChainView, question: QuestionView) -> Markup | None:
    if chain.lost_at is None:
        return None
    return el("span", _lost(chain.lost_at, question), class_=f"chip {'good' if chain.lost_at is Loss.RIGHT else 'bad'}")


def _arrow() -> Markup:
    return join("\N{RIGHTWARDS ARROW}")


def _short(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS].rsplit(" ", 1)[0] + " \N{HORIZONTAL ELLIPSIS}"
