"""What README and docs show is what the code takes: the rows are read by the project's readers, the tree stands."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from lorag.training.data.rows import Row, read_embeds, read_judgments, read_passages, read_questions, read_rewrites
from tests.test_structure import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
ROWS_PAGE = (ROOT / "docs" / "reference" / "rows.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^<!-- row: (\w+) -->\n```json\n(.*?)^```", ROWS_PAGE, flags=re.MULTILINE | re.DOTALL))
READERS: dict[str, Callable[[Path], Sequence[Row]]] = {
    "passages": read_passages,
    "rewriter": read_rewrites,
    "synthesizer": read_questions,
    "judge": read_judgments,
    "embedder": read_embeds,
}


def test_every_kind_of_row_has_an_example() -> None:
    assert set(ROWS) == set(READERS)


@pytest.mark.parametrize("kind", READERS)
def test_the_example_row_is_read_as_it_stands(kind: str, tmp_path: Path) -> None:
    shown = json.loads(ROWS[kind])
    path = tmp_path / f"{kind}.jsonl"
    path.write_text(json.dumps(shown, ensure_ascii=False) + "\n", encoding="utf-8")
    (row,) = READERS[kind](path)
    for key, value in shown.items():
        if isinstance(value, str | bool):
            assert getattr(row, key) == value


def test_the_readme_is_a_front_page() -> None:
    assert len(README.encode()) <= 10_000


def test_the_annotated_tree_stands() -> None:
    (tree,) = re.findall(r"^```text\n(lorag/ .*?)^```", README, flags=re.MULTILINE | re.DOTALL)
    room = ""
    for line in tree.splitlines():
        indent, name = re.match(r"( *)(\S+)", line).groups()  # type: ignore[union-attr]
        room = room if indent else name
        path = ROOT / room / name if indent else ROOT / name
        assert path.is_dir() if name.endswith("/") else path.is_file(), f"README names {path.relative_to(ROOT)}"


def test_every_make_target_named_is_in_the_makefile() -> None:
    named = set(re.findall(r"^make (\w+)", README, flags=re.MULTILINE))
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert named
    assert named <= targets
