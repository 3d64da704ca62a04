"""What lies beside an embedder adapter's weights: kept with it, or refused; vectors as plain sentence-transformers gives them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lorag.pipeline.adapters.registry import Registry
from lorag.pipeline.records import Role
from lorag.pipeline.retrieval.sentence_encoder import SentenceTransformerEmbedder

THINGS = ("key", "bell", "ferry", "quay")
TEXTS = [f"Where is the {thing} that the keeper of the old lighthouse left on the table last night?" for thing in THINGS]
Save = Callable[..., Path]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "rows"
    (folder / "dev").mkdir(parents=True)
    asked = [{"query_id": t, "query": text, "positive_ids": ["x#1"]} for t, text in zip(THINGS, TEXTS, strict=True)]
    (folder / "dev" / "embedder.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked), encoding="utf-8")
    return folder


@pytest.fixture
def save(project: Any, tmp_path: Path) -> Save:
    """`save(pooling, length, **options)` → the folder that sentence-transformers saves of an adapter on the embedder."""

    def saved(pooling: str = "mean", length: int | None = None, normalize: bool = False, **options: Any) -> Path:
        import torch
        from peft import LoraConfig
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.sentence_transformer.modules import Normalize, Pooling

        model = SentenceTransformer(str(project.encoder), device="cpu", **options)
        model[1] = Pooling(32, pooling_mode=pooling)
        if normalize:
            model.append(Normalize())
        model.max_seq_length = length or model.max_seq_length
        torch.manual_seed(1)
        model.add_adapter(LoraConfig(r=4, target_modules=["query", "value"], task_type="FEATURE_EXTRACTION"))
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.3)
        model.save_pretrained(str(tmp_path / "made"))
        return tmp_path / "made"

    return saved


def imports(lorag: Any, project: Any, folder: Path, data: Path) -> Any:
    return lorag("adapters", "import", folder, "--role", "embedder", "--data", data, "--project", project.folder)


def change(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**(json.loads(path.read_text()) if path.exists() else {}), **changes}))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"prompts": {"query": "ask the keeper: ", "document": "of the table: "}},
        {"prompts": {"query": "ask: ", "passage": "left on: ", "other": "no: "}},
        {"normalize": True, "similarity_fn_name": "dot"},
    ],
    ids=["none", "both sides", "passage", "dot of unit vectors"],
)
def test_vectors_are_those_of_plain_sentence_transformers(
    lorag: Any, project: Any, data: Path, save: Save, options: dict[str, Any]
) -> None:
    from sentence_transformers import SentenceTransformer

    folder = save(**options)
    done = imports(lorag, project, folder, data)
    assert done.code == 0, done.err
    version = Registry(project.adapters).resolve(Role.EMBEDDER, "candidate")
    embedder = SentenceTransformerEmbedder(str(project.encoder), adapter=version.folder)
    plain = SentenceTransformer(str(folder), device="cpu")
    for theirs, ours in (
        (plain.encode_query(TEXTS, normalize_embeddings=True), embedder.embed_queries(TEXTS)),
        (plain.encode_document(TEXTS, normalize_embeddings=True), embedder.embed_passages(TEXTS)),
    ):
        assert np.sum(theirs * ours, axis=1).min() > 0.9999
    kept = (version.folder / "config_sentence_transformers.json").exists()
    assert kept == ("prompts" in options)


def test_a_default_instruction_is_that_of_both_sides(lorag: Any, project: Any, data: Path, save: Save) -> None:
    """As versions before 5 write it, which know no sides."""
    from sentence_transformers import SentenceTransformer

    folder = save()
    change(folder / "config_sentence_transformers.json", prompts={"all": "the old "}, default_prompt_name="all")
    done = imports(lorag, project, folder, data)
    assert done.code == 0, done.err
    version = Registry(project.adapters).resolve(Role.EMBEDDER, "candidate")
    embedder = SentenceTransformerEmbedder(str(project.encoder), adapter=version.folder)
    theirs = SentenceTransformer(str(folder), device="cpu").encode(TEXTS, normalize_embeddings=True)
    for ours in (embedder.embed_queries(TEXTS), embedder.embed_passages(TEXTS)):
        assert np.sum(theirs * ours, axis=1).min() > 0.9999


def test_an_adapter_alone_leaves_what_it_does_not_say_to_the_embedder(save: Save) -> None:
    from lorag.training.encoder_import import Maker, read_maker

    folder = save(prompts={"query": "ask: "})
    assert read_maker(folder) == Maker(pooling="mean", length=128, query="ask: ", document="")
    (folder / "config_sentence_transformers.json").unlink()
    assert read_maker(folder) == Maker(pooling="mean", length=128, query="", document="")
    (folder / "modules.json").unlink()
    assert read_maker(folder) == Maker()
    change(folder / "config_sentence_transformers.json", prompts={"query": "ask: "})
    assert read_maker(folder) == Maker(query="ask: ")


def as_before(folder: Path) -> None:
    """Nothing is changed in the files."""


REFUSED: dict[str, tuple[dict[str, Any], Callable[[Path], None], str]] = {
    "cls": ({"pooling": "cls"}, as_before, "was made with cls pooling"),
    "last token": ({"pooling": "lasttoken"}, as_before, "was made with lasttoken pooling"),
    "two poolings": ({}, lambda f: change(f / "1_Pooling" / "config.json", pooling_mode=["mean", "max"]), r"mean\+max pooling"),
    "a pooling that is a number": ({}, lambda f: change(f / "1_Pooling" / "config.json", pooling_mode=7), "must be a name"),
    "prompt left out": ({}, lambda f: change(f / "1_Pooling" / "config.json", include_prompt=False), "include_prompt False"),
    "shorter": ({"length": 8}, as_before, "was made to read 8 tokens"),
    "shorter, as older versions write it": (
        {},
        lambda f: change(f / "sentence_bert_config.json", max_seq_length=9),
        "read 9 tok",
    ),
    "dot": ({"similarity_fn_name": "dot"}, as_before, "compares vectors by dot, LoRAG by cosine"),
    "cut vectors": ({"truncate_dim": 8}, as_before, "cuts vectors to 8 values"),
    "dense": (
        {},
        lambda f: (f / "modules.json").write_text(
            json.dumps([{"path": "2_Dense", "type": "sentence_transformers.models.Dense"}])
        ),
        "has the module sentence_transformers.models.Dense",
    ),
    "a class to import": (
        {},
        lambda f: (f / "modules.json").write_text(json.dumps([{"path": "", "type": "os.system"}])),
        "has the module os.system",
    ),
    "modules that are no list": ({}, lambda f: (f / "modules.json").write_text("7"), "has the module None"),
    "pooling that climbs": (
        {},
        lambda f: (f / "modules.json").write_text(
            json.dumps([{"path": "../other", "type": "sentence_transformers.models.Pooling"}])
        ),
        "names no folder beside it",
    ),
    "prompts of numbers": ({}, lambda f: change(f / "config_sentence_transformers.json", prompts={"query": 3}), "must be texts"),
    "a default beside empty sides": (
        {"prompts": {"all": "the old "}, "default_prompt_name": "all"},
        as_before,
        "has the default instruction 'all' beside empty ones",
    ),
    "damaged": ({}, lambda f: (f / "config_sentence_transformers.json").write_text("{"), "config_sentence_transformers.json"),
    "other tokens": ({}, lambda f: change(f / "tokenizer.json", normalizer={"type": "Lowercase"}), "into other tokens"),
    "no tokenizer": ({}, lambda f: (f / "tokenizer.json").write_text("{}"), "no readable tokenizer"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_kept_is_refused_in_a_line(case: str, lorag: Any, project: Any, data: Path, save: Save) -> None:
    import re

    options, spoil, words = REFUSED[case]
    folder = save(**options)
    spoil(folder)
    done = imports(lorag, project, folder, data)
    assert done.code == 2 and re.search(words, done.error_line), done.err
    assert not project.adapters.exists()


def test_files_beside_that_are_links_are_not_followed(lorag: Any, project: Any, data: Path, save: Save) -> None:
    folder = save()
    for name in ("config_sentence_transformers.json", "modules.json"):
        (folder / name).rename(folder.parent / name)
        os.symlink(folder.parent / name, folder / name)
        done = imports(lorag, project, folder, data)
        assert done.code == 2 and name in done.error_line
        (folder / name).unlink()
