"""The losses of the embedder: InfoNCE over a batch (arXiv 1807.03748), two-tower or with frozen passages.

Both see the same scores: cosine times `scale`, each query against all positives and all negatives of the batch. A passage that is
known to answer a query is never its negative, and one that stands in the batch twice counts once. Where neither happens, the
value is that of sentence-transformers' `MultipleNegativesRankingLoss`; that one pads each query to the batch's longest passage,
which costs a CPU half of its time. Here texts of similar length are embedded together. If several processes share a batch, each
query is scored against the passages of all of them, as in one process. Loads torch only when a loss is made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any

from lorag.training.processes import gather_rows, scale_for_averaging

if TYPE_CHECKING:
    from torch import Tensor

    from lorag.training.data.negatives import Vectors

NO_ROW = -1
"""Each number of the label of a row that the losses leave out."""

ROWS_AT_ONCE = 8
"""Passages of similar length embedded together on a CPU: few enough for little padding, enough to keep its cores busy."""

Answers = Sequence[Set[int]]
"""For each pair the places of all passages that are known to answer its query."""


def two_tower_loss(model: Any, answers: Answers, scale: float, micro_batch: int = 0) -> Any:
    """Queries and passages go through the model. Columns: query, positive, negatives; labels as `contrastive_columns.labels`.

    With `micro_batch`, that many texts are embedded at a time with cached gradients (arXiv 2101.06983): same loss, less memory.
    """
    import torch
    from sentence_transformers.sentence_transformer import losses

    def of(columns: Sequence[Tensor], labels: Tensor) -> Tensor:
        queries, *passages = columns
        return _info_nce(scale * queries @ torch.cat(passages).T, labels, answers)

    class TwoTowerLoss(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, features: Sequence[Mapping[str, Any]], labels: Tensor) -> Tensor:
            columns = [gather_rows(_drop_blank(embed_by_length(self.model, column), labels)) for column in features]
            return scale_for_averaging(of(columns, gather_rows(_drop_blank(labels, labels))))

    class CachedTwoTowerLoss(losses.CachedMultipleNegativesRankingLoss):  # type: ignore[misc, unused-ignore]
        def calculate_loss(
            self, reps: list[list[Tensor]], labels: Tensor | None = None, *, with_backward: bool = False
        ) -> Tensor:
            assert labels is not None
            loss = of([torch.nn.functional.normalize(torch.cat(column).float(), dim=-1) for column in reps], labels)
            if with_backward:
                loss.backward()  # type: ignore[no-untyped-call, unused-ignore]
            return loss.detach() if with_backward else loss

    return CachedTwoTowerLoss(model, scale=scale, mini_batch_size=micro_batch) if micro_batch else TwoTowerLoss()


def query_side_loss(model: Any, passage_vectors: Vectors, answers: Answers, scale: float) -> Any:
    """Queries go through the model; labels hold rows of `passage_vectors` (unit, float32), see `contrastive_columns.labels`."""
    import torch

    class QuerySideLoss(torch.nn.Module):
        table: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.model = model
            self.register_buffer("table", torch.from_numpy(passage_vectors), persistent=False)

        def forward(self, features: Sequence[Mapping[str, Any]], labels: Tensor) -> Tensor:
            queries = gather_rows(_drop_blank(embed_by_length(self.model, features[0]), labels))
            labels = gather_rows(_drop_blank(labels, labels))
            scores = scale * queries @ self.table[_passages(labels)].T
            return scale_for_averaging(_info_nce(scores, labels, answers))

    return QuerySideLoss()


def _info_nce(scores: Tensor, labels: Tensor, answers: Answers) -> Tensor:
    """The loss of scores, (queries, passages of the batch), without those of `no_negatives`."""
    import torch

    own = torch.arange(len(labels), device=scores.device)
    return torch.nn.functional.cross_entropy(scores.masked_fill(no_negatives(labels, answers), -torch.inf), own)


def no_negatives(labels: Tensor, answers: Answers) -> Tensor:
    """Bool, (queries, passages): which passages of the batch are no negative of a query. It answers it, or stood there before.

    A query's own positive, on the diagonal, is never among them.
    """
    import torch

    places = _passages(labels).tolist()
    first = {place: column for column, place in reversed(list(enumerate(places)))}
    again = torch.tensor([first[place] != column for column, place in enumerate(places)], device=labels.device)
    known = [answers[pair] for pair in labels[:, 0].tolist()]
    mask = again | torch.tensor([[place in found for place in places] for found in known], device=labels.device)
    own = torch.arange(len(labels), device=labels.device)
    mask[own, own] = False
    return mask


def _passages(labels: Tensor) -> Tensor:
    """The places of all positives of the batch, then of all negatives, column by column."""
    return labels[:, 1:].T.reshape(-1)


def _drop_blank(rows: Tensor, labels: Tensor) -> Tensor:
    """Drop rows with label `NO_ROW`, which a process reads if the batch has no row for it."""
    return rows[labels[:, 0] != NO_ROW]


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
