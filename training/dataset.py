"""A data folder: `passages.jsonl` and `train/`, `dev/`, `test/` with one JSONL file a role, and the proof that nothing leaks.

A test item that shares a passage or a conversation with training data is a bug (design, rule 3): it is refused here, before
anything is trained or measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.contracts.judge import BUILT_IN, LabelSchema, intent_schema
from pipeline.errors import DataError
from pipeline.records import Role
from training.data.rows import (
    INTENT,
    EmbedRow,
    JudgeRow,
    PassageRow,
    QuestionRow,
    RewriteRow,
    read_embeds,
    read_judgments,
    read_passages,
    read_questions,
    read_rewrites,
)

SPLITS = ("train", "dev", "test")
PASSAGES = "passages.jsonl"


def judge_schemas(intents: Mapping[str, str]) -> dict[str, LabelSchema]:
    """The built-in judge tasks and, where the project has intents, its own."""
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
        """Where the rows of `role` lie. Raises DataError where there is no such file."""
        for suffix in ("", ".gz"):
            path = self.folder / split / f"{role.value}.jsonl{suffix}"
            if path.is_file():
                return path
        raise DataError(f"no {split}/{role.value}.jsonl in {self.folder}; see the README for the rows it must hold")

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

    def training_passages(self) -> dict[str, PassageRow]:
        """The passages that training may show: none of a document that a dev or test row has its gold passage in, or judges."""
        held_out = {
            trace.removeprefix("passage ").partition("#")[0]
            for split in ("dev", "test")
            for role in Role
            for trace in _traces(self, split, role)
            if trace.startswith("passage ")
        }
        return {id_: row for id_, row in self.passages().items() if id_.partition("#")[0] not in held_out}

    def check_leaks(self, role: Role) -> None:
        """Raises DataError where a dev or test row of any role shares a conversation, a group or a passage, gold or judged,
        with the training rows of `role`."""
        train = _traces(self, "train", role)
        for split in ("dev", "test"):
            for other in (r for r in Role if self.has(split, r)):
                shared = sorted(train & _traces(self, split, other))
                if shared:
                    raise DataError(
                        f"{len(shared)} items of {split}/{other.value}.jsonl are in train/{role.value}.jsonl too, "
                        f"such as {shared[0]}; "
                        "split by document and by conversation before training"
                    )


def _traces(data: DataFolder, split: str, role: Role) -> set[str]:
    """What ties a row to its source: group, conversation, and the passages that are gold or judged, each with its kind."""
    if not data.has(split, role):
        return set()
    found: set[str] = set()
    if role is Role.REWRITER:
        for turn in data.rewrites(split):
            found |= {f"conversation {turn.conversation}", f"group {turn.group}", *(f"passage {p}" for p in turn.passage_ids)}
    elif role is Role.SYNTHESIZER:
        for question in data.questions(split):
            found |= {f"group {question.group}", *(f"passage {p}" for p in question.passage_ids if question.answerable)}
    elif role is Role.EMBEDDER:
        for row in data.embed_rows(split):
            found |= {f"group {row.group}", *(f"passage {p}" for p in row.positive_ids)}
    elif role is Role.JUDGE:
        # Read without schemas: what a row was made from does not depend on the labels that a project knows.
        for judged in read_judgments(data.file(split, role), None):
            found |= {f"group {judged.group}", *(f"passage {p}" for p in judged.passage_ids)}
    return found - {"conversation ", "group "}
