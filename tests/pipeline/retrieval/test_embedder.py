"""Encoder identities, the hashing fake, and the real MiniLM with a small adapter made here."""

from __future__ import annotations

import json
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lorag.pipeline.engine.quiet import quiet_libraries
from lorag.pipeline.errors import AdapterError, BaseError, NoEffect
from lorag.pipeline.records import Passage
from lorag.pipeline.retrieval.embedder import EncoderIdentity, HashingEmbedder, SentenceTransformerEmbedder, Vectors, passage_text
from lorag.pipeline.retrieval.sentence_encoder import adapter_digest, resolve_model

BARE = EncoderIdentity("minilm", "m1", max_length=256)


@pytest.mark.parametrize(
    ("change", "can_search", "same_digest"),
    [
        ({}, True, True),
        ({"model": "a folder with the same files"}, True, True),
        ({"model_digest": "m2"}, False, False),
        ({"pooling": "cls"}, False, False),
        ({"max_length": 128}, False, False),
        ({"passage_template": "passage: {text}"}, False, False),
        ({"query_template": "query: {text}"}, True, False),
        ({"adapter_digest": "a1"}, False, False),
        ({"adapter_digest": "a1", "query_side_only": True}, True, False),
    ],
)
def test_which_encoder_may_search_an_index(change: dict[str, object], can_search: bool, same_digest: bool) -> None:
    other = replace(BARE, **change)  # type: ignore[arg-type]
    assert (other.can_search(BARE), other.digest() == BARE.digest()) == (can_search, same_digest)
    assert EncoderIdentity.from_dict(json.loads(json.dumps(other.to_dict()))) == other


def test_two_query_side_adapters_share_an_index_and_two_full_ones_do_not() -> None:
    one, two = replace(BARE, adapter_digest="a1"), replace(BARE, adapter_digest="a2")
    assert not one.can_search(two)
    assert replace(one, query_side_only=True).can_search(replace(two, query_side_only=True))


def test_hashing_embedder_is_unit_deterministic_and_puts_shared_words_near() -> None:
    texts = ["the red ship", "The red SHIP!", "a blue lamp", ""]
    rows = HashingEmbedder(64).embed_passages(texts)
    assert rows.dtype == np.float32 and rows.shape == (4, 64)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(rows[0], rows[1])
    assert rows[0] @ rows[1] > rows[0] @ rows[2]
    assert not np.array_equal(rows, HashingEmbedder(64, "other").embed_passages(texts))


def test_passage_text_puts_the_headings_first() -> None:
    assert passage_text(Passage("i", "d", "s", "Title", "A > B", "Body.", 0, 5)) == "Title > A > B\nBody."


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rank-2 adapter for MiniLM with random B matrices."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModel

    torch.manual_seed(0)
    with quiet_libraries():
        model = get_peft_model(AutoModel.from_pretrained(resolve_model("minilm")), LoraConfig(r=2, target_modules=["query"]))
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    folder = tmp_path_factory.mktemp("adapter")
    model.save_pretrained(str(folder))
    return folder


@pytest.fixture(scope="module")
def minilm() -> SentenceTransformerEmbedder:
    return SentenceTransformerEmbedder()


TEXTS = ["The ferry leaves at nine.", "When does the boat depart?", "Bread is baked from flour and water. " * 60, "x"]


@pytest.fixture(scope="module")
def bare(minilm: SentenceTransformerEmbedder) -> Vectors:
    return minilm.embed_passages(TEXTS)


def test_minilm_agrees_with_transformers_mean_pooling(minilm: SentenceTransformerEmbedder, bare: Vectors) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    folder = resolve_model("minilm")
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    for text, row in zip(TEXTS, bare, strict=True):
        tokens = tokenizer(text, return_tensors="pt", truncation=True, max_length=256)
        with torch.inference_mode():
            mean = model(**tokens).last_hidden_state[0].mean(dim=0)
        np.testing.assert_allclose(row, (mean / mean.norm()).numpy(), atol=1e-5)
    assert bare.shape == (4, minilm.dimension) and bare.dtype == np.float32
    assert bare[0] @ bare[1] > 0.5 > bare[0] @ bare[2]


