"""The losses of the embedder: InfoNCE over a batch (arXiv 1807.03748), two-tower or with the passages held still.

Both see the same scores: cosine times `scale`, each query against all positives and all negatives of the batch. The value is
that of sentence-transformers' `MultipleNegativesRankingLoss`; that one pads each query to the batch's longest passage, which
costs a CPU half of its time, while here texts of like length are embedded together. Where several processes share a batch, each
query meets the passages of all of them, as in one process. Loads torch only when a loss is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lorag.training.processes import counted_once, everyones

if TYPE_CHECKING:
    from torch import Tensor

    from lorag.training.data.negatives import Vectors

NO_ROW = -1
"""The label (or each of its numbers) of a row that counts for nothing."""

ROWS_AT_ONCE = 8
"""Passages of like length embedded together: on a CPU few enough to keep padding small, enough to keep its cores busy."""


def two_tower_loss(model: Any, scale: float, micro_batch: int = 0) -> Any:
    """Queries and passages go through the model. Columns: query, positive, negatives.

    With `micro_batch` so many texts are embedded at a time and gradients are cached (arXiv 2101.06983): same loss, less memory.
    """
    import torch

    if micro_batch:
        from sentence_transformers.sentence_transformer import losses

        return losses.CachedMultipleNegativesRankingLoss(model, scale=scale, mini_batch_size=micro_batch)

    class TwoTowerLoss(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, features: Sequence[Mapping[str, Any]], labels: Tensor | None) -> Tensor:
            queries, *passages = (everyones(_real(embed_by_length(self.model, column), labels)) for column in features)
            scores = scale * queries @ torch.cat(passages).T
            return counted_once(torch.nn.functional.cross_entropy(scores, torch.arange(len(queries), device=scores.device)))

    return TwoTowerLoss()


def query_side_loss(model: Any, passage_vectors: Vectors, scale: float) -> Any:
    """Queries go through the model; labels are rows of `passage_vectors` (unit, float32): the positive, then the negatives."""
    import torch

    class QuerySideLoss(torch.nn.Module):
        table: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.model = model
            self.register_buffer("table", torch.from_numpy(passage_vectors), persistent=False)

        def forward(self, features: Sequence[Mapping[str, Any]], labels: Tensor) -> Tensor:
            queries, labels = _real(embed_by_length(self.model, features[0]), labels), _real(labels, labels)
            queries, labels = everyones(queries), everyones(labels)
            chosen = labels.T.reshape(-1)  # all positives of the batch, then all negatives
            scores = scale * queries @ self.table[chosen].T
            own = torch.arange(len(labels), device=labels.device)
            again = chosen[None, :] == labels[:, :1]  # a query's own passage, met again elsewhere in the batch, is no negative
            again[own, own] = False
            return counted_once(torch.nn.functional.cross_entropy(scores.masked_fill(again, -torch.inf), own))

    return QuerySideLoss()


def _real(rows: Tensor, labels: Tensor | None) -> Tensor:
    """Without the rows of label `NO_ROW`, which a process reads where the batch has none for it."""
    return rows if labels is None else rows[labels.reshape(len(labels), -1)[:, 0] != NO_ROW]


def embed_by_length(model: Any, features: Mapping[str, Any]) -> Tensor:
    """Unit float32 vectors, (n, dimension), of one column of texts, embedded in groups of like length and put back in order.

    On a GPU the column goes through in one piece.
    """
    import torch

    mask: Tensor = features["attention_mask"]
    rows = len(mask)
    lengths = mask.sum(dim=1)
    order = torch.argsort(lengths, stable=True)
    groups = order.split(ROWS_AT_ONCE if mask.device.type == "cpu" else rows)
    vectors = [model(_part(features, group, rows))["sentence_embedding"].float() for group in groups]
    return torch.nn.functional.normalize(torch.cat(vectors)[torch.argsort(order)], dim=-1)


def _part(features: Mapping[str, Any], group: Tensor, rows: int) -> dict[str, Any]:
    """The given rows, without the positions that are padding in all of them. Padding may stand on either side."""
    mask: Tensor = features["attention_mask"][group]
    used = mask.any(dim=0).nonzero().flatten()
    first, last = int(used[0]), int(used[-1]) + 1

    def cut(value: Any) -> Any:
        if not hasattr(value, "ndim") or value.ndim == 0 or len(value) != rows:
            return value
        return value[group][:, first:last] if value.ndim == 2 else value[group]

    return {key: cut(value) for key, value in features.items()}
