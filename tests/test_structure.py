"""The rooms and their one direction, what an import may load, and what may lie in the repository."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("pipeline", "training", "services")
FRONT = "lorag"
ALLOWED_AT_TOP = {
    *ROOMS,
    FRONT,
    "docs",
    "tests",
    "examples",
    "benchmarks",
    "pyproject.toml",
    "README.md",
    "docker-compose.yml",
    "Makefile",
    "LICENSE",
    "CHANGELOG.md",
    "constraints.txt",
}
HEAVY = ("torch", "transformers", "sentence_transformers", "peft", "trl", "datasets", "accelerate", "bitsandbytes")
MAX_FILE_BYTES = 50 * 2**20


@cache  # each file is asked about once for every name that it may not import
def imported_names(source: str, module: str) -> tuple[tuple[int, str], ...]:
    """Line and dotted name of each import in `source`, those inside functions too; `module` resolves relative ones."""
    return tuple(_imported_names(source, module))


def _imported_names(source: str, module: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = module.split(".")[: -node.level] if node.level else []
            origin = [*parents, *([node.module] if node.module else [])]
            yield from ((node.lineno, ".".join([*origin, alias.name])) for alias in node.names)


def inside(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def modules(room: str) -> Iterator[tuple[Path, str]]:
    """File and dotted name of each module of a room, or of the front door; a package counts as its `__init__`."""
    for path in sorted((ROOT / room).rglob("*.py")):  # which follows no link: `lorag/` is its own modules here
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        yield path, name if room == FRONT else f"{FRONT}.{name}"


def offences(room: str, forbidden: str, exempt: str | None = None) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path, module in modules(room)
        if exempt is None or not inside(module, exempt)
        for line, name in imported_names(path.read_text(encoding="utf-8"), module)
        if inside(name, forbidden)
    ]


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import a.b, c", ["a.b", "c"]),
        ("from a.b import c, d as e", ["a.b.c", "a.b.d"]),
        ("def f():\n    from a import b", ["a.b"]),
        ("from . import b", ["room.part.b"]),
        ("from .b import c", ["room.part.b.c"]),
        ("from ..b import c", ["room.b.c"]),
        ("important = 'import a'", []),
    ],
)
def test_the_reader_of_imports(source: str, names: list[str]) -> None:
    assert [name for _, name in imported_names(source, "room.part.module")] == names


@pytest.mark.parametrize(
    ("room", "forbidden", "exempt"),
    [
        ("pipeline", "lorag.training", None),
        ("pipeline", "lorag.services", None),
        ("training", "lorag.services", None),
        (FRONT, "lorag.services", None),
        ("pipeline", "lorag.pipeline.evaluation", "lorag.pipeline.evaluation"),
        *[(room, "tests", None) for room in ROOMS],
    ],
)
def test_imports_run_in_one_direction(room: str, forbidden: str, exempt: str | None) -> None:
    assert offences(room, forbidden, exempt) == []


@pytest.mark.parametrize("room", ["pipeline", "training"])
def test_what_lies_below_the_front_door_does_not_import_it(room: str) -> None:
    front = [module.removesuffix(".__init__") for _, module in modules(FRONT)]
    assert {found for name in front if name != FRONT for found in offences(room, name)} == set()


def test_the_front_door_names_one_service_and_imports_it_when_asked() -> None:
    """`Project.serve` stands below the server that it starts, so it imports it by name; nothing else there does so."""
    named = [
        f"{path.relative_to(ROOT)}: {name}"
        for path, _ in modules(FRONT)
        for name in re.findall(r'"(lorag\.services[\w.]*)"', path.read_text(encoding="utf-8"))
    ]
    assert named == ["lorag/project.py: lorag.services.api.server"]


def test_contracts_are_pure_text_code() -> None:
    allowed = ("lorag.pipeline.contracts", "lorag.pipeline.records", "lorag.pipeline.errors", *sys.stdlib_module_names)
    found = [
        f"{module}:{line} imports {name}"
        for path, module in modules("pipeline/contracts")
        for line, name in imported_names(path.read_text(encoding="utf-8"), module)
        if not any(inside(name, package) for package in allowed)
    ]
    assert found == []


IMPORT_ALL = """
import importlib, sys
heavy, seen = set(sys.argv[1].split(",")), set()
for name in sys.argv[2:]:
    importlib.import_module(name)
    for guilty in sorted(heavy & set(sys.modules) - seen):
        print(name, "loads", guilty)
    seen |= heavy & set(sys.modules)
