"""The detail tables of `lorag eval chain`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lorag.services.terminal import cell, out, show, table

if TYPE_CHECKING:
    from lorag.evaluating.details import Details, JudgeDetail, Outcomes
    from lorag.pipeline.evaluation.alce import AlceScores
    from lorag.pipeline.evaluation.conversations import ConversationScores
    from lorag.pipeline.evaluation.journal import Usage
    from lorag.pipeline.evaluation.judge_evaluation import SupportVerdicts
    from lorag.pipeline.evaluation.refusal_scores import RefusalScores
    from lorag.pipeline.evaluation.rewrite_retrieval import RewriteRetrieval

LISTED = 5
"""The most ids of failed or unparsed items to print. The JSON holds all."""


def show_details(details: Details | None, usage: Sequence[Usage]) -> None:
    if details is not None:
        _show_rewrites(details.rewrites)
        _show_judges(details.judges)
        _show_support(details.support)
        _show_refusals(details.refusals)
        _show_alce(details.alce)
        _show_conversations(details.conversations)
    _show_usage(usage)
    if details is not None:
        _show_outcomes(details.outcomes)


def _show_rewrites(found: RewriteRetrieval) -> None:
    if not found.rows:
        return
    rows = table("searched for with", ">nDCG@10", ">Recall@5", title=f"Retrieval on {found.rows[0].n} conversation turns")
    for each in found.rows:
        rows.add_row(cell(each.name), f"{each.ndcg:.3f}", f"{each.recall:.3f}")
    out().print(rows)
    for harm in found.harm:
        show(
            f"{harm.name}: of {harm.n} turns that stand alone {harm.changed:.0%} changed; "
            f"nDCG@10 of the raw question minus that of the rewrite: {harm.loss:+.3f}"
        )


def _show_judges(judges: Sequence[JudgeDetail]) -> None:
    if not judges:
        return
    names = ("macro-F1", "accuracy", "balanced accuracy", "kappa", "ECE", "ECE, equal mass", "Brier", "label written freely", "n")
    rows = table("judge", "task", *(f">{name}" for name in names), title="Judgments, task by task")
    for each in judges:
        scores = each.scores
        figures: list[float | None] = [None] * 7
        if scores is not None:
            figures = [scores.macro_f1, scores.accuracy, scores.balanced_accuracy, scores.kappa]
            figures += [scores.ece, scores.ece_mass, scores.brier]
        n = str(scores.n) if scores is not None else "0"
        rows.add_row(
            cell(each.configuration), cell(each.task), *(_figure(value) for value in (*figures, each.written_in_format)), n
        )
    out().print(rows)


def _show_support(found: Sequence[SupportVerdicts]) -> None:
    for each in found:
        measured = each.calibration
        calibration = (
            "it was never calibrated"
            if measured is None
            else f"its ECE on {measured.n} labelled answers is {_figure(measured.ece)}"
        )
        show(
            f"{each.configuration}: the judge finds {_figure(each.supported)} of {each.judged} answers supported, "
            f"mean probability {_figure(each.probability)}; {calibration}"
        )
        if each.powered is not None:
            shares = ", ".join(
                f"{share.label} {share.value:.3f} ({share.low:.3f} to {share.high:.3f})" for share in each.powered.shares
            )
            show(f"{each.configuration}: corrected by {each.powered.labelled} labelled answers: {shares}")
        if each.risk is not None:
            show(
                f"{each.configuration}: {each.risk.risk:.0%} of {each.risk.answered} answers are wrong; answering first what "
                f"{each.risk.confidence} is surest of, the area under risk and coverage is {each.risk.aurc:.3f}"
            )


def _show_refusals(found: Sequence[RefusalScores]) -> None:
    if not found:
        return
    kinds = [row.kind for row in found[0].rows]
    columns = (*(f">refused, {kind}" for kind in kinds), ">precision", ">recall", ">F1")
    rows = table("refusals", *columns, title="Refusals, by the passages shown")
    for each in found:
        shares = (f"{row.refused} of {row.n}" for row in each.rows)
        rows.add_row(cell(each.configuration), *shares, *map(_figure, (each.precision, each.recall, each.f1)))
    out().print(rows)


def _show_alce(found: Sequence[AlceScores]) -> None:
    if not found:
        return
    rows = table("citations", "entailed by", ">recall", ">precision", ">answers", title="Citations by statement (ALCE)")
    for each in found:
        rows.add_row(cell(each.configuration), each.entailment, _figure(each.recall), _figure(each.precision), str(each.answers))
    out().print(rows)


def _show_conversations(found: Sequence[ConversationScores]) -> None:
    if not found:
        return
    rows = table(
        "conversations", ">turns right", ">all turns right", ">vital nuggets", title="Conversations, every turn answered"
    )
    for each in found:
        turns, whole = f"{each.right} of {each.turns}", f"{each.whole} of {each.conversations}"
        rows.add_row(cell(each.configuration), turns, whole, _figure(each.vital))
    out().print(rows)


def _show_usage(usage: Sequence[Usage]) -> None:
    columns = ("stage", "adapter", ">requests", ">prompt tokens", ">reply tokens", ">seconds each")
    rows = table(*columns, title="What it took; requests are answered in batches")
    for each in usage:
        latency = "" if each.latency is None else f"{each.latency:.2f}"
        tokens = (str(each.prompt_tokens), str(each.completion_tokens)) if each.completion_tokens else ("", "")
        rows.add_row(cell(each.stage), cell(each.adapter), str(each.requests), *tokens, latency)
    out().print(rows)


def _show_outcomes(outcomes: Sequence[Outcomes]) -> None:
    for each in outcomes:
        for name, ids in (("unparsed", each.unparsed), ("failed", each.failed)):
            if ids:
                more = f" and {len(ids) - LISTED} more" if len(ids) > LISTED else ""
                show(f"{each.configuration}, {each.stage}: {len(ids)} of {each.items} {name}: {', '.join(ids[:LISTED])}{more}")


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
