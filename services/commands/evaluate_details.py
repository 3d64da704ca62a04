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
    from lorag.pipeline.evaluation.judgments import JudgeScores
    from lorag.pipeline.evaluation.refusal_scores import RefusalScores
    from lorag.pipeline.evaluation.rewrite_retrieval import RewriteRetrieval

LISTED = 5
"""The most ids of failed or unparsed items to print. The JSON holds all."""


def show_details(details: Details | None, usage: Sequence[Usage]) -> None:
    if details is not None:
        _show_rewrites(details.rewrites)
        _show_judges(details.judges)
        _show_calibration(details.judges)
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
    names = (">macro-F1", "best floor", ">floor", ">accuracy", ">balanced accuracy", ">kappa", ">label written freely")
    rows = table("judge", "task", *names, ">n, groups", "", title="Judgments, task by task")
    for each in judges:
        figures: list[float | None] = [None] * 4
        if (scores := each.scores) is not None:
            figures = [scores.macro_f1, scores.accuracy, scores.balanced_accuracy, scores.kappa]
        leading, *others = map(_figure, (*figures, each.written_in_format))
        verdict = "better" if each.beaten else "not shown to be better"
        floor = (cell(each.floor), _figure(each.floor_f1))
        rows.add_row(cell(each.configuration), cell(each.task), leading, *floor, *others, _sizes(scores), verdict)
    out().print(rows)


def _show_calibration(judges: Sequence[JudgeDetail]) -> None:
    found = [each for each in judges if each.scores is not None and each.scores.with_probabilities]
    if not found:
        return
    columns = (">ECE", ">ECE, equal mass", ">Brier", ">Brier floor", ">n, groups")
    rows = table("judge", "task", *columns, title="Calibration, task by task; the floor gives the labels' frequencies")
    for each in found:
        if (scores := each.scores) is not None:
            figures = map(_figure, (scores.ece, scores.ece_mass, scores.brier, scores.brier_floor))
            rows.add_row(cell(each.configuration), cell(each.task), *figures, _sizes(scores))
    out().print(rows)


def _sizes(scores: JudgeScores | None) -> str:
    return "0, 0" if scores is None else f"{scores.n}, {scores.groups}"


def _show_support(found: Sequence[SupportVerdicts]) -> None:
    for each in found:
        measured = each.calibration
        calibration = (
            "it was never calibrated"
            if measured is None
            else f"its ECE on {measured.n} labelled answers is {_figure(measured.ece)}"
        )
        if each.supported is None:
            why = "it is not shown to be better than a rule there" if each.judged else "there was no answer to judge"
            show(f"{each.configuration}: no verdict of the judge on the support of answers, since {why}; {calibration}")
        else:
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
    columns = (*(f">refused, {kind}" for kind in kinds), ">precision", ">recall", ">F1", ">F1 of always refusing")
    rows = table("refusals", *columns, title="Refusals, by the passages shown")
    for each in found:
        shares = (f"{row.refused} of {row.n}" for row in each.rows)
        rows.add_row(cell(each.configuration), *shares, *map(_figure, (each.precision, each.recall, each.f1, each.floor)))
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
    columns = (">turns right", ">all turns right", ">vital nuggets", ">nugget F3")
    rows = table("conversations", *columns, title="Conversations, every turn answered")
    for each in found:
        turns, whole = f"{each.right} of {each.turns}", f"{each.whole} of {each.conversations}"
        rows.add_row(cell(each.configuration), turns, whole, _figure(each.vital), _figure(each.nugget_f))
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
