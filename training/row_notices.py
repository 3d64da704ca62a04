"""What is odd about a role's rows and yet no error, each told in one line before training: repeats, conversations, labels.

Public sets have a few of each. Scores on such test rows measure memory, and such training rows teach less than they seem to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import accumulate

from lorag.pipeline.records import Role, Speaker
from lorag.training.data.rows import EmbedRow, JudgeRow, QuestionRow, RewriteRow
from lorag.training.dataset import HELD_OUT, DataFolder, plain_words, words_of

OFTEN = 3
"""From so many on, a row that is given again and again is told. Twice happens in every set."""

_Row = RewriteRow | QuestionRow | EmbedRow | JudgeRow


def notices(data: DataFolder, role: Role) -> tuple[str, ...]:
    """A line for each oddity of the rows of `role`; no line says what another one says."""
    return (*data.repeats(role), *_continued(data, role), *_repeated(data, role), *_labels(data, role))


def _continued(data: DataFolder, role: Role) -> Iterator[str]:
    """Held-out turns of a conversation that training rows are of too, if the rows name no conversation: by how they begin."""
    train = [(number, _utterances(row)) for number, row in enumerate(data.rows("train", role)) if _unnamed(row)]
    whole: dict[str, int] = {}
    begun: dict[str, int] = {}
    for number, said in train:
        whole.setdefault(said[-1], number)
        for beginning in said[:-1]:
            begun.setdefault(beginning, number)
    for split in HELD_OUT:
        found = []
        for number, row in enumerate(data.rows(split, role)):
            said = _utterances(row) if _unnamed(row) else []
            if not said or said[-1] in whole:  # the same turn, which `repeats` tells
                continue
            # It goes on after a training row, comes before one, or both have the same first question and answer.
            places = [whole.get(each) for each in said[:-1]] + [begun.get(said[-1])]
            places += [begun.get(said[1])] if len(said) > 2 else []
            trained = next((place for place in places if place is not None), None)
            if trained is not None:
                found.append((number, trained))
        if found:
            row_, place = found[0]
            yield (
                f"{len(found)} rows of {split}/{role.value}.jsonl are turns of conversations in train/{role.value}.jsonl, "
                f"such as {data.place(split, role, row_)} and {data.place('train', role, place)}: "
                'give rows a "conversation" and split by it'
            )


def _unnamed(row: _Row) -> bool:
    match row:
        case RewriteRow():
            return not row.conversation
        case QuestionRow():
            return not row.group and not row.standalone
        case _:
            return False


def _utterances(row: _Row) -> list[str]:
    """The conversation up to each utterance, the question last; topics aside."""
    if not isinstance(row, RewriteRow | QuestionRow):
        return []
    said = [plain_words(str(turn)) for turn in row.history if turn.speaker is not Speaker.TOPIC]
    asked = plain_words(f"{Speaker.USER.value.capitalize()}: {row.question}")
    return list(accumulate([*said, asked], "{}\n{}".format))


def _repeated(data: DataFolder, role: Role) -> Iterator[str]:
    """Training rows that are given again and again, with the same reply."""
    rows = [f"{words_of(row)}\n{plain_words(_reply(row))}" for row in data.rows("train", role)]
    often = {words: times for words, times in Counter(rows).items() if times >= OFTEN}
    if often:
        words = next(iter(often))
        yield (
            f"{len(often)} rows of train/{role.value}.jsonl are given {OFTEN} times or more, such as "
            f"{data.place('train', role, rows.index(words))}, {often[words]} times: each counts as often as it is given"
        )


def _reply(row: _Row) -> str:
    match row:
        case RewriteRow():
            return row.rewrite
        case QuestionRow():
            return " | ".join([*row.answers, *row.passage_ids])
        case JudgeRow():
            return row.label
        case EmbedRow():
            return " | ".join(row.positive_ids)


def _labels(data: DataFolder, role: Role) -> Iterator[str]:
    """Judgments of the same input that contradict each other, and tasks of which training shows one label alone."""
    if role is not Role.JUDGE:
        return
    given: dict[str, tuple[int, str]] = {}
    contradicted: list[tuple[int, int]] = []
    labels: dict[str, set[str]] = {}
    for number, row in enumerate(data.rows("train", role)):
        assert isinstance(row, JudgeRow)
        first, label = given.setdefault(words_of(row), (number, row.label))
        if label != row.label:
            contradicted.append((first, number))
        labels.setdefault(row.task, set()).add(row.label)
    if contradicted:
        earlier, later = (data.place("train", role, number) for number in contradicted[0])
        yield (
            f"{len(contradicted)} rows of train/judge.jsonl have another label than an earlier row with the same input, such as "
            f"{later} and {earlier}: no judge can learn both"
        )
    yield from _one_class(labels)


def _one_class(labels: Mapping[str, set[str]]) -> Iterator[str]:
    for task, known in labels.items():
        if len(known) == 1:
            yield f"all rows of task {task!r} in train/judge.jsonl are {min(known)!r}: the judge will give no other"
