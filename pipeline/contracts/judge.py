"""The judge's contract: text(s) → exactly one label of a closed schema. Pure text.

The label is chosen by likelihood among the schema's labels, so it is always valid and has a probability. `parse` reads freely
generated replies, which only the evaluation of the label format needs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lorag.pipeline.contracts.context import PassageText, one_line, shared_context
from lorag.pipeline.contracts.style import PromptStyle
from lorag.pipeline.errors import InputError
from lorag.pipeline.records import Message, Turn


@dataclass(frozen=True, slots=True)
class LabelSchema:
    """A judge task: its question, and the labels in order with their meanings."""

    task: str
    instruction: str
    labels: Mapping[str, str]

    def __post_init__(self) -> None:
        if len(self.labels) < 2:
            raise InputError(f"judge task {self.task!r} has {len(self.labels)} label(s); a closed schema needs at least two")
        for label in self.labels:
            if not label or label != one_line(label):
                raise InputError(f"judge task {self.task!r}: label {label!r} must be one line of text without blanks around it")


@dataclass(frozen=True, slots=True)
class JudgeInputs:
    """What is judged. A task uses the fields it needs and leaves the rest empty."""

    message: str = ""
    question: str = ""
    answer: str = ""
    history: tuple[Turn, ...] = ()
    passages: tuple[PassageText, ...] = field(default=())


RELEVANCE = LabelSchema(
    "relevance",
    "How well does the passage answer the question?",
    {"0": "unrelated", "1": "same subject, no help", "2": "helps in part", "3": "answers it"},
)
ANSWERABILITY = LabelSchema(
    "answerability",
    "Do the passages hold the answer to the question?",
    {"answerable": "they state it", "unanswerable": "they do not"},
)
SUPPORT = LabelSchema(
    "support",
    "Do the passages support the answer?",
    {"supported": "all of it", "partly": "only a part", "unsupported": "none of it, or they contradict it"},
)
BUILT_IN: Mapping[str, LabelSchema] = {s.task: s for s in (RELEVANCE, ANSWERABILITY, SUPPORT)}


def intent_schema(labels: Mapping[str, str]) -> LabelSchema:
    """The intent task over a project's own labels (name → what the user wants)."""
    return LabelSchema("intent", "What does the user want?", labels)


def messages(schema: LabelSchema, inputs: JudgeInputs, style: PromptStyle = PromptStyle.TUNED) -> tuple[Message, ...]:
    """Prompt for one judgment. It contains the schema, so one adapter serves schemas that it was not trained on."""
    context = shared_context(
        history=inputs.history, passages=inputs.passages, question=inputs.question if inputs.question.strip() else None
    )
    extra = [
        f"{name}: {one_line(text)}" for name, text in (("Message", inputs.message), ("Answer", inputs.answer)) if text.strip()
    ]
    blocks = [block for block in (context, *extra) if block]
    if not blocks:
        raise InputError(f"judge task {schema.task!r}: nothing to judge; give a message, question, answer or passages")
    labels = "\n".join(f"{label}: {one_line(meaning)}" for label, meaning in schema.labels.items())
    ask = "Reply with one label only." if style is PromptStyle.PLAIN else "Label:"
    return (Message("user", "\n\n".join([*blocks, f"{schema.instruction}\n{labels}\n{ask}"])),)


def target(schema: LabelSchema, label: str) -> str:
    """What the adapter learns to reply. Raises InputError for a label outside the schema."""
    if label not in schema.labels:
        raise InputError(f"label {label!r} is not in the schema of judge task {schema.task!r}: {', '.join(schema.labels)}")
    return label


def parse(schema: LabelSchema, reply: str) -> str | None:
    """The label that a freely generated reply consists of, or None if it is not exactly one of the schema's."""
    text = one_line(reply).rstrip(".")
    return text if text in schema.labels else None


def label_list(schema: LabelSchema) -> Sequence[str]:
    """The labels in schema order."""
    return tuple(schema.labels)
