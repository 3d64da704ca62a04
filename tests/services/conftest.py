"""The command line in this process, and projects on tiny real models: offline, a second or two each."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lorag.pipeline.adapters.canaries import CANARY_FILE, canaries_json
from lorag.pipeline.adapters.proof import CanarySample, record_canaries, record_embed_canaries
from lorag.pipeline.adapters.registry import Registry
from lorag.pipeline.contracts import rewrite
from lorag.pipeline.engine.bases import Base, resolve_base
from lorag.pipeline.engine.local import LocalEngine
from lorag.pipeline.engine.weights import Precision, load_weights
from lorag.pipeline.records import Role, Speaker, Turn
from lorag.pipeline.retrieval.sentence_encoder import SentenceTransformerEmbedder
from lorag.services.cli import app

HISTORY = (Turn(Speaker.USER, "Who keeps the key?"), Turn(Speaker.ASSISTANT, "The porter."))
DOCUMENTS = {
    "keys.md": "# Keys\n\nThe porter keeps the key in room 4. At night the bell is rung twice.\n",
    "ferry.md": "# Ferry\n\nThe ferry to Marrow Point leaves from the north quay at 07:40, daily.\n",
}


@dataclass(frozen=True)
class Done:
    """What a command left: exit code and both streams."""

    code: int
    out: str
    err: str

    @property
    def error_line(self) -> str:
        """The one line on stderr of a command that was refused; fails where it is not one, or where stdout holds anything."""
        assert self.out == ""
        (line,) = self.err.splitlines()
        return line

    def json(self) -> Any:
        return json.loads(self.out)


Lorag = Callable[..., Done]


def write_rewriter_rows(folder: Path, things: Mapping[str, Sequence[str]], recipe: str) -> Path:
    """A data folder with a rewriter's row on each thing of each split, and `recipe` in it as `recipe.yaml`."""
    for split, named in things.items():
        (folder / split).mkdir(parents=True)
        rows = [
            {
                "id": f"{split}-{thing}",
                "history": [f"User: Where is the {thing}?", "Assistant: It is here."],
                "question": "And at night?",
                "rewrite": f"Where is the {thing} at night?",
            }
            for thing in named
        ]
        (folder / split / "rewriter.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / "recipe.yaml").write_text(recipe, encoding="utf-8")
    return folder


@pytest.fixture
def lorag() -> Lorag:
    """`lorag("ask", …, input=…)` → `Done`. An error that ends in a traceback fails the test with it."""

    def run(*arguments: object, input: str | None = None) -> Done:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=input, prog_name="lorag")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Done(result.exit_code, result.stdout, result.stderr)

    return run


@dataclass(frozen=True)
class Project:
    """A project folder with its settings file; `set` writes the file anew."""

    folder: Path
    base: Path
    encoder: Path

    @property
    def documents(self) -> Path:
        return self.folder / "docs"

    @property
    def adapters(self) -> Path:
        return self.folder / ".lorag" / "adapters"

    def set(self, *lines: str, base: Path | None = None, encoder: Path | None = None) -> None:
        settings = (
            "documents: docs",
            f"base: {{model: {base or self.base}, precision: fp32, device: cpu}}",
            f"embedder: {{model: {encoder or self.encoder}, device: cpu}}",
            *lines,
        )
        (self.folder / "lorag.yaml").write_text("\n".join(settings) + "\n", encoding="utf-8")

    def files(self) -> dict[str, bytes]:
        """All that lies in the project, to compare before and after."""
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}


@pytest.fixture(autouse=True)
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Digests that the engine remembers stay in the test's own folder; a slow machine writes no lines of progress."""
    monkeypatch.setenv("LORAG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("lorag.services.terminal.PLAIN_EVERY", math.inf)


@pytest.fixture
def project(tmp_path: Path, tiny_base: Path, tiny_encoder: Path) -> Project:
    """Two documents, nothing ingested, no adapters."""
    made = Project(tmp_path / "project", tiny_base, tiny_encoder)
    made.documents.mkdir(parents=True)
    for name, text in DOCUMENTS.items():
        (made.documents / name).write_text(text, encoding="utf-8")
    made.set()
    return made


Publish = Callable[..., str]


@pytest.fixture
def publish_rewriter(project: Project, tiny_adapter: Any, tiny_card: Any) -> Publish:
    """`publish_rewriter(seed)` → version id of a real adapter for the project's base, with canaries and evidence."""

    def publish(seed: int = 3) -> str:
        folder, base = tiny_adapter(project.base, seed, Role.REWRITER), resolve_base(str(project.base))
        engine = LocalEngine(load_weights(base, precision=Precision.FP32, device="cpu"))
        engine.load_adapter("x", folder)
        samples = [CanarySample(rewrite.messages(HISTORY, "And at night?"), "Who keeps the key at night?")]
        (folder / CANARY_FILE).write_text(canaries_json(record_canaries(engine, "x", samples)))
        return Registry(project.adapters).publish(Role.REWRITER, folder, tiny_card(folder, base, Role.REWRITER)).id

    return publish


@pytest.fixture
def publish_embedder(project: Project, tiny_adapter: Any, tiny_card: Any) -> Publish:
    """`publish_embedder(seed)` → version id of a real two-tower adapter for the project's encoder."""

    def publish(seed: int = 5) -> str:
        folder, bare = tiny_adapter(project.encoder, seed, Role.EMBEDDER), SentenceTransformerEmbedder(str(project.encoder))
        tuned = SentenceTransformerEmbedder(str(project.encoder), adapter=folder)
        texts: Sequence[str] = ("Who keeps the key?", "And at night?")
        (folder / CANARY_FILE).write_text(canaries_json(record_embed_canaries(tuned, bare, texts)))
        encoder = Base(str(project.encoder), "", bare.identity.model_digest)
        return Registry(project.adapters).publish(Role.EMBEDDER, folder, tiny_card(folder, encoder, Role.EMBEDDER)).id

    return publish
