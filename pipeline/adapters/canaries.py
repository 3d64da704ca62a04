"""Canaries: a few inputs with the trained adapter's and the bare base's outputs, stored with the weights. Knows no model.

They show whether a loaded adapter works as it did after training, by log-probabilities of replies for generation adapters,
vectors for embedder adapters. This module writes, reads and compares them; `proof` measures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from lorag.pipeline.adapters.files import build, dump_json, load_json
from lorag.pipeline.errors import AdapterError, NoEffect
from lorag.pipeline.records import Message, Role

CANARY_FILE = "canaries.json"
_LIMIT = 16 << 20
_MAX_CANARIES = 16
"""Maximum canaries of an adapter: each costs a forward pass at every load."""

FLOOR = 0.05
"""Nats a token by which a log-probability may always differ: rounding of another precision, library or processor."""

SHARE = 0.4
"""Share of the adapter's own effect by which it may differ, because the base may be stored in another precision.

Measured on smollm2-135m with a rewriter trained for 12 steps on its NF4 form: bf16, int8 and fp32 differ from each other by at
most 0.013 nats. NF4 differs from each of them by 0.18 to 0.25 nats, which is 0.21 to 0.37 of the adapter's effect. From half
the effect on, adapter and bare base are indistinguishable.
"""

COSINE = 0.99
"""Minimum cosine of a vector to the recorded one."""

MIN_VECTOR_EFFECT = 1e-4
"""Minimum mean cosine distance between tuned and bare vectors: below it, rounding has the same effect as the adapter."""


@dataclass(frozen=True, slots=True)
class Canary:
    """A prompt and a reply with its mean log-probability a token (nats, end token included) under adapter and bare base."""

    messages: tuple[Message, ...]
    reply: str
    tuned_logprob: float
    base_logprob: float

    @property
    def effect(self) -> float:
        """The adapter's effect, in nats a token."""
        return abs(self.tuned_logprob - self.base_logprob)

    @property
    def tolerance(self) -> float:
        """How far a new measurement may be from `tuned_logprob`."""
        return max(FLOOR, SHARE * self.effect)


@dataclass(frozen=True, slots=True)
class EmbedCanary:
    """A question with its unit vector under the adapter and under the bare encoder."""

    text: str
    vector: tuple[float, ...]
    bare: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class _Replies:
    replies: tuple[Canary, ...]


@dataclass(frozen=True, slots=True)
class _Vectors:
    vectors: tuple[EmbedCanary, ...]


_File = TypeVar("_File", _Replies, _Vectors)


def canaries_json(canaries: Sequence[Canary] | Sequence[EmbedCanary]) -> str:
    """The text of canaries.json. Raises AdapterError if there are none, or both kinds."""
    replies = tuple(c for c in canaries if isinstance(c, Canary))
    vectors = tuple(c for c in canaries if isinstance(c, EmbedCanary))
    if bool(replies) == bool(vectors):
        raise AdapterError("canaries must be of one kind and at least one; record them after training")
    return dump_json(_Replies(replies) if replies else _Vectors(vectors), CANARY_FILE)


def read_canaries(folder: Path) -> tuple[Canary, ...]:
    """Read a generation adapter's canaries. Raises AdapterError that names file and key, also for an empty list."""
    canaries = _checked(_read(folder, _Replies).replies, folder)
    roles = {message.role for canary in canaries for message in canary.messages}
    if unknown := sorted(roles - {"system", "user", "assistant"}):
        raise AdapterError(f"{folder / CANARY_FILE}: a message of the role {unknown[0]!r}; record the canaries again")
    return canaries


def read_embed_canaries(folder: Path) -> tuple[EmbedCanary, ...]:
    """Read an embedder adapter's canaries. Raises AdapterError that names file and key, also for an empty list."""
    canaries = _checked(_read(folder, _Vectors).vectors, folder)
    widths = {len(v) for c in canaries for v in (c.vector, c.bare)}
    if len(widths) > 1 or 0 in widths:
        raise AdapterError(f"{folder / CANARY_FILE}: vectors of the lengths {sorted(widths)}; record the canaries again")
    return canaries


def check_readable(folder: Path, role: Role) -> None:
    """Raises AdapterError unless `folder` holds the canaries that an adapter of `role` needs."""
    if role is Role.EMBEDDER:
        read_embed_canaries(folder)
    else:
        read_canaries(folder)


def _read(folder: Path, kind: type[_File]) -> _File:
    path = folder / CANARY_FILE
    if not path.is_file():
        raise AdapterError(f"{path}: is missing; without canaries nothing proves that the adapter works, train it again")
    return build(kind, load_json(path, limit=_LIMIT), str(path))


_Kind = TypeVar("_Kind", Canary, EmbedCanary)


