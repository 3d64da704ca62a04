"""Writes the data folder: rows of each role and split, where each comes from, what was dropped and why, and the data card.

The folder is written aside and renamed, so it is never there in part, and its bytes depend on the rows alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lorag.pipeline.errors import DataError, InputError
from lorag.pipeline.records import Role
from lorag.pipeline.storage.atomic import new_folder, write_file
from lorag.pipeline.storage.jsonl import write_jsonl
from lorag.pipeline.storage.strict_json import dump_json, plain
from lorag.training.data.formats.folder import require_new
from lorag.training.data.formats.splitting import TRAIN
from lorag.training.data.making.card import CardFacts, data_card
from lorag.training.data.making.corpus import Corpus
from lorag.training.data.making.human import ROLES, HumanRows, Row
from lorag.training.data.making.questions import Questions
from lorag.training.data.making.records import MadeRow, Rejected, digest
from lorag.training.data.making.settings import MakingSettings
from lorag.training.data.making.voter_precision import VoterPrecision
from lorag.training.data.writing import write_rows
from lorag.training.dataset import PASSAGES, SPLITS, DataFolder

ORIGIN, REJECTED, CARD, SETTINGS = "origin.jsonl", "rejected.jsonl", "README.md", "making.json"


@dataclass(frozen=True, slots=True)
class Made:
    """All that was made: the rows, the questions behind them, and who wrote these. `left_out` counts documents by why they gave
    no rows; `voters` is how precise the voters were, if human rows said so."""

    corpus: Corpus
    questions: Questions
    rows: Sequence[MadeRow]
    human: HumanRows
    settings: MakingSettings
    writer: str
    left_out: Mapping[str, int]
    voters: Sequence[VoterPrecision] = ()

    def counts(self) -> dict[str, dict[str, int]]:
        """Split → role → rows, human ones among them."""
        found: dict[str, dict[str, int]] = {}
        for (place, role), rows in _files(self).items():
            found.setdefault(place, {})[role.value] = len(rows)
        return found


def write_made(made: Made, out: Path, intents: Mapping[str, str]) -> None:
    """Write the folder `out`, which must not exist, and check that no row of it leaks.

    Raises DataError if a split has no rows, InputError if the folder cannot be written.
    """
    require_new(out)
    files = _files(made)
    for split in SPLITS:
        if not any(place == split for place, _ in files):
            raise DataError(f"no row is left for {split}: {made.questions.funnel.left} questions passed; add documents")
    try:
        with new_folder(out) as aside:
            _write(made, files, aside)
            folder = DataFolder(aside, intents)
            for role in ROLES:
                if folder.has(TRAIN, role):
                    folder.check_leaks(role)
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror or error}); name another folder") from error


def _files(made: Made) -> dict[tuple[str, Role], list[Row]]:
    """(folder, role) → its rows: human ones first, then the made ones by id."""
    files: dict[tuple[str, Role], list[Row]] = {(split, role): list(rows) for (split, role), rows in made.human.rows.items()}
    for each in sorted(made.rows, key=lambda each: each.id):
        files.setdefault((made.human.place_of_made(each.split, each.role), each.role), []).append(each.row)
    return files


def _write(made: Made, files: Mapping[tuple[str, Role], Sequence[Row]], aside: Path) -> None:
    write_rows(made.corpus.passages.values(), aside / PASSAGES)
    for (place, role), rows in files.items():
        write_rows(rows, aside / place / f"{role.value}.jsonl")
    write_jsonl(_origins(made), aside / ORIGIN)
    write_jsonl((_rejected(each) for each in made.questions.rejected), aside / REJECTED)
    write_file(aside / SETTINGS, dump_json({"settings": made.settings, "writer": made.writer}, SETTINGS))
    write_file(aside / CARD, data_card(_facts(made)))


def _origins(made: Made) -> Iterator[dict[str, Any]]:
    for each in sorted(made.rows, key=lambda each: (each.role, each.id)):
        yield {
            "id": each.id,
            "role": each.role.value,
            "split": each.split,
            "how": each.how,
            "writer": made.writer,
            "of": [
                {
                    "question": source.candidate.question,
                    **_place(source.candidate.span),
                    "manner": source.candidate.order.manner.value,
                    "seed": source.candidate.seed,
                    "scores": plain(source.scores),
                }
                for source in each.of
            ],
        }


def _place(span: Any) -> dict[str, Any]:
    return {"passage": span.passage_id, "start": span.start, "end": span.end, "span": span.text, "kind": span.kind.value}


def _rejected(each: Rejected) -> dict[str, Any]:
    return {
        "filter": each.filter.value,
        "reason": each.reason,
        "id": each.candidate.id,
        "question": each.candidate.question,
        **_place(each.candidate.span),
        "seed": each.candidate.seed,
    }


def _facts(made: Made) -> CardFacts:
    read = sorted(made.rows, key=lambda each: digest("read", each.role, each.id))
    return CardFacts(
        documents=len(made.corpus.grouping.group),
        groups=made.corpus.grouping.groups,
        passages=len(made.corpus.passages),
        funnel=made.questions.funnel,
        relaxed=made.questions.relaxed,
        counts=made.counts(),
        kinds=Counter(f"{each.role.value}: {each.how}" for each in made.rows),
        spans=Counter(each.candidate.span.kind.value for each in made.questions.accepted),
        read=tuple(read),
        left_out=made.left_out,
        settings=made.settings,
        writer=made.writer,
        voters=tuple(made.voters),
    )
