"""LoRAG's own rows (docs/reference/rows.md), not yet split: `passages.jsonl` and one file a role.

The file's name gives the kind of its rows. Passages keep their ids, since those come from an index.
"""

from __future__ import annotations

from pathlib import Path

from lorag.pipeline.errors import DataError
from lorag.pipeline.records import Role
from lorag.training.data.formats.source import Source, SourcePassage
from lorag.training.data.rows import document_of, read_embeds, read_judgments, read_passages, read_questions, read_rewrites

_PASSAGES = "passages"


def read_own(path: Path) -> Source:
    """Read one file, such as `synthesizer.jsonl` or `passages.jsonl.gz`. Raises DataError naming file and line."""
    match path.name.partition(".")[0]:
        case "passages":
            rows = read_passages(path)
            return Source(tuple(SourcePassage(row.id, row.title, row.text, document_of(row.id)) for row in rows), final=True)
        case Role.REWRITER.value:
            return Source(rewrites=read_rewrites(path), final=True)
        case Role.SYNTHESIZER.value:
            return Source(questions=read_questions(path), final=True)
        case Role.JUDGE.value:
            return Source(judgments=read_judgments(path, None), final=True)
        case Role.EMBEDDER.value:
            return Source(embeds=read_embeds(path), final=True)
    names = ", ".join(f"{name}.jsonl" for name in (_PASSAGES, *(role.value for role in Role if role is not Role.QUESTIONER)))
    raise DataError(f"{path}: the name says what the rows are; call the file one of {names}")
