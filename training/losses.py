"""The losses of the embedder: InfoNCE over a batch (arXiv 1807.03748), two-tower or with frozen passages.

Both see the same scores: cosine times `scale`, each query against all positives and all negatives of the batch. The value is
that of sentence-transformers' `MultipleNegativesRankingLoss`; that one pads each query to the batch's longest passage, which
costs a CPU half of its time. Here texts of similar length are embedded together. If several processes share a batch, each query
is scored against the passages of all of them, as in one process. Loads torch only when a loss is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lorag.training.processes import gather_rows, scale_for_averaging

if TYPE_CHECKING:
    from torch import Tensor

    from lorag.training.data.negatives import Vectors

NO_ROW = -1
"""The label (or each of its numbers) of a row that the loss leaves out."""

ROWS_AT_ONCE = 8
"""Passages of similar length embedded together on a CPU: few enough for little padding, enough to keep its cores busy."""


def two_tower_loss(model: Any, scale: float, micro_batch: int = 0) -> Any:
    """Queries and passages go through the model. Columns: query, positive, negatives.

    With `micro_batch`, that many texts are embedded at a time with cached gradients (arXiv 2101.06983): same loss, less memory.
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
            queries, *passages = (gather_rows(_drop_blank(embed_by_length(self.model, column), labels)) for column in features)
            scores = scale * queries @ torch.cat(passages).T
            return scale_for_averaging(
                torch.nn.functional.cross_entropy(scores, torch.arange(len(queries), device=scores.device))
            )

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
            queries, labels = _drop_blank(embed_by_length(self.model, features[0]), labels), _drop_blank(labels, labels)
            queries, labels = gather_rows(queries), gather_rows(labels)
            chosen = labels.T.reshape(-1)  # all positives of the batch, then all negatives
            scores = scale * queries @ self.table[chosen].T
            own = torch.arange(len(labels), device=labels.device)
            repeats = chosen[None, :] == labels[:, :1]  # a query's own passage, repeated elsewhere in the batch, is no negative
            repeats[own, own] = False
            return scale_for_averaging(torch.nn.functional.cross_entropy(scores.masked_fill(repeats, -torch.inf), own))

    return QuerySideLoss()


def _drop_blank(rows: Tensor, labels: Tensor | None) -> Tensor:
    """Drop rows with label `NO_ROW`, which a process reads if the batch has no row for it."""
    return rows if labels is None else rows[labels.reshape(len(labels), -1)[:, 0] != NO_ROW]


def embed_by_length(model: Any, features: Mapping[str, Any]) -> Tensor:
    """Unit float32 vectors, (n, dimension), of one column of texts, embedded in groups of similar length, in the order given.

    On a GPU the column is one group.
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
    """The given rows, without the positions that are padding in all of them. Padding may be on either side."""
    mask: Tensor = features["attention_mask"][group]
    used = mask.any(dim=0).nonzero().flatten()
    first, last = int(used[0]), int(used[-1]) + 1

    def cut(value: Any) -> Any:
        if not hasattr(value, "ndim") or value.ndim == 0 or len(value) != rows:
            return value
        return value[group][:, first:last] if value.ndim == 2 else value[group]

    return {key: cut(value) for key, value in features.items()}
