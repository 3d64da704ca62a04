"""A linear head on unit vectors: multinomial logistic regression, fitted to its optimum. Knows no encoder.

Loads torch only when a head is fitted.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lorag.pipeline.errors import DataError

if TYPE_CHECKING:
    from lorag.pipeline.retrieval.embedder import Vectors

_STEPS = 200


@dataclass(frozen=True, slots=True)
class LinearHead:
    """`weights` (labels, dimension) and `bias` (labels,), float32. `loss` is the mean cross-entropy it was fitted to, in nats."""

    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    loss: float = float("nan")

    def scores(self, vectors: Vectors) -> Vectors:
        """Logits, (n, labels), of vectors (n, dimension)."""
        return np.ascontiguousarray(vectors @ self.weights.T + self.bias, dtype=np.float32)


def fit_head(vectors: Vectors, labels: Sequence[int], count: int, l2: float = 1e-5) -> LinearHead:
    """The head with the least mean cross-entropy + `l2` · Σ weights² over `vectors` (n, dimension); labels are 0 … `count`-1.

    The loss is convex: L-BFGS finds the one optimum for any seed.
    """
    import torch

    features, gold = torch.from_numpy(np.ascontiguousarray(vectors)), torch.tensor(labels)
    head = torch.nn.Linear(features.shape[1], count)
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=_STEPS, tolerance_change=1e-7, line_search_fn="strong_wolfe")

    def penalised() -> torch.Tensor:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(head(features), gold) + l2 * head.weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(penalised)
    with torch.no_grad():
        loss = float(torch.nn.functional.cross_entropy(head(features), gold))
    return LinearHead(head.weight.detach().numpy(), head.bias.detach().numpy(), loss)


def save_head(head: LinearHead, labels: Sequence[str], path: Path) -> None:
    """Write the head with its labels, in order, as safetensors."""
    from safetensors.numpy import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"weights": head.weights, "bias": head.bias}, str(path), metadata={"labels": json.dumps(list(labels))})


def load_head(path: Path) -> tuple[LinearHead, tuple[str, ...]]:
    """The head and its labels. Raises DataError if `save_head` did not write the file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="np") as stored:
            labels = tuple(json.loads((stored.metadata() or {})["labels"]))
            head = LinearHead(stored.get_tensor("weights"), stored.get_tensor("bias"))
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise DataError(f"{path}: no classification head ({error}); train the classifier again") from error
    if head.weights.shape[:1] != (len(labels),) or head.bias.shape != (len(labels),):
        raise DataError(f"{path}: {len(labels)} labels but weights of shape {head.weights.shape}; train the classifier again")
    return head, labels
