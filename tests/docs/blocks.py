"""The code blocks of README and docs: which there are, and what each page says about running them.

A block that cannot be run here stands below `<!-- not run: REASON -->`; it is parsed all the same.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from tests.test_structure import ROOT

PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
LANGUAGES = {"sh", "python", "yaml", "json", "text"}
"""`text` is a drawing or what a program printed; everything else is code."""

_BLOCK = re.compile(r"(?:^<!-- (?P<said>[^>]*) -->\n)?^```(?P<language>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_OPERATORS = re.compile(r"[|&;<>$`*]")


@dataclass(frozen=True)
class Block:
    """One fenced block; `said` is the comment above it, `line` where its code begins."""

    page: Path
    line: int
    language: str
    text: str
    said: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def reason_not_run(self) -> str:
        return self.said.removeprefix("not run: ") if self.said.startswith("not run: ") else ""


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, text[: found.start("text")].count("\n") + 1, found["language"], found["text"], found["said"] or "")
        for found in _BLOCK.finditer(text)
    ]


def commands(block: Block) -> list[str]:
    """The lines of a shell block, without those that are only a comment."""
    return [line for line in block.text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def lorag_words(line: str) -> list[str] | None:
    """The arguments of a line that does nothing but call `lorag`; None for another, which is a shell's."""
    words = shlex.split(line, comments=True)
    code = re.sub(r"\"[^\"]*\"|'[^']*'| #.*", "", line)
    return words[1:] if words and words[0] == "lorag" and not _OPERATORS.search(code) else None
