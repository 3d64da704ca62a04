"""A data folder: `passages.jsonl` and `train/`, `dev/`, `test/` with one JSONL file a role, and the check for leaks.

A test item that shares a passage or a conversation with training data is a bug (design, rule 3). It is refused here, before any
training or measurement.
"""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lorag.pipeline.adapters.evidence import DataOrigin
from lorag.pipeline.contracts.folding import fold
from lorag.pipeline.contracts.judge import BUILT_IN, LabelSchema, intent_schema
from lorag.pipeline.errors import DataError
from lorag.pipeline.records import Role
from lorag.pipeline.storage.jsonl import read_lines
from lorag.training.data.rows import (
    INTENT,
    EmbedRow,
    JudgeRow,
    PassageRow,
    QuestionRow,
    RewriteRow,
    document_of,
    read_embeds,
    read_judgments,
    read_passages,
    read_questions,
    read_rewrites,
)

HELD_OUT = ("dev", "test")
SPLITS = ("train", *HELD_OUT)
SEALED = "sealed"
"""The part of the test rows, with documents of its own, that is opened for promotion alone. No training and no other evaluation
reads it."""

PASSAGES = "passages.jsonl"


def judge_schemas(intents: Mapping[str, str]) -> dict[str, LabelSchema]:
    """The built-in judge tasks and, if the project has intents, its own."""
    schemas = dict(BUILT_IN)
    if intents:
        schemas[INTENT] = intent_schema(intents)
    return schemas


@dataclass(frozen=True, slots=True)
class DataFolder:
    """Reads the files of a data folder on demand. `intents` are the project's intent labels and meanings."""

    folder: Path
    intents: Mapping[str, str]

    def file(self, split: str, role: Role) -> Path:
        """The path of the rows of `role`. Raises DataError if there is no such file."""
        for suffix in ("", ".gz"):
            path = self.folder / split / f"{role.value}.jsonl{suffix}"
            if path.is_file():
                return path
        self.require()
        raise DataError(f"no {split}/{role.value}.jsonl in {self.folder}; see docs/reference/rows.md for the rows it must hold")

    def require(self) -> None:
        """Raises DataError if the folder itself is missing."""
        if not self.folder.is_dir():
            raise DataError(f"{self.folder} is no folder; name the one whose train/, dev/ and test/ hold the rows")

    def has(self, split: str, role: Role) -> bool:
        return any((self.folder / split / f"{role.value}.jsonl{suffix}").is_file() for suffix in ("", ".gz"))

    def passages(self) -> dict[str, PassageRow]:
        path = self.folder / PASSAGES
        if not path.is_file():
            raise DataError(f"no {PASSAGES} in {self.folder}; questions name their passages by id, so it must hold them")
        return {row.id: row for row in read_passages(path)}

    def rewrites(self, split: str) -> tuple[RewriteRow, ...]:
        return read_rewrites(self.file(split, Role.REWRITER))

    def questions(self, split: str) -> tuple[QuestionRow, ...]:
        return read_questions(self.file(split, Role.SYNTHESIZER))

    def judgments(self, split: str) -> tuple[JudgeRow, ...]:
        return read_judgments(self.file(split, Role.JUDGE), judge_schemas(self.intents))

    def embed_rows(self, split: str) -> tuple[EmbedRow, ...]:
        return read_embeds(self.file(split, Role.EMBEDDER))

    def origin(self, split: str, role: Role) -> DataOrigin:
        """The origin of a file's rows: made if any row is made, else feedback if any row is, else human."""
        return DataOrigin.of(row.origin for row in self.rows(split, role))

    def training_passages(self) -> dict[str, PassageRow]:
        """The passages that training may show: none of a document with a gold or judged passage of a dev or test row."""
        held_out = {
            document_of(key.removeprefix("passage "))
            for split in HELD_OUT
            for role in Role
            for key in self._source_keys(split, role)
            if key.startswith("passage ")
        }
        return {id_: row for id_, row in self.passages().items() if document_of(id_) not in held_out}

    def check_leaks(self, role: Role, splits: Sequence[str] = HELD_OUT) -> None:
        """Raises DataError if a held-out row of any role shares a source with a training row of `role`.

        A source is a conversation, a group, or a passage that is gold or judged.
        """
        train = self._source_keys("train", role)
        for split in splits:
            for other in (r for r in Role if self.has(split, r)):
                held_out = self._source_keys(split, other)
                shared = sorted(train.keys() & held_out.keys())
                if shared:
                    first = shared[0]
                    raise DataError(
                        f"{len(shared)} items of {split}/{other.value}.jsonl are in train/{role.value}.jsonl too, such as "
                        f"{first} ({self.place(split, other, held_out[first])} and {self.place('train', role, train[first])}); "
                        "split by document and by conversation before training"
                    )

    def check_training(self, role: Role) -> None:
        """All that training `role` needs of the splits: `check_leaks`, and `check_documents` for roles that read passages."""
        self.check_leaks(role)
        if role in (Role.SYNTHESIZER, Role.EMBEDDER):
            self.check_documents(role)

    def check_documents(self, role: Role) -> None:
        """Raises DataError if a training row of `role` needs a passage of a held-out document, which training may not show."""
        held_out: dict[str, str] = {}
        for split in HELD_OUT:
            for other in (r for r in Role if self.has(split, r)):
                for key, number in self._source_keys(split, other).items():
                    kind, _, name = key.partition(" ")
                    if kind == "passage" and document_of(name) not in held_out:
                        held_out[document_of(name)] = f"{name} ({self.place(split, other, number)})"
        for number, row in enumerate(self.rows("train", role)):
            needed = row.positive_ids if isinstance(row, EmbedRow) else row.passage_ids
            for passage in needed:
                if (document := document_of(passage)) in held_out:
                    raise DataError(
                        f"document {document} is on both sides: passage {passage} ({self.place('train', role, number)}) is "
                        f"trained on, and {held_out[document]} is held out; split by document before training"
                    )

    def repeats(self, role: Role) -> tuple[str, ...]:
        """A line for each held-out file of `role` with inputs that equal those of a training row, word for word.

        This is no error: public sets of short messages have a few. Scores on them measure memory, not learning.
        """
        train = self._inputs("train", role)
        lines = []
        for split in HELD_OUT:
            both = [(row, train[words]) for words, row in self._inputs(split, role).items() if words in train]
            if both:
                row, trained = min(both)
                lines.append(
                    f"{len(both)} rows of {split}/{role.value}.jsonl stand word for word in train/{role.value}.jsonl too, "
                    f"such as {self.place(split, role, row)} and {self.place('train', role, trained)}: figures on them flatter"
                )
        return tuple(lines)

    def names(self, split: str) -> frozenset[str]:
        """The conversations, groups and documents that the rows of a split come from."""
        keys = [key.partition(" ") for role in Role for key in self._source_keys(split, role)]
        return frozenset(document_of(name) if kind == "passage" else name for kind, _, name in keys)

    def place(self, split: str, role: Role, row: int) -> str:
        """`FILE:LINE` of a row by its number, from 0, below this folder."""
        path = self.file(split, role)
        line = next(itertools.islice(read_lines(path), row, None)).where.rpartition(":")[2]
        return f"{path.relative_to(self.folder)}:{line}"

    def _source_keys(self, split: str, role: Role) -> dict[str, int]:
        """The sources of the rows → the number of the first row with each.

        A source is a group, a conversation, or a passage that is gold or judged, each with its kind.
        """
        found: dict[str, int] = {}
        for number, row in enumerate(self.rows(split, role)):
            for key in _keys_of(row):
                found.setdefault(key, number)
        return found

    def _inputs(self, split: str, role: Role) -> dict[str, int]:
        """The inputs of the rows of `role`, as plain words → the number of the first row with each."""
        found: dict[str, int] = {}
        for number, row in enumerate(self.rows(split, role)):
            found.setdefault(words_of(row), number)
        return found

    def rows(self, split: str, role: Role) -> Sequence[RewriteRow | QuestionRow | EmbedRow | JudgeRow]:
        """The rows of a file, which may be missing."""
        if not self.has(split, role):
            return ()
        if role is Role.REWRITER:
            return self.rewrites(split)
        if role is Role.SYNTHESIZER:
            return self.questions(split)
        if role is Role.EMBEDDER:
            return self.embed_rows(split)
        # Read without schemas: the sources of a row do not depend on the labels that a project knows.
        return read_judgments(self.file(split, role), None) if role is Role.JUDGE else ()


