"""`pytest --without-models`: the tests that load no model, found by running them.

Importing torch skips the test that did it, so no list of tests is kept: whatever loads a model leaves the selection by itself.
A wrapped error, or a thread that dies of it, makes the test fail; such a failure is a skip too. All tests run without the option.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType

import pytest

REASON = "it loads a model"


class WithoutModels(MetaPathFinder):
    """A finder before all others that refuses torch, and the hooks that turn what came of it into a skip."""

    def __init__(self) -> None:
        self._refused = False
        self._causes: list[BaseException] = []
        """Errors that followed a refusal. A fixture of a wider scope raises its error again in each test that asks for it."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if name == "torch":
            self._refused = True
            raise pytest.skip.Exception(REASON, allow_module_level=True)  # of a module when it is collected, of a test afterwards

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        self._refused = False

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if report.failed and call.excinfo is not None and (self._refused or call.excinfo.value in self._causes):
            self._causes.append(call.excinfo.value)
            report.outcome, report.longrepr = "skipped", (str(item.path), 0, f"Skipped: {REASON}")
        return report


def refuse_models(config: pytest.Config) -> None:
    plugin = WithoutModels()
    sys.meta_path.insert(0, plugin)
    config.pluginmanager.register(plugin)
