"""Hostile adapter folders: each refused in one line, in bounded time and memory, before any library reads it."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from lorag.pipeline.adapters.canaries import check_readable
from lorag.pipeline.adapters.card import AdapterCard, card_json, read_card
from lorag.pipeline.adapters.inspection import ALLOWED, inspect_folder
from lorag.pipeline.adapters.proof import verify_identity
from lorag.pipeline.adapters.registry import Registry
from lorag.pipeline.engine.bases import Base
from lorag.pipeline.errors import AdapterError
from lorag.pipeline.records import Role
from tests.pipeline.adapters.hostile_folders import CASES
from tests.pipeline.adapters.judge_hostile import BASE

REFUSALS = ("AdapterError", "IdentityMismatch", "NoEffect")
SECONDS = 10.0
"""A folder may keep the process busy so long, on a machine that has other work too."""

MEMORY = 400.0
"""MiB that the process may grow by: parsing a header of a few megabytes takes the most."""

GOOD = "good"
JUDGE = Path(__file__).with_name("judge_hostile.py")
ROOT = JUDGE.parents[3]


@pytest.fixture(scope="module")
def folders(
    tmp_path_factory: pytest.TempPathFactory,
    save_plain: Callable[[Path, int], Path],
    tiny_card: Callable[[Path, Base, Role], AdapterCard],
) -> Mapping[str, Path]:
    """What is given to be loaded, by case; under `good` a folder with nothing wrong."""
    root = tmp_path_factory.mktemp("hostile")
    good = save_plain(root / "good", 1)
    (good / "card.json").write_text(card_json(tiny_card(good, BASE, Role.REWRITER)))
    made = {GOOD: good}
    for number, (name, case) in enumerate(CASES.items()):
        folder = shutil.copytree(good, root / f"{number:03d}")
        made[name] = case.spoil(folder) or folder
    return made


@pytest.fixture(scope="module")
def verdicts(folders: Mapping[str, Path]) -> Mapping[str, Mapping[str, Any]]:
    """What became of each folder, judged by one process that has loaded no model library."""
    asked = "".join(json.dumps(str(folder)) + "\n" for folder in folders.values())
    command = [sys.executable, str(JUDGE)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, input=asked, capture_output=True, text=True, timeout=900, env=environment)
    assert done.returncode == 0, done.stderr
    return dict(zip(folders, map(json.loads, done.stdout.splitlines()), strict=True))


def test_there_are_many() -> None:
    assert len(CASES) > 150


def test_the_good_folder_reaches_the_engine(verdicts: Mapping[str, Mapping[str, Any]]) -> None:
    """Else nothing would be shown by the others being refused."""
    verdict = verdicts[GOOD]
    assert (verdict["kind"], verdict["message"]) == ("AssertionError", "reached the engine")
    assert verdict["seen"][-1] == "load_adapter"
    assert {Path(event.removeprefix("open ")).name for event in verdict["seen"][:-1]} <= ALLOWED.keys()


@pytest.mark.parametrize("name", CASES)
def test_refused_before_any_library_reads_it(
    verdicts: Mapping[str, Mapping[str, Any]], folders: Mapping[str, Path], name: str
) -> None:
    verdict, folder = verdicts[name], folders[name]
    message = verdict["message"]
    assert verdict["kind"] in REFUSALS, message
    assert CASES[name].word in message and message.isprintable() and len(message) <= 1000
    allowed = {f"open {folder / file}" for file in ALLOWED}
    assert set(verdict["seen"]) <= allowed
    assert verdict["seconds"] < SECONDS and verdict["grown"] < MEMORY


@pytest.mark.parametrize("name", CASES)
def test_publishing_takes_nothing_hostile_along(folders: Mapping[str, Path], tmp_path: Path, name: str) -> None:
    """It is refused, or what was hostile stays behind and the version is as clean as if nothing had lain beside."""
    registry, card = Registry(tmp_path / "registry"), read_card(folders[GOOD])
    try:
        version = registry.publish(Role.REWRITER, folders[name], card)
    except AdapterError as error:
        assert str(error).isprintable()
        assert registry.list() == ()
    else:
        assert inspect_folder(version.folder).weights_digest == card.identity.weights_digest
        assert {path.name for path in version.folder.iterdir()} <= ALLOWED.keys()


ALIASES: Mapping[str, Callable[[Path], Any]] = {
    "pipe": os.mkfifo,
    "folder": Path.mkdir,
    "link": lambda path: path.symlink_to("/etc/passwd"),
    "nested": lambda path: path.write_text("[" * 100_000),
    "climbing": lambda path: path.write_text('{"candidate": null, "production": "../../x", "previous": null}'),
    "number": lambda path: path.write_text('{"candidate": null, "production": 1e999, "previous": null}'),
    "large": lambda path: path.write_bytes(b" " * (2 << 20)),
}


@pytest.mark.parametrize("make", ALIASES.values(), ids=ALIASES.keys())
def test_hostile_aliases_are_refused(tmp_path: Path, make: Callable[[Path], Any]) -> None:
    (tmp_path / "rewriter").mkdir()
    make(tmp_path / "rewriter/aliases.json")
    with pytest.raises(AdapterError, match=r"aliases\.json"):
        Registry(tmp_path).resolve(Role.REWRITER, "production")


@pytest.mark.parametrize(
    "name", ["../../x", "/etc", "0001-0123456g", "0001-01234567/../..", "", ".", "production/", "0001-01234567\n"]
)
def test_a_version_is_no_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(AdapterError, match="is neither an adapter version"):
        Registry(tmp_path).resolve(Role.REWRITER, name)


def test_a_version_that_is_a_link_is_not_promoted(folders: Mapping[str, Path], tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    version = registry.publish(Role.REWRITER, folders[GOOD], read_card(folders[GOOD]))
    moved = version.folder.rename(tmp_path / "elsewhere")
    version.folder.symlink_to(moved)
    with pytest.raises(AdapterError, match="no adapter folder"):
        registry.promote(Role.REWRITER, version.id)


@pytest.mark.parametrize("file", ["adapter_config.json", "adapter_model.safetensors", "card.json", "canaries.json"])
def test_random_damage_is_refused_or_harmless(folders: Mapping[str, Path], tmp_path: Path, file: str) -> None:
    """Bytes changed, doubled, dropped: never another error than the known one, and never a file that is taken for whole."""
    folder = shutil.copytree(folders[GOOD], tmp_path / "damaged")
    whole, draw = (folder / file).read_bytes(), random.Random(7)
    refused = 0
    for _ in range(400):
        data = bytearray(whole)
        for _ in range(draw.randint(1, 3)):
            place = draw.randrange(len(data))
            match draw.randrange(4):
                case 0:
                    data[place] = draw.randrange(256)
                case 1:
                    del data[place : place + draw.randint(1, 40)]
                case 2:
                    data[place:place] = data[place : place + draw.randint(1, 40)]
                case 3:
                    data[place:place] = draw.choice([b'"', b"{", b"}", b"9" * 30, b"null", b"\xff", b"\\ud800", b"NaN"])
        (folder / file).write_bytes(data)
        try:
            facts, card = inspect_folder(folder), read_card(folder)
            check_readable(folder, Role.REWRITER)
            verify_identity(card, BASE, weights_digest=facts.weights_digest)
        except AdapterError as error:
            assert str(error).isprintable()
            refused += 1
    assert refused > 200
