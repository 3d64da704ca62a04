"""A small domain in the form of the bundled one: things behind doors, and the person who looks after each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from lorag.evaluating.evaluation import ROLES
from lorag.pipeline.records import Role
from lorag.pipeline.retrieval.chunking import chunk
from lorag.pipeline.retrieval.loading import load_folder
from lorag.training.recipe import Recipe, changed, load_recipe

THINGS = {
    "train": ("key", "bell", "ferry", "quay", "lamp", "rope"),
    "dev": ("porter", "room"),
    "test": ("bridge", "crane", "buoy", "mast"),
}
INTENTS = {"where": "asks for a place", "who": "asks for a person"}


def document(thing: str) -> str:
    return f"# The {thing}\n\nThe {thing} is behind door {len(thing)}. Ann looks after the {thing} at night.\n"


def rows_of(thing: str, passage: str, near: str) -> Mapping[Role, list[dict[str, Any]]]:
    """One answered question, one that no document answers, one turn, two judgments and one query about `thing`."""
    question, name = f"Where is the {thing}?", f"doc-{thing}"
    gold = {"answers": [f"behind door {len(thing)}"], "passage_ids": [passage], "answerable": True, "group": name}
    shown = [{"title": thing, "text": document(thing)}]
    return {
        Role.SYNTHESIZER: [
            {"id": f"q-{thing}", "question": question, **gold},
            {
                "id": f"u-{thing}",
                "question": f"What does the {thing} cost?",
                "answers": [],
                "answerable": False,
                "near_ids": [near],
            },
        ],
        Role.REWRITER: [
            {
                "id": f"t-{thing}",
                "history": [f"User: {question}", "Assistant: Behind a door."],
                "question": "And who looks after it?",
            }
            | {"rewrite": f"Who looks after the {thing}?", "conversation": name, **gold, "answers": ["Ann"]}
        ],
        Role.JUDGE: [
            {"id": f"i-{thing}", "task": "intent", "inputs": {"message": question}, "label": "where", "group": name},
            {"id": f"s-{thing}", "task": "support", "label": "supported", "group": name}
            | {"inputs": {"question": question, "answer": gold["answers"][0], "passages": shown}},
        ],
        Role.EMBEDDER: [{"query_id": f"e-{thing}", "query": question, "positive_ids": [passage], "group": name}],
    }


def lay_example(folder: Path, base: Path, encoder: Path, named: Mapping[str, Sequence[str]] = THINGS) -> Path:
    """A small domain in the form of the bundled one, on tiny models. `named` are the things of each split."""
    (folder / "documents").mkdir(parents=True)
    for things in named.values():
        for thing in things:
            (folder / "documents" / f"{thing}.md").write_text(document(thing), encoding="utf-8")
    passages = {d.id.removesuffix(".md"): chunk(d)[0] for d in load_folder(folder / "documents").documents}
    lines = [json.dumps({"id": p.id, "title": p.title, "text": p.text}) for p in passages.values()]
    (folder / "passages.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for split, things in named.items():
        (folder / split).mkdir()
        made = [rows_of(thing, passages[thing].id, passages[things[n - 1]].id) for n, thing in enumerate(things)]
        for role in ROLES:
            rows = [row for each in made for row in each[role]]
            (folder / split / f"{role.value}.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    settings = {
        "base": {"model": str(base), "device": "cpu"},
        "embedder": {"model": str(encoder), "device": "cpu"},
        "retrieval": {"k": 2},
        "judge": {"intents": INTENTS},
    }
    (folder / "lorag.yaml").write_text(f"# A tiny domain.\n\ndocuments: documents\n{yaml.safe_dump(settings)}", encoding="utf-8")
    return folder


def tiny_recipe(role: Role, path: Path | None = None) -> Recipe:
    """The shipped recipe in three steps, each with a checkpoint; steps are large, for a tiny model must move."""
    return changed(load_recipe(role, path), max_steps=3, checkpoint_every=1, learning_rate=2e-2, warmup_share=0.0)
