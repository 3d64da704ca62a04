"""An encoder of the Qwen3-Embedding kind, made from config: last-token pooling, left padding, an instruction for queries."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lorag.pipeline.adapters.inspection import check_files
from lorag.pipeline.errors import AdapterError, TrainingError
from lorag.pipeline.retrieval.sentence_encoder import PROMPTS_FILE, SentenceTransformerEmbedder
from lorag.training.contrastive import Encoder, TrainedEmbedder, train_embedder
from lorag.training.data.negatives import Negatives
from lorag.training.data.rows import EmbedRow, PassageRow
from lorag.training.recipe import EmbeddingRecipe, changed
from lorag.training.recipe_parts import Stopping
from lorag.training.retrieval_dev import RetrievalDev

WORDS = ("pump", "boiler", "rudder", "ladder", "cabin", "galley", "mast", "hatch")
OWN_INSTRUCTION = "Instruct: find the page\nQuery:"
INSTRUCTION = "Instruct: find the passage of the ship's manual\nQuery:"
PASSAGES = [PassageRow(f"p-{word}", "Manual", f"the {word} is kept dry") for word in WORDS]
ROWS = [EmbedRow(f"q-{word}", f"where is the {word}", (f"p-{word}",)) for word in WORDS]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3Model

    folder = tmp_path_factory.mktemp("qwen3")
    texts = " ".join([OWN_INSTRUCTION, INSTRUCTION, "Manual", *(p.text for p in PASSAGES), *(row.query for row in ROWS)])
    words = [word for word, _ in Whitespace().pre_tokenize_str(texts)]
    vocabulary = {word: n for n, word in enumerate(dict.fromkeys(["<pad>", "<unk>", *words]))}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(vocabulary),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        max_position_embeddings=64,
        pad_token_id=0,
    )
    Qwen3Model(config).save_pretrained(folder / "qwen3")
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", padding_side="left")
    fast.save_pretrained(folder / "qwen3")
    modules = [Transformer(str(folder / "qwen3"), max_seq_length=32), Pooling(16, pooling_mode="lasttoken"), Normalize()]
    model = SentenceTransformer(modules=modules, prompts={"query": OWN_INSTRUCTION}, device="cpu")
    model.save(str(folder / "model"))
    return str(folder / "model")


@pytest.fixture(scope="module")
def settings() -> EmbeddingRecipe:
    """Everything that the recipe for a GPU asks for."""
    return changed(
        EmbeddingRecipe(role="embedder"),
        rank=4,
        alpha=8,
        rslora=True,
        learning_rate=1e-2,
        batch_size=4,
        micro_batch=2,
        max_steps=2,
        negatives=Negatives.RANDOM,
        negatives_per_query=1,
        gradient_checkpointing=True,
        instruction=INSTRUCTION,
    )


@pytest.fixture(scope="module")
def trained(tiny: str, settings: EmbeddingRecipe, tmp_path_factory: pytest.TempPathFactory) -> TrainedEmbedder:
    return train_embedder(ROWS, PASSAGES, Encoder(tiny), settings, tmp_path_factory.mktemp("run"))


def test_the_adapter_carries_its_instruction_and_the_model_its_pooling(tiny: str, trained: TrainedEmbedder) -> None:
    """Against plain transformers and peft: the last token of the instructed query, normalised."""
    import torch
    from peft import PeftModel
    from transformers import AutoModel, AutoTokenizer

    embedder = SentenceTransformerEmbedder(tiny, adapter=trained.folder)
    texts = [row.query for row in ROWS[:3]] + ["the mast"]
    ours = embedder.embed_queries(texts)
    model = PeftModel.from_pretrained(AutoModel.from_pretrained(tiny), str(trained.folder)).eval()
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    for text, vector in zip(texts, ours, strict=True):
        with torch.no_grad():
            last = model(**tokenizer([INSTRUCTION + text], return_tensors="pt")).last_hidden_state[0, -1]
        assert np.allclose(vector, torch.nn.functional.normalize(last, dim=0).numpy(), atol=1e-4)
    assert embedder.identity.pooling == "lasttoken"
    assert embedder.identity.query_template == INSTRUCTION + "{text}"
    assert SentenceTransformerEmbedder(tiny).identity.query_template == OWN_INSTRUCTION + "{text}"


def test_passages_are_embedded_without_an_instruction(tiny: str, trained: TrainedEmbedder) -> None:
    embedder = SentenceTransformerEmbedder(tiny, adapter=trained.folder)
    assert embedder.identity.passage_template == "{text}"
    assert not np.allclose(embedder.embed_passages(["the mast"]), embedder.embed_queries(["the mast"]), atol=1e-3)


def test_cached_gradients_and_recomputed_activations_change_no_step(
    tiny: str, settings: EmbeddingRecipe, trained: TrainedEmbedder, tmp_path: Path
) -> None:
    plain = train_embedder(
        ROWS, PASSAGES, Encoder(tiny), changed(settings, micro_batch=0, gradient_checkpointing=False), tmp_path
    )
    (first, second), (other_first, other_second) = ([p.loss for p in each.loss_curve] for each in (plain, trained))
    assert first == pytest.approx(other_first, abs=2e-3)
    assert second == pytest.approx(other_second, abs=8e-2)  # after a large step in bfloat16
    assert plain.trainable_parameters == trained.trainable_parameters == 2 * 4 * (2 * 16 + 2 * 24 + 2 * 16 + 3 * (16 + 32))


def test_rslora_and_dora_reach_the_adapter(
    tiny: str, settings: EmbeddingRecipe, trained: TrainedEmbedder, tmp_path: Path
) -> None:
    assert json.loads((trained.folder / "adapter_config.json").read_text())["use_rslora"] is True
    dora = train_embedder(ROWS, PASSAGES, Encoder(tiny), changed(settings, rslora=False, dora=True, max_steps=1), tmp_path)
    assert json.loads((dora.folder / "adapter_config.json").read_text())["use_dora"] is True


def test_the_instruction_may_be_published_and_nothing_else_in_its_file(
    trained: TrainedEmbedder, tiny: str, tmp_path: Path
) -> None:
    import shutil

    copied = tmp_path / "adapter"
    shutil.copytree(trained.folder, copied)
    (copied / "README.md").unlink(missing_ok=True)
    check_files(copied)
    for content in (
        '{"prompts": {"other": "x"}}',
        '{"prompts": {}}',
        '{"prompts": {"query": 1}}',
        '{"prompts": {"query": "x"}, "a": 1}',
        "[]",
        "{",
    ):
        (copied / PROMPTS_FILE).write_text(content)
        with pytest.raises(AdapterError, match=PROMPTS_FILE):
            _ = SentenceTransformerEmbedder(tiny, adapter=copied).identity


def test_the_best_checkpoint_is_saved_and_a_run_without_gain_stops(
    tiny: str, settings: EmbeddingRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.numpy import load_file

    figures = iter([0.5, 0.9, 0.4, 0.3, 0.2])
    monkeypatch.setattr(RetrievalDev, "measure", lambda *_: {"nDCG@10": next(figures)})
    long = changed(settings, micro_batch=0, max_steps=8, dev=Stopping(every=1, patience=2))
    dev = RetrievalDev(tuple(ROWS[:2]), tuple(PASSAGES))
    result = train_embedder(ROWS, PASSAGES, Encoder(tiny), long, tmp_path, dev=dev)
    assert result.steps == 4 and result.dev == {"nDCG@10": 0.9, "best step": 2.0}
    best = load_file(tmp_path / "checkpoint-2" / "adapter_model.safetensors")
    saved = load_file(result.folder / "adapter_model.safetensors")
    assert saved.keys() == best.keys()
    assert all(np.allclose(saved[name], best[name].astype(np.float16)) for name in best)


def test_full_tuning_is_not_stopped_early(tiny: str, settings: EmbeddingRecipe, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="leave dev rows and instruction out"):
        train_embedder(ROWS, PASSAGES, Encoder(tiny, full=True), settings, tmp_path)
