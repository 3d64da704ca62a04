"""Invented conversations whose last question depends on them.

Public sets rarely change the subject and seldom ask "and its price?" of a list, so both are made here: invented conversations
ask for one property after the other. Pure: no model, no file.
"""

from __future__ import annotations

from benchmarks.starter_training.invented import KINDS, Attribute, Draw, definite, filled, question_on
from lorag.pipeline.records import Speaker, Turn
from lorag.training.transfer.invented import Conversation


def follow_up(rng: Draw) -> Conversation:
    """One invented conversation."""
    kind = rng.choice(KINDS)
    attributes = rng.sample(kind.attributes, min(len(kind.attributes), rng.randrange(2, 5)))
    thing, other = kind.name(rng), kind.name(rng)
    history: list[Turn] = []
    for attribute in attributes[:-1]:
        first = not history
        asked = question_on(attribute, thing, rng) if first or rng.random() < 0.3 else _dependent_question(attribute, rng)
        history += [Turn(Speaker.USER, asked), Turn(Speaker.ASSISTANT, _reply(attribute, thing, rng))]
    last = attributes[-1]
    draw = rng.random()
    if draw < 0.25:  # the same property of another thing
        last = attributes[-2]
        question, full = (
            f"{rng.choice(('And', 'What about', 'and for', 'How about'))} {definite(other)}?",
            _standalone_question(last, other, rng),
        )
    elif draw < 0.4:  # a new subject, clear by itself
        full = question_on(last, other, rng)
        question = full
    else:
        question = _dependent_question(last, rng)
        full = _standalone_question(last, thing, rng, question)
    return Conversation(tuple(history), question, full)


def _dependent_question(attribute: Attribute, rng: Draw) -> str:
    """A question that names its thing by a pronoun or not at all."""
    if rng.random() < 0.5:
        text = rng.choice(attribute.questions)
        text = text.replace("of {thing}", "of it").replace("{thing}", rng.choice(("it", "it", "that one")))
        return text[0].upper() + text[1:]
    return rng.choice(("And the {row}?", "and its {row}?", "What about the {row}?", "{row}?", "and {row}")).replace(
        "{row}", attribute.row.lower()
    )


def _standalone_question(attribute: Attribute, thing: str, rng: Draw, dependent: str = "") -> str:
    """The question with its thing named, in the words of `dependent` if that has a pronoun for it."""
    for text in attribute.questions:
        shown = text.replace("of {thing}", "of it").replace("{thing}", "it")
        if dependent.lower() in (shown.lower(), text.replace("{thing}", "that one").lower()):
            return filled(text, thing)
    if dependent:
        return f"What is the {attribute.row.lower()} of {definite(thing)}?"
    return filled(attribute.questions[0], thing)


def _reply(attribute: Attribute, thing: str, rng: Draw) -> str:
    value = attribute.value(rng)
    if rng.random() < 0.5:
        return value
    return filled(rng.choice(attribute.prose), thing, value)
