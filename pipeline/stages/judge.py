"""The judge: inputs and a closed schema → its most likely label, with a probability for every label.

A `Check` is the stage that asks it one thing about a question: the intent, whether the passages hold the answer, or whether
they support it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from lorag.pipeline.contracts import PromptStyle, judge
from lorag.pipeline.contracts.context import PassageText
from lorag.pipeline.contracts.judge import ANSWERABILITY, SUPPORT, JudgeInputs, LabelSchema, intent_schema
from lorag.pipeline.engine.protocol import ChoiceRequest, Engine
from lorag.pipeline.errors import LoragError
from lorag.pipeline.records import Hit, Outcome, Role, Verdict
from lorag.pipeline.stages.attempts import named
from lorag.pipeline.stages.fitting import Fitted, ask_fitting
from lorag.pipeline.stages.stage import ChainState, StageResult, record, share
from lorag.pipeline.stages.synthesizer import REFUSAL

Asked = Fitted[ChoiceRequest, tuple[float, ...]]


class Judge:
    """Asks `engine` with the judge adapter resident as `adapter`, or the bare base with the plain prompt."""

    def __init__(self, engine: Engine, adapter: str | None = None) -> None:
        self._engine = engine
        self.adapter = adapter
        self._style = PromptStyle.TUNED if adapter else PromptStyle.PLAIN

    @property
    def key(self) -> Hashable:
        return self._engine, self.adapter, self._style

    def judge(self, schema: LabelSchema, inputs: Sequence[JudgeInputs]) -> list[Verdict]:
        """One verdict an input, in order. Of equally likely labels the first of the schema is chosen."""
        return [verdict for _, verdict in self.judge_prompts(schema, inputs)]

    def judge_prompts(self, schema: LabelSchema, inputs: Sequence[JudgeInputs]) -> list[tuple[Asked, Verdict]]:
        """As `judge`, each with what was asked: the request is an error if there was nothing to judge. Passages that do not fit
        the prompt are left out."""
        labels, names = tuple(judge.label_list(schema)), [item.question or item.message or item.answer for item in inputs]
        replies = tuple(judge.target(schema, label) for label in labels)

        def build(item: int, kept: tuple[int, ...]) -> ChoiceRequest | LoragError:
            shown = replace(inputs[item], passages=tuple(inputs[item].passages[number] for number in kept))
            try:
                return ChoiceRequest(judge.messages(schema, shown, self._style), replies, self.adapter, stage=schema.task)
            except LoragError as error:
                return named(error, schema.task, self.adapter, names[item])

        sizes = [[len(passage.title) + len(passage.text) for passage in item.passages] for item in inputs]
        asked = ask_fitting(self._engine.choice_probabilities, sizes, build, names)
        return [(each, _verdict(schema.task, labels, each.reply)) for each in asked]


class Check:
    """A verdict on what `subject` takes from a question; None from it means there is nothing to judge.

    With a `gate`, which is for answerability alone, the question is refused if P(unanswerable) is at least that. A failed
    verdict then ends the question: it may not pass unchecked. `proven` is that of its verdicts.
    """

    role = Role.JUDGE

    def __init__(
        self,
        judge: Judge,
        schema: LabelSchema,
        subject: Callable[[ChainState], JudgeInputs | None],
        inputs: tuple[str, ...] = (),
        gate: float | None = None,
        proven: bool | None = None,
    ) -> None:
        self._judge, self._schema, self._subject, self._gate, self._proven = judge, schema, subject, gate, proven
        self.name, self.inputs = schema.task, inputs
        self.outputs = ("verdicts",) if gate is None else ("verdicts", "answer")

    @property
    def key(self) -> Hashable:
        return self._judge.key, self.name, self._schema.instruction, tuple(self._schema.labels.items()), self._gate, self._proven

    def run(self, states: Sequence[ChainState]) -> list[StageResult]:
        started = time.perf_counter()
        subjects = [self._subject(state) for state in states]
        asked = [subject for subject in subjects if subject is not None]
        judged = self._judge.judge_prompts(self._schema, asked)
        seconds = share(started, len(asked))
        results = iter([self._result(each, verdict, seconds) for each, verdict in judged])
        return [StageResult() if subject is None else next(results) for subject in subjects]

    def _result(self, asked: Asked, verdict: Verdict, seconds: float) -> StageResult:
        verdict = replace(verdict, proven=self._proven)
        prompt = asked.request.messages if isinstance(asked.request, ChoiceRequest) else ()
        detail = {"left_out": asked.parts - len(asked.kept)} if len(asked.kept) < asked.parts else {}
        shown = dict(verdict.probabilities)
        about = record(
            self.name,
            self._judge.adapter,
            seconds,
            verdict.outcome,
            prompt,
            verdict.label,
            probabilities=shown,
            error=verdict.error,
            **detail,
        )
        if self._gate is None:
            return StageResult(about, verdict=verdict)
        shut = verdict.error is None and shown["unanswerable"] >= self._gate
        return StageResult(about, verdict=verdict, answer=REFUSAL if shut else None, error=verdict.error)


Proven = Collection[str] | None
"""The tasks in which the judge is shown to be better than a floor; None if that is not known."""


def intent(judge: Judge, intents: Mapping[str, str], proven: Proven = None) -> Check:
    """What the user wants, judged from the question before the rewrite. `intents` are labels and meanings."""
    schema = intent_schema(intents)
    return Check(judge, schema, _message, proven=_is_proven(schema, proven))


def answerability(judge: Judge, gate: float | None = None, proven: Proven = None) -> Check:
    """Whether the passages hold the answer. Without passages there is nothing to judge."""
    return Check(judge, ANSWERABILITY, _evidence, ("rewrite", "hits"), gate, _is_proven(ANSWERABILITY, proven))


def support(judge: Judge, proven: Proven = None) -> Check:
    """Whether the passages support the answer. A refusal claims nothing, so nothing is judged."""
    return Check(judge, SUPPORT, _claim, ("rewrite", "hits", "answer"), proven=_is_proven(SUPPORT, proven))


def _is_proven(schema: LabelSchema, proven: Proven) -> bool | None:
    return None if proven is None else schema.task in proven


def _message(state: ChainState) -> JudgeInputs:
    return JudgeInputs(message=state.query.question, history=state.query.history)


def _evidence(state: ChainState) -> JudgeInputs | None:
    return JudgeInputs(question=state.rewrite.question, passages=_texts(state.hits)) if state.hits else None


def _claim(state: ChainState) -> JudgeInputs | None:
    """The answer with the passages it cites, or all that were shown if it cites none.

    The question is there because a short answer means nothing without it.
    """
    answer = state.answer
    if answer is None or answer.refused or not answer.text.strip():
        return None
    cited = [state.hits[citation.number - 1] for citation in answer.citations]
    return JudgeInputs(question=state.rewrite.question, answer=answer.text, passages=_texts(cited or state.hits))


def _texts(hits: Sequence[Hit]) -> tuple[PassageText, ...]:
    return tuple(PassageText.of(hit.passage) for hit in hits)


def _verdict(task: str, labels: Sequence[str], weights: tuple[float, ...] | LoragError | None) -> Verdict:
    if weights is None or isinstance(weights, LoragError):
        return Verdict(task, "", 0.0, MappingProxyType({}), Outcome.FAILED, weights)
    probabilities = dict(zip(labels, weights, strict=True))
    best = max(labels, key=lambda label: probabilities[label])
    return Verdict(task, best, probabilities[best], MappingProxyType(probabilities))
