"""Every code block of README and docs runs as it stands, in order, in a folder of its own; what cannot run here is parsed."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from lorag.pipeline.config import parse_settings
from lorag.services.cli import app
from tests.conftest import MakeAdapter, MakeCard
from tests.docs.blocks import LANGUAGES, PAGES, Block, blocks_of, commands
from tests.docs.world import Models, at, lay_world, make_models
from tests.test_structure import ROOT

BLOCKS = [block for page in PAGES for block in blocks_of(page)]
RUN = [page for page in PAGES if any(b.language in ("sh", "python") and not b.reason_not_run for b in blocks_of(page))]
BEGINS_A_PROJECT = {"README.md", "docs/tutorial.md", "docs/howto/ask.md", "docs/howto/public-data.md"}
"""Pages that make their own project; the others find one, `handbook`, with a candidate and a version before it."""


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.fixture(scope="module")
def models(
    tmp_path_factory: pytest.TempPathFactory, tiny_base: Path, tiny_encoder: Path, tiny_adapter: MakeAdapter, tiny_card: MakeCard
) -> Models:
    return make_models(tmp_path_factory.mktemp("models"), tiny_base, tiny_encoder, tiny_adapter, tiny_card)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory, models: Models, tiny_adapter: MakeAdapter) -> Path:
    folder = tmp_path_factory.mktemp("world") / "empty"
    lay_world(folder, models, tiny_adapter)
    return folder


@pytest.fixture(scope="module")
def prepared(empty: Path, models: Models) -> Path:
    """The same with a project that was ingested, in which a rewriter was trained, measured, promoted and taken back.

    The starter serves, a version stands before it, and a candidate was trained that is better than the starter."""
    folder = empty.with_name("prepared")
    shutil.copytree(empty, folder, symlinks=True)
    with at(folder, models) as world:
        for line in (
            "lorag init handbook --docs documents",
            "lorag ingest --project handbook",
            "lorag train rewriter --project handbook --data rows",
            "lorag eval adapter rewriter --project handbook --data rows",
            "lorag adapters promote rewriter --project handbook",
            "lorag eval ablation --project handbook --data rows --limit 2 --out old/report.html",
            "lorag adapters rollback rewriter --project handbook",
            "lorag train rewriter --project handbook --data rows",
        ):
            world.run_line(line, "prepared")
    return folder


@pytest.fixture
def world_for(empty: Path, models: Models, request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Path], Path]:
    """`world_for(page)` → a fresh folder with what the page takes for granted."""

    def make(page: Path) -> Path:
        source = empty if name(page) in BEGINS_A_PROJECT else request.getfixturevalue("prepared")
        return Path(shutil.copytree(source, tmp_path / "world", symlinks=True))

    return make


def test_every_block_has_a_language_that_says_what_it_is() -> None:
    assert BLOCKS
    for block in BLOCKS:
        assert block.language in LANGUAGES, block.place
        assert block.page.read_text(encoding="utf-8").count("```") == 2 * len(blocks_of(block.page)), block.place
        if block.said.startswith("not run"):
            assert len(block.reason_not_run) > 10, f"{block.place}: say why"


@pytest.mark.parametrize("page", RUN, ids=name)
def test_the_blocks_of_a_page_run_in_order(page: Path, world_for: Callable[[Path], Path], models: Models) -> None:
    with at(world_for(page), models) as world:
        for block in blocks_of(page):
            if not block.reason_not_run and not (page.name == "README.md" and block.language == "python"):
                world.run(block)


def test_the_readme_answers_within_two_minutes_by_the_starters(
    empty: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The three commands and the Python lines on the base that ships, each in a folder of its own."""
    (asked,) = [b for b in blocks_of(ROOT / "README.md") if b.language == "sh" and "lorag ask" in b.text]
    (lines,) = [b for b in blocks_of(ROOT / "README.md") if b.language == "python"]
    for part in ("sh", "python"):
        shutil.copytree(empty / "documents", tmp_path / part / "documents")
    with at(tmp_path / "sh", None) as world:
        started = time.process_time()  # of this process, whatever else the machine does meanwhile
        printed = [world.run_line(line, asked.place) for line in commands(asked)]
        took = time.process_time() - started
    assert "(no verdict on answerability, support: " in printed[-1], "the starter judge is not compared with a rule yet"
    assert took < 120
    with at(tmp_path / "python", None) as world:
        world.run(lines)
    shown = capsys.readouterr().out
    assert shown.strip()
    with capsys.disabled():
        print(f"\ninit, ingest, ask: {took:.1f} s of processor time")


# --- what is not run ---


def parse(words: list[str]) -> None:
    """Whether `lorag WORDS` is a command with these options. Raises the usage error that a user would see."""
    command = typer.main.get_command(app)
    context = command.make_context("lorag", [], resilient_parsing=True)
    while hasattr(command, "commands"):
        command = command.commands[words[0]]
        context = command.make_context(
            words[0],
            [] if hasattr(command, "commands") else words[1:],
            parent=context,
            resilient_parsing=hasattr(command, "commands"),
        )
        words = words[1:]


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "sh" and b.reason_not_run], ids=lambda block: block.place)
def test_a_shell_block_that_is_not_run_is_parsed(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = subprocess.run(["bash", "-n", "-c", block.text], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{block.place}: {done.stderr}"
    for line in commands(block):
        words = shlex.split(line, comments=True)
        for part in " ".join(shlex.quote(word) for word in words).split(" '&&' "):
            inner = shlex.split(part)
            if "lorag" in inner:
                parse(inner[inner.index("lorag") + 1 :])


def test_an_option_that_is_none_is_found() -> None:
    with pytest.raises(Exception, match="--no-such"):
        parse(["train", "rewriter", "--data", "rows", "--no-such"])


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "python"], ids=lambda block: block.place)
def test_a_python_block_compiles(block: Block) -> None:
    compile(block.text, block.place, "exec")


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "yaml"], ids=lambda block: block.place)
def test_settings_in_a_page_are_taken(block: Block, tmp_path: Path) -> None:
    parse_settings(f"documents: documents\n{block.text}", tmp_path, name=block.place)


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "json"], ids=lambda block: block.place)
def test_json_in_a_page_is_read(block: Block) -> None:
    json.loads(block.text)
