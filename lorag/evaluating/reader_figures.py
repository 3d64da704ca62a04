"""Measured configurations → the report's figures on refusals and wrong answers. Measures nothing."""

from __future__ import annotations

from collections.abc import Sequence

from lorag.pipeline.config import Settings
from lorag.pipeline.evaluation.ablation import Measured, TestSet, interval, mean
from lorag.pipeline.evaluation.answers import RIGHT, TRUTHFULNESS
from lorag.pipeline.evaluation.judge_evaluation import SupportVerdicts
from lorag.pipeline.evaluation.pricing import Prices
from lorag.pipeline.evaluation.refusal_scores import RefusalScores, refusal_scores
from lorag.pipeline.evaluation.report.records import Cell, PricedAnswers
from lorag.pipeline.evaluation.risk_coverage import RiskCoverage, risk_coverage
from lorag.pipeline.records import Outcome, Response

BEST_SCORE = "the score of the best passage"


def prices_of(settings: Settings) -> Prices:
    """What `evaluation` in lorag.yaml pays for right answers, silence and wrong answers."""
    paid = settings.evaluation
    return Prices(paid.right, paid.silent, paid.wrong)


def refusals_of(tests: TestSet, measured: Sequence[Measured]) -> tuple[RefusalScores, ...]:
    """Refusals by the passages shown, of each system that answered."""
    golds = [item.gold for item in tests.chain if item.answered]
    answered = [each for each in measured if each.responses]
    return tuple(refusal_scores(each.configuration.name, golds, each.responses, each.answers) for each in answered if golds)


def priced_answers(measured: Sequence[Measured], prices: Prices) -> tuple[PricedAnswers, ...]:
    """Right, silent and wrong answers of each system that answered, with the mean of their prices."""
    return tuple(found for each in measured if (found := _priced(each, prices)) is not None)


def _priced(measured: Measured, prices: Prices) -> PricedAnswers | None:
    score = mean(measured, TRUTHFULNESS)
    if score is None:
        return None
    given = _answered(measured)
    rights = measured.answers.values(RIGHT)
    right = sum(bool(rights.get(id_)) for id_, response in given.items() if not response.answer.refused)
    silent = sum(response.answer.refused for response in given.values())
    found = interval(measured, TRUTHFULNESS)
    cell = Cell(score, None, None, len(given)) if found is None else Cell(score, found.low, found.high, found.n, found.groups)
    return PricedAnswers(measured.configuration.name, right, silent, len(given) - right - silent, prices, cell)


def risk_curves(measured: Sequence[Measured], support: Sequence[SupportVerdicts] = ()) -> tuple[RiskCoverage, ...]:
    """The risk–coverage curve of each system by the score of its best passage, which costs no request, and by the judge if its
    `support` verdicts were asked for. An answer to a question that has none is wrong; who answers nothing has no curve."""
    judged = {each.configuration: each.risk for each in support if each.risk is not None}
    found: list[RiskCoverage] = []
    for each in measured:
        rights, given = each.answers.values(RIGHT), _answered(each)
        answers = {id_: response for id_, response in given.items() if not response.answer.refused}
        if answers:
            sure = [max((hit.score for hit in response.trace.hits), default=0.0) for response in answers.values()]
            wrong = [not rights.get(id_, 0.0) for id_ in answers]
            found.append(risk_coverage(each.configuration.name, BEST_SCORE, sure, wrong, len(given) - len(answers)))
        if each.configuration.name in judged:
            found.append(judged[each.configuration.name])
    return tuple(found)


def _answered(measured: Measured) -> dict[str, Response]:
    """The responses that did not fail."""
    return {id_: each for id_, each in measured.responses.items() if each.answer.outcome is not Outcome.FAILED}
