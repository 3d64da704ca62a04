"""The linear head against scikit-learn's logistic regression, and its file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.linear_head import LinearHead, fit_head, load_head, save_head
from lorag.pipeline.errors import DataError


def _clouds(count: int) -> tuple[np.ndarray, list[int]]:
    random = np.random.default_rng(0)
    labels = [n % 3 for n in range(count)]
    centres = random.normal(size=(3, 6))
    vectors = centres[labels] + random.normal(size=(count, 6))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), labels


def test_the_head_is_the_optimum_that_scikit_learn_finds() -> None:
    """Its penalty is ½·Σw² beside C times the summed loss: C = 1 / (2 · n · l2)."""
    from sklearn.linear_model import LogisticRegression

    vectors, labels = _clouds(240)
    head = fit_head(vectors, labels, 3, l2=1e-3)
    reference = LogisticRegression(C=1 / (2 * 240 * 1e-3), tol=1e-8, max_iter=2000).fit(vectors, labels)
    logits = head.scores(vectors)
    ours = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.allclose(ours, reference.predict_proba(vectors), atol=2e-3)
    assert head.loss == pytest.approx(-np.log(ours[np.arange(240), labels]).mean(), abs=1e-5)


def test_a_heavier_penalty_gives_smaller_weights() -> None:
    vectors, labels = _clouds(90)
    norms = [float(np.linalg.norm(fit_head(vectors, labels, 3, l2).weights)) for l2 in (1e-1, 1e-2, 1e-4)]
    assert norms == sorted(norms)


def test_a_head_comes_back_from_its_file_with_its_labels(tmp_path: Path) -> None:
    vectors, labels = _clouds(60)
    head = fit_head(vectors, labels, 3)
    save_head(head, ("ä", "b", "c"), tmp_path / "deep" / "head.safetensors")
    found, names = load_head(tmp_path / "deep" / "head.safetensors")
    assert names == ("ä", "b", "c")
    assert np.array_equal(found.scores(vectors), head.scores(vectors))


def test_a_file_that_is_no_head_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "head.safetensors"
    with pytest.raises(DataError, match="no classification head"):
        load_head(path)
    path.write_bytes(b"x" * 40)
    with pytest.raises(DataError, match="no classification head"):
        load_head(path)
    save_head(LinearHead(np.zeros((2, 3), np.float32), np.zeros(2, np.float32)), ("a", "b", "c"), path)
    with pytest.raises(DataError, match="3 labels but weights"):
        load_head(path)