def test_minilm_identity_is_read_without_loading_and_follows_the_files(tmp_path: Path) -> None:
    embedder = SentenceTransformerEmbedder()
    copy = tmp_path / "copy"
    shutil.copytree(resolve_model("minilm"), copy)
    assert (embedder.identity.pooling, embedder.identity.max_length) == ("mean", 256)
    assert SentenceTransformerEmbedder(str(copy)).identity.digest() == embedder.identity.digest()
    (copy / "1_Pooling/config.json").write_text('{"embedding_dimension": 384, "pooling_mode": "cls"}')
    changed = SentenceTransformerEmbedder(str(copy)).identity
    assert changed.pooling == "cls" and changed.model_digest != embedder.identity.model_digest
    assert embedder._model is None


def test_special_tokens_in_a_text_are_plain_text(minilm: SentenceTransformerEmbedder) -> None:
    tokens = minilm.load().preprocess(["a [SEP] b"])["input_ids"][0].tolist()
    assert tokens.count(102) == 1 and tokens[-1] == 102


def test_an_adapter_changes_both_sides(adapter: Path, bare: Vectors) -> None:
    tuned = SentenceTransformerEmbedder(adapter=adapter)
    rows = tuned.embed_passages(TEXTS)
    assert np.abs(rows - bare).max() > 1e-3
    np.testing.assert_array_equal(rows, tuned.embed_queries(TEXTS))
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)
    assert tuned.identity.adapter_digest == adapter_digest(adapter) != ""


def test_a_query_side_adapter_leaves_passages_alone_from_every_thread(adapter: Path, bare: Vectors) -> None:
    tuned = SentenceTransformerEmbedder(adapter=adapter, query_side_only=True)
    queries = tuned.embed_queries(TEXTS)
    assert np.abs(queries - bare).max() > 1e-3
    wrong: list[str] = []

    def ask(side: str, expected: Vectors) -> None:
        for _ in range(3):
            if not np.allclose(getattr(tuned, f"embed_{side}")(TEXTS), expected, atol=1e-6):
                wrong.append(side)

    threads = [threading.Thread(target=ask, args=pair) for pair in (("queries", queries), ("passages", bare)) for _ in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_an_adapter_that_names_the_hub_model_loads_without_a_word(
    adapter: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Offline peft warns that it cannot look up the vocabulary of the base; a warning fails this test run."""
    folder = tmp_path / "hub"
    shutil.copytree(adapter, folder)
    settings = json.loads((folder / "adapter_config.json").read_bytes())
    settings["base_model_name_or_path"] = "sentence-transformers/all-MiniLM-L6-v2"
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    SentenceTransformerEmbedder(adapter=folder).load()
    assert capfd.readouterr() == ("", "")


def test_adapters_that_cannot_work_are_refused(adapter: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(adapter / "adapter_model.safetensors")

    def variant(name: str, tensors: dict[str, object]) -> SentenceTransformerEmbedder:
        folder = tmp_path / name
        shutil.copytree(adapter, folder)
        save_file(tensors, folder / "adapter_model.safetensors")  # type: ignore[arg-type]
        return SentenceTransformerEmbedder(adapter=folder)

    zero = {key: value * 0 if "lora_B" in key else value for key, value in weights.items()}
    renamed = {key.replace("layer.0.", "layer.77."): value for key, value in weights.items()}
    with pytest.raises(NoEffect, match="zero"):
        variant("zero", zero).load()
    with pytest.raises(NoEffect, match="fit no module"):
        variant("renamed", renamed).load()
    broken = tmp_path / "broken"
    shutil.copytree(adapter, broken)
    (broken / "adapter_model.safetensors").write_bytes((broken / "adapter_model.safetensors").read_bytes()[:1000])
    with pytest.raises(AdapterError, match="cannot be loaded"):
        SentenceTransformerEmbedder(adapter=broken).load()
    with pytest.raises(AdapterError, match="no readable peft adapter"):
        _ = SentenceTransformerEmbedder(adapter=tmp_path).identity


def test_a_model_that_is_not_there_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(BaseError, match="name a folder or `minilm`"):
        SentenceTransformerEmbedder("nobody/no-such-model").load()
    (tmp_path / "modules.json").write_text("{")
    with pytest.raises(BaseError, match="cannot load it"):
        SentenceTransformerEmbedder(str(tmp_path)).load()
