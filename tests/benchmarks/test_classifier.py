"""Classifiers on a tiny encoder: what each way of tuning updates, that it learns, and that what is saved is what was trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.classifier import (
    BUNDLED,
    ClassifierRecipe,
    LabelledText,
    Tuning,
    load_classifier,
    load_classifier_recipe,
    train_classifier,
)
from lorag.pipeline.errors import ConfigError, DataError, TrainingError
from lorag.pipeline.retrieval.sentence_encoder import SentenceTransformerEmbedder
from lorag.training.progress import Progress

WORDS = {"ask": ("who", "when", "key"), "tell": ("ferry", "porter", "night")}
ROWS = [
    LabelledText(f"{label}-{a}-{b}", f"{a} {b}", label) for label, words in WORDS.items() for a in words for b in words if a != b
]


@pytest.fixture
def recipe(tiny_encoder: Path) -> ClassifierRecipe:
    return ClassifierRecipe(
        model=str(tiny_encoder),
        rank=2,
        alpha=4,
        targets=["query", "value"],
        learning_rate=1e-2,
        full_learning_rate=1e-3,
        batch_size=4,
        max_steps=6,
        checkpoint_every=2,
        l2=1e-1,
    )


@pytest.mark.parametrize("tuning", Tuning)
def test_each_way_updates_what_it_says_and_lowers_the_loss(recipe: ClassifierRecipe, tuning: Tuning, tmp_path: Path) -> None:
    trained = train_classifier(ROWS, recipe, tuning, tmp_path)
    bare = SentenceTransformerEmbedder(recipe.model)
    width, total = bare.dimension, sum(p.numel() for p in bare.load().parameters())
    head = 2 * width + 2
    layers = bare.load().transformers_model.config.num_hidden_layers
    updated = {Tuning.FROZEN: head, Tuning.LORA: head + layers * 2 * 2 * (width + width), Tuning.FULL: head + total}
    assert (trained.updated, trained.labels) == (updated[tuning], ("ask", "tell"))
    assert trained.steps == (0 if tuning is Tuning.FROZEN else 6)
    assert (trained.optimizer_bytes > 4 * trained.updated) is (tuning is not Tuning.FROZEN)
    found = load_classifier(trained.folder, recipe.model, max_length=recipe.max_length)
    texts = [row.text for row in ROWS]
    moved = not np.allclose(found.encoder.embed_queries(texts), bare.embed_queries(texts), atol=1e-4)
    assert moved is (tuning is not Tuning.FROZEN)
    scores = found.scores(texts).astype(np.float64)
    gold = [trained.labels.index(row.label) for row in ROWS]
    loss = float(np.mean(np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(len(ROWS)), gold]))
    frozen = loss if tuning is Tuning.FROZEN else _frozen_loss(recipe, tmp_path / "frozen")
    assert loss <= frozen and found.classify(texts[:1]) == [trained.labels[int(scores[0].argmax())]]


def _frozen_loss(recipe: ClassifierRecipe, folder: Path) -> float:
    return train_classifier(ROWS, recipe, Tuning.FROZEN, folder).final_loss


def test_an_interrupted_run_goes_on_to_the_same_scores(recipe: ClassifierRecipe, tmp_path: Path) -> None:
    def stop(progress: Progress) -> None:
        if progress.step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_classifier(ROWS, recipe, Tuning.LORA, tmp_path / "a", on_progress=stop)
    steps: list[int] = []
    resumed = train_classifier(ROWS, recipe, Tuning.LORA, tmp_path / "a", resume=True, on_progress=lambda p: steps.append(p.step))
    whole = train_classifier(ROWS, recipe, Tuning.LORA, tmp_path / "b")
    assert steps == [5, 6]
    texts = [row.text for row in ROWS]
    assert np.allclose(*(load_classifier(t.folder, recipe.model).scores(texts) for t in (resumed, whole)), atol=1e-5)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([*ROWS, LabelledText("blank", " ", "ask")], "'blank' has an empty text"),
        (ROWS[:3], "at least two labels"),
        ([], "0 rows"),
    ],
)
def test_rows_that_teach_nothing_are_refused(
    recipe: ClassifierRecipe, rows: list[LabelledText], message: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message):
        train_classifier(rows, recipe, Tuning.FROZEN, tmp_path)


def test_other_settings_do_not_go_on_with_a_run(recipe: ClassifierRecipe, tmp_path: Path) -> None:
    train_classifier(ROWS, recipe, Tuning.LORA, tmp_path)
    with pytest.raises(TrainingError, match="other settings or data"):
        train_classifier(ROWS, recipe.model_copy(update={"rank": 3}), Tuning.LORA, tmp_path, resume=True)


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_recipes_load(name: str) -> None:
    assert load_classifier_recipe(name).targets == "all-linear"


def test_a_mistake_in_a_recipe_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("model: minilm\nrnak: 3\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml:2: rnak"):
        load_classifier_recipe(str(path))
    with pytest.raises(ConfigError, match="bundled ones: classifier-minilm"):
        load_classifier_recipe("nothing-here")
