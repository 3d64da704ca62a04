"""A project that an earlier LoRAG made still opens: its settings file, every key in it, and the registry's aliases."""

from __future__ import annotations

import json
from pathlib import Path

import lorag
from lorag.pipeline.engine.scripted import ScriptedEngine
from lorag.pipeline.retrieval.embedder import HashingEmbedder

BEFORE_0_1 = """
documents: docs
base: {model: smollm2-135m, precision: nf4, compute: auto, device: auto}
generation:
  engine: local
  base_url: null
  api_key_env: null
  models: {base: base, rewriter: rewriter, synthesizer: synthesizer, judge: judge}
  timeout: 120
  retries: 3
  concurrency: 8
embedder: {model: minilm, query_side_only: false, batch_size: 32, device: auto}
store: {kind: edge, path: .lorag/index, collection: documents, url: null, api_key_env: null, shards: 1, replicas: 1}
chunking: {max_chars: 700, min_chars: 120}
retrieval: {k: 4, hybrid: true, rerank: null}
adapters:
  folder: .lorag/adapters
  rewriter: production
  embedder: production
  synthesizer: production
  judge: production
judge: {answerability: true, support: true, gate: null, intents: {}}
seed: 0
"""
"""Every key that `lorag init` wrote before the package had one import name."""


def test_a_project_of_the_last_version_opens_and_answers(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/keys.md").write_text("# Keys\n\nThe porter keeps the key in room 4.\n", encoding="utf-8")
    (tmp_path / "lorag.yaml").write_text(BEFORE_0_1, encoding="utf-8")
    aliases = tmp_path / ".lorag/adapters/rewriter/aliases.json"
    aliases.parent.mkdir(parents=True)
    aliases.write_text(json.dumps({"candidate": None, "production": None, "previous": None}), encoding="utf-8")
    engine = ScriptedEngine(lambda request: "The porter keeps the key. [1]")
    with lorag.open(tmp_path, engine=engine, embedder=HashingEmbedder(64)) as project:
        assert project.ingest().added == 1
        assert project.ask("Who keeps the key?").answer.text == "The porter keeps the key."
        assert project.adapters("rewriter") == ()
