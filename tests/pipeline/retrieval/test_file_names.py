"""What people are told a passage's file is, whatever path it was read at."""

from __future__ import annotations

import pytest

from lorag.pipeline.retrieval.partition import file_name


@pytest.mark.parametrize(
    ("document_id", "source", "name"),
    [
        ("keys.md", "docs/keys.md", "keys.md"),
        ("keys.md", "/srv/project/docs/keys.md", "keys.md"),
        ("ships/keys.md", "docs/ships/keys.md", "ships/keys.md"),
        ("ships/rows.jsonl#7", "docs/ships/rows.jsonl", "ships/rows.jsonl"),
        ("rows.jsonl#a#b/c.jsonl", "../docs/rows.jsonl", "rows.jsonl"),
        ("a#1.md", "docs/a#1.md", "a#1.md"),
        ("a#1.jsonl#2", "docs/a#1.jsonl", "a#1.jsonl"),
        ("uploads/keys.md", "keys.md", "keys.md"),
        ("uploads/rows.jsonl#docs/x", "rows.jsonl", "rows.jsonl"),
        ("uploads/keys.md", "docs/uploads/keys.md", "uploads/keys.md"),
        ("uploads/keys.md", "uploads/keys.md", "uploads/keys.md"),
    ],
)
def test_the_name_of_a_documents_file(document_id: str, source: str, name: str) -> None:
    assert file_name(document_id, source) == name
