"""The cross-encoder, on a tiny random BERT made here."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorag.pipeline.engine.quiet import quiet_libraries
from lorag.pipeline.errors import BaseError
from lorag.pipeline.records import Hit, Passage
from lorag.pipeline.retrieval.embedder import passage_text
from lorag.pipeline.retrieval.rerank import CrossEncoderReranker
from lorag.pipeline.retrieval.sentence_encoder import resolve_model

HITS = [
    Hit(Passage(f"d#{n}", "d", "s", "Ships", "", text, 0, len(text)), 1.0 - n / 10)
    for n, text in enumerate(("red", "blue sea", "a"))
]


def tiny_bert(folder: Path, outputs: int) -> Path:
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    torch.manual_seed(3)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    with quiet_libraries():
        tokenizer = AutoTokenizer.from_pretrained(resolve_model("minilm"))
        config = BertConfig(
            vocab_size=len(tokenizer), max_position_embeddings=64, initializer_range=0.5, num_labels=outputs, **sizes
        )
        BertForSequenceClassification(config).save_pretrained(folder)
        tokenizer.model_max_length = 64
        tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("cross"), 1)


def test_hits_are_ordered_by_the_models_own_scores(model: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer, bert = AutoTokenizer.from_pretrained(model), AutoModelForSequenceClassification.from_pretrained(model).eval()
    expected = {}
    for hit in HITS:
        with torch.inference_mode():
            logit = bert(**tokenizer("which ship?", passage_text(hit.passage), return_tensors="pt")).logits[0, 0]
        expected[hit.passage.id] = float(torch.sigmoid(logit))
    found = CrossEncoderReranker(str(model), batch_size=2).rerank("which ship?", HITS, 3)
    assert {hit.passage.id: hit.score for hit in found} == pytest.approx(expected, abs=1e-5)
    assert [hit.passage.id for hit in found] == sorted(expected, key=lambda name: -expected[name])


def test_only_the_best_k_come_back(model: Path) -> None:
    reranker = CrossEncoderReranker(str(model))
    assert reranker.rerank("q", HITS, 2) == reranker.rerank("q", HITS, 3)[:2]
    assert reranker.rerank("q", [], 2) == []


def test_models_that_are_no_reranker_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BaseError, match="gives 3 scores"):
        CrossEncoderReranker(str(tiny_bert(tmp_path / "three", 3))).load()
    (tmp_path / "empty").mkdir()
    with pytest.raises(BaseError, match="cannot load it"):
        CrossEncoderReranker(str(tmp_path / "empty")).load()
