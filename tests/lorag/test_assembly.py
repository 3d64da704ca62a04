"""From settings to a chain that answers: tiny real models, real adapters in a real registry, Qdrant Edge on disk."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lorag.assembly import (
    chosen_version,
    open_base,
    open_chain,
    open_embedder,
    open_index,
    open_store,
    serving_retrieval,
)
from lorag.pipeline.adapters.canaries import CANARY_FILE, canaries_json
from lorag.pipeline.adapters.card import AdapterCard
from lorag.pipeline.adapters.proof import CanarySample, record_canaries, record_embed_canaries
from lorag.pipeline.adapters.registry import Registry
from lorag.pipeline.config import Settings, parse_settings
from lorag.pipeline.contracts import rewrite
from lorag.pipeline.engine.bases import Base, resolve_base
from lorag.pipeline.engine.local import LocalEngine
from lorag.pipeline.engine.weights import Precision, load_weights
from lorag.pipeline.errors import AdapterError, ConfigError, IdentityMismatch, IndexMismatch, StoreError
from lorag.pipeline.records import Query, Role, Speaker, Turn
from lorag.pipeline.retrieval.client_store import ClientStore
from lorag.pipeline.retrieval.edge_store import EdgeStore
from lorag.pipeline.retrieval.sentence_encoder import SentenceTransformerEmbedder

HISTORY = (Turn(Speaker.USER, "Who keeps the key?"), Turn(Speaker.ASSISTANT, "The porter."))
TEXT = "# Keys\n\nThe porter keeps the key in room 4. At night the bell is rung twice.\n"

MakeAdapter = Callable[[Path, int, Role], Path]
MakeCard = Callable[[Path, Base, Role], AdapterCard]
Make = Callable[..., Settings]


@pytest.fixture
def project(tmp_path: Path, tiny_base: Path, tiny_encoder: Path) -> Make:
    """`project(extra yaml)` → settings of a project with one document."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "keys.md").write_text(TEXT)

    def make(adapters: str = "", rest: str = "") -> Settings:
        text = (
            f"documents: docs\nbase: {{model: {tiny_base}, precision: fp32, device: cpu}}\n"
            f"embedder: {{model: {tiny_encoder}, device: cpu}}\nadapters: {{{adapters}}}\n{rest}"
        )
        return parse_settings(text, tmp_path)

    return make


def publish_rewriter(settings: Settings, tiny_base: Path, tiny_adapter: MakeAdapter, tiny_card: MakeCard) -> str:
    folder, base = tiny_adapter(tiny_base, 3, Role.REWRITER), resolve_base(str(tiny_base))
    engine = LocalEngine(load_weights(base, precision=Precision.FP32, device="cpu"))
    engine.load_adapter("x", folder)
    samples = [CanarySample(rewrite.messages(HISTORY, "And at night?"), "Who keeps the key at night?")]
    (folder / CANARY_FILE).write_text(canaries_json(record_canaries(engine, "x", samples)))
    registry = Registry(settings.adapters.folder)
    return registry.publish(Role.REWRITER, folder, tiny_card(folder, base, Role.REWRITER)).id


def test_a_project_without_adapters_answers_on_the_bare_base(project: Make, tmp_path: Path) -> None:
    settings = project(rest="judge: {support: false}")
    index = open_index(settings)
    index.ingest(settings.documents)
    try:
        response = open_chain(settings, index=index).ask(Query("Who keeps the key?"))
    finally:
        index.close()
    assert [(r.stage, r.adapter) for r in response.trace.stages] == [
        ("rewrite", "base"),
        ("retrieve", "base"),
        ("answerability", "base"),
        ("synthesize", "base"),
    ]
    (hit,) = response.trace.hits
    assert hit.passage.source == str(tmp_path / "docs" / "keys.md")
    assert sum(response.verdicts[0].probabilities.values()) == pytest.approx(1)


