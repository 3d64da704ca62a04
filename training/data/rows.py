"""Training and test rows of the four roles, read strictly from JSON Lines.

One schema a role, the same for hand-made, generated and public sets; `origin` says which; the default is human. A row
that does not fit is refused with file and line, since a misspelt key or an empty target would otherwise be trained on. Knows no
prompt, split or model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from lorag.pipeline.adapters.evidence import DataOrigin
from lorag.pipeline.contracts.context import PassageText
from lorag.pipeline.contracts.judge import BUILT_IN, JudgeInputs, LabelSchema
from lorag.pipeline.errors import DataError
from lorag.pipeline.records import Passage, Turn
from lorag.pipeline.storage.jsonl import read_lines
from lorag.training.data.fields import Fields


def document_of(passage_id: str) -> str:
    """`DOCUMENT_ID#HASH8` → the document, whose own id may hold a `#`; another id is its own document."""
    return passage_id.rpartition("#")[0] or passage_id


@dataclass(frozen=True, slots=True)
class PassageRow:
    """A passage of the corpus. `title` holds document title and section trail, ` > ` between; it may be empty."""

    id: str
    title: str
    text: str

    @classmethod
    def of(cls, passage: Passage) -> PassageRow:
        """The row of a passage: its title as prompts show it."""
        return cls(passage.id, PassageText.of(passage).title, passage.text)

    def shown(self) -> PassageText:
        """The passage as prompts show it."""
        return PassageText(self.title, self.text)


@dataclass(frozen=True, slots=True)
class RewriteRow:
    """A turn and its standalone form; `rewrite` equals `question` if that is standalone already.

    `rewrites` are further human versions. If the set has them: the passages and answers of the turn, the exact supporting words,
    and the conversation and document group, by which rows are split.
    """

    id: str
    history: tuple[Turn, ...]
    question: str
    rewrite: str
    rewrites: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    passage_ids: tuple[str, ...] = ()
    quotes: tuple[str, ...] = ()
    answerable: bool | None = None
    conversation: str = ""
    group: str = ""
    origin: DataOrigin = DataOrigin.HUMAN

    @property
    def gold(self) -> tuple[str, ...]:
        """All rewrites that are right: `rewrite` first, then those of `rewrites`, each once."""
        return tuple(dict.fromkeys((self.rewrite, *self.rewrites)))


@dataclass(frozen=True, slots=True)
class QuestionRow:
    """A question with its answers and gold passages: the synthesizer's row.

    `answers` are alternatives, the best first. If `answerable` is False, the corpus has no answer; `answers` then holds at most
    the right reply (a clarifying question), and `passage_ids` at most misleading passages.
    `near_ids` are passages on the same subject that do not hold the answer. `quotes` are verbatim parts of gold passages.
    `removed` are parts of passages that are cut out of what is shown, so that what is left has no answer.
    """

    id: str
    question: str
    answers: tuple[str, ...]
    answerable: bool
    history: tuple[Turn, ...] = ()
    passage_ids: tuple[str, ...] = ()
    near_ids: tuple[str, ...] = ()
    quotes: tuple[str, ...] = ()
    standalone: str = ""
    label: str = ""
    answer_type: str = ""
    voice: str = ""
    group: str = ""
    origin: DataOrigin = DataOrigin.HUMAN
    removed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JudgeRow:
    """One judgment: `label` is of the schema of `task`. `passage_ids` name the passages in `inputs`, if the set has them."""

    id: str
    task: str
    inputs: JudgeInputs
    label: str
    passage_ids: tuple[str, ...] = ()
    group: str = ""
    origin: DataOrigin = DataOrigin.HUMAN


@dataclass(frozen=True, slots=True)
class EmbedRow:
    """A query with passages that answer it, and passages that only seem to."""

    query_id: str
    query: str
    positive_ids: tuple[str, ...]
    negative_ids: tuple[str, ...] = ()
    group: str = ""
    origin: DataOrigin = DataOrigin.HUMAN


INTENT = "intent"
"""The judge task whose labels a project sets itself."""

Row = PassageRow | RewriteRow | QuestionRow | JudgeRow | EmbedRow
_R = TypeVar("_R")


def read_passages(path: Path, extra: Counter[str] | None = None) -> tuple[PassageRow, ...]:
    """Read `{"id","title","text"}` rows. Raises DataError naming file and line, as all readers here do.

    An unknown key is refused; with `extra`, it is counted there and passed over. So in `read_rewrites`, `read_questions` and
    `read_labels`.
    """

    def one(row: Fields) -> PassageRow:
        return PassageRow(row.text("id"), row.text("title", "", blank=True), row.text("text"))

    return _read(path, one, lambda row: row.id, extra)


def read_rewrites(path: Path, extra: Counter[str] | None = None) -> tuple[RewriteRow, ...]:
    """Read `{"id","history","question","rewrite"}` rows.

    A blank `question` is taken (public sets hold one), a blank `rewrite` never. Optional: `rewrites`, `answers`,
    `passage_ids`, `quotes`, `answerable`, `conversation`, `group`, `origin`.
    """

    def one(row: Fields) -> RewriteRow:
        return RewriteRow(
            id=row.text("id"),
            history=row.turns("history", required=True),
            question=row.text("question", blank=True),
            rewrite=row.text("rewrite"),
            rewrites=row.texts("rewrites"),
            answers=row.texts("answers"),
            passage_ids=_ids(row, "passage_ids"),
            quotes=row.texts("quotes"),
            answerable=row.flag("answerable"),
            conversation=row.text("conversation", ""),
            group=row.text("group", ""),
            origin=_origin(row),
        )

    return _read(path, one, lambda row: row.id, extra)


def read_questions(path: Path, extra: Counter[str] | None = None) -> tuple[QuestionRow, ...]:
    """Read `{"id","question","answers","passage_ids","answerable"}` rows.

    `passage_id` may replace a list of one, and `answerable` may be left out if there are answers. Blank strings among
    the answers are dropped. Optional: `history`, `quotes`, `near_ids`, `standalone`, `label`, `answer_type`, `voice`,
    `removed`, `group`, `origin`.
    """

    def one(row: Fields) -> QuestionRow:
        answers = tuple(answer for answer in row.texts("answers", blank=True, required=True) if answer.strip())
        flag = row.flag("answerable")
        answerable = True if flag is None else flag
        if answerable and not answers:
            raise row.error('"answers" is empty; give one, or set "answerable" to false')
        removed = row.texts("removed")
        if answerable and removed:
            raise row.error('"removed" takes the answer out of the passages; set "answerable" to false')
        gold, near = _gold(row), _ids(row, "near_ids")
        _disjoint(row, "near_ids", near, gold)
        return QuestionRow(
            id=row.text("id"),
            question=row.text("question"),
            answers=answers,
            answerable=answerable,
            history=row.turns("history"),
            passage_ids=gold,
            near_ids=near,
            quotes=row.texts("quotes"),
            standalone=row.text("standalone", ""),
            label=row.text("label", ""),
            answer_type=row.text("answer_type", ""),
            voice=row.text("voice", ""),
            group=row.text("group", ""),
            origin=_origin(row),
            removed=removed,
        )

    return _read(path, one, lambda row: row.id, extra)


def read_judgments(path: Path, schemas: Mapping[str, LabelSchema] | None = BUILT_IN) -> tuple[JudgeRow, ...]:
    """Read `{"id","task","inputs","label"}` rows. `schemas` are the known tasks by name; a label outside them is refused.
    With None any task and label is taken.

    `inputs` holds what the task needs of `message`, `question`, `answer`, `history` and `passages`
    (`[{"title","text"}, …]`). Optional: `passage_ids`, `group`, `origin`.
    """

    def one(row: Fields) -> JudgeRow:
        task = row.text("task")
        if schemas is not None and task not in schemas:
            raise row.error(f"judge task {task!r} has no label schema; {_remedy(task, schemas)}")
        return JudgeRow(
            id=row.text("id"),
            task=task,
            inputs=_judge_inputs(row.nested("inputs")),
            label=row.text("label") if schemas is None else _label(row, schemas[task]),
            passage_ids=_ids(row, "passage_ids"),
            group=row.text("group", ""),
            origin=_origin(row),
        )

    return _read(path, one, lambda row: row.id)


def read_labels(path: Path, schema: LabelSchema, extra: Counter[str] | None = None) -> tuple[JudgeRow, ...]:
    """Read a classification set, `{"id","text","label"}`, as judgments of `schema` with the text as message."""

    def one(row: Fields) -> JudgeRow:
        return JudgeRow(row.text("id"), schema.task, JudgeInputs(message=row.text("text")), _label(row, schema))

    return _read(path, one, lambda row: row.id, extra)


def read_embeds(path: Path) -> tuple[EmbedRow, ...]:
    """Read `{"query_id","query","positive_ids"}` rows. Optional: `negative_ids`, `group`, `origin`."""

    def one(row: Fields) -> EmbedRow:
        positive, negative = _ids(row, "positive_ids", required=True), _ids(row, "negative_ids")
        if not positive:
            raise row.error('"positive_ids" is empty; a query without a gold passage teaches nothing')
        _disjoint(row, "negative_ids", negative, positive)
        return EmbedRow(row.text("query_id"), row.text("query"), positive, negative, row.text("group", ""), _origin(row))

    return _read(path, one, lambda row: row.query_id)


def require_passages(rows: Iterable[RewriteRow | QuestionRow | EmbedRow], passages: Iterable[PassageRow], name: str) -> None:
    """Check that every passage id in `rows` is in `passages`. Raises DataError naming `name` and the first row at fault."""
    known = {passage.id for passage in passages}
    for row in rows:
        match row:
            case EmbedRow():
                row_id, ids = row.query_id, (*row.positive_ids, *row.negative_ids)
            case QuestionRow():
                row_id, ids = row.id, (*row.passage_ids, *row.near_ids)
            case RewriteRow():
                row_id, ids = row.id, row.passage_ids
        for passage_id in ids:
            if passage_id not in known:
                raise DataError(f"{name}: row {row_id!r} names passage {passage_id!r}, which the passages file does not hold")


def _read(path: Path, one: Callable[[Fields], _R], key: Callable[[_R], str], extra: Counter[str] | None = None) -> tuple[_R, ...]:
    rows: list[_R] = []
    seen: dict[str, str] = {}
    for line in read_lines(path):
        parsed = Fields(line.where, line.fields, extra)
        row = one(parsed)
        parsed.finish()
        first = seen.setdefault(key(row), line.where)
        if first != line.where:
            raise parsed.error(f"id {key(row)!r} stands already at {first}; ids must differ")
        rows.append(row)
    return tuple(rows)


def _gold(row: Fields) -> tuple[str, ...]:
    """`passage_ids`, or the one of `passage_id`. If a set gives both, the one must be among the many."""
    many, single = _ids(row, "passage_ids"), row.text("passage_id", "")
    if not single:
        return many
    if row.has("passage_ids") and single not in many:
        raise row.error(f'"passage_id" {single!r} is not among "passage_ids"')
    return many or (single,)


def _origin(row: Fields) -> DataOrigin:
    origin = row.text("origin", DataOrigin.HUMAN.value)
    if origin not in list(DataOrigin):
        raise row.error(f'"origin" is {origin!r}, not one of {", ".join(DataOrigin)}')
    return DataOrigin(origin)


def _ids(row: Fields, key: str, *, required: bool = False) -> tuple[str, ...]:
    ids = row.texts(key, required=required)
    if len(set(ids)) < len(ids):
        raise row.error(f'"{key}" names a passage twice')
    return ids


def _disjoint(row: Fields, key: str, ids: tuple[str, ...], gold: tuple[str, ...]) -> None:
    both = set(ids) & set(gold)
    if both:
        raise row.error(f'"{key}" holds {min(both)!r}, which is a gold passage of the same row')


def _remedy(task: str, schemas: Mapping[str, LabelSchema]) -> str:
    if task == INTENT:
        return "its labels are the project's own: set `judge.intents` in lorag.yaml"
    return f"known tasks: {', '.join(schemas)}"


def _label(row: Fields, schema: LabelSchema) -> str:
    label = row.text("label")
    if label not in schema.labels:
        known = ", ".join(list(schema.labels)[:12])
        raise row.error(f"label {label!r} is not one of task {schema.task!r}: {known}{' …' if len(schema.labels) > 12 else ''}")
    return label


def _judge_inputs(inputs: Fields) -> JudgeInputs:
    read = JudgeInputs(
        message=inputs.text("message", ""),
        question=inputs.text("question", ""),
        answer=inputs.text("answer", ""),
        history=inputs.turns("history"),
        passages=tuple(_passage_text(passage) for passage in inputs.nested_list("passages")),
    )
    inputs.finish()
    if read == JudgeInputs(history=read.history):
        raise inputs.error("nothing to judge; give a message, question, answer or passages")
    return read


def _passage_text(passage: Fields) -> PassageText:
    read = PassageText(passage.text("title", "", blank=True), passage.text("text"))
    passage.finish()
    return read
