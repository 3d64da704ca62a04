"""Training of the embedder on a tiny BERT made from config: losses against independent ones, resume, and what is saved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lorag.pipeline.contracts import embed
from lorag.pipeline.errors import TrainingError
from lorag.pipeline.records import Passage
from lorag.pipeline.retrieval.embedder import SentenceTransformerEmbedder, passage_text
from lorag.training.checkpoints import newest_complete
from lorag.training.contrastive import Encoder, TrainedEmbedder, train_embedder
from lorag.training.data.negatives import Negatives
from lorag.training.data.rows import EmbedRow, PassageRow
from lorag.training.losses import embed_by_length, query_side_loss, two_tower_loss
from lorag.training.progress import LOSS_FILE, Progress
from lorag.training.recipe import EmbeddingRecipe, changed
from lorag.training.recipe_parts import Stopping
from lorag.training.retrieval_dev import RetrievalDev

SUBJECTS = ("pump", "boiler", "rudder", "ladder", "cabin", "galley", "mast", "hatch", "winch", "anchor", "radar", "crane")
SLANG = ("pip", "bo", "ruddy", "laddie", "cab", "gal", "stick", "hole", "winnie", "hook", "dish", "arm")
FILLER = (
    "the",
    "is",
    "kept",
    "dry",
    "and",
    "checked",
    "on",
    "deck",
    "by",
    "crew",
    "every",
    "day",
    "before",
    "noon",
    "this",
    "week",
)


def _text(subject: str, length: int) -> str:
    return f"the {subject} " + " ".join(FILLER[n % len(FILLER)] for n in range(length))


PASSAGES = [PassageRow(f"p-{word}", f"Manual > {word}", _text(word, 1 + n // 2)) for n, word in enumerate(SUBJECTS)]
ROWS = [EmbedRow(f"q-{n}", f"{SLANG[n]} checked", (f"p-{word}",)) for n, word in enumerate(SUBJECTS)]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A sentence-transformers folder: two layers, dropout, mean pooling, a vocabulary of whole words."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("tiny")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *SUBJECTS, *SLANG, *FILLER, "manual", ">"]
    (folder / "vocab.txt").write_text("\n".join(dict.fromkeys(words)))
    torch.manual_seed(1)
    config = BertConfig(vocab_size=len(words), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
    bert = BertModel(config)
    # Random layers make all texts alike; without positions and types what differs between texts, their words, stays visible.
    torch.nn.init.zeros_(bert.embeddings.position_embeddings.weight)
    torch.nn.init.zeros_(bert.embeddings.token_type_embeddings.weight)
    bert.save_pretrained(folder / "bert")
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder / "bert")
    model = SentenceTransformer(
        modules=[Transformer(str(folder / "bert"), max_seq_length=64), Pooling(32), Normalize()], device="cpu"
    )
    model.save(str(folder / "model"))
    return str(folder / "model")


@pytest.fixture(scope="module")
def settings() -> EmbeddingRecipe:
    return changed(
        EmbeddingRecipe(role="embedder"),
        rank=8,
        alpha=16,
        learning_rate=1e-2,
        batch_size=4,
        epochs=30,
        negatives=Negatives.NONE,
        checkpoint_every=30,
    )


@pytest.fixture(scope="module")
def trained(tiny: str, settings: EmbeddingRecipe, tmp_path_factory: pytest.TempPathFactory) -> TrainedEmbedder:
    return train_embedder(ROWS, PASSAGES, Encoder(tiny), settings, tmp_path_factory.mktemp("run") / "embedder")


def _recall(embedder: SentenceTransformerEmbedder) -> float:
    """Share of queries whose passage comes first."""
    queries = embedder.embed_queries([embed.query_text(row.query) for row in ROWS])
    passages = embedder.embed_passages([embed.passage_text(p.title, "", p.text) for p in PASSAGES])
    return float(np.mean((queries @ passages.T).argmax(axis=1) == np.arange(len(ROWS))))


def _columns(model: Any) -> list[dict[str, Any]]:
    """Query, positive and negative columns of four rows, of unlike length."""
    texts = [
        [row.query for row in ROWS[:4]],
        [p.text for p in (PASSAGES[9], PASSAGES[0], PASSAGES[11], PASSAGES[3])],
        [p.text for p in (PASSAGES[1], PASSAGES[10], PASSAGES[2], PASSAGES[7])],
    ]
    return [dict(model.preprocess(column)) for column in texts]


@pytest.mark.parametrize("micro_batch", [0, 3])
def test_the_two_tower_loss_and_its_gradient_equal_the_librarys(tiny: str, micro_batch: int) -> None:
    import torch
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    model = SentenceTransformerEmbedder(tiny).load().eval()
    labels = torch.tensor([[n, n, 4 + n] for n in range(4)])
    apart = [{n} for n in range(4)]  # no passage twice, and none answers two questions
    results = []
    for loss in (MultipleNegativesRankingLoss(model, scale=20.0), two_tower_loss(model, apart, 20.0, micro_batch)):
        model.zero_grad()
        value = loss(_columns(model), labels)
        value.backward()
        gradient = model.transformers_model.embeddings.word_embeddings.weight.grad
        results.append((value.item(), gradient.clone()))
    assert results[1][0] == pytest.approx(results[0][0], abs=1e-5)
    assert np.allclose(results[0][1], results[1][1], atol=1e-5)


@pytest.mark.parametrize("micro_batch", [0, 3])
def test_what_answers_a_question_is_no_negative_of_it_and_what_comes_twice_counts_once(tiny: str, micro_batch: int) -> None:
    """Against a sum by hand over the places that are left. Columns of the batch: positives 0 1 0 2, negatives 3 0 3 1."""
    import torch

    model = SentenceTransformerEmbedder(tiny).load().eval()
    labels = [[0, 0, 3], [1, 1, 0], [2, 0, 3], [3, 2, 1]]
    answers = [{0, 1}, {1}, {0}, {2, 3}]
    texts = [p.text for p in PASSAGES[:4]]
    negatives = [{3, 2}, {0, 2, 3}, {1, 2, 3}, {0, 1}]  # of each query, by hand
    queries, passages = (model.encode(t, normalize_embeddings=True) for t in ([row.query for row in ROWS[:4]], texts))
    expected = []
    for query, (_, own, _), others in zip(queries, labels, negatives, strict=True):
        scores = 20.0 * passages @ query
        expected.append(-scores[own] + np.log(np.exp(scores[[own, *others]]).sum()))
    columns = [[row.query for row in ROWS[:4]], *([texts[label[at]] for label in labels] for at in (1, 2))]
    loss = two_tower_loss(model, answers, 20.0, micro_batch)
    value = loss([dict(model.preprocess(column)) for column in columns], torch.tensor(labels))
    assert value.item() == pytest.approx(float(np.mean(expected)), abs=1e-4)


@pytest.mark.parametrize("query_side_only", [False, True])
@pytest.mark.parametrize(
    ("questions", "gold", "batch"),
    [
        ([f"{SLANG[n % 12]} {FILLER[n // 12]}" for n in range(60)], [(n % 6,) for n in range(60)], 32),  # ten to a passage
        (list(SLANG[:8]), [tuple(range(8))] * 8, 32),  # each of eight questions has the same eight passages
        ([SLANG[0]] * 9, [(n,) for n in range(9)], 4),  # one question again and again
    ],
)
def test_each_pair_is_read_once_an_epoch(
    tiny: str,
    settings: EmbeddingRecipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    questions: list[str],
    gold: list[tuple[int, ...]],
    batch: int,
    query_side_only: bool,
) -> None:
    from lorag.training import losses

    read: list[list[int]] = []
    no_negatives = losses.no_negatives

    def watched(labels: Any, answers: Any) -> Any:
        read.append(labels[:, 0].tolist())
        return no_negatives(labels, answers)

    monkeypatch.setattr(losses, "no_negatives", watched)
    rows = [
        EmbedRow(f"q{n}", q, tuple(PASSAGES[p].id for p in own)) for n, (q, own) in enumerate(zip(questions, gold, strict=True))
    ]
    once = changed(settings, epochs=1, batch_size=batch, query_side_only=query_side_only)
    result = train_embedder(rows, PASSAGES, Encoder(tiny), once, tmp_path)
    pairs = sum(map(len, gold))
    assert sorted(number for numbers in read for number in numbers) == list(range(pairs))
    assert (result.epochs, result.steps, result.pairs) == (1.0, -(-pairs // batch), pairs)
    assert all(np.isfinite(point.loss) for point in result.loss_curve)


def test_embedding_by_length_changes_no_vector_and_no_order(tiny: str) -> None:
    import torch

    model = SentenceTransformerEmbedder(tiny).load()
    texts = [_text(word, 40 - 3 * n) for n, word in enumerate(SUBJECTS)]
    with torch.no_grad():
        vectors = embed_by_length(model, model.preprocess(texts))
    alone = np.concatenate([model.encode([text], normalize_embeddings=True) for text in texts])
    assert np.allclose(vectors.numpy(), alone, atol=1e-5)


@pytest.mark.parametrize("side", ["left", "right"])
def test_texts_of_like_length_go_together_without_padding_on_either_side(side: str) -> None:
    """Twelve rows, eight at once: the eight shortest in one piece as wide as the longest of them, the rest in another."""
    import torch

    lengths = [12, 1, 11, 2, 10, 3, 9, 4, 8, 5, 7, 6]
    mask = torch.zeros(12, 20, dtype=torch.long)
    for row, length in zip(mask, lengths, strict=True):
        row[-length:] = 1 if side == "left" else 0
        row[:length] = 1 if side == "right" else row[:length]
    widths = []

    def model(features: dict[str, Any]) -> dict[str, Any]:
        widths.append(features["attention_mask"].shape[1])
        assert features["modality"] == "text"
        return {
            "sentence_embedding": torch.stack([features["attention_mask"].sum(1), torch.ones(len(features["input_ids"]))], dim=1)
        }

    vectors = embed_by_length(model, {"input_ids": mask, "attention_mask": mask, "modality": "text"})
    assert widths == [8, 12]
    assert (vectors[:, 0] / vectors[:, 1]).tolist() == pytest.approx(lengths)


def test_the_query_side_loss_equals_a_hand_made_one_and_masks_the_own_passage(tiny: str) -> None:
    import torch

    model = SentenceTransformerEmbedder(tiny).load().eval()
    random = np.random.default_rng(0)
    table = random.normal(size=(6, 32)).astype(np.float32)
    table /= np.linalg.norm(table, axis=1, keepdims=True)
    labels = [[0, 0, 3], [1, 1, 4], [2, 2, 0]]  # the first query's passage is a negative of the third
    texts = [row.query for row in ROWS[:3]]
    queries = model.encode(texts, normalize_embeddings=True)
    expected = []
    for own, others in ((0, [1, 2, 3, 4]), (1, [0, 2, 3, 4]), (2, [0, 1, 3, 4])):
        scores = 10.0 * queries[own] @ table.T
        expected.append(-scores[own] + np.log(np.exp(scores[[own, *others]]).sum()))
    value = query_side_loss(model, table, [{0}, {1}, {2}], 10.0)([model.preprocess(texts)], torch.tensor(labels))
    assert value.item() == pytest.approx(float(np.mean(expected)), abs=1e-4)


def test_the_only_step_of_a_run_learns(tiny: str, settings: EmbeddingRecipe, tmp_path: Path) -> None:
    """Three rows in a batch of four: a warm-up of a third of a step would be rounded up to all of it, with a rate of zero."""
    from safetensors.numpy import load_file

    result = train_embedder(ROWS[:3], PASSAGES, Encoder(tiny), changed(settings, epochs=1, warmup_share=0.3), tmp_path)
    assert result.steps == 1
    learnt = load_file(result.folder / "adapter_model.safetensors")
    assert any(tensor.any() for name, tensor in learnt.items() if "lora_B" in name)


def test_training_teaches_words_that_the_base_does_not_know(tiny: str, trained: TrainedEmbedder) -> None:
    base, tuned = _recall(SentenceTransformerEmbedder(tiny)), _recall(SentenceTransformerEmbedder(tiny, adapter=trained.folder))
    assert base <= 0.25 and tuned >= 0.75


def test_the_figures_of_a_run(trained: TrainedEmbedder) -> None:
    curve = [point.loss for point in trained.loss_curve]
    assert (trained.steps, trained.epochs, trained.pairs) == (90, 30.0, 12)  # 12 pairs in batches of 4, thirty times
    assert [point.step for point in trained.loss_curve] == list(range(1, 91))
    assert trained.final_loss == pytest.approx(sum(curve[-9:]) / 9) and trained.final_loss < curve[0] / 2
    # LoRA of rank 8 on six linear layers of two blocks: r x (in + out) each.
    assert trained.trainable_parameters == 2 * 8 * (4 * (32 + 32) + 2 * (32 + 64))
    # Queries "WORD checked"; passages "manual > WORD", "the WORD" and 1, 1, 2, 2, … 6, 6 words; [CLS] and [SEP] around each.
    assert trained.tokens == 30 * (12 * (2 + 2) + sum(3 + 2 + 1 + n // 2 + 2 for n in range(12)))


def test_the_saved_adapter_is_plain_peft_in_half_precision_without_paths(trained: TrainedEmbedder) -> None:
    from safetensors.numpy import load_file

    tensors = load_file(trained.folder / "adapter_model.safetensors")
    assert {str(tensor.dtype) for tensor in tensors.values()} == {"float16"}
    assert not any("pooler" in name for name in tensors)
    config = json.loads((trained.folder / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["inference_mode"]) == (8, 16, True)
    cards = list(trained.folder.parent.rglob("README.md"))
    assert not any(row.query in card.read_text() for card in cards for row in ROWS)


def test_a_run_with_checkpoints_prints_nothing(
    settings: EmbeddingRecipe, tmp_path: Path, tiny: str, capfd: pytest.CaptureFixture[str]
) -> None:
    from transformers.utils import logging

    train_embedder(ROWS, PASSAGES, Encoder(tiny), changed(settings, max_steps=2, checkpoint_every=1), tmp_path)
    assert capfd.readouterr() == ("", "")
    assert logging.is_progress_bar_enabled()


def test_the_packaged_model_is_named_by_its_public_id_in_the_config(
    settings: EmbeddingRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: str
) -> None:
    monkeypatch.setattr("lorag.pipeline.retrieval.sentence_encoder.resolve_model", lambda model: Path(tiny))
    result = train_embedder(ROWS, PASSAGES, Encoder("minilm"), changed(settings, max_steps=1), tmp_path)
    config = json.loads((result.folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "sentence-transformers/all-MiniLM-L6-v2"


def test_vectors_after_loading_equal_the_trained_models(tiny: str, trained: TrainedEmbedder) -> None:
    """Against plain transformers and peft with mean pooling by hand, and against the trainer's own last checkpoint."""
    import torch
    from peft import PeftModel
    from sentence_transformers import SentenceTransformer
    from transformers import AutoModel, AutoTokenizer

    texts = [row.query for row in ROWS] + [p.text for p in PASSAGES]
    ours = SentenceTransformerEmbedder(tiny, adapter=trained.folder).embed_queries(texts)
    model = PeftModel.from_pretrained(AutoModel.from_pretrained(tiny), str(trained.folder)).eval()
    batch = AutoTokenizer.from_pretrained(tiny)(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        hidden = model(**batch).last_hidden_state
    weights = batch["attention_mask"][:, :, None]
    by_hand = torch.nn.functional.normalize((hidden * weights).sum(1) / weights.sum(1), dim=-1).numpy()
    assert np.allclose(ours, by_hand, atol=1e-5)
    checkpoint = newest_complete(trained.folder.parent)
    full_precision = SentenceTransformer(str(checkpoint), device="cpu").encode(texts, normalize_embeddings=True)
    assert np.allclose(ours, full_precision, atol=5e-3)
    assert not np.allclose(ours, SentenceTransformerEmbedder(tiny).embed_queries(texts), atol=0.1)


def test_an_interrupted_run_resumes_to_the_same_curve_and_weights(
    tiny: str, settings: EmbeddingRecipe, trained: TrainedEmbedder, tmp_path: Path
) -> None:
    """Ctrl-C in the middle of an epoch, twice; the second time before any new checkpoint."""

    def stop_at(step: int) -> Any:
        def on_progress(progress: Progress) -> None:
            if progress.step == step:
                raise KeyboardInterrupt

        return on_progress

    frequent = changed(settings, checkpoint_every=40)
    for last, kept in ((62, 40), (79, 40)):
        with pytest.raises(KeyboardInterrupt):
            train_embedder(ROWS, PASSAGES, Encoder(tiny), frequent, tmp_path, resume=True, on_progress=stop_at(last))
        assert newest_complete(tmp_path) == tmp_path / f"checkpoint-{kept}"
    result = train_embedder(ROWS, PASSAGES, Encoder(tiny), frequent, tmp_path, resume=True)
    assert result.loss_curve == trained.loss_curve
    assert len((tmp_path / LOSS_FILE).read_text().splitlines()) == 90
    assert _weights(result) == _weights(trained)


def _weights(result: TrainedEmbedder) -> bytes:
    return (result.folder / "adapter_model.safetensors").read_bytes()


def test_the_seed_decides_the_weights(tiny: str, settings: EmbeddingRecipe, tmp_path: Path) -> None:
    short = changed(settings, max_steps=8)
    weights = [
        _weights(train_embedder(ROWS, PASSAGES, Encoder(tiny), changed(short, seed=seed), tmp_path / f"{n}"))
        for n, seed in enumerate((0, 0, 1))
    ]
    assert weights[0] == weights[1] != weights[2]


@pytest.mark.parametrize("change", [{"learning_rate": 1e-3}, {"seed": 2}, {"negatives": Negatives.RANDOM}])
def test_resuming_with_other_settings_is_refused(
    tiny: str, settings: EmbeddingRecipe, tmp_path: Path, change: dict[str, Any]
) -> None:
    short = changed(settings, max_steps=2, checkpoint_every=1)
    train_embedder(ROWS, PASSAGES, Encoder(tiny), short, tmp_path)
    with pytest.raises(TrainingError, match="other settings or data"):
        train_embedder(ROWS, PASSAGES, Encoder(tiny), changed(short, **change), tmp_path, resume=True)
    with pytest.raises(TrainingError, match="holds checkpoint-2 of an earlier run"):
        train_embedder(ROWS, PASSAGES, Encoder(tiny), changed(short, **change), tmp_path)


def test_query_side_training_leaves_the_passages_where_they_are(tiny: str, settings: EmbeddingRecipe, tmp_path: Path) -> None:
    result = train_embedder(
        ROWS, PASSAGES, Encoder(tiny), changed(settings, query_side_only=True, negatives=Negatives.MINED), tmp_path
    )
    tuned = SentenceTransformerEmbedder(tiny, adapter=result.folder, query_side_only=True)
    bare = SentenceTransformerEmbedder(tiny)
    texts = [embed.passage_text(p.title, "", p.text) for p in PASSAGES]
    assert np.allclose(tuned.embed_passages(texts), bare.embed_passages(texts), atol=1e-6)
    assert tuned.identity.can_search(bare.identity)
    assert _recall(tuned) >= _recall(bare) + 0.4


def test_each_encoder_embeds_each_passage_once(
    tiny: str, settings: EmbeddingRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Query side only, so that no passage changes: mining, training and dev questions share the bare model's vectors."""
    embedded: list[str] = []
    opened: list[SentenceTransformerEmbedder] = []
    embed_passages, load = SentenceTransformerEmbedder.embed_passages, SentenceTransformerEmbedder.load

    def counted(self: SentenceTransformerEmbedder, texts: Any) -> Any:
        embedded.extend(texts)
        return embed_passages(self, texts)

    def watched(self: SentenceTransformerEmbedder) -> Any:
        if all(self is not each for each in opened):
            opened.append(self)
        return load(self)

    monkeypatch.setattr(SentenceTransformerEmbedder, "embed_passages", counted)
    monkeypatch.setattr(SentenceTransformerEmbedder, "load", watched)
    other = PassageRow("p-dev", "Manual", "the dev passage")
    dev = RetrievalDev((EmbedRow("q-dev", "dev", ("p-dev",)),), (PASSAGES[3], other, PASSAGES[0]))
    mined = changed(settings, negatives=Negatives.MINED, query_side_only=True, epochs=2.0, dev=Stopping(every=2, patience=9))
    first = train_embedder(ROWS, PASSAGES, Encoder(tiny), mined, tmp_path / "first", dev=dev)
    every = sorted(passage_text(Passage(p.id, "", "", p.title, "", p.text, 0, 1)) for p in [*PASSAGES, other])
    assert sorted(embedded) == every and len(opened) == 1
    # An adapter on the query side embeds passages as the bare model does: mining by it embeds none anew.
    embedded.clear()
    miner = SentenceTransformerEmbedder(tiny, adapter=first.folder, query_side_only=True)
    second = train_embedder(ROWS, PASSAGES, Encoder(tiny), mined, tmp_path / "second", dev=dev, miner=miner)
    assert sorted(embedded) == every
    assert second.dev.keys() == first.dev.keys()


def test_gradient_caching_and_named_targets(tiny: str, settings: EmbeddingRecipe, tmp_path: Path) -> None:
    named = changed(settings, targets=("query", "value"), micro_batch=2, max_steps=3, negatives=Negatives.MINED)
    result = train_embedder(ROWS, PASSAGES, Encoder(tiny), named, tmp_path)
    assert result.trainable_parameters == 2 * 2 * 8 * (32 + 32)
    config = json.loads((result.folder / "adapter_config.json").read_text())
    assert sorted(config["target_modules"]) == ["query", "value"]


def test_a_passage_row_is_embedded_as_the_index_embeds_the_passage() -> None:
    passage = Passage("d#1", "d", "d.md", "Pumps", "Oil > Low  pressure", "  Stop the pump. ", 0, 17)
    row = PassageRow("d#1", "Pumps > Oil > Low  pressure", passage.text)
    assert embed.passage_text(row.title, "", row.text) == passage_text(passage) == "Pumps > Oil > Low pressure\nStop the pump."


@pytest.mark.parametrize(
    ("rows", "change", "message"),
    [
        (ROWS[:1], {}, "at least two"),
        (ROWS, {"batch_size": 1}, "batch_size 1"),
        ([*ROWS, EmbedRow("q-blank", " \n", ("p-pump",))], {}, "row 'q-blank' has an empty query"),
        ([*ROWS, EmbedRow("q-lost", "is it", ("p-gone",))], {}, "row 'q-lost' names passage 'p-gone'"),
        (ROWS, {"query_side_only": True, "micro_batch": 4}, "micro_batch is for two-tower"),
        (ROWS, {"targets": ("q_proj",)}, "targets 'q_proj': .* has no such module; it has dense, key, query, value"),
        (ROWS, {"negatives": Negatives.MINED, "negatives_per_query": 12}, "12 passages are too few"),
        (ROWS, {"learning_rate": 1e30}, "the loss became"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_saved(
    tiny: str, settings: EmbeddingRecipe, tmp_path: Path, rows: list[EmbedRow], change: dict[str, Any], message: str
) -> None:
    with pytest.raises(TrainingError, match=message):
        train_embedder(rows, PASSAGES, Encoder(tiny), changed(settings, **change), tmp_path)
    assert newest_complete(tmp_path) is None
