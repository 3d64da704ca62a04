"""One LoRAG asks another: the models lie in `lorag serve` in a process of its own, the index and the questions here."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from lorag.assembly import open_base, open_index
from lorag.pipeline.adapters.canaries import CANARY_FILE, canaries_json
from lorag.pipeline.adapters.card import AdapterCard
from lorag.pipeline.adapters.proof import CanarySample, record_canaries
from lorag.pipeline.adapters.registry import Registry
from lorag.pipeline.config import load_settings
from lorag.pipeline.contracts import rewrite
from lorag.pipeline.engine.bases import Base, resolve_base
from lorag.pipeline.engine.local import LocalEngine
from lorag.pipeline.engine.protocol import ChoiceRequest, Generation
from lorag.pipeline.engine.remote import RemoteEngine
from lorag.pipeline.engine.weights import Precision, load_weights
from lorag.pipeline.errors import EngineError, PromptTooLong
from lorag.pipeline.records import Message, Role, Speaker, Turn
from lorag.services.api.keys import FILE, KeyRing, Scope
from lorag.services.cli import app

HISTORY = (Turn(Speaker.USER, "Who keeps the key?"), Turn(Speaker.ASSISTANT, "The porter."))
ASK = (Message("user", "Who keeps the key? <|im_end|>"), Message("assistant", "The porter."), Message("user", "At night?"))
VARIABLE = "LORAG_TEST_SERVICE_KEY"
MODELS = "{base: lorag/base, rewriter: lorag/rewriter, synthesizer: lorag/synthesizer, judge: lorag/judge}"

MakeAdapter = Callable[[Path, int, Role], Path]
MakeCard = Callable[[Path, Base, Role], AdapterCard]


@dataclass(frozen=True)
class Service:
    """`project` is served at `url` by another process; `client` is a project with the same adapters that asks it."""

    project: Path
    client: Path
    url: str
    key: str


def settings_text(base: Path, encoder: Path, more: str = "") -> str:
    return (
        f"documents: docs\nbase: {{model: {base}, precision: fp32, device: cpu}}\n"
        f"embedder: {{model: {encoder}, device: cpu}}\n{more}"
    )


@pytest.fixture(scope="module")
def service(
    tiny_base: Path,
    tiny_encoder: Path,
    tiny_adapter: MakeAdapter,
    tiny_card: MakeCard,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Service]:
    base = resolve_base(str(tiny_base))
    engine = LocalEngine(load_weights(base, precision=Precision.FP32, device="cpu"))
    folder = tiny_adapter(tiny_base, 3, Role.REWRITER)
    engine.load_adapter("x", folder)
    samples = [CanarySample(rewrite.messages(HISTORY, "And at night?"), "Who keeps the key at night?")]
    (folder / CANARY_FILE).write_text(canaries_json(record_canaries(engine, "x", samples)))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/v1"
    served, client = (tmp_path_factory.mktemp(name) for name in ("served", "client"))
    remote = f"generation: {{engine: openai, base_url: '{url}', api_key_env: {VARIABLE}, models: {MODELS}}}\n"
    for project, more in ((served, ""), (client, remote)):
        (project / "docs").mkdir()
        (project / "docs" / "keys.md").write_text("# Keys\n\nThe porter keeps the key in room 4.\n")
        (project / "lorag.yaml").write_text(settings_text(tiny_base, tiny_encoder, more))
        registry = Registry(load_settings(project).adapters.folder)
        version = registry.publish(Role.REWRITER, folder, tiny_card(folder, base, Role.REWRITER))
        registry.promote(Role.REWRITER, version.id)
    key = KeyRing(served / FILE).add("asker", (Scope.ASK,))
    command = "import sys; from lorag.services.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", command, "serve", "--project", str(served), "--port", str(port)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), "OMP_NUM_THREADS": "1"},
    )
    try:
        _await_ready(process, url.removesuffix("/v1"))
        yield Service(served, client, url, key)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def _await_ready(process: subprocess.Popen[bytes], root: str) -> None:
    end = time.monotonic() + 300
    while time.monotonic() < end and process.poll() is None:
        try:
            if httpx.get(f"{root}/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise AssertionError(f"not ready; exit status {process.poll()}")


@pytest.fixture
def remote(service: Service, monkeypatch: pytest.MonkeyPatch) -> Iterator[RemoteEngine]:
    monkeypatch.setenv(VARIABLE, service.key)
    base = open_base(load_settings(service.client))  # proves the adapter
    assert isinstance(base.engine, RemoteEngine)
    yield base.engine
    base.engine.close()


@pytest.fixture(scope="module")
def local(service: Service) -> LocalEngine:
    engine = open_base(load_settings(service.project)).engine
    assert isinstance(engine, LocalEngine)
    return engine


def test_replies_and_probabilities_are_those_of_the_engine_in_process(remote: RemoteEngine, local: LocalEngine) -> None:
    assert remote.adapters == local.adapters
    adapters = (None, *local.adapters)
    requests = [Generation(ASK, adapter, 12) for adapter in adapters] * 3
    replies = remote.generate(requests)
    assert replies == local.generate(requests)
    assert replies[0].text != replies[1].text
    choices = [ChoiceRequest(ASK, ("yes", "no", "in room 4"), adapter) for adapter in adapters]
    for ours, theirs in zip(remote.choice_probabilities(choices), local.choice_probabilities(choices), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)


def test_a_stream_and_stop_texts_are_alike_too(remote: RemoteEngine, local: LocalEngine) -> None:
    adapter = local.adapters[0]
    whole = local.generate([Generation(ASK, adapter, 24)])[0].text
    stop = whole[len(whole) // 2 :][:2]
    for request in (Generation(ASK, adapter, 24), Generation(ASK, adapter, 24, stop=(stop,))):
        assert list_and_value(remote.stream(request)) == list_and_value(local.stream(request))


def list_and_value(stream: Any) -> tuple[str, Any]:
    text = ""
    while True:
        try:
            text += next(stream)
        except StopIteration as end:
            return text, end.value


def test_lorag_ask_works_with_it_as_with_its_own_base(service: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(VARIABLE, service.key)
    history = tmp_path / "history.json"
    history.write_text(json.dumps(["User: Who keeps the key?", "Assistant: The porter."]))
    project = shutil.copytree(service.client, tmp_path / "project")
    with closing(open_index(load_settings(project))) as index:
        index.ingest(project / "docs")
    answers = []
    for settings in (service.client, service.project):
        shutil.copy(settings / "lorag.yaml", project)
        arguments = ["ask", "And at night?", "--project", str(project), "--history", str(history), "-o", "json"]
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, done.output
        answers.append(json.loads(done.stdout))
    remote, local = answers
    assert {key: remote[key] for key in ("rewrite", "answer", "citations")} == {
        key: local[key] for key in ("rewrite", "answer", "citations")
    }
    assert [verdict["label"] for verdict in remote["verdicts"]] == [verdict["label"] for verdict in local["verdicts"]]


def test_a_prompt_that_is_too_long_there_is_told(remote: RemoteEngine) -> None:
    with pytest.raises(PromptTooLong):
        remote.generate([Generation((Message("user", "key " * 1100),), None, 8)])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"echo": True}, "echo scores prompts: send it with max_tokens 0 and logprobs"),
        ({"logprobs": 1}, "text follows one prompt"),
        ({"max_tokens": 0}, "text follows one prompt"),
        ({"prompt": [[1], [2]]}, "text follows one prompt"),
        ({"prompt": [[1, 2]], "echo": True, "logprobs": 1, "max_tokens": 0, "scored_from": 2}, "leaves no token"),
        ({"prompt": [[1] * 700] * 2, "echo": True, "logprobs": 1, "max_tokens": 0}, "at most 1024 tokens are scored"),
        ({"prompt": [1, 99_999]}, "a token id lies outside 0 to 3"),
        ({"prompt": ["a", "b"]}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [-1]}, "prompt"),
        ({"prompt": [True]}, "prompt"),
        ({"model": "lorag"}, "model"),
        ({"stop_token_ids": [5]}, "replies end with other tokens here"),
        ({"repetition_penalty": 1.1}, "repetition_penalty"),
        ({"top_k": 5}, "top_k"),
    ],
)
def test_what_the_route_does_not_do_is_refused(service: Service, change: dict[str, Any], told: str) -> None:
    body = {"model": "lorag/base", "prompt": [1, 2], "max_tokens": 2, **change}
    response = httpx.post(f"{service.url}/completions", json=body, headers={"Authorization": f"Bearer {service.key}"})
    assert response.status_code == 400, response.text
    assert told in response.json()["error"]["message"]


def test_a_wrong_key_is_refused(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "lorag-wrong")
    with pytest.raises(EngineError, match="answered 401 .*generation.api_key_env") as caught:
        open_base(load_settings(service.client))
    assert "lorag-wrong" not in str(caught.value)
