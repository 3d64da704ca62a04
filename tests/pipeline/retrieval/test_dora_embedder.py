"""A DoRA adapter of the encoder: its row lengths are loaded with the rest."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lorag.pipeline.retrieval.sentence_encoder import SentenceTransformerEmbedder

TEXTS = ["Who keeps the key?", "The ferry leaves at 07:40."]


def test_a_dora_adapter_computes_what_plain_peft_computes(tiny_encoder: Path, tmp_path: Path) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModel, AutoTokenizer

    torch.manual_seed(7)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=["query", "value"], use_dora=True, task_type="FEATURE_EXTRACTION")
    model = get_peft_model(AutoModel.from_pretrained(str(tiny_encoder)), config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.3)
            elif "lora_magnitude_vector" in name:
                parameter.mul_(1.5)
    model.save_pretrained(str(tmp_path))
    encoded = AutoTokenizer.from_pretrained(str(tiny_encoder))(TEXTS, padding=True, return_tensors="pt")
    embedder = SentenceTransformerEmbedder(str(tiny_encoder), adapter=tmp_path, device="cpu")
    with torch.no_grad():
        expected, found = (each(**encoded).last_hidden_state for each in (model, embedder.load().transformers_model))
    assert torch.allclose(found, expected, atol=1e-6)
    bare = SentenceTransformerEmbedder(str(tiny_encoder), device="cpu")
    assert not np.allclose(embedder.embed_passages(TEXTS), bare.embed_passages(TEXTS), atol=0.1)
