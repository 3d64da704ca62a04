"""From log-likelihoods of alternatives to their probabilities. Numbers alone."""

from __future__ import annotations

import math
from collections.abc import Sequence


def normalised(logprobs: Sequence[float]) -> tuple[float, ...]:
    """The softmax of `logprobs` (nats): probabilities in the same order, summing to 1."""
    top = max(logprobs)
    exponentials = [math.exp(value - top) for value in logprobs]
    total = sum(exponentials)
    return tuple(exponential / total for exponential in exponentials)