def _checked(canaries: tuple[_Kind, ...], folder: Path) -> tuple[_Kind, ...]:
    if not canaries:
        raise AdapterError(f"{folder / CANARY_FILE}: holds no canary; record them after training")
    if len(canaries) > _MAX_CANARIES:
        raise AdapterError(
            f"{folder / CANARY_FILE}: holds {len(canaries)} canaries, at most {_MAX_CANARIES} are asked; record fewer"
        )
    return canaries


def require_effect(canaries: Sequence[Canary]) -> None:
    """Raises NoEffect unless the adapter changes the replies' log-probabilities measurably, on average."""
    if not canaries:
        raise AdapterError("no samples to record canaries from; give some held-out prompts with their replies")
    effect = _mean([c.effect for c in canaries])
    if effect <= 2 * FLOOR:  # below this, a value within the tolerance could be nearer to the base
        raise NoEffect(
            f"the adapter moves the log-probability of {len(canaries)} replies by {effect:.3f} nats a token on average, "
            f"no more than the {2 * FLOOR:g} that rounding might; train it longer or with a higher learning rate"
        )


def compare_replies(canaries: Sequence[Canary], now: Sequence[float]) -> None:
    """Compare new log-probabilities, in nats a token, with the recorded ones, on average over the canaries.

    Raises NoEffect if they are further from the adapter's than allowed, or nearer to the bare base's.
    """
    away = _mean([abs(value - c.tuned_logprob) for c, value in zip(canaries, now, strict=True)])
    from_base = _mean([abs(value - c.base_logprob) for c, value in zip(canaries, now, strict=True)])
    allowed = _mean([c.tolerance for c in canaries])
    figures = f"{away:.3f} nats a token from the recorded ones ({allowed:.3f} allowed) and {from_base:.3f} from the bare base's"
    if not away < from_base:
        raise NoEffect(f"canary replies come out like the bare base's: {figures}; the adapter has no effect on this base")
    if not away <= allowed:
        raise NoEffect(f"canary replies come out {figures}; the adapter does not do here what it was trained to do")


def compare_bare_replies(canaries: Sequence[Canary], now: Sequence[float]) -> None:
    """Compare a bare base's log-probabilities, in nats a token, with the recorded values. On average they must be nearer to the
    bare base's than to the adapter's. Raises NoEffect."""
    from_base = _mean([abs(value - c.base_logprob) for c, value in zip(canaries, now, strict=True)])
    from_tuned = _mean([abs(value - c.tuned_logprob) for c, value in zip(canaries, now, strict=True)])
    if not from_base < from_tuned:
        raise NoEffect(
            f"the bare base gives canary replies {from_tuned:.3f} nats a token from the adapter's and {from_base:.3f} from the "
            "bare base's; it is another base, or has an adapter on it"
        )


def compare_vectors(canaries: Sequence[EmbedCanary], now: Sequence[Sequence[float]]) -> None:
    """Compare new vectors, of shape (canaries, dimension), with the recorded ones.

    Raises NoEffect if one has a cosine below 0.99, or if on average they are nearer to the bare encoder's.
    """
    near, bare = [], []
    for canary, vector in zip(canaries, now, strict=True):
        if len(vector) != len(canary.vector):
            raise NoEffect(
                f"canary vectors have {len(vector)} dimensions, {len(canary.vector)} were recorded; it is another encoder"
            )
        near.append(cosine(vector, canary.vector))
        bare.append(cosine(vector, canary.bare))
    if not _mean(near) > _mean(bare):
        raise NoEffect(
            f"canary vectors come out like the bare encoder's: cosine {_mean(bare):.4f} to those, {_mean(near):.4f} to the "
            "recorded ones; the adapter has no effect on this encoder"
        )
    if not min(near) >= COSINE:
        raise NoEffect(
            f"a canary vector has cosine {min(near):.4f} to the recorded one, at least {COSINE} is needed; "
            "the adapter does not do here what it was trained to do"
        )


def require_vector_effect(canaries: Sequence[EmbedCanary]) -> None:
    """Raises NoEffect unless the tuned vectors differ from the bare encoder's by more than rounding."""
    if not canaries:
        raise AdapterError("no texts to record canaries from; give some held-out questions")
    distance = 1 - _mean([cosine(c.vector, c.bare) for c in canaries])
    if not distance >= MIN_VECTOR_EFFECT:
        raise NoEffect(f"the adapter moves vectors by a cosine distance of {distance:.1e} on average; train it longer")


def cosine(left: Sequence[float], right: Sequence[float]) -> float:
    """Cosine of two vectors; NaN if one is zero."""
    lengths = _norm(left) * _norm(right)
    return sum(a * b for a, b in zip(left, right, strict=True)) / lengths if lengths else math.nan


def _norm(vector: Sequence[float]) -> float:
    return math.sqrt(sum(value * value for value in vector))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
