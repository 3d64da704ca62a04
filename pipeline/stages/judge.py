"""The judge stage: inputs and a closed schema → its most likely label, with a probability for every label."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

from lorag.pipeline.contracts import PromptStyle, judge
from lorag.pipeline.contracts.judge import JudgeInputs, LabelSchema
from lorag.pipeline.engine.protocol import ChoiceRequest, Engine
from lorag.pipeline.errors import LoragError
from lorag.pipeline.records import Message, Outcome, Verdict
from lorag.pipeline.stages.attempts import attempt


class Judge:
    """Asks `engine` with the judge adapter resident as `adapter`, or the bare base in the plain words."""

    def __init__(self, engine: Engine, adapter: str | None = None) -> None:
        self._engine = engine
        self.adapter = adapter
        self._style = PromptStyle.TUNED if adapter else PromptStyle.PLAIN

    def prompt(self, schema: LabelSchema, inputs: JudgeInputs) -> tuple[Message, ...]:
        """What the labels are weighed after. Raises InputError where there is nothing to judge."""
        return judge.messages(schema, inputs, self._style)

    def judge(self, schema: LabelSchema, inputs: Sequence[JudgeInputs]) -> list[Verdict]:
        """One verdict an input, in order. Of labels that are equally likely the first of the schema is taken."""
        labels = tuple(judge.label_list(schema))

        def choice_probabilities(batch: Sequence[JudgeInputs]) -> list[tuple[float, ...]]:
            replies = tuple(judge.target(schema, label) for label in labels)
            return self._engine.choice_probabilities(
                [ChoiceRequest(self.prompt(schema, item), replies, self.adapter) for item in batch]
            )

        weights = attempt(
            schema.task, self.adapter, inputs, choice_probabilities, lambda item: item.question or item.message or item.answer
        )
        return [_verdict(schema.task, labels, row) for row in weights]


def _verdict(task: str, labels: Sequence[str], weights: tuple[float, ...] | LoragError) -> Verdict:
    if isinstance(weights, LoragError):
        return Verdict(task, "", 0.0, MappingProxyType({}), Outcome.FAILED, weights)
    probabilities = dict(zip(labels, weights, strict=True))
    best = max(labels, key=lambda label: probabilities[label])
    return Verdict(task, best, probabilities[best], MappingProxyType(probabilities))