def test_a_promoted_adapter_answers_its_stage_and_only_that(
    project: Make, tiny_base: Path, tiny_adapter: MakeAdapter, tiny_card: MakeCard
) -> None:
    settings = project()
    version = publish_rewriter(settings, tiny_base, tiny_adapter, tiny_card)
    assert chosen_version(settings, Role.REWRITER) is None  # published, not promoted
    Registry(settings.adapters.folder).promote(Role.REWRITER, version)
    base = open_base(settings)
    assert base.adapters == {Role.REWRITER: f"rewriter-{version}"}
    assert base.engine.adapters == (f"rewriter-{version}",)
    index = open_index(settings)
    index.ingest(settings.documents)
    try:
        response = open_chain(settings, index=index, base=base).ask(Query("And at night?", HISTORY))
    finally:
        index.close()
    stages = {r.stage: r for r in response.trace.stages}
    assert stages["rewrite"].adapter == f"rewriter-{version}"
    assert {stages[name].adapter for name in ("answerability", "synthesize")} == {"base"}
    assert stages["rewrite"].prompt == rewrite.messages(HISTORY, "And at night?")
    assert open_base(project("rewriter: none"), (Role.REWRITER,)).adapters == {}


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("0007-0123abcd", "no version 0007-0123abcd of the rewriter"),
        ("candidate", "no rewriter adapter is candidate"),
        ("previous", "no rewriter adapter is previous"),
    ],
)
def test_a_named_version_that_does_not_exist_is_an_error(project: Make, choice: str, message: str) -> None:
    with pytest.raises(AdapterError, match=message):
        chosen_version(project(f"rewriter: {choice}"), Role.REWRITER)
    with pytest.raises(AdapterError, match=message):
        open_base(project(f"rewriter: {choice}"))


def test_an_adapter_for_another_base_is_refused(
    project: Make, tiny_base: Path, tiny_adapter: MakeAdapter, tiny_card: MakeCard, tmp_path: Path
) -> None:
    settings = project("rewriter: candidate")
    publish_rewriter(settings, tiny_base, tiny_adapter, tiny_card)
    other = tmp_path / "other"
    other.mkdir()
    for file in tiny_base.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    config = (other / "config.json").read_text()
    (other / "config.json").write_text(config.replace("{", '{"marker": 1,', 1))
    base = settings.base.model_copy(update={"model": str(other)})
    with pytest.raises(IdentityMismatch, match="was trained on base"):
        open_base(settings.model_copy(update={"base": base}))


def test_an_embedder_adapter_is_proven_and_asks_for_a_rebuild(
    project: Make, tiny_encoder: Path, tiny_adapter: MakeAdapter, tiny_card: MakeCard
) -> None:
    settings = project()
    index = open_index(settings)
    index.ingest(settings.documents)
    index.close()
    folder = tiny_adapter(tiny_encoder, 5, Role.EMBEDDER)
    bare = SentenceTransformerEmbedder(str(tiny_encoder), device="cpu")
    tuned = SentenceTransformerEmbedder(str(tiny_encoder), adapter=folder, device="cpu")
    canaries = record_embed_canaries(tuned, bare, ["Who keeps the key?", "And at night?"])
    (folder / CANARY_FILE).write_text(canaries_json(canaries))
    encoder = Base(str(tiny_encoder), "", bare.identity.model_digest)
    version = Registry(settings.adapters.folder).publish(Role.EMBEDDER, folder, tiny_card(folder, encoder, Role.EMBEDDER))
    chosen = project("embedder: candidate")
    embedder = open_embedder(chosen)
    assert embedder.identity.adapter_digest == tuned.identity.adapter_digest
    index = open_index(chosen, embedder)
    with pytest.raises(IndexMismatch, match="ingest --rebuild"):
        index.search("Who keeps the key?", 1)
    index.ingest(chosen.documents, rebuild=True)
    base = open_base(chosen)
    try:
        response = open_chain(chosen, index=index, base=base).ask(Query("Who keeps the key?"))
    finally:
        index.close()
    retrieve = next(r for r in response.trace.stages if r.stage == "retrieve")
    assert retrieve.adapter == f"embedder-{version.id}"
    # Training examples are made with what serves: that encoder, and the settings' retriever.
    dense = project("embedder: candidate", "retrieval: {k: 7, hybrid: false}")
    retrieval = serving_retrieval(dense)
    assert retrieval.open_embedder().identity == embedder.identity
    stage = retrieval.open_retriever(index)
    assert (retrieval.k, stage.k, stage.hybrid, stage.encoder) == (7, 7, False, f"embedder-{version.id}")


def test_an_empty_project_is_told_before_a_model_is_loaded(project: Make) -> None:
    settings = project()
    broken = settings.model_copy(update={"base": settings.base.model_copy(update={"model": "/nowhere"})})
    with pytest.raises(StoreError, match="nothing ingested yet; run `lorag ingest`"):
        open_chain(broken)


def test_the_store_follows_the_settings(project: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    edge = open_store(project())
    assert isinstance(edge, EdgeStore)
    assert edge.location.endswith(".lorag/index")
    remote = project(rest="store: {kind: qdrant, url: 'http://localhost:1', api_key_env: LORAG_TEST_KEY}")
    monkeypatch.delenv("LORAG_TEST_KEY", raising=False)
    with pytest.raises(ConfigError, match="environment variable LORAG_TEST_KEY is not set"):
        open_store(remote)
    monkeypatch.setenv("LORAG_TEST_KEY", "k")
    store = open_store(remote)
    assert isinstance(store, ClientStore)
    assert store.location == "http://localhost:1"