def _keys_of(row: RewriteRow | QuestionRow | EmbedRow | JudgeRow) -> Iterator[str]:
    if row.group:
        yield f"group {row.group}"
    match row:
        case RewriteRow():
            if row.conversation:
                yield f"conversation {row.conversation}"
            passages = row.passage_ids
        case QuestionRow():
            passages = row.passage_ids if row.answerable else ()
        case EmbedRow():
            passages = row.positive_ids
        case JudgeRow():
            passages = row.passage_ids
    yield from (f"passage {passage}" for passage in passages)


def plain_words(text: str) -> str:
    """`text` in one Unicode form and case, with single spaces, without invisible characters: equal for what reads alike."""
    seen = "".join(char for char in unicodedata.normalize("NFKC", fold(text)) if unicodedata.category(char) != "Cf")
    return " ".join(seen.casefold().split())


def words_of(row: RewriteRow | QuestionRow | EmbedRow | JudgeRow) -> str:
    """The input of a row without its answer, as `plain_words`."""
    match row:
        case RewriteRow():
            asked = " | ".join([*map(str, row.history), row.question])
        case QuestionRow():
            asked = row.standalone or " | ".join([*map(str, row.history), row.question])
        case EmbedRow():
            asked = row.query
        case JudgeRow():
            shown = row.inputs
            texts = [f"{passage.title} | {passage.text}" for passage in shown.passages]
            asked = " | ".join([row.task, shown.message, shown.question, shown.answer, *map(str, shown.history), *texts])
    return plain_words(asked)
