"""Adapters over HTTP: the list, the cards, and a change of what serves with no way around the evidence or out of the registry."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from lorag.pipeline.adapters.registry import Registry, Version
from lorag.pipeline.errors import NoEffect
from lorag.pipeline.records import Role
from tests.claims import speak_for, speak_for_each
from tests.services.api.plain_adapters import MakeCard, publish
from tests.services.api.small_service import make_project, serving


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path / "project")


@pytest.fixture
def registry(project: Path) -> Registry:
    return Registry(project / ".lorag/adapters")


@pytest.fixture
def versions(registry: Registry, tmp_path: Path, tiny_card: MakeCard) -> list[str]:
    """Two rewriters that are better than the base, and each than the other, and, the candidate, one that is not."""
    names = [publish(registry, tmp_path / f"new-{n}", tiny_card, n, better=n < 3) for n in (1, 2, 3)]
    speak_for_each(registry, Role.REWRITER, names[:2])
    return names


@pytest.fixture
def client(project: Path, versions: list[str]) -> Iterator[TestClient]:
    with serving(project) as made:
        yield made


def rewriters(client: TestClient) -> dict[str, Any]:
    roles = client.get("/v1/adapters").json()["roles"]
    assert [each["role"] for each in roles] == ["rewriter", "embedder", "synthesizer", "judge"]
    found: dict[str, Any] = roles[0]
    return found


def test_the_list_says_what_there_is_and_what_serves(client: TestClient, versions: list[str]) -> None:
    found = rewriters(client)
    assert (found["aliases"], found["serving"]) == ({"candidate": versions[2]}, "base")
    assert [each["version"] for each in found["versions"]] == versions
    assert [each["aliases"] for each in found["versions"]] == [[], [], ["candidate"]]
    first = found["versions"][0]
    assert first["created"] == "2025-01-31T12:00:00Z" and first["problem"] is None
    assert first["evidence"][0] == {
        "metric": "ROUGE-1",
        "data": {"name": "made-up test split", "digest": "", "origin": "human"},
        "against": {"version": "base", "weights_digest": ""},
        "kind": "held-out",
        "reference": 0.2,
        "tuned": 0.6,
        "difference": 0.4,
        "low": 0.1,
        "high": 0.7,
        "level": 0.975,
        "n": 30,
        "groups": 10,
        "look": 1,
    }


def test_a_card_by_version_and_by_alias(client: TestClient, versions: list[str]) -> None:
    by_version = client.get(f"/v1/adapters/rewriter/{versions[2]}").json()
    assert by_version == client.get("/v1/adapters/rewriter/candidate").json()
    assert (by_version["version"], by_version["aliases"], by_version["card"]["lora"]["rank"]) == (versions[2], ["candidate"], 2)


def test_promotion_and_rollback_serve_at_once(client: TestClient, versions: list[str]) -> None:
    first, second, _ = versions
    promoted = client.post("/v1/adapters/rewriter/promote", json={"version": first})
    assert promoted.json() == {"role": "rewriter", "aliases": {"candidate": versions[2], "production": first}, "notes": []}
    assert rewriters(client)["serving"] == f"rewriter-{first}"
    client.post("/v1/adapters/rewriter/promote", json={"version": second})
    assert rewriters(client)["serving"] == f"rewriter-{second}"
    for serves in (first, second):
        back = client.post("/v1/adapters/rewriter/rollback")
        assert back.status_code == 200 and back.json()["aliases"]["production"] == serves
        assert rewriters(client)["serving"] == f"rewriter-{serves}"


def test_evidence_against_what_does_not_serve_is_refused_with_what_to_run(
    client: TestClient, registry: Registry, versions: list[str]
) -> None:
    client.post("/v1/adapters/rewriter/promote", json={"version": versions[0]})
    refused = client.post("/v1/adapters/rewriter/promote", json={})
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "adapter_refused")
    message = refused.json()["error"]["message"]
    assert f"version {versions[0]} serves" in message
    assert f"run `lorag eval adapter rewriter {versions[2]} --data FOLDER`" in message
    assert rewriters(client)["serving"] == f"rewriter-{versions[0]}"


@pytest.mark.parametrize("body", [None, {}, {"version": "candidate"}])
def test_a_promotion_without_evidence_is_refused(client: TestClient, registry: Registry, body: dict[str, str] | None) -> None:
    before = dict(registry.aliases(Role.REWRITER))
    refused = client.post("/v1/adapters/rewriter/promote", json=body)
    assert refused.status_code == 409 and "97.5 % interval -0.100" in refused.json()["error"]["message"]
    assert dict(registry.aliases(Role.REWRITER)) == before and rewriters(client)["serving"] == "base"


@pytest.mark.parametrize(
    "body", [{"not_worse": 1}, {"version": "candidate", "not_worse": 9}, {"force": True}, [], "candidate", {"version": None}]
)
def test_no_body_lowers_what_a_promotion_needs(client: TestClient, registry: Registry, body: object) -> None:
    assert client.post("/v1/adapters/rewriter/promote", json=body).status_code == 400
    assert "production" not in registry.aliases(Role.REWRITER)


def test_a_rollback_to_nothing_is_refused(client: TestClient, versions: list[str]) -> None:
    for role in ("rewriter", "judge"):
        refused = client.post(f"/v1/adapters/{role}/rollback")
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "adapter_refused")


def test_a_version_that_does_not_prove_itself_does_not_become_production(
    project: Path, registry: Registry, versions: list[str]
) -> None:
    def load(name: str, version: Version) -> None:
        if version.id == versions[1]:
            raise NoEffect(f"{version.folder}: its canary outputs differ")

    with serving(project, load=load) as client:
        for before in ({}, {"production": versions[0]}):
            assert before.items() <= registry.aliases(Role.REWRITER).items()
            aliases = dict(registry.aliases(Role.REWRITER))
            serving_before = rewriters(client)["serving"]
            refused = client.post("/v1/adapters/rewriter/promote", json={"version": versions[1]})
            assert (refused.status_code, refused.json()["error"]["code"]) == (409, "adapter_refused")
            assert str(project) not in refused.text
            assert dict(registry.aliases(Role.REWRITER)) == aliases and rewriters(client)["serving"] == serving_before
            assert client.post("/v1/adapters/rewriter/promote", json={"version": versions[0]}).status_code == 200


def test_a_version_is_proven_before_an_alias_names_it(project: Path, registry: Registry, versions: list[str]) -> None:
    seen: list[dict[str, str]] = []

    def load(name: str, version: Version) -> None:
        seen.append(dict(registry.aliases(Role.REWRITER)))  # what a kill at this moment would leave

    with serving(project, load=load) as client:
        for version in versions[:2]:
            assert client.post("/v1/adapters/rewriter/promote", json={"version": version}).status_code == 200
    candidate = {"candidate": versions[2]}
    assert seen == [candidate, {**candidate, "production": versions[0]}]


def test_a_change_that_cannot_serve_is_undone_and_a_newer_candidate_stays(
    registry: Registry, versions: list[str], tmp_path: Path, tiny_card: MakeCard
) -> None:
    for name in versions[:2]:
        before = registry.aliases(Role.REWRITER)
        registry.promote(Role.REWRITER, name)
        newer = publish(registry, tmp_path / f"newer-{name}", tiny_card, 10 + versions.index(name))
        registry.undo(Role.REWRITER, before, name)
        assert dict(registry.aliases(Role.REWRITER)) == {**before, "candidate": newer}
        registry.promote(Role.REWRITER, name)
    before = registry.aliases(Role.REWRITER)
    speak_for(registry, Role.REWRITER, newer)
    registry.promote(Role.REWRITER, newer)
    registry.undo(Role.REWRITER, before, newer)
    assert registry.aliases(Role.REWRITER) == before, "the promotion had moved the candidate"
    registry.promote(Role.REWRITER, newer)
    registry.rollback(Role.REWRITER)
    now = registry.aliases(Role.REWRITER)
    registry.undo(Role.REWRITER, before, newer)
    assert registry.aliases(Role.REWRITER) == now, "somebody changed them since"


@pytest.mark.parametrize("change", ["promote", "rollback"])
def test_a_change_that_would_change_nothing_here_is_refused(project: Path, versions: list[str], change: str) -> None:
    with (project / "lorag.yaml").open("a") as settings:
        settings.write("adapters: {rewriter: none}\n")
    with serving(project) as client:
        refused = client.post(f"/v1/adapters/rewriter/{change}")
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "adapter_pinned")
        assert "adapters.rewriter: none" in refused.json()["error"]["message"]
        assert client.post(f"/v1/adapters/questioner/{change}").status_code == 404


HOSTILE = (
    "../x",
    "..%2fx",
    "%2e%2e",
    "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "..",
    ".",
    "/etc/passwd",
    "%2fetc%2fpasswd",
    "production%00",
    "%00",
    "production%0a",
    "0001-1a2b3c4d%0a",
    "0001-1a2b3c4d/../x",
    "versions",
    "aliases.json",
    ".lock",
    "PRODUCTION",
    "none",
    "production ",
    "0001-1A2B3C4D",
    "0001",
    "٠٠٠١-1a2b3c4d",
    "x" * 3000,
)


def test_names_of_versions_are_never_paths(client: TestClient, registry: Registry) -> None:
    (registry.folder.parent / "x").mkdir()
    files = {path: path.stat().st_mtime_ns for path in registry.folder.rglob("*")}
    for name in HOSTILE:
        if name not in ("..", "."):  # a client resolves these itself, before it asks
            assert client.get(f"/v1/adapters/rewriter/{name}").status_code in (400, 404), name
        assert client.post("/v1/adapters/rewriter/promote", json={"version": name}).status_code == 400, name
    for name in ("..", "%2e%2e", "rewriter%00", "../rewriter", "%2frewriter", "Rewriter", "questioner%0a", "*"):
        for call in (f"/v1/adapters/{name}/promote", f"/v1/adapters/{name}/rollback"):
            assert client.post(call).status_code in (400, 404, 405), name
        assert client.get(f"/v1/adapters/{name}/production").status_code in (400, 404), name
    assert {path: path.stat().st_mtime_ns for path in registry.folder.rglob("*")} == files
    for body in ("\0", "../x", "%2e%2e", "/etc/passwd", 7, True, ["candidate"], {"a": 1}):
        assert client.post("/v1/adapters/rewriter/promote", json={"version": body}).status_code == 400


def test_what_is_not_there_is_404_without_a_path_of_the_machine(client: TestClient, project: Path) -> None:
    for path in ("rewriter/0099-00000000", "rewriter/production", "judge/candidate"):
        missing = client.get(f"/v1/adapters/{path}")
        assert missing.status_code == 404 and str(project) not in missing.text
    missing = client.post("/v1/adapters/rewriter/promote", json={"version": "0099-00000000"})
    assert missing.status_code == 404 and str(project) not in missing.text


def test_a_damaged_version_is_listed_with_its_problem(client: TestClient, registry: Registry, versions: list[str]) -> None:
    (registry.folder / "rewriter/versions" / versions[0] / "card.json").write_text("{")
    (registry.folder / "rewriter/versions" / versions[1] / "adapter_model.safetensors").write_bytes(b"\x80\x04pickle")
    listed = rewriters(client)["versions"]
    assert "card.json" in listed[0]["problem"] and str(registry.folder) not in listed[0]["problem"]
    assert listed[2]["problem"] is None
    assert client.get(f"/v1/adapters/rewriter/{versions[0]}").status_code == 409
    for version in versions[:2]:
        refused = client.post("/v1/adapters/rewriter/promote", json={"version": version})
        assert refused.status_code == 409 and str(registry.folder) not in refused.text
