"""Human rows beside made ones: what they fix of the split, and the files that hold both.

Documents of human test rows give no made training rows. Human test rows stand alone in test/, so that they can promote; the made
test rows of that role then lie in made-test/, which no command reads unless it is named.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lorag.pipeline.errors import DataError
from lorag.pipeline.records import Role
from lorag.training.data.formats.splitting import TEST
from lorag.training.data.making.grouping import HumanTies
from lorag.training.data.rows import EmbedRow, JudgeRow, PassageRow, QuestionRow, RewriteRow, document_of
from lorag.training.dataset import SPLITS, DataFolder

MADE_TEST = "made-test"

Row = RewriteRow | QuestionRow | EmbedRow | JudgeRow
ROLES = (Role.EMBEDDER, Role.SYNTHESIZER, Role.REWRITER, Role.JUDGE)


@dataclass(frozen=True, slots=True)
class HumanRows:
    """(split, role) → rows that people wrote."""

    rows: Mapping[tuple[str, Role], Sequence[Row]] = field(default_factory=dict)

    def of(self, split: str, role: Role) -> Sequence[Row]:
        return self.rows.get((split, role), ())

    def place_of_made(self, split: str, role: Role) -> str:
        """The folder of the made rows of a split: beside human test rows another one."""
        return MADE_TEST if split == TEST and self.of(split, role) else split

    def ties(self) -> HumanTies:
        """The documents that they tie together, and the split of each."""
        tied: dict[str, set[str]] = defaultdict(set)
        splits: dict[str, set[str]] = defaultdict(set)
        for (split, _), rows in self.rows.items():
            for row in rows:
                documents = {document_of(name) for name in _gold(row)}
                for name in (*_names(row),):
                    tied[name] |= documents
                for document in documents:
                    splits[document].add(split)
        fixed = {document: next(iter(found)) if len(found) == 1 else "" for document, found in splits.items()}
        return HumanTies(tuple(frozenset(documents) for documents in tied.values() if len(documents) > 1), fixed)


def read_human(folder: Path, intents: Mapping[str, str], passages: Mapping[str, PassageRow]) -> HumanRows:
    """The rows of a data folder. Raises DataError if it has none, leaks, or names passages that the documents do not hold."""
    data = DataFolder(folder, intents)
    data.require()
    readers: dict[Role, Callable[[str], Sequence[Row]]] = {
        Role.EMBEDDER: data.embed_rows,
        Role.SYNTHESIZER: data.questions,
        Role.REWRITER: data.rewrites,
        Role.JUDGE: data.judgments,
    }
    rows: dict[tuple[str, Role], Sequence[Row]] = {}
    for split in SPLITS:
        for role in ROLES:
            if data.has(split, role):
                rows[split, role] = readers[role](split)
    if not rows:
        raise DataError(f"{folder}: holds no rows; name a folder with train/, dev/ or test/ and ROLE.jsonl files there")
    for role in ROLES:
        data.check_leaks(role)
    for (split, role), held in rows.items():
        for name in (name for row in held for name in _named(row)):
            if name not in passages:
                raise DataError(
                    f"{data.file(split, role)}: names passage {name!r}, which the project's documents do not hold; "
                    "chunking and documents must be those that the rows were made for"
                )
    return HumanRows(rows)


def _gold(row: Row) -> Sequence[str]:
    """The passages that decide a row's side of the split."""
    match row:
        case EmbedRow():
            return row.positive_ids
        case QuestionRow():
            return row.passage_ids if row.answerable else ()
        case RewriteRow() | JudgeRow():
            return row.passage_ids


def _named(row: Row) -> Iterator[str]:
    yield from _gold(row)
    match row:
        case EmbedRow():
            yield from row.negative_ids
        case QuestionRow():
            yield from row.near_ids


def _names(row: Row) -> Iterator[str]:
    """What ties rows together beside their passages, and the row itself."""
    yield f"row {row.query_id if isinstance(row, EmbedRow) else row.id}"
    if row.group:
        yield f"group {row.group}"
    if isinstance(row, RewriteRow) and row.conversation:
        yield f"conversation {row.conversation}"
