"""What another process promotes serves here too, and what cannot serve changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorag.pipeline.adapters.registry import Registry, Version
from lorag.pipeline.errors import NoEffect
from lorag.pipeline.records import Role
from lorag.services.api.alias_watch import AliasWatch
from tests.claims import speak_for_each
from tests.services.api.plain_adapters import MakeCard, publish
from tests.services.api.small_service import make_project, serving, wait_for


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path / "project")


@pytest.fixture
def registry(project: Path) -> Registry:
    return Registry(project / ".lorag/adapters")


@pytest.fixture
def versions(registry: Registry, tmp_path: Path, tiny_card: MakeCard) -> list[str]:
    """Two rewriters, each better than the base and than the other."""
    names = [publish(registry, tmp_path / f"new-{n}", tiny_card, n, better=True) for n in (1, 2)]
    speak_for_each(registry, Role.REWRITER, names)
    return names


def test_a_promotion_by_another_process_serves_without_a_restart(
    project: Path, registry: Registry, versions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AliasWatch.__init__, "__kwdefaults__", {"seconds": 0.02})
    with serving(project) as client:

        def serves() -> str:
            return str(client.get("/v1/adapters").json()["roles"][0]["serving"])

        assert serves() == "base"
        for name in versions:
            registry.promote(Role.REWRITER, name)
            wait_for(lambda name=name: serves() == f"rewriter-{name}")
        registry.rollback(Role.REWRITER)
        wait_for(lambda: serves() == f"rewriter-{versions[0]}")


def test_a_version_that_cannot_serve_is_logged_once_and_the_one_before_serves_on(
    project: Path, registry: Registry, versions: list[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AliasWatch.__init__, "__kwdefaults__", {"seconds": 0.02})

    def load(name: str, version: Version) -> None:
        if version.id == versions[1]:
            raise NoEffect(f"{name} changes nothing")

    with serving(project, load=load) as client:
        registry.promote(Role.REWRITER, versions[0])
        wait_for(lambda: client.get("/v1/adapters").json()["roles"][0]["serving"] == f"rewriter-{versions[0]}")
        registry.promote(Role.REWRITER, versions[1])
        told = f"what another process promoted does not serve here: rewriter-{versions[1]} changes nothing"
        wait_for(lambda: told in caplog.text)
        assert client.get("/v1/adapters").json()["roles"][0]["serving"] == f"rewriter-{versions[0]}"
    assert caplog.text.count(told) == 1


def test_a_look_without_a_change_does_nothing(registry: Registry, versions: list[str]) -> None:
    taken: list[int] = []
    watch = AliasWatch(registry, lambda: taken.append(1))
    watch.look()
    assert taken == []
    registry.promote(Role.REWRITER, versions[0])
    watch.look()
    watch.look()
    assert taken == [1]
    (registry.folder / "rewriter" / "aliases.json").write_text("{")
    watch.look()
    assert taken == [1]
