"""`generation: {engine: openai}`: the same project answers through a server, and a server that holds another is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lorag.assembly import open_base, open_chain, open_index
from lorag.pipeline.adapters.canaries import CANARY_FILE, canaries_json
from lorag.pipeline.adapters.card import AdapterCard
from lorag.pipeline.adapters.proof import CanarySample, record_canaries
from lorag.pipeline.adapters.registry import Registry
from lorag.pipeline.config import Settings, parse_settings
from lorag.pipeline.contracts import rewrite
from lorag.pipeline.engine.bases import Base, resolve_base
from lorag.pipeline.engine.local import LocalEngine
from lorag.pipeline.engine.remote import RemoteEngine
from lorag.pipeline.engine.weights import Precision, load_weights
from lorag.pipeline.errors import AdapterError, ConfigError, EngineError, LoragError, NoEffect
from lorag.pipeline.records import Query, Role, Speaker, Turn
from tests.conftest import save_tiny_base
from tests.pipeline.engine.completions_server import CompletionsServer

HISTORY = (Turn(Speaker.USER, "Who keeps the key?"), Turn(Speaker.ASSISTANT, "The porter."))
KEY = "k-7e57-not-to-be-told"

MakeAdapter = Callable[[Path, int, Role], Path]
MakeCard = Callable[[Path, Base, Role], AdapterCard]


def plain_model(base: Path, adapter: Path | None = None) -> Any:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(str(base), dtype=torch.float32)
    return (PeftModel.from_pretrained(model, str(adapter)) if adapter else model).eval()


@pytest.fixture(scope="module")
def rewriter(tiny_base: Path, tiny_adapter: MakeAdapter) -> Path:
    """A rewriter's folder with its canaries."""
    folder = tiny_adapter(tiny_base, 3, Role.REWRITER)
    engine = LocalEngine(load_weights(resolve_base(str(tiny_base)), precision=Precision.FP32, device="cpu"))
    engine.load_adapter("x", folder)
    samples = [CanarySample(rewrite.messages(HISTORY, "And at night?"), "Who keeps the key at night?")]
    (folder / CANARY_FILE).write_text(canaries_json(record_canaries(engine, "x", samples)))
    return folder


@pytest.fixture(scope="module")
def server(
    tiny_base: Path, rewriter: Path, tiny_adapter: MakeAdapter, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CompletionsServer]:
    """Base, the right adapter, another one, the bare base under an adapter's name, and another base."""
    from transformers import AutoTokenizer

    bare = plain_model(tiny_base)
    models = {
        "base": bare,
        "rewriter": plain_model(tiny_base, rewriter),
        "other-adapter": plain_model(tiny_base, tiny_adapter(tiny_base, 4, Role.REWRITER)),
        "no-adapter": bare,
        "other-base": plain_model(save_tiny_base(tmp_path_factory.mktemp("other-base"), seed=9)),
    }
    with CompletionsServer(models, AutoTokenizer.from_pretrained(str(tiny_base)), key=KEY).running() as running:
        yield running


Make = Callable[..., Settings]


