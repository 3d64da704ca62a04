"""Columns for the contrastive trainer: pairs as texts or as places in a table of passage vectors; and their token counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lorag.pipeline.contracts import embed
from lorag.training.data.negatives import Pair
from lorag.training.losses import NO_ROW


def prompt(model: Any, *names: str) -> str:
    """The instruction that serving puts before a text of this kind."""
    prompts = model.prompts or {}
    return next((prompts[name] for name in (*names, model.default_prompt_name) if prompts.get(name)), "")


def text_columns(pairs: Sequence[Pair], texts: dict[str, str]) -> dict[str, list[Any]]:
    """Queries, positives and negatives as text, and labels; `texts` is passage id → text."""
    columns: dict[str, list[Any]] = {
        "query": [embed.query_text(pair.query) for pair in pairs],
        "positive": [texts[pair.positive_id] for pair in pairs],
    }
    for number in range(len(pairs[0].negative_ids)):
        columns[f"negative_{number + 1}"] = [texts[pair.negative_ids[number]] for pair in pairs]
    return columns | {"label": labels(pairs, list(texts))}


def index_columns(pairs: Sequence[Pair], passage_ids: Sequence[str]) -> dict[str, list[Any]]:
    """Queries as text; passages by their labels alone."""
    return {"query": [embed.query_text(pair.query) for pair in pairs], "label": labels(pairs, passage_ids)}


def labels(pairs: Sequence[Pair], passage_ids: Sequence[str]) -> list[list[int]]:
    """What the losses know of a row: the pair's number, then the places of its passages among `passage_ids`, positive first."""
    place = {passage_id: index for index, passage_id in enumerate(passage_ids)}
    return [
        [number, place[pair.positive_id], *(place[negative] for negative in pair.negative_ids)]
        for number, pair in enumerate(pairs)
    ]


def answers(pairs: Sequence[Pair], passage_ids: Sequence[str]) -> tuple[frozenset[int], ...]:
    """For each pair the places of all passages that are known to answer its query."""
    place = {passage_id: index for index, passage_id in enumerate(passage_ids)}
    return tuple(frozenset(place[name] for name in pair.answer_ids) for pair in pairs)


def with_blank(columns: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """The columns with a last, blank row that the losses leave out."""
    width = len(columns["label"][0])
    return {name: [*column, [NO_ROW] * width if name == "label" else ""] for name, column in columns.items()}


def tokens_per_epoch(model: Any, pairs: Sequence[Pair], texts: dict[str, str], *, queries_only: bool) -> int:
    """Tokens that the model reads in an epoch, each text cut to the model's limit."""
    limit = model.max_seq_length or 0

    def count(text: str) -> int:
        length = len(model.tokenizer(text, truncation=False, verbose=False)["input_ids"])
        return min(length, limit) if limit else length

    queries = sum(count(embed.query_text(pair.query)) for pair in pairs)
    if queries_only:
        return queries
    lengths = {passage_id: count(text) for passage_id, text in texts.items()}
    return queries + sum(lengths[passage_id] for pair in pairs for passage_id in (pair.positive_id, *pair.negative_ids))


def cut_passages(model: Any, pairs: Sequence[Pair], texts: Mapping[str, str], serving: int) -> str:
    """A line on the gold passages that training cuts and serving reads on (to `serving` tokens, 0: all); "" if none."""
    limit = model.max_seq_length or 0
    if not limit or (serving and serving <= limit):
        return ""
    gold = list(dict.fromkeys(pair.positive_id for pair in pairs))
    lengths = [len(model.tokenizer(texts[passage_id], truncation=False, verbose=False)["input_ids"]) for passage_id in gold]
    cut = sum(length > limit for length in lengths)
    if not cut:
        return ""
    return (
        f"{cut} of {len(gold)} gold passages are cut at {limit} tokens in training, and serving reads "
        f"{serving or 'all'} of them: the rest is not learnt; optimiser.max_length 0 trains as it serves"
    )
