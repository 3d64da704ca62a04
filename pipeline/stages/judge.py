"""The judge: inputs and a closed schema → its most likely label, with a probability for every label.

A `Check` is the stage that asks it about one thing of a question: the intent, whether the passages hold the answer, whether
they support it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from types import MappingProxyType

from lorag.pipeline.contracts import PromptStyle, judge
from lorag.pipeline.contracts.context import PassageText
from lorag.pipeline.contracts.judge import ANSWERABILITY, SUPPORT, JudgeInputs, LabelSchema, intent_schema
from lorag.pipeline.engine.protocol import ChoiceRequest, Engine
from lorag.pipeline.errors import LoragError
from lorag.pipeline.records import Hit, Message, Outcome, Role, Verdict
from lorag.pipeline.stages.attempts import ask, attempt
from lorag.pipeline.stages.stage import Journey, Step, record, share
from lorag.pipeline.stages.synthesizer import REFUSAL


class Judge:
    """Asks `engine` with the judge adapter resident as `adapter`, or the bare base in the plain words."""

    def __init__(self, engine: Engine, adapter: str | None = None) -> None:
        self._engine = engine
        self.adapter = adapter
        self._style = PromptStyle.TUNED if adapter else PromptStyle.PLAIN

    @property
    def key(self) -> Hashable:
        return self._engine, self.adapter, self._style

    def judge(self, schema: LabelSchema, inputs: Sequence[JudgeInputs]) -> list[Verdict]:
        """One verdict an input, in order. Of labels that are equally likely the first of the schema is taken."""
        return [verdict for _, verdict in self.judge_prompts(schema, inputs)]

    def judge_prompts(self, schema: LabelSchema, inputs: Sequence[JudgeInputs]) -> list[tuple[tuple[Message, ...], Verdict]]:
        """As `judge`, each with the prompt that the labels stood after; empty where there was nothing to judge."""
        labels, names = tuple(judge.label_list(schema)), [item.question or item.message or item.answer for item in inputs]
        replies = tuple(judge.target(schema, label) for label in labels)

        def request(item: JudgeInputs) -> ChoiceRequest:
            return ChoiceRequest(judge.messages(schema, item, self._style), replies, self.adapter, schema.task)

        pairs = list(zip(inputs, names, strict=True))
        requests = attempt(
            schema.task, self.adapter, pairs, lambda batch: [request(item) for item, _ in batch], lambda pair: pair[1]
        )
        found = ask(self._engine.choice_probabilities, requests, names)
        return [
            (() if isinstance(each, LoragError) else each.messages, _verdict(schema.task, labels, row))
            for each, row in zip(requests, found, strict=True)
        ]


class Check:
    """The judge's word on what `subject` makes of a question; None: there is nothing to judge.

    With a `gate`, which is for answerability alone, the question is refused if P(unanswerable) is at least that. A verdict that
    failed ends it then: it may not pass unseen.
    """

    role = Role.JUDGE

    def __init__(
        self,
        judge: Judge,
        schema: LabelSchema,
        subject: Callable[[Journey], JudgeInputs | None],
        inputs: tuple[str, ...] = (),
        gate: float | None = None,
    ) -> None:
        self._judge, self._schema, self._subject, self._gate = judge, schema, subject, gate
        self.name, self.inputs = schema.task, inputs
        self.outputs = ("verdicts",) if gate is None else ("verdicts", "answer")

    @property
    def key(self) -> Hashable:
        return self._judge.key, self.name, self._schema.instruction, tuple(self._schema.labels.items()), self._gate

    def run(self, journeys: Sequence[Journey]) -> list[Step]:
        started = time.perf_counter()
        subjects = [self._subject(journey) for journey in journeys]
        asked = [subject for subject in subjects if subject is not None]
        judged = self._judge.judge_prompts(self._schema, asked)
        seconds = share(started, len(asked))
        steps = iter([self._step(prompt, verdict, seconds) for prompt, verdict in judged])
        return [Step() if subject is None else next(steps) for subject in subjects]

    def _step(self, prompt: tuple[Message, ...], verdict: Verdict, seconds: float) -> Step:
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
        )
        if self._gate is None:
            return Step(about, verdict=verdict)
        shut = verdict.error is None and shown["unanswerable"] >= self._gate
        return Step(about, verdict=verdict, answer=REFUSAL if shut else None, error=verdict.error)


def intent(judge: Judge, intents: Mapping[str, str]) -> Check:
    """What the user wants, judged from the turn as it was said. `intents` are labels and meanings."""
    return Check(judge, intent_schema(intents), _message)


def answerability(judge: Judge, gate: float | None = None) -> Check:
    """Whether the passages hold the answer. Without passages there is nothing to judge."""
    return Check(judge, ANSWERABILITY, _evidence, ("rewrite", "hits"), gate)


def support(judge: Judge) -> Check:
    """Whether the passages support the answer. A refusal claims nothing, so nothing is judged."""
    return Check(judge, SUPPORT, _claim, ("rewrite", "hits", "answer"))


def _message(journey: Journey) -> JudgeInputs:
    return JudgeInputs(message=journey.query.question, history=journey.query.history)


def _evidence(journey: Journey) -> JudgeInputs | None:
    return JudgeInputs(question=journey.rewrite.question, passages=_texts(journey.hits)) if journey.hits else None


def _claim(journey: Journey) -> JudgeInputs | None:
    """The answer beside what it cites, else beside all that was shown.

    The question is there because a short answer means nothing without it.
    """
    answer = journey.answer
    if answer is None or answer.refused or not answer.text.strip():
        return None
    cited = [journey.hits[citation.number - 1] for citation in answer.citations]
    return JudgeInputs(question=journey.rewrite.question, answer=answer.text, passages=_texts(cited or journey.hits))


def _texts(hits: Sequence[Hit]) -> tuple[PassageText, ...]:
    return tuple(PassageText.of(hit.passage) for hit in hits)


def _verdict(task: str, labels: Sequence[str], weights: tuple[float, ...] | LoragError | None) -> Verdict:
    if weights is None or isinstance(weights, LoragError):
        return Verdict(task, "", 0.0, MappingProxyType({}), Outcome.FAILED, weights)
    probabilities = dict(zip(labels, weights, strict=True))
    best = max(labels, key=lambda label: probabilities[label])
    return Verdict(task, best, probabilities[best], MappingProxyType(probabilities))
