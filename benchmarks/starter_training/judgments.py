"""Judgments whose labels follow from known facts: the passage with the answer, the right answer, the intent of a text.

No label is guessed. A passage answers its own questions. A passage of the same article without an answer is on the same subject.
The passage of one half of a double question helps in part. An answer is unsupported if it belongs to another question and does
not occur in the passages shown. Pure: no model, no file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.starter_training.grounded import Context
from benchmarks.starter_training.held_out import joined
from benchmarks.starter_training.invented import Draw, Sheet
from benchmarks.starter_training.sets import SourceLabel
from benchmarks.starter_training.sources import SourceQuestion
from lorag.pipeline.contracts import judge
from lorag.pipeline.contracts.judge import ANSWERABILITY, RELEVANCE, SUPPORT, JudgeInputs, LabelSchema, intent_schema
from lorag.training.sft import Example

NONE_OF_THESE = ("other", "something else")
"""The right label and its meaning in a drawn intent schema without the text's own label."""


def _example(id_: str, schema: LabelSchema, inputs: JudgeInputs, label: str) -> Example:
    return Example(id_, judge.messages(schema, inputs), judge.target(schema, label))


def answerability_examples(context: Context, count: int, rng: Draw) -> list[Example]:
    """As many answerable as unanswerable questions of a context, at most `count`."""
    answerable = [asked for asked in context.asked if asked[1]]
    missing = [asked for asked in context.asked if not asked[1]]
    each = min(len(answerable), len(missing), count // 2)
    drawn = rng.sample(answerable, each) + rng.sample(missing, each)
    return [
        _example(
            f"{context.id}-answerability-{n}",
            ANSWERABILITY,
            JudgeInputs(question=question.question, passages=context.passages),
            "answerable" if number else "unanswerable",
        )
        for n, (question, number, _) in enumerate(drawn)
    ]


def relevance_examples(
    context: Context, others: Sequence[SourceQuestion], near: Sequence[SourceQuestion], rng: Draw
) -> list[Example]:
    """Examples of each degree for the first passage of a context, as far as there are questions for it.

    `near` are questions on other passages of its article, `others` those on other articles.
    """
    passage = context.passages[:1]
    own = [question for question, number, _ in context.asked if number == 1]
    text = passage[0].text.casefold()
    near = [q for q in near if not any(answer.casefold() in text for answer in q.answers)]
    others = [q for q in others if not any(answer.casefold() in text for answer in q.answers)]
    degrees: list[tuple[str, str]] = [("3", question.question) for question in rng.sample(own, min(2, len(own)))]
    degrees += [("1", question.question) for question in rng.sample(near, min(2, len(near)))]
    degrees += [("0", question.question) for question in rng.sample(others, min(2, len(others)))]
    if own and near:
        for question in rng.sample(near, min(2, len(near))):
            degrees.append(("2", _in_either_order(rng.choice(own).question, question.question, rng)))
    return [
        _example(f"{context.id}-relevance-{n}", RELEVANCE, JudgeInputs(question=question, passages=passage), degree)
        for n, (degree, question) in enumerate(degrees)
    ]


def support_examples(context: Context, others: Sequence[tuple[str, str]], count: int, rng: Draw) -> list[Example]:
    """Right, wrong and half right answers to a context's questions, a third each. `others`: (question, answer) from elsewhere."""
    text = " ".join(passage.text for passage in context.passages).casefold()
    answerable = [(question.question, reply) for question, number, reply in context.asked if number]
    wrong = [answer for _, answer in [*others, *answerable]]
    made = []
    for n in range(min(count, 3 * len(answerable))):
        question, right = rng.choice(answerable)
        label = ("supported", "unsupported", "partly")[n % 3]
        alike = [a for a in wrong if shape(a) == shape(right) and a.casefold() != right.casefold()] or wrong
        absent = [a for a in alike if a.casefold() not in text] if rng.random() < 0.6 else alike
        other = rng.choice(absent or alike)
        if other.casefold() in right.casefold() or right.casefold() in other.casefold():
            continue
        answer = right
        if label == "unsupported":
            answer = other
        elif label == "partly":
            pair = [(q, a) for q, a in answerable if q != question]
            elsewhere = [(q, a) for q, a in others if a.casefold() not in text]
            if not (pair or elsewhere):
                continue
            second, _ = rng.choice(pair) if pair and rng.random() < 0.5 else rng.choice(elsewhere or pair)
            question, answer = _in_either_order(question, second, rng), f"{right} and {other}"
        made.append(
            _example(
                f"{context.id}-support-{n}",
                SUPPORT,
                JudgeInputs(question=question, answer=answer, passages=context.passages),
                label,
            )
        )
    return made


def statement_examples(id_: str, sheet: Sheet, rng: Draw) -> list[Example]:
    """Statements on an invented sheet, judged without a question: a true one, a false one, or one of each together."""
    true = [(asked.statement, asked.reply) for asked in sheet.asked if asked.number and asked.statement]
    made: list[Example] = []
    for n, (statement, value) in enumerate(rng.sample(true, min(6, len(true)))):
        false = _with_another_value(statement, value, [v for _, v in true], rng)
        label = rng.choice(("supported", "unsupported", "partly"))
        text = statement
        if label != "supported":
            if not false:
                continue
            right = rng.choice([s for s, _ in true if s != statement] or [statement])
            text = false if label == "unsupported" else " ".join(rng.sample([false, right], 2))
            if label == "partly" and right == statement:
                continue
        made.append(_example(f"{id_}-statement-{n}", SUPPORT, JudgeInputs(answer=text, passages=sheet.passages), label))
    return made


def _with_another_value(statement: str, value: str, values: Sequence[str], rng: Draw) -> str:
    """The statement with its value changed: a digit, or another value of the same shape. Empty if there is none."""
    digits = [place for place, char in enumerate(value) if char.isdigit()]
    if digits and rng.random() < 0.6:
        place = rng.choice(digits)
        changed = value[:place] + rng.choice([d for d in "123456789" if d != value[place]]) + value[place + 1 :]
    else:
        alike = [v for v in values if v != value and shape(v) == shape(value)]
        if not alike:
            return ""
        changed = rng.choice(alike)
    return statement.replace(value, changed) if value in statement else ""


def intent_examples(rows: Sequence[SourceLabel], meanings: Mapping[str, str], count: int, rng: Draw) -> list[Example]:
    """Texts, each with its own schema: the text's intent among drawn ones, or `other` if that is left out."""
    labels = list(meanings)
    made = []
    for row in rng.sample(rows, min(count, len(rows))):
        size = rng.choice((2, 3, 4, 5, 6, 8, 8, 10, 12, 16, 24))
        absent = rng.random() < 0.12
        chosen = rng.sample([label for label in labels if label != row.label], size - 1)
        schema = {label: meanings[label] for label in chosen}
        if absent:
            schema[NONE_OF_THESE[0]] = NONE_OF_THESE[1]
        else:
            schema[row.label] = meanings[row.label]
            if rng.random() < 0.12:
                schema[NONE_OF_THESE[0]] = NONE_OF_THESE[1]
        order = rng.sample(list(schema), len(schema))
        own = intent_schema({label: schema[label] for label in order})
        made.append(_example(f"{row.id}-intent", own, JudgeInputs(message=row.text), NONE_OF_THESE[0] if absent else row.label))
    return made


def _in_either_order(first: str, second: str, rng: Draw) -> str:
    one, other = rng.sample((first, second), 2)
    return joined(one, other)


def shape(answer: str) -> tuple[bool, bool, int]:
    """A key that is equal for answers of one kind: digits, a capital, and one, a few or many words."""
    return any(char.isdigit() for char in answer), answer[:1].isupper(), min(len(answer.split()), 4) // 2


def sheet_context(id_: str, sheet: Sheet) -> Context:
    """An invented sheet as a context."""
    asked = tuple(
        (SourceQuestion(f"{id_}-{n}", one.question, (one.reply,) if one.number else (), ""), one.number, one.reply)
        for n, one in enumerate(sheet.asked)
    )
    return Context(id_, sheet.passages, asked)
