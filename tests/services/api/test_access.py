"""Every route, with no key, a wrong key, and a key of each scope: who is let in and who is not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from starlette.routing import Mount, Route

from lorag.services.api.keys import FILE, KeyRing, Scope
from tests.services.api.small_service import bearer, make_app, make_project, serving

OPEN = {"/healthz", "/readyz", "/", "/static", "/v1/owner/proof"}
OWNERS = {("GET", "/v1/owner/index"), *(("POST", f"/v1/owner/{what}") for what in ("ask", "ingest", "promote", "rollback"))}
"""They need the key that only the owner of the project folder can read: see test_through_the_service."""
"""Routes that need no key: two probes and the page, which holds nothing."""
NEEDS = {
    ("GET", "/v1/models"): "ask",
    ("GET", "/v1/models/{model:path}"): "ask",
    ("POST", "/v1/chat/completions"): "ask",
    ("POST", "/v1/completions"): "ask",
    ("POST", "/v1/embeddings"): "ask",
    ("POST", "/v1/retrieve"): "ask",
    ("POST", "/v1/feedback"): "ask",
    ("DELETE", "/v1/feedback/{id}"): "ask",
    ("GET", "/v1/documents"): "ingest",
    ("POST", "/v1/documents"): "ingest",
    ("DELETE", "/v1/documents/{source:path}"): "ingest",
    ("GET", "/v1/jobs"): "ingest",
    ("GET", "/v1/jobs/{id}"): "ingest",
    ("GET", "/v1/adapters"): "ask",
    ("GET", "/v1/adapters/{role}/{version}"): "ask",
    ("POST", "/v1/adapters/{role}/promote"): "admin",
    ("POST", "/v1/adapters/{role}/rollback"): "admin",
    ("GET", "/v1/report"): "ask",
    ("GET", "/metrics"): "admin",
    ("GET", "/openapi.json"): "ask",
    ("GET", "/docs"): "ask",
}
VALUES = {"model": "lorag", "source": "keys.md", "id": "0" * 32, "role": "rewriter", "version": "production"}


def routes(routed: Any) -> Iterator[tuple[str, str]]:
    for route in routed.routes:
        if isinstance(route, Mount):
            yield "GET", route.path
        elif (included := getattr(route, "original_router", None)) is not None:
            yield from routes(included)
        else:
            assert isinstance(route, Route | APIRoute), f"a kind of route that this test does not know: {route}"
            yield from ((method, route.path) for method in sorted((route.methods or set()) - {"HEAD"}))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("access") / "project")


@pytest.fixture(scope="module")
def keys(project: Path) -> dict[str, str]:
    """A key of each scope alone."""
    ring = KeyRing(project / FILE)
    return {scope.value: ring.add(f"only-{scope.value}", [scope]) for scope in Scope}


@pytest.fixture(scope="module")
def client(project: Path, keys: dict[str, str]) -> Iterator[TestClient]:
    with serving(project) as made:
        yield made


def test_the_table_names_every_route(project: Path) -> None:
    """A route added later fails here until it is said what it needs."""
    closed = {(method, path) for method, path in routes(make_app(project)) if path not in OPEN}
    owners = {(method, path) for method, path in closed if path.startswith("/v1/owner/")}
    assert closed - owners == NEEDS.keys() and owners == OWNERS


@pytest.mark.parametrize(("method", "path"), NEEDS)
def test_no_route_lets_in_who_has_no_key_or_too_small_a_scope(
    client: TestClient, keys: dict[str, str], method: str, path: str
) -> None:
    url = re.sub(r"\{(\w+)(:path)?\}", lambda found: VALUES[found[1]], path)
    headers: dict[str, str]
    for headers in (
        {},
        bearer("lorag-wrong"),
        bearer(""),
        {"Authorization": keys["admin"]},
        {"Authorization": f"Basic {keys['admin']}"},
        {"X-API-Key": keys["admin"]},
        bearer(kept_of_a_key(client)),
    ):
        refused = client.request(method, url, headers=headers)
        assert (refused.status_code, refused.json()["error"]["type"]) == (401, "authentication_error"), headers
        assert refused.headers["WWW-Authenticate"] == "Bearer"
    wanted = NEEDS[method, path]
    for scope, key in keys.items():
        answer = client.request(method, url, headers=bearer(key))
        if scope == wanted:
            assert answer.status_code not in (401, 403)
        else:
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "insufficient_scope")
            assert wanted in answer.json()["error"]["message"]


def kept_of_a_key(client: TestClient) -> str:
    """What stands in the key file opens nothing."""
    app = client.app
    assert isinstance(app, FastAPI)
    entry, *_ = app.state.lorag.keys.entries()
    return str(entry.sha256)


def test_the_description_says_of_every_route_that_it_needs_a_key(client: TestClient, keys: dict[str, str]) -> None:
    paths = client.get("/openapi.json", headers=bearer(keys["ask"])).json()["paths"]
    unguarded = {path for path, methods in paths.items() for operation in methods.values() if not operation.get("security")}
    assert unguarded == {"/healthz", "/readyz"}


def test_open_routes_hold_no_document_and_no_adapter(client: TestClient) -> None:
    for path in ("/healthz", "/readyz"):
        assert client.get(path).json().keys() == {"status"}


def test_a_key_in_the_query_or_the_body_is_no_credential(client: TestClient, keys: dict[str, str]) -> None:
    key = keys["ask"]
    for path in (f"/v1/models?key={key}", f"/v1/models?api_key={key}", f"/v1/models?access_token={key}"):
        assert client.get(path).status_code == 401
    assert client.post("/v1/retrieve", json={"query": "x", "key": key}).status_code == 401


def test_a_removed_key_is_refused_from_the_next_request_on(client: TestClient, project: Path) -> None:
    ring = KeyRing(project / FILE)
    key = ring.add("short-lived", [Scope.ASK])
    assert client.get("/v1/models", headers=bearer(key)).status_code == 200
    ring.remove("short-lived")
    assert client.get("/v1/models", headers=bearer(key)).status_code == 401


def test_a_service_without_keys_is_open_and_the_first_key_does_not_open_it_halfway(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    with serving(project) as client:
        assert client.get("/v1/models").status_code == 200
        assert client.get("/metrics").status_code == 200


@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "open to all"])
def test_a_key_file_that_is_damaged_while_the_service_runs_lets_nobody_in(tmp_path: Path, damage: str) -> None:
    project = make_project(tmp_path / "project")
    key = KeyRing(project / FILE).add("someone", [Scope.ASK])
    file = project / FILE
    with serving(project) as client:
        assert client.get("/v1/models", headers=bearer(key)).status_code == 200
        if damage == "gone":
            file.unlink()
        else:
            file.write_text({"empty": "", "cut": file.read_text()[:-20], "open to all": '{"format": 1, "keys": []}'}[damage])
        assert client.get("/v1/models", headers=bearer(key)).status_code == 401
        assert client.get("/v1/models").status_code == 401
