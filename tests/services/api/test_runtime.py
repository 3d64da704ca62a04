"""The runtime over a registry of aliases: overrides, promotion and rollback while a request is under way, the encoder's index."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lorag.pipeline.adapters.registry import Version
from lorag.pipeline.config import Settings, load_settings
from lorag.pipeline.engine.scripted import ScriptedEngine
from lorag.pipeline.errors import IndexMismatch, NoEffect, StoreError
from lorag.pipeline.records import Query, Role
from lorag.pipeline.retrieval.edge_store import EdgeStore
from lorag.pipeline.retrieval.embedder import HashingEmbedder
from lorag.pipeline.retrieval.index import Index
from lorag.services.api.errors import ApiError
from lorag.services.api.residents import Residents
from lorag.services.api.runtime import Encoder, Runtime
from tests.services.api.live_service import ready_project

ONE, TWO, THREE = "0001-aaaaaaaa", "0002-bbbbbbbb", "0003-cccccccc"


@dataclass
class Home:
    """A project whose registry has folders and aliases, but no weights: what proves an adapter is given to the runtime."""

    project: Path
    settings: Settings
    store: EdgeStore
    loaded: list[str] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    told: list[dict[str, str]] = field(default_factory=list)
    notes: tuple[str, ...] = ()

    def alias(self, role: Role, **aliases: str | None) -> None:
        folder = self.settings.adapters.folder / role.value
        for name in (ONE, TWO, THREE):
            (folder / "versions" / name).mkdir(parents=True, exist_ok=True)
        import json

        (folder / "aliases.json").write_text(json.dumps({"candidate": None, "production": None, "previous": None, **aliases}))

    def load(self, name: str, version: Version) -> None:
        if version.id in self.refused:
            raise NoEffect(f"{name} changes nothing")
        self.loaded.append(name)

    def open_encoder(self, version: Version | None) -> Encoder:
        embedder = HashingEmbedder(64, name=f"hashing-{version.id}" if version else "hashing")
        index = Index(self.store, embedder, name=self.settings.store.collection)
        return Encoder(f"embedder-{version.id}" if version else "", embedder, index)

    def open(self, *, keep: int = 0) -> Runtime:
        runtime = Runtime(
            self.settings,
            ScriptedEngine(lambda request: f"said by {request.adapter} [1]"),
            residents=Residents(self.load, self.loaded.remove, keep=keep),
            open_encoder=self.open_encoder,
            on_serve=lambda serving: self.told.append(dict(serving)),
        )
        self.notes = runtime.refresh()
        return runtime


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    project = ready_project(tmp_path / "p")
    settings = load_settings(project)
    store = EdgeStore(settings.store.path)
    yield Home(project, settings, store)
    store.close()


def synthesizer(name: str) -> str:
    return f"synthesizer-{name}"


def test_without_adapters_the_base_answers(home: Home) -> None:
    with home.open().chain() as (chain, snapshot):
        assert chain.ask(Query("Who keeps the key?")).answer.reply == "said by None [1]"
    assert set(snapshot.named().values()) == {"base"}


def test_a_promotion_leaves_what_runs_alone(home: Home) -> None:
    home.alias(Role.SYNTHESIZER, production=ONE)
    runtime = home.open()
    with runtime.chain() as (old, snapshot):
        home.alias(Role.SYNTHESIZER, production=TWO, previous=ONE)
        assert runtime.refresh() == ()
        with runtime.chain() as (new, _):
            assert new.ask(Query("Who keeps the key?")).answer.reply == f"said by {synthesizer(TWO)} [1]"
        assert old.ask(Query("Who keeps the key?")).answer.reply == f"said by {synthesizer(ONE)} [1]"
        assert snapshot.named()["synthesizer"] == synthesizer(ONE)
        assert sorted(home.loaded) == [synthesizer(ONE), synthesizer(TWO)]
    assert home.loaded == [synthesizer(TWO)]
    assert [serving["synthesizer"] for serving in home.told] == [synthesizer(ONE), synthesizer(TWO)]


def test_a_version_that_does_not_prove_itself_does_not_serve(home: Home) -> None:
    home.alias(Role.SYNTHESIZER, production=ONE)
    home.alias(Role.JUDGE, production=ONE)
    runtime = home.open()
    home.alias(Role.SYNTHESIZER, production=TWO)
    home.alias(Role.JUDGE, production=TWO)
    home.refused.add(TWO)
    with pytest.raises(NoEffect):
        runtime.refresh()
    assert runtime.serving()["synthesizer"] == synthesizer(ONE)
    assert sorted(home.loaded) == [f"judge-{ONE}", synthesizer(ONE)]
    home.refused.clear()
    runtime.refresh()
    assert sorted(home.loaded) == [f"judge-{TWO}", synthesizer(TWO)]


def test_a_request_may_name_other_aliases(home: Home) -> None:
    home.alias(Role.SYNTHESIZER, production=ONE, candidate=TWO, previous=THREE)
    runtime = home.open()
    replies = {}
    for alias in ("production", "candidate", "previous", "none"):
        with runtime.chain("", {Role.SYNTHESIZER: alias}) as (chain, _):
            replies[alias] = chain.ask(Query("Who keeps the key?")).answer.reply
    spoken = {"production": synthesizer(ONE), "candidate": synthesizer(TWO), "previous": synthesizer(THREE), "none": None}
    assert replies == {alias: f"said by {name} [1]" for alias, name in spoken.items()}
    assert home.loaded == [synthesizer(ONE)]


def test_an_alias_that_names_nothing_is_the_clients_mistake(home: Home) -> None:
    runtime = home.open()
    with pytest.raises(ApiError) as caught, runtime.chain("", {Role.JUDGE: "candidate"}):
        pass
    assert (caught.value.status, caught.value.param) == (400, "lorag.adapters.judge")
    assert str(home.project) not in caught.value.message


def test_a_tenant_sees_its_own_documents_alone(home: Home) -> None:
    runtime = home.open()
    with runtime.chain("other") as (chain, _):
        response = chain.ask(Query("Who keeps the key?"))
    assert (response.trace.hits, response.answer.refused) == ((), True)


def rebuilt(home: Home, version: str) -> None:
    """Fill a new collection with the encoder of that version, as `lorag ingest --rebuild` does."""
    found = Version(Role.EMBEDDER, version, home.project, ())
    home.open_encoder(found).index.ingest(home.project / "docs", rebuild=True)


def test_an_encoder_without_its_index_does_not_take_over(home: Home) -> None:
    runtime = home.open()
    home.alias(Role.EMBEDDER, production=ONE)
    (note,) = runtime.refresh()
    assert f"embedder-{ONE} does not serve yet" in note
    with runtime.chain() as (chain, snapshot):
        assert chain.ask(Query("Who keeps the key?")).trace.hits
        assert snapshot.named()["embedder"] == "base"


def test_a_rollback_of_the_encoder_brings_back_its_index_and_spares_what_runs(home: Home) -> None:
    home.alias(Role.EMBEDDER, production=ONE)
    rebuilt(home, ONE)
    runtime = home.open()
    with runtime.chain() as (old, snapshot):
        assert snapshot.named()["embedder"] == f"embedder-{ONE}"
        home.alias(Role.EMBEDDER)
        assert runtime.refresh() == ()
        with runtime.chain() as (new, after):
            assert after.named()["embedder"] == "base"
            assert new.ask(Query("Who keeps the key?")).trace.hits
        assert old.ask(Query("Who keeps the key?")).trace.hits  # by its own encoder in its own collection


def test_an_encoder_that_cannot_search_the_index_is_refused_where_it_is_asked_for(home: Home) -> None:
    home.alias(Role.EMBEDDER, candidate=TWO)
    runtime = home.open()
    with runtime.chain("", {Role.EMBEDDER: "candidate"}) as (chain, _), pytest.raises(IndexMismatch):
        chain.ask(Query("Who keeps the key?"))


def test_an_encoder_without_its_index_is_not_proven(home: Home) -> None:
    home.alias(Role.EMBEDDER)
    runtime = home.open()
    version = Version(Role.EMBEDDER, ONE, home.project, ())
    with pytest.raises(ApiError) as caught, runtime.proven(version):
        pytest.fail("nothing fits it")
    assert caught.value.status == 409 and f"`lorag adapters promote embedder {ONE}`" in caught.value.message
    collection = runtime.index.info().collection
    rebuilt(home, ONE)
    runtime.index.rollback()  # the collection that the version filled is the previous one now
    with runtime.proven(version):
        assert runtime.index.info().collection == collection
    assert runtime.serving()["embedder"] == "base"


def test_a_start_with_an_unfit_encoder_serves_by_the_one_that_filled_the_index(home: Home) -> None:
    home.alias(Role.EMBEDDER, production=ONE)
    runtime = home.open()
    assert f"embedder-{ONE} does not serve yet, base serves" in home.notes[0]
    assert runtime.serving()["embedder"] == "base"
    with runtime.chain() as (chain, _):
        assert chain.ask(Query("Who keeps the key?")).trace.hits
    rebuilt(home, TWO)
    home.alias(Role.EMBEDDER, production=THREE, previous=TWO)
    assert home.open().serving()["embedder"] == f"embedder-{TWO}"


def test_a_start_without_any_encoder_for_the_index_says_what_to_do(home: Home) -> None:
    rebuilt(home, ONE)
    rebuilt(home, TWO)  # so that the collection of the bare encoder is gone
    home.alias(Role.EMBEDDER, production=THREE)
    with pytest.raises(IndexMismatch, match="lorag ingest --rebuild"):
        home.open()


def test_only_a_search_asks_the_store(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = home.open()

    def down() -> dict[str, str]:
        raise StoreError("the store is down")

    monkeypatch.setattr(home.store, "aliases", down)
    with runtime.snapshot(tenant="other") as snapshot:
        assert snapshot.named()["embedder"] == "base"
    with pytest.raises(StoreError), runtime.snapshot(search=True):
        pytest.fail("searched without the store")


def test_a_store_that_is_slow_for_one_search_holds_nobody_else(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime, aliases = home.open(), home.store.aliases
    asked, go_on = threading.Event(), threading.Event()

    def slow() -> Mapping[str, str]:
        asked.set()
        assert go_on.wait(20)
        return aliases()

    def search() -> None:
        with runtime.snapshot(search=True):
            pass

    monkeypatch.setattr(home.store, "aliases", slow)
    searching = threading.Thread(target=search)
    searching.start()
    assert asked.wait(20)
    with runtime.snapshot():
        assert searching.is_alive()
    go_on.set()
    searching.join(20)


def test_a_project_without_an_index_opens(tmp_path: Path) -> None:
    from tests.services.api.small_service import make_project

    settings = load_settings(make_project(tmp_path / "empty"))
    home = Home(tmp_path, settings, EdgeStore(settings.store.path))
    runtime = home.open()
    assert runtime.index.files() == []
    home.store.close()