@pytest.fixture
def project(
    tmp_path: Path,
    tiny_base: Path,
    tiny_encoder: Path,
    rewriter: Path,
    tiny_card: MakeCard,
    server: CompletionsServer,
    monkeypatch: pytest.MonkeyPatch,
) -> Make:
    """`project(more)` → settings of a project with a document and a rewriter in production; `more` goes to generation."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "keys.md").write_text("# Keys\n\nThe porter keeps the key in room 4. At night the bell is rung twice.\n")
    monkeypatch.setenv("LORAG_TEST_SERVER_KEY", KEY + "\n")

    def make(more: str = "", engine: str = "openai") -> Settings:
        served = f", base_url: '{server.url}', api_key_env: LORAG_TEST_SERVER_KEY" if engine == "openai" else ""
        text = (
            f"documents: docs\nbase: {{model: {tiny_base}, precision: fp32, device: cpu}}\n"
            f"embedder: {{model: {tiny_encoder}, device: cpu}}\n"
            f"generation: {{engine: {engine}{served}, timeout: 30.0, retries: 0{more}}}\n"
        )
        return parse_settings(text, tmp_path)

    registry = Registry(make().adapters.folder)
    version = registry.publish(Role.REWRITER, rewriter, tiny_card(rewriter, resolve_base(str(tiny_base)), Role.REWRITER))
    registry.promote(Role.REWRITER, version.id)
    server.seen.clear()
    return make


def refusal(settings: Settings, kind: type[LoragError]) -> str:
    with pytest.raises(kind) as caught:
        open_base(settings)
    told = str(caught.value)
    assert KEY not in told
    assert "\n" not in told
    return told


def test_the_same_project_answers_alike_in_process_and_through_a_server(project: Make, server: CompletionsServer) -> None:
    with closing(open_index(project())) as index:
        index.ingest(project().documents)
        here = open_chain(project(engine="local"), index=index).ask(Query("And at night?", HISTORY))
        base = open_base(project())
        assert isinstance(base.engine, RemoteEngine)
        there = open_chain(project(), index=index, base=base).ask(Query("And at night?", HISTORY))
        base.engine.close()
    assert there.rewrite == here.rewrite
    assert there.answer == here.answer
    for ours, theirs in zip(there.verdicts, here.verdicts, strict=True):
        assert dict(ours.probabilities) == pytest.approx(dict(theirs.probabilities), abs=1e-5)
    assert [(r.stage, r.adapter) for r in there.trace.stages] == [(r.stage, r.adapter) for r in here.trace.stages]
    assert [stage.adapter[:9] for stage in there.trace.stages if stage.stage == "rewrite"] == ["rewriter-"]
    asked = [(body["model"], "echo" in body) for body in server.bodies()[-4:]]
    assert asked == [("rewriter", False), ("base", True), ("base", False), ("base", True)]


def test_each_adapter_is_proven_by_its_canaries_at_start_up(project: Make, server: CompletionsServer) -> None:
    base = open_base(project())
    assert base.engine.adapters == (base.adapters[Role.REWRITER],)
    assert sorted((body["model"], body["echo"]) for body in server.bodies()) == [("base", True), ("rewriter", True)]
    base.engine.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("models", "told"),
    [
        ("rewriter: other-adapter", "canary replies come out"),
        ("rewriter: no-adapter", "canary replies come out like the bare base's"),
        ("base: other-base", "it is another base, or has an adapter on it"),
        ("base: rewriter", "it is another base, or has an adapter on it"),
    ],
)
def test_a_server_with_another_adapter_or_base_is_refused(project: Make, models: str, told: str) -> None:
    message = refusal(project(f", models: {{{models}}}"), NoEffect)
    assert told in message
    assert message.startswith("adapter rewriter-0001-")
    assert " is not adapter rewriter 0001-" in message


def test_a_server_that_confuses_base_and_adapter_only_where_they_share_a_batch_is_refused(
    project: Make, server: CompletionsServer
) -> None:
    server.confused, server.most_at_once = "rewriter", 0
    try:
        assert "it is another base, or has an adapter on it" in refusal(project(), NoEffect)
    finally:
        server.confused = ""


def test_a_name_that_the_server_does_not_know_is_refused(project: Make) -> None:
    told = refusal(project(", models: {rewriter: rewriter-v2}"), AdapterError)
    assert "(model 'rewriter-v2')" in told
    assert "it serves base, rewriter, other-adapter" in told


def test_a_server_that_cannot_score_is_refused_before_the_first_question(project: Make, server: CompletionsServer) -> None:
    server.scores = False
    try:
        assert "use vLLM or `lorag serve`" in refusal(project(), EngineError)
    finally:
        server.scores = True


def test_prompts_of_another_contract_are_refused_before_the_server_is_asked_for_them(
    project: Make, server: CompletionsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rewrite, "TUNED_TASK", "Rewrite it.")
    assert "was trained on prompts of contract" in refusal(project(), AdapterError)
    assert server.bodies() == []


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "generation.api_key_env: the environment variable LORAG_TEST_SERVER_KEY is not set"),
        (" \n", "generation.api_key_env: the environment variable LORAG_TEST_SERVER_KEY is not set"),
        ("schlüssel", "holds more than printable ASCII; it is no API key"),
    ],
)
def test_a_missing_key_is_told_before_anything_is_loaded(
    project: Make, server: CompletionsServer, monkeypatch: pytest.MonkeyPatch, value: str | None, told: str
) -> None:
    if value is None:
        monkeypatch.delenv("LORAG_TEST_SERVER_KEY")
    else:
        monkeypatch.setenv("LORAG_TEST_SERVER_KEY", value)
    assert told in refusal(project(), ConfigError)
    assert server.seen == []


def test_a_wrong_key_is_told_by_the_variable_that_holds_it(project: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORAG_TEST_SERVER_KEY", "k-wrong")
    told = refusal(project(), EngineError)
    assert "set the variable that generation.api_key_env names" in told
    assert "k-wrong" not in told