"""


def run_python(*arguments: str) -> str:
    """Standard output of a fresh interpreter that sees the checkout; its failure fails the test with its error."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_any_module_loads_no_model_library() -> None:
    names = [module.removesuffix(".__init__") for room in (*ROOMS, FRONT) for _, module in modules(room)]
    names = [name for name in names if not name.endswith("__main__")]
    assert run_python("-c", IMPORT_ALL, ",".join(HEAVY), *names) == ""


def test_help_loads_no_model_library(capsys: pytest.CaptureFixture[str]) -> None:
    code = """
import sys
from lorag.services.cli import main
sys.argv = ["lorag", "--help"]
try:
    main()
except SystemExit as ended:
    assert not ended.code, ended.code
print("loaded:", [name for name in HEAVY if name in sys.modules])
"""
    started = time.perf_counter()
    output = run_python("-c", f"HEAVY = {HEAVY!r}\n{code}")
    seconds = time.perf_counter() - started
    with capsys.disabled():
        print(f"\nlorag --help: {seconds:.2f} s (aim: 0.3 s on an idle machine)")
    assert "Usage" in output
    assert output.endswith("loaded: []\n")


def tracked_files() -> list[Path]:
    """Files that git tracks; a tree without git (an unpacked archive) has nothing to say about them."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout, so no list of tracked files")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def test_only_agreed_entries_stand_at_the_top() -> None:
    tops = {path.relative_to(ROOT).parts[0] for path in tracked_files()}
    assert {top for top in tops if not top.startswith(".")} - ALLOWED_AT_TOP == set()


def test_no_large_file_is_tracked() -> None:
    assert [str(path) for path in tracked_files() if path.stat().st_size > MAX_FILE_BYTES] == []


# Joined here from pieces, so that this file does not hold what it looks for.
REGISTRIES = [
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("download", "pytorch", "org"),
        ("conda", "anaconda", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("crates", "io"),
        ("deb", "debian", "org"),
        ("docker", "io"),
        ("ghcr", "io"),
        ("quay", "io"),
        ("proxy", "golang", "org"),
    )
]
MACHINE_FOLDERS = ("root", "home", "work", "Users", "opt", "tmp")
HOSTS = "|".join(re.escape(host) for host in REGISTRIES)
OF_ONE_MACHINE = re.compile(rf"\b(?i:{HOSTS})\b|(?<![\w.~*}}])/(?:{'|'.join(MACHINE_FOLDERS)})/\w".encode())


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("see https://files." + REGISTRIES[1] + "/x", True),
        ("index = " + REGISTRIES[0].upper(), True),
        ("open('/" + "home/ann/x')", True),
        ("cd /" + "tmp/x", True),
        ("https://example.org/" + "work/x", False),
        ("~/.cache/lorag and ../shared/data", False),
        ("up/down, and/or, home/work", False),
    ],
)
def test_the_search_for_hosts_and_paths(text: str, found: bool) -> None:
    assert bool(OF_ONE_MACHINE.search(text.encode())) is found


def test_no_tracked_file_names_a_registry_host_or_a_path_of_one_machine() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {match.group().decode(errors='replace')}"
        for path in tracked_files()
        for match in OF_ONE_MACHINE.finditer(path.read_bytes())
    ]
    assert found == []
