"""`import lorag`: the exact list of public names, and what importing costs."""

from __future__ import annotations

import importlib
import importlib.metadata

import pytest

import lorag
from tests.test_structure import HEAVY, run_python

NAMES = [
    "Answer",
    "Citation",
    "Evaluation",
    "Evidence",
    "Final",
    "Hit",
    "IngestReport",
    "InputError",
    "LoragError",
    "Passage",
    "Project",
    "Query",
    "Response",
    "Role",
    "Settings",
    "Speaker",
    "TextDelta",
    "Turn",
    "Verdict",
    "__version__",
    "init",
    "open",
]


def test_the_public_names_are_these() -> None:
    assert lorag.__all__ == NAMES
    assert set(NAMES) <= set(dir(lorag))


def test_each_name_is_what_its_module_calls_it() -> None:
    for name in set(NAMES) - {"__version__"}:
        value = getattr(lorag, name)
        known_as = {"open": "open_project", "init": "init_project"}.get(name, name)
        assert getattr(importlib.import_module(value.__module__), known_as) is value
        assert value.__doc__, name


def test_another_name_is_refused_as_a_module_refuses_it() -> None:
    with pytest.raises(AttributeError, match="module 'lorag' has no attribute 'opne'"):
        lorag.opne  # noqa: B018


def test_the_version_is_that_of_the_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr("lorag.version.version", lambda name: f"1.2.3 of {name}")
    assert lorag.__version__ == "1.2.3 of lorag"
    monkeypatch.setattr("lorag.version.version", missing)
    assert lorag.__version__ == "checkout"


IMPORT = """
import sys, time
started = time.process_time()
import lorag
seconds = time.process_time() - started
mine = sorted(name for name in sys.modules if name.split(".")[0] == "lorag")
from lorag import *
heavy = [name for name in sys.argv[1].split(",") if name in sys.modules]
print(seconds < 0.2, mine, heavy, Project.__name__)
"""


def test_the_import_loads_nothing_of_its_own_and_the_names_load_no_model_library() -> None:
    assert run_python("-c", IMPORT, ",".join(HEAVY)) == "True ['lorag'] [] Project\n"
