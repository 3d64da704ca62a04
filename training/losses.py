"""The losses of the embedder: InfoNCE over a batch (arXiv 1807.03748), two-tower or with the passages held still.

Both see the same scores: cosine times `scale`, each query against all positives and all negatives of the batch. Loads torch
and sentence-transformers only when a loss is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from training.data.negatives import Vectors


def two_tower_loss(model: Any, scale: float, micro_batch: int = 0) -> Any:
    """Queries and passages go through the model. Columns: query, positive, negatives.

    With `micro_batch` so many texts are embedded at a time and gradients are cached (arXiv 2101.06983): same loss, less memory.
    """
    from sentence_transformers.sentence_transformer import losses

    if micro_batch:
        return losses.CachedMultipleNegativesRankingLoss(model, scale=scale, mini_batch_size=micro_batch)
    return losses.MultipleNegativesRankingLoss(model, scale=scale)


def query_side_loss(model: Any, passage_vectors: Vectors, scale: float) -> Any:
    """Queries go through the model; a label is a row of `passage_vectors` (unit, float32) for the positive, then the negatives."""
    import torch

    class QuerySideLoss(torch.nn.Module):
        table: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.model = model
            self.register_buffer("table", torch.from_numpy(passage_vectors), persistent=False)

        def forward(self, features: Sequence[Any], labels: torch.Tensor) -> torch.Tensor:
            queries = torch.nn.functional.normalize(self.model(features[0])["sentence_embedding"], dim=-1)
            chosen = labels.T.reshape(-1)  # all positives of the batch, then all negatives
            scores = scale * queries @ self.table[chosen].T
            own = torch.arange(len(labels), device=labels.device)
            again = chosen[None, :] == labels[:, :1]  # a query's own passage, met again elsewhere in the batch, is no negative
            again[own, own] = False
            return torch.nn.functional.cross_entropy(scores.masked_fill(again, -torch.inf), own)

    return QuerySideLoss()
