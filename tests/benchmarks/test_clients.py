"""The checks with clients' own packages, against a service without a model; those that are not installed are skipped."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.clients import CHECKS, Check
from tests.services.api.live_service import Live, live, ready_project


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live(ready_project(tmp_path_factory.mktemp("clients") / "project")) as running:
        yield running


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_client_with_its_defaults(check: Check, service: Live) -> None:
    try:
        assert check(service.url, "none")
    except ModuleNotFoundError as error:
        pytest.skip(f"{error.name} is not installed")
