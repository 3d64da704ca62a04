"""What the README shows is what the code takes: its rows are read by the project's readers, its tree stands."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from lorag.training.data.rows import Row, read_embeds, read_judgments, read_passages, read_questions, read_rewrites
from tests.test_structure import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^```json (\w+)\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL))
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


def test_the_annotated_tree_stands() -> None:
    tree = re.search(r"((?:^    .+\n)+)\n## Licence", README, flags=re.MULTILINE)
    assert tree is not None
    room = ""
    for line in tree[1].splitlines():
        indent, name = re.match(r"    ( *)(\S+)", line).groups()  # type: ignore[union-attr]
        room = room if indent else name
        path = ROOT / room / name if indent else ROOT / name
        assert path.is_dir() if name.endswith("/") else path.is_file(), f"README names {path.relative_to(ROOT)}"


def test_every_make_target_named_is_in_the_makefile() -> None:
    named = set(re.findall(r"^    make (\w+)", README, flags=re.MULTILINE))
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert named
    assert named <= targets
