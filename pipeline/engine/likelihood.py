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


def probabilities(logprobs: Sequence[float], *, relative: bool) -> tuple[float, ...]:
    """The probabilities of `logprobs` (nats): relative to one another, or each as it is."""
    return normalised(logprobs) if relative else tuple(math.exp(value) for value in logprobs)
