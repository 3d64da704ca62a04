"""Requests for the evaluation of the judge and by it: freely generated labels, and the support of answers.

The judge chooses among labels by likelihood, so its label is always valid. The share of freely generated replies that are
labels shows whether it has learnt the format. Its verdicts on answers come with its calibration on the labelled support
judgments of the same test set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lorag.pipeline.contracts import PromptStyle, judge
from lorag.pipeline.contracts.judge import SUPPORT
from lorag.pipeline.engine.protocol import Engine, Generation
from lorag.pipeline.errors import LoragError
from lorag.pipeline.evaluation.ablation import JudgeItem, Measured
from lorag.pipeline.evaluation.answers import RIGHT
from lorag.pipeline.evaluation.judgments import Judged, JudgeScores, score_judgments
from lorag.pipeline.evaluation.prediction_powered import PoweredShares, Predicted, powered_shares
from lorag.pipeline.evaluation.risk_coverage import RiskCoverage, risk_coverage
from lorag.pipeline.records import Outcome, Verdict
from lorag.pipeline.stages import Judge
from lorag.pipeline.stages.attempts import attempt
from lorag.pipeline.stages.judge import support
from lorag.pipeline.stages.stage import ChainState

LABEL_TOKENS = 16
"""Enough for any label; a longer reply is none."""

WRITTEN = "written labels"
"""The stage name of requests for freely generated labels, which the chain does not make."""


@dataclass(frozen=True, slots=True)
class SupportVerdicts:
    """A judge's verdicts on the answers of one configuration.

    `probability` is the mean P(supported) over `judged` answers, `supported` the share whose most likely label it is. Both are
    None if none was judged, and if the judge is not `proven` to be better than a floor in this task. `failed` are the answers
    without a verdict: counted, never scored. `calibration` is the same judge's on labelled support judgments, None if the test
    set has none.

    `powered` are the shares of fully, partly and not supported answers, corrected by those labels; None if there are none. The
    labels are of answers that were written for the purpose, so it corrects this judge's bias on those. `risk` is the
    risk–coverage curve with P(supported) as the confidence, over the judged answers; None if none was judged.
    """

    configuration: str
    judged: int
    supported: float | None
    probability: float | None
    failed: tuple[str, ...]
    calibration: JudgeScores | None
    powered: PoweredShares | None = None
    risk: RiskCoverage | None = None
    proven: bool = False


def judge_answers(measured: Measured, judge_stage: Judge, labelled: Sequence[Judged], proven: bool = False) -> SupportVerdicts:
    """Judge the support of each answer that makes a claim. `labelled` are the judge's own test judgments; `proven` says whether
    they show it to be better than a floor."""
    results = support(judge_stage).run([ChainState.of(response) for response in measured.responses.values()])
    verdicts = {
        id_: result.verdict for id_, result in zip(measured.responses, results, strict=True) if result.verdict is not None
    }
    ok = [verdict for verdict in verdicts.values() if verdict.outcome is Outcome.OK]
    first = next(iter(SUPPORT.labels))
    own = [item for item in labelled if item.gold.startswith(f"{SUPPORT.task}: ") and item.label is not None]
    return SupportVerdicts(
        configuration=measured.configuration.name,
        judged=len(ok),
        supported=sum(verdict.label == first for verdict in ok) / len(ok) if ok and proven else None,
        probability=sum(verdict.probabilities[first] for verdict in ok) / len(ok) if ok and proven else None,
        failed=tuple(id_ for id_, verdict in verdicts.items() if verdict.outcome is not Outcome.OK),
        calibration=score_judgments(own) if own else None,
        powered=_powered(measured, verdicts, own),
        risk=_risk(measured, verdicts),
        proven=proven,
    )


def _powered(measured: Measured, verdicts: Mapping[str, Verdict], own: Sequence[Judged]) -> PoweredShares | None:
    """The shares of the support labels over the judged answers; None without judged or labelled items, or in one group."""
    groups = {item.id: item.group for item in measured.answers.items}
    judged = [
        Predicted(verdict.probabilities, groups.get(id_, id_))
        for id_, verdict in verdicts.items()
        if verdict.outcome is Outcome.OK
    ]
    start = len(f"{SUPPORT.task}: ")
    labelled = [
        Predicted({name[start:]: p for name, p in item.probabilities.items()}, item.group or item.id, item.gold[start:])
        for item in own
    ]
    if not judged or not labelled or len({each.group for each in (*judged, *labelled)}) < 2:
        return None
    return powered_shares(judged, labelled, tuple(SUPPORT.labels))


def _risk(measured: Measured, verdicts: Mapping[str, Verdict]) -> RiskCoverage | None:
    """The curve over the judged answers. An answer to a question that has none is wrong; the questions not judged are silent."""
    rights, first = measured.answers.values(RIGHT), next(iter(SUPPORT.labels))
    sure = {id_: verdict.probabilities[first] for id_, verdict in verdicts.items() if verdict.outcome is Outcome.OK}
    if not sure:
        return None
    wrong = [not rights.get(id_, 0.0) for id_ in sure]
    name = measured.configuration.name
    return risk_coverage(name, "the judge's P(supported)", list(sure.values()), wrong, len(measured.responses) - len(sure))


def write_freely(engine: Engine, adapter: str | None, items: Sequence[JudgeItem]) -> list[Judged]:
    """The labels that the judge generates without constraint; a reply that is not exactly a label is unparsed."""
    style = PromptStyle.TUNED if adapter else PromptStyle.PLAIN

    def generate(batch: Sequence[JudgeItem]) -> list[str]:
        prompts = [judge.messages(item.schema, item.inputs, style) for item in batch]
        requests = [Generation(prompt, adapter, LABEL_TOKENS, stage=WRITTEN) for prompt in prompts]
        return [done.text for done in engine.generate(requests)]

    replies = attempt("judge", adapter, items, generate, lambda item: item.id)
    return [_written(item, reply) for item, reply in zip(items, replies, strict=True)]


def _written(item: JudgeItem, reply: str | LoragError) -> Judged:
    if isinstance(reply, LoragError):
        return Judged(item.id, item.label, None, {}, Outcome.FAILED, item.group)
    label = judge.parse(item.schema, reply)
    return Judged(item.id, item.label, label, {}, Outcome.OK if label is not None else Outcome.UNPARSED, item.group)
