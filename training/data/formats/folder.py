"""From a data set as read to a LoRAG data folder: documents, passages and the rows of each role, split without leaks.

The folder is written aside and renamed, so it is never there in part. Rows that are left out are counted and listed in
`left-out.jsonl`. `import.json` names the files that it was made of. `intents.yaml` holds the labels of intents, if there are any.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from lorag.pipeline.errors import DataError, InputError
from lorag.pipeline.records import Role
from lorag.pipeline.retrieval.ingest import Chunking
from lorag.pipeline.storage.atomic import new_folder
from lorag.pipeline.storage.jsonl import write_jsonl
from lorag.training.data.formats.documents import lay_out
from lorag.training.data.formats.placing import Placed, as_they_are, normalised, place, withhold
from lorag.training.data.formats.source import LeftOut, Source
from lorag.training.data.formats.splitting import DEV, TEST, TRAIN, Earlier, Shares, deal, groups
from lorag.training.data.rows import INTENT, EmbedRow, JudgeRow, PassageRow, QuestionRow, RewriteRow, document_of
from lorag.training.data.writing import write_rows
from lorag.training.dataset import PASSAGES, DataFolder

DOCUMENTS, INTENTS, LEFT_OUT = "documents", "intents.yaml", "left-out.jsonl"


@dataclass(frozen=True, slots=True)
class Options:
    """How a set is converted.

    `chunking` must be that of the project that ingests the documents. `documents` bounds their number (0: all), drawn by `seed`.
    `withheld` is the share of the passages with questions that is left out of the documents; their questions become unanswerable.
    """

    chunking: Chunking = field(default_factory=Chunking)
    shares: Shares = field(default_factory=Shares)
    seed: int = 0
    documents: int = 0
    withheld: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.withheld < 1 or self.documents < 0:
            raise InputError(f"withheld={self.withheld}, documents={self.documents}: a share from 0 to below 1, a number from 0")

    def to_json(self) -> dict[str, Any]:
        """The options as plain values."""
        cut, tokens = self.chunking, self.chunking.tokens
        chunking = {"max_chars": cut.max_chars, "min_chars": cut.min_chars, "tokens": tokens.room if tokens else 0}
        return {
            "chunking": chunking,
            "shares": asdict(self.shares),
            "seed": self.seed,
            "documents": self.documents,
            "withheld": self.withheld,
        }


@dataclass(frozen=True, slots=True)
class ImportReport:
    """The result of an import: rows by split and role, the number of rows left out by reason, and of keys passed over by name."""

    documents: int
    passages: int
    rows: Mapping[str, Mapping[str, int]]
    left_out: Mapping[str, int]
    passed_over: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


_Row = QuestionRow | RewriteRow | JudgeRow | EmbedRow


def write_folder(
    source: Source, out: Path, options: Options, origin: Mapping[str, str], earlier: Earlier | None = None
) -> ImportReport:
    """Turn `source` into the data folder `out`, which must not exist. `origin` names the files it was read from, by digest.

    With `earlier` rows stay where those that they are tied to were, and a split may stay empty.

    Raises DataError if no row is left or (without `earlier`) none can be held out, InputError if `out` exists.
    """
    require_new(out)
    try:
        with new_folder(out) as aside:
            return _write(source, aside, options, origin, earlier)
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror or error})") from error


def require_new(out: Path) -> None:
    """Raises InputError if there is something at `out`."""
    if out.exists():
        raise InputError(f"{out}: is there already; name another folder, or delete it first")


def _write(source: Source, out: Path, options: Options, origin: Mapping[str, str], earlier: Earlier | None) -> ImportReport:
    _require_ids(source)
    source = _sample_documents(source, options)
    if source.final:
        passages = [PassageRow(each.id, each.title, each.text) for each in source.passages]
        placed, documents = as_they_are(source), 0
    else:
        source = withhold(source, options.withheld, options.seed)
        corpus = lay_out(source.passages, out / DOCUMENTS, options.chunking)
        passages, documents = corpus.rows(), len(corpus.texts)
        placed = place(source, corpus)
    counts, on_both_sides = _write_rows(placed, out, options, earlier)
    if passages:
        write_rows(passages, out / PASSAGES)
    left_out = [*source.left_out, *placed.left_out, *on_both_sides]
    _write_intents(placed.judgments, out)
    if left_out:
        write_jsonl(({"id": each.id, "reason": each.reason} for each in left_out), out / LEFT_OUT)
    report = ImportReport(
        documents, len(passages), counts, dict(Counter(each.reason for each in left_out)), dict(source.passed_over)
    )
    made = {"made_of": dict(origin), "options": options.to_json(), **report.to_json()}
    (out / "import.json").write_text(json.dumps(made, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    folder = DataFolder(out, {})
    for role in Role:
        if folder.has(TRAIN, role):
            folder.check_leaks(role)
    return report


def _write_intents(rows: Sequence[JudgeRow], out: Path) -> None:
    """Write the labels of intent rows in the form of `lorag.yaml`, the only place a project takes its intents from."""
    labels = sorted({row.label for row in rows if row.task == INTENT})
    if labels:
        named = {label: label.replace("_", " ") for label in labels}
        text = yaml.safe_dump({"judge": {"intents": named}}, allow_unicode=True, sort_keys=True)
        (out / INTENTS).write_text(text, encoding="utf-8")


def _sample_documents(source: Source, options: Options) -> Source:
    """At most `documents` documents. Rows that name passages of others are left out later, one by one."""
    keys = list(dict.fromkeys(passage.document for passage in source.passages))
    if not options.documents or len(keys) <= options.documents:
        return source
    chosen = set(random.Random(options.seed).sample(keys, options.documents))
    return replace(source, passages=tuple(passage for passage in source.passages if passage.document in chosen))


def _write_rows(
    placed: Placed, out: Path, options: Options, earlier: Earlier | None
) -> tuple[dict[str, dict[str, int]], list[LeftOut]]:
    """Split the rows by group and write them. Returns the row counts by split and role, and the rows that no split can take."""
    roles: Sequence[tuple[Role, Sequence[_Row]]] = (
        (Role.SYNTHESIZER, placed.questions),
        (Role.EMBEDDER, placed.embeds),
        (Role.REWRITER, placed.rewrites),
        (Role.JUDGE, placed.judgments),
    )
    rows = [(role, row) for role, held in roles for row in held]
    if not rows:
        raise DataError("no row is left to write; give the files with the questions, rewrites or labels too")
    keys_by_row = [_group_keys(row) for _, row in rows]
    grouped = groups(keys_by_row)
    split = _dealt(grouped, keys_by_row, options, earlier)
    before = earlier.splits if earlier else {}
    homes: dict[Hashable, str] = {("named", name): side for name, side in before.items()}
    homes |= {key: split[group] for keys, group in zip(keys_by_row, grouped, strict=True) for key in keys}
    sides: dict[str, dict[Role, list[_Row]]] = {name: {} for name in (TRAIN, DEV, TEST)}
    on_both_sides: list[LeftOut] = []
    for (role, row), group in zip(rows, grouped, strict=True):
        side = split[group]
        judged = [_document(p) for p in row.passage_ids] if isinstance(row, JudgeRow) else []
        if isinstance(row, JudgeRow) and any(homes.get(document, side) != side for document in judged):
            on_both_sides.append(LeftOut(row.id, "its passages lie on two sides of the split"))
        else:
            homes |= dict.fromkeys(judged, side)
            sides[side].setdefault(role, []).append(row)
    if earlier is None:
        _require_rows(sides, options.shares, len(rows), len(split))
    return {
        side: {role.value: write_rows(chosen, out / side / f"{role.value}.jsonl") for role, chosen in held.items()}
        for side, held in sides.items()
    }, on_both_sides


def _dealt(
    grouped: Sequence[int], keys_by_row: Sequence[set[Hashable]], options: Options, earlier: Earlier | None
) -> dict[int, str]:
    """Group → split, and the names in each are recorded with what came earlier."""
    if earlier is None:
        return deal(Counter(grouped), options.shares, options.seed)
    names: dict[int, set[str]] = {}
    for group, keys in zip(grouped, keys_by_row, strict=True):
        names.setdefault(group, set()).update(key[1] for key in keys if isinstance(key, tuple) and key[0] == "named")
    split = deal(Counter(grouped), options.shares, options.seed, earlier.settled(names))
    earlier.record({name: split[group] for group, held in names.items() for name in held})
    return split


def _require_rows(sides: Mapping[str, Mapping[Role, Sequence[_Row]]], shares: Shares, rows: int, groups_: int) -> None:
    wanted = {TRAIN: True, DEV: shares.dev > 0, TEST: shares.test > 0}
    for name, is_wanted in wanted.items():
        if is_wanted and not sides[name]:
            raise DataError(
                f"no row is left for {name}: the {rows} rows hang together in {groups_} group(s) by document and conversation; "
                "give more documents, or other --dev and --test shares"
            )


def _require_ids(source: Source) -> None:
    for rows in (source.questions, source.rewrites, source.judgments):
        ids = Counter(row.id for row in rows)
        for row_id, number in ids.items():
            if number > 1:
                raise DataError(f"row {row_id!r} stands in {number} of the files; give each file once, and rows ids that differ")


def _group_keys(row: _Row) -> set[Hashable]:
    """The keys that tie a row to others: documents of its passages, conversation, group; without any, the row itself.

    A judgment that names its group is tied by that alone, since its passages may be misleading ones of any document. A labelled
    text that names nothing is tied by its words.
    """
    ids: tuple[str, ...] = ()
    names = [row.group]
    text = ""
    match row:
        case EmbedRow():
            ids = row.positive_ids
        case QuestionRow():
            ids = row.passage_ids if row.answerable else ()
        case RewriteRow():
            ids = row.passage_ids
            names.append(row.conversation)
        case JudgeRow():
            ids = () if row.group else row.passage_ids
            text = normalised(row.inputs.message)
    named: set[Hashable] = {("named", name) for name in names if name}
    return {_document(passage_id) for passage_id in ids} | named or {("text", text) if text else ("row", id(row))}


def _document(passage_id: str) -> Hashable:
    return ("named", document_of(passage_id))
