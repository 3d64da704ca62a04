"""A folder in which the pages' code runs as it is written: documents, rows, a project, files to import, all on tiny models.

What the runner adds to a line is told in `adapted`; nothing is taken away from it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

import lorag.pipeline.adapters.starters
from lorag.pipeline.adapters.starters import FOLDER as SHIPPED
from lorag.pipeline.engine.weights import Precision
from lorag.pipeline.records import Role
from lorag.services.cli import app
from tests.conftest import MakeAdapter, MakeCard
from tests.docs.blocks import Block, commands, lorag_words
from tests.lorag.starter_folders import bundle_tiny
from tests.lorag.tiny_domain import INTENTS, THINGS, lay_example
from tests.services.test_cli_data import squad_file
from tests.test_structure import ROOT

EXAMPLE = "examples/kelder-sound-line"
ENOUGH = THINGS | {"test": (*THINGS["test"], "anchor", "winch", "drum", "flag", "oar", "hook")}
"""Things of the example with more than the eight test groups that decide a promotion."""

STARTERS = (Role.REWRITER, Role.SYNTHESIZER, Role.JUDGE)
SERVED_AT = "http://127.0.0.1:8321"

GENERATION_RECIPE = """
role: {role}
precision: fp32
lora: {{rank: 4, dropout: 0, targets: [q_proj, v_proj, down_proj]}}
optimiser: {{learning_rate: 2.0e-2, warmup_share: 0, batch_size: 3, max_steps: {steps}, checkpoint_every: {steps}}}
"""
EMBEDDER_RECIPE = """
role: embedder
lora: {rank: 4, dropout: 0, targets: [query, value]}
optimiser: {learning_rate: 2.0e-2, warmup_share: 0, batch_size: 4, max_steps: 4, checkpoint_every: 4}
contrast: {negatives: none, negatives_per_query: 0}
"""


@dataclass(frozen=True)
class Models:
    base: Path
    encoder: Path
    starters: Path


def make_models(folder: Path, base: Path, encoder: Path, adapter: MakeAdapter, card: MakeCard) -> Models:
    """A tiny base that reads four passages at once, and starters for it in the place of those that ship."""
    base = Path(shutil.copytree(base, folder / "base"))
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    (base / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 4096}), encoding="utf-8")
    for seed, role in enumerate(STARTERS):
        bundle_tiny(folder / "starters" / role.value, adapter(base, seed, role), base, role, card, Precision.FP32)
    return Models(base, encoder, folder / "starters")


def lay_world(folder: Path, models: Models, adapter: MakeAdapter) -> None:
    """Everything that a page may take for granted, but no project."""
    example = lay_example(folder / EXAMPLE, models.base, models.encoder, ENOUGH)
    shutil.copytree(example, folder / "rows")
    for place in ("documents", "path/to/documents"):
        shutil.copytree(example / "documents", folder / place)
    shutil.copytree(adapter(models.base, 7, Role.REWRITER), folder / "FOLDER")
    squad_file(folder / "train-v2.0.json")
    _lay_beir(folder / "DIR")
    (folder / "services").symlink_to(ROOT / "services")


def _lay_beir(folder: Path) -> None:
    (folder / "qrels").mkdir(parents=True)
    texts = {"d1": "The porter keeps the key.", "d2": "The ferry leaves at 07:40."}
    for name, found in (("corpus", texts), ("queries", {"q1": "Who keeps the key?", "q2": "When does the ferry leave?"})):
        lines = [json.dumps({"_id": key, "title": "", "text": text}) for key, text in found.items()]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td2\t1\n", encoding="utf-8")


@dataclass
class World:
    """Runs blocks in `folder`, the current directory. `served` is where a service of this page listens."""

    folder: Path
    models: Models | None = None
    served: str = ""
    services: list[subprocess.Popen[str]] = field(default_factory=list)

    def run(self, block: Block) -> None:
        if block.language == "sh":
            for line in commands(block):
                self.run_line(line, block.place)
        elif block.language == "python":
            text = block.text.replace(SERVED_AT, self.served or SERVED_AT)
            exec(compile(text, block.place, "exec"), {"__name__": "__main__"})

    def run_line(self, line: str, place: str) -> str:
        """What a line prints. Fails if the line fails."""
        words = lorag_words(line)
        if words is None:
            return self._shell(line, place)
        if words[0] == "serve":
            self._serve(words, place)
            return ""
        done = CliRunner().invoke(app, self.adapted(words), input="/quit\n", prog_name="lorag")
        if words[:3] == ["adapters", "promote", "embedder"] and re.search("is (not promoted|held)", done.stderr):
            return ""  # a random encoder finds all or nothing, so the gate may rightly shut
        assert done.exit_code == 0, f"{place}: {line}: {done.stderr or done.exception!r}"
        if words[0] == "init" and self.models:
            self._settle(Path(words[1]))
        return done.stdout

    def adapted(self, words: Sequence[str]) -> list[str]:
        """On tiny models a new project is told its base, and a training run that names no recipe gets one of few steps."""
        if self.models is None:
            return list(words)
        if words[0] == "init" and "--base" not in words:
            return [*words, "--base", str(self.models.base)]
        if words[0] == "train" and "--recipe" not in words:
            return [*words, "--recipe", str(self._recipe(words[1]))]
        return list(words)

    def _recipe(self, role: str) -> Path:
        path = self.folder / f"few-steps-{role}.yaml"
        steps = 40 if role == "rewriter" else 3
        path.write_text(EMBEDDER_RECIPE if role == "embedder" else GENERATION_RECIPE.format(role=role, steps=steps))
        return path

    def _settle(self, project: Path) -> None:
        """The rest of the tiny models, the encoder and the precision of the starters; the intents of the tiny rows; and margins
        for a tiny rewriter, which learns the form of a question and not what it is about."""
        assert self.models
        file = project / "lorag.yaml"
        text = file.read_text(encoding="utf-8")
        for old, new in (
            ("  model: minilm\n", f"  model: {self.models.encoder}\n"),
            ("  precision: nf4\n", "  precision: fp32\n"),
            ("  intents: {}\n", f"  intents: {json.dumps(INTENTS)}\n"),
            ("  margins: {}\n", "  margins: {retrieval nDCG@10: 1, retrieval Recall@5: 1}\n"),
        ):
            assert old in text
            text = text.replace(old, new)
        file.write_text(text, encoding="utf-8")

    def _shell(self, line: str, place: str) -> str:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(["bash", "-c", line], cwd=self.folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{place}: {line}: {done.stderr}"
        return done.stdout

    def _serve(self, words: Sequence[str], place: str) -> None:
        """The service as a process of its own on a free port, until the page ends."""
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            port = listening.getsockname()[1]
        command = [sys.executable, "-m", "lorag.services.cli", *words, "--port", str(port)]
        process = subprocess.Popen(command, cwd=self.folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True)
        self.services.append(process)
        self.served = f"http://127.0.0.1:{port}"
        until = time.monotonic() + 120
        while time.monotonic() < until and process.poll() is None:
            try:
                if httpx.get(f"{self.served}/readyz").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.2)
        raise AssertionError(f"{place}: the service did not get ready, exit {process.poll()}")

    def stop(self) -> None:
        """End the services that the page started, as a user does: SIGTERM, which finishes what runs."""
        for process in self.services:
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=60) == 0
        self.services.clear()


@contextmanager
def at(folder: Path, models: Models | None) -> Iterator[World]:
    """A world in `folder`, which is the current directory meanwhile; without `models`, on those that ship."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("LORAG_CACHE", str(folder / ".cache")) if models else None
        patch.setattr("lorag.services.terminal.PLAIN_EVERY", float("inf"))
        patch.setattr(lorag.pipeline.adapters.starters, "FOLDER", models.starters if models else SHIPPED)
        world = World(folder, models)
        try:
            yield world
        finally:
            world.stop()
