"""The OpenAPI document says what the service does: schemathesis sends what it allows and what it forbids."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from lorag.services.api.keys import FILE, KeyRing, Scope
from tests.services.api.live_service import live, ready_project

EXAMPLES = 6
"""Of each kind for each operation."""
BEYOND_SCHEMA = {"POST /v1/chat/completions", "POST /v1/documents", "POST /v1/embeddings"}
"""Fields that depend on each other, kinds of files, an encoder's dimensions: rules that the schema of a body cannot state."""

ANSWER = {
    "POST /v1/chat/completions",
    "POST /v1/embeddings",
    "POST /v1/retrieve",
    "GET /v1/models",
    "GET /v1/documents",
    "GET /v1/jobs",
    "GET /v1/adapters",
    "GET /healthz",
    "GET /readyz",
    "GET /metrics",
}
"""Of what is sent to these, at least something must be answered."""


@dataclass(frozen=True)
class Target:
    root: str
    key: str


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    project = ready_project(tmp_path_factory.mktemp("openapi") / "project")
    key = KeyRing(project / FILE).add("everything", tuple(Scope))
    with live(project) as running:
        yield Target(running.url.removesuffix("/v1"), key)


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=lambda mode: str(mode.value))
def test_answers_are_as_described(target: Target, mode: GenerationMode) -> None:
    key = {"Authorization": f"Bearer {target.key}"}
    document = httpx.get(f"{target.root}/openapi.json", headers=key).json()
    if mode is GenerationMode.NEGATIVE:
        for operation in (found for methods in document["paths"].values() for found in methods.values()):
            operation.pop("security", None)  # else a missing key would count as what is wrong, and the request carries one
    statuses: dict[str, set[int]] = {}
    for found in schemathesis.openapi.from_dict(document).get_all_operations():
        with suppress(*([Unsatisfiable] if mode is GenerationMode.NEGATIVE else [])):  # nothing there that could be wrong
            send_some(target.root, found.ok(), mode, key, statuses)
    if mode is GenerationMode.POSITIVE:
        assert {label for label, seen in statuses.items() if 200 in seen} >= ANSWER
    else:
        assert {label for label, seen in statuses.items() if seen <= {400, 404, 413, 415}} >= {"POST /v1/chat/completions"}


def send_some(root: str, operation: Any, mode: GenerationMode, key: dict[str, str], statuses: dict[str, set[int]]) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case: Any) -> None:
        response = case.call(base_url=root, headers=key)
        statuses.setdefault(operation.label, set()).add(response.status_code)
        if response.status_code == 413:
            return  # a text too long for its field that is too long for any body
        excluded = [positive_data_acceptance] if operation.label in BEYOND_SCHEMA else []
        if operation.method == "get":
            excluded.append(negative_data_rejection)  # a parameter that nobody knows is passed over, as everywhere
        again = {"base_url": root, "headers": key}
        case.validate_response(response, excluded_checks=excluded, headers=key, transport_kwargs=again)

    send()
