"""Compares a merged model with its adapter: log-likelihoods, greedy replies and labels on a parity set, and speed.

The reference is the adapter on the base that it was trained on. If that was quantized, merging into half precision makes
another model: it removes the base's rounding, with which the adapter was trained. So the two are compared first. Knows an
engine and samples; no registry and no file.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

from lorag.pipeline.adapters.canaries import FLOOR, SHARE
from lorag.pipeline.engine.local import LocalEngine
from lorag.pipeline.engine.protocol import ChoiceRequest, Generation
from lorag.pipeline.errors import AdapterError
from lorag.pipeline.records import Message

SAME_LABELS = 0.9
"""Share of the judge's labels that must be the same."""

SAME_REPLIES = 0.5
"""Share of greedy replies that must be identical. Long ones diverge at their first near tie, so this is below 0.9."""

REPLY_TOKENS = 64
ROUNDS = 3


@dataclass(frozen=True, slots=True)
class ParitySample:
    """A held-out prompt, its right reply, and for the judge the labels to choose from."""

    messages: tuple[Message, ...]
    reply: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Observed:
    """A model's results on the samples: mean log-probability a token of the right reply (nats), and its own reply or label."""

    logprobs: tuple[float, ...]
    replies: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Parity:
    """`unmerged` and `merged` are mean log-probabilities a token; `distance` is the mean of their absolute differences, at most
    `tolerance`. `same` is the share of replies (or labels) that agree, at least `least`. `samples` were compared. `seconds_*`
    are for a decoded token.
    """

    samples: int
    labels: bool
    unmerged: float
    merged: float
    distance: float
    tolerance: float
    same: float
    least: float
    seconds_unmerged: float
    seconds_merged: float

    @property
    def holds(self) -> bool:
        return self.distance <= self.tolerance and self.same >= self.least

    def describe(self) -> str:
        """The figures in one line."""
        what = "labels" if self.labels else "greedy replies"
        return (
            f"log-likelihood {self.unmerged:.4f} unmerged, {self.merged:.4f} merged, apart by {self.distance:.4f} nats a token "
            f"(at most {self.tolerance:.4f}); {self.same:.0%} of {self.samples} {what} the same (at least {self.least:.0%})"
        )


def observe(engine: LocalEngine, adapter: str | None, samples: Sequence[ParitySample]) -> Observed:
    """Run the samples on `engine` with the resident `adapter`, or its bare base. Raises AdapterError without samples, and as
    the engine."""
    if not samples:
        raise AdapterError("no held-out rows to compare the merged model on; give a data folder that has some for this role")
    requests = [ChoiceRequest(sample.messages, (sample.reply,), adapter) for sample in samples]
    totals = [row[0] for row in engine.reply_logprobs(requests)]
    logprobs = [total / len(engine.tokens.reply(s.reply)) for total, s in zip(totals, samples, strict=True)]
    return Observed(tuple(logprobs), tuple(_replies(engine, adapter, samples)))


def _replies(engine: LocalEngine, adapter: str | None, samples: Sequence[ParitySample]) -> list[str]:
    """The likeliest label if a sample has choices, else the greedy reply."""
    judged = [sample for sample in samples if sample.choices]
    free = [sample for sample in samples if not sample.choices]
    probabilities = iter(
        engine.choice_probabilities([ChoiceRequest(sample.messages, sample.choices, adapter) for sample in judged])
    )
    written = iter(engine.generate([Generation(sample.messages, adapter, REPLY_TOKENS) for sample in free]))
    return [_likeliest(sample.choices, next(probabilities)) if sample.choices else next(written).text for sample in samples]


def _likeliest(choices: Sequence[str], probabilities: Sequence[float]) -> str:
    return choices[max(range(len(choices)), key=probabilities.__getitem__)]


def seconds_per_token(engine: LocalEngine, adapter: str | None, sample: ParitySample) -> float:
    """Seconds a token of greedy decoding for one prompt, prefill included; the median of `ROUNDS`."""
    request = Generation(sample.messages, adapter, REPLY_TOKENS)
    engine.generate([request])  # the first also warms caches
    rounds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        (completion,) = engine.generate([request])
        rounds.append((time.perf_counter() - started) / max(1, completion.completion_tokens))
    return statistics.median(rounds)


def compare(
    reference: Observed,
    merged: Observed,
    bare: Observed,
    samples: Sequence[ParitySample],
    *,
    seconds_unmerged: float,
    seconds_merged: float,
) -> Parity:
    """Compare the merged model's figures with the reference's.

    `bare` is the reference base without the adapter: the adapter's effect sets the tolerance, as for canaries.
    `seconds_unmerged` a token are for the adapter on a base in the merged model's precision, `seconds_merged` for the merged
    model.
    """
    effect = _mean([abs(tuned - base) for tuned, base in zip(reference.logprobs, bare.logprobs, strict=True)])
    same = _mean([float(one == other) for one, other in zip(reference.replies, merged.replies, strict=True)])
    labels = all(sample.choices for sample in samples)
    return Parity(
        samples=len(samples),
        labels=labels,
        unmerged=_mean(reference.logprobs),
        merged=_mean(merged.logprobs),
        distance=_mean([abs(one - other) for one, other in zip(reference.logprobs, merged.logprobs, strict=True)]),
        tolerance=max(FLOOR, SHARE * effect),
        same=same,
        least=SAME_LABELS if labels else SAME_REPLIES,
        seconds_unmerged=seconds_unmerged,
        seconds_merged=seconds_merged,
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
