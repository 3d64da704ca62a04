"""The proof of effect: an adapter serves only with the weights, base and contract that its card names, and with the outputs
recorded after training. Anything else is refused at load with the reason (design, rule 1).

Knows the engine and anything that embeds questions; knows no registry and no settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from lorag.pipeline.adapters.canaries import (
    Canary,
    EmbedCanary,
    compare_bare_replies,
    compare_replies,
    compare_vectors,
    read_canaries,
    read_embed_canaries,
    require_effect,
    require_vector_effect,
)
from lorag.pipeline.adapters.card import AdapterCard, read_card
from lorag.pipeline.adapters.inspection import AdapterFacts, inspect_folder
from lorag.pipeline.contracts import contract_hash
from lorag.pipeline.engine.bases import Base
from lorag.pipeline.engine.local import LocalEngine
from lorag.pipeline.engine.protocol import ChoiceRequest
from lorag.pipeline.engine.tokens import ChatTokens
from lorag.pipeline.errors import AdapterError, IdentityMismatch, NoEffect
from lorag.pipeline.records import Message, Role
from lorag.pipeline.retrieval.encoder_identity import EncoderIdentity

CANARIES = 4
"""Canaries recorded, at most: each costs a forward pass over its prompt at every load of the adapter."""


@dataclass(frozen=True, slots=True)
class CanarySample:
    """A held-out prompt of the role's contract and the reply that the adapter was trained to give."""

    messages: tuple[Message, ...]
    reply: str


class Scorer(Protocol):
    """The part of an engine that canaries of generation adapters need, in this process or on a server."""

    @property
    def tokens(self) -> ChatTokens: ...

    def reply_logprobs(self, requests: Sequence[ChoiceRequest]) -> list[list[float]]:
        """Log-probability of each whole choice after its prompt, end token included, in nats."""
        ...


class QueryEncoder(Protocol):
    """The part of an embedder that embedder canaries need."""

    def embed_queries(self, texts: Sequence[str]) -> Any:
        """Unit vectors, shape (n, dimension)."""
        ...


class IdentifiedEncoder(QueryEncoder, Protocol):
    @property
    def identity(self) -> EncoderIdentity: ...


def verify_identity(card: AdapterCard, base: Base, *, weights_digest: str) -> None:
    """Check that a generation adapter's card agrees with `base`, its role's contract and its weights.

    Raises IdentityMismatch that names the difference, AdapterError for an embedder's card.
    """
    if card.role is Role.EMBEDDER:
        raise AdapterError(f"{_name(card)} is no generation adapter; load it with the embedder")
    _check_base(card, f"{base.id} (digest {base.digest})", base.digest)
    _check_contract(card)
    _check_weights(card, weights_digest)


def verify_encoder(card: AdapterCard, encoder: EncoderIdentity, *, weights_digest: str) -> None:
    """Check that an embedder adapter's card agrees with `encoder`: model, pooling, side, contract and weights.

    Raises IdentityMismatch that names the difference, AdapterError for another role's card.
    """
    if card.role is not Role.EMBEDDER:
        raise AdapterError(f"{_name(card)} is a {card.role.value} adapter; an embedder takes embedder adapters only")
    _check_base(card, f"{encoder.model} (digest {encoder.model_digest})", encoder.model_digest)
    for what, trained, here in (
        ("pooling", card.identity.pooling, encoder.pooling),
        ("query_side_only", card.identity.query_side_only, encoder.query_side_only),
    ):
        if trained != here:
            raise IdentityMismatch(f"{_name(card)} was trained with {what} {trained}, the embedder here has {here}; set it so")
    _check_contract(card)
    _check_weights(card, weights_digest)


def _name(card: AdapterCard) -> str:
    return f"adapter {card.role.value} {card.version or '(not published)'}"


def _check_base(card: AdapterCard, here: str, digest: str) -> None:
    identity = card.identity
    if identity.base_digest != digest:
        raise IdentityMismatch(
            f"{_name(card)} was trained on base {identity.base} (digest {identity.base_digest}), here is {here}; "
            "use that base, or train the adapter on this one"
        )


def _check_contract(card: AdapterCard) -> None:
    now = contract_hash(card.role)
    if card.identity.contract_hash != now:
        raise IdentityMismatch(
            f"{_name(card)} was trained on prompts of contract {card.identity.contract_hash or 'none'}, this LoRAG writes {now}; "
            "train the adapter again, or use the LoRAG version it was trained with"
        )


def _check_weights(card: AdapterCard, digest: str) -> None:
    if card.identity.weights_digest != digest:
        raise IdentityMismatch(
            f"{_name(card)}: adapter_model.safetensors has digest {digest[:16]}, its card says "
            f"{card.identity.weights_digest[:16]}; the weights were changed or exchanged, publish or copy the adapter again"
        )


def _check_scale(card: AdapterCard, facts: AdapterFacts) -> None:
    """Check rank and alpha: they scale the delta and are not in the weights' digest."""
    if (card.lora.rank, card.lora.alpha) != (facts.rank, facts.alpha):
        raise IdentityMismatch(
            f"{_name(card)}: adapter_config.json says rank {facts.rank} and alpha {facts.alpha:g}, its card {card.lora.rank} and "
            f"{card.lora.alpha:g}; the settings were changed, publish or copy the adapter again"
        )


def _check_invocation(card: AdapterCard, facts: AdapterFacts, tokens: ChatTokens) -> None:
    """Check the invocation tokens: an activated LoRA with tokens outside the base's vocabulary would never be switched on."""
    unknown = [token for token in facts.invocation if token >= tokens.vocabulary]
    if unknown:
        raise IdentityMismatch(
            f"{_name(card)}: adapter_config.json names invocation token {unknown[0]}, the base's tokenizer has "
            f"{tokens.vocabulary} tokens; use the base it was trained on"
        )


def _mean_logprobs(engine: Scorer, pairs: Sequence[tuple[str | None, CanarySample | Canary]]) -> list[float]:
    """Mean log-probability a token of each reply, end token included, in nats, under the adapter of its pair."""
    requests = [ChoiceRequest(sample.messages, (sample.reply,), adapter) for adapter, sample in pairs]
    totals = [row[0] for row in engine.reply_logprobs(requests)]
    return [total / len(engine.tokens.reply(s.reply)) for total, (_, s) in zip(totals, pairs, strict=True)]


def record_canaries(
    engine: Scorer, adapter_name: str, samples: Sequence[CanarySample], *, keep: int = CANARIES
) -> tuple[Canary, ...]:
    """Measure all samples under the resident adapter and under the bare base, and keep those with the largest difference.

    Raises NoEffect if even those differ too little, AdapterError without samples.
    """
    tuned, base = (_mean_logprobs(engine, [(name, sample) for sample in samples]) for name in (adapter_name, None))
    measured = [Canary(s.messages, s.reply, t, b) for s, t, b in zip(samples, tuned, base, strict=True)]
    selected = tuple(sorted(measured, key=lambda c: -c.effect)[:keep])
    require_effect(selected)
    return selected


def check_canaries(engine: Scorer, adapter_name: str, canaries: Sequence[Canary]) -> None:
    """Measure the recorded replies under the resident adapter again.

    On average over the canaries they must be within max(0.05, 0.4 of the recorded effect) nats a token of the recorded values.
    They must be nearer to these than to the bare base's. Raises NoEffect.
    """
    compare_replies(canaries, _mean_logprobs(engine, [(adapter_name, canary) for canary in canaries]))


def record_embed_canaries(
    tuned: QueryEncoder, bare: QueryEncoder, texts: Sequence[str], *, keep: int = CANARIES
) -> tuple[EmbedCanary, ...]:
    """Embed `texts` with and without the adapter, and keep those that it changes most.

    Raises NoEffect if it changes none, AdapterError without texts.
    """
    if not texts:
        require_vector_effect(())
    with_adapter, without = tuned.embed_queries(texts), bare.embed_queries(texts)
    measured = [
        EmbedCanary(text, tuple(map(float, t)), tuple(map(float, b)))
        for text, t, b in zip(texts, with_adapter, without, strict=True)
    ]
    selected = tuple(sorted(measured, key=lambda c: sum(t * b for t, b in zip(c.vector, c.bare, strict=True)))[:keep])
    require_vector_effect(selected)
    return selected


def check_embed_canaries(encoder: QueryEncoder, canaries: Sequence[EmbedCanary]) -> None:
    """Embed the recorded texts again and compare the vectors. Each must have a cosine of at least 0.99 to the recorded one, and
    on average be nearer to it than to the bare encoder's. Raises NoEffect."""
    vectors = encoder.embed_queries([c.text for c in canaries])
    compare_vectors(canaries, [list(map(float, vector)) for vector in vectors])


def load_proven(engine: LocalEngine, name: str, folder: Path, base: Base, *, role: Role | None = None) -> AdapterCard:
    """Make the generation adapter in `folder` resident as `name`, if it passes all checks, and return its card.

    In order: static checks, identity, loading, canaries. After a failure the adapter is not resident. `role`, if given, is the
    required one. Raises AdapterError, IdentityMismatch or NoEffect.
    """
    card, facts = _card_of(folder, role)
    verify_identity(card, base, weights_digest=facts.weights_digest)
    _check_scale(card, facts)
    _check_invocation(card, facts, engine.tokens)
    canaries = read_canaries(folder)
    engine.load_adapter(name, folder)
    try:
        check_canaries(engine, name, canaries)
    except BaseException as error:
        engine.unload_adapter(name)
        if isinstance(error, AdapterError):
            raise type(error)(f"{_name(card)} on {base.id}: {error}") from error
        raise
    return card


def prove_served(engine: Scorer, name: str, folder: Path, *, role: Role, where: str) -> AdapterCard:
    """Prove that the adapter `name` of `engine`, loaded by another process, is the one in `folder`.

    Static checks, contract, weights and settings are those of the folder. The server's weights are not visible here, so its
    canary outputs are compared. The adapter's must be within the tolerance of `check_canaries`, which allows another precision
    of the base. The bare base's must be nearer to the recorded base values. `where` names model and server in messages. Raises
    AdapterError, IdentityMismatch, NoEffect, EngineError.
    """
    card, facts = _card_of(folder, role)
    _check_contract(card)
    _check_weights(card, facts.weights_digest)
    _check_scale(card, facts)
    _check_invocation(card, facts, engine.tokens)
    canaries = read_canaries(folder)
    # Adapter and bare base in one call: this also finds a server that confuses them only within a batch.
    values = _mean_logprobs(engine, [(adapter, canary) for canary in canaries for adapter in (name, None)])
    try:
        compare_replies(canaries, values[0::2])
        compare_bare_replies(canaries, values[1::2])
    except NoEffect as error:
        hint = "serve this version on its base under that name, or change generation.models or adapters"
        if kind := "DoRA" if facts.dora else "activated LoRA" if facts.invocation else "":
            hint = f"it is {kind}, which not every server applies (vLLM does not, `lorag serve` does); else {hint}"
        raise NoEffect(f"{where} is not {_name(card)}: {error}; {hint}") from error
    return card


def _card_of(folder: Path, role: Role | None) -> tuple[AdapterCard, AdapterFacts]:
    facts, card = inspect_folder(folder), read_card(folder)
    if role is not None and card.role is not role:
        raise IdentityMismatch(f"{folder}: is a {card.role.value} adapter, not one for the {role.value}; name another version")
    return card, facts


def prove_embedder(embedder: IdentifiedEncoder, folder: Path) -> AdapterCard:
    """Prove that `embedder`, made with the adapter in `folder`, works as the trained adapter did; returns its card.

    An embedder that loads at its first text loads only after the static and identity checks. Raises AdapterError,
    IdentityMismatch or NoEffect; the embedder is then not to be used.
    """
    facts = inspect_folder(folder)
    card = read_card(folder)
    verify_encoder(card, embedder.identity, weights_digest=facts.weights_digest)
    _check_scale(card, facts)
    canaries = read_embed_canaries(folder)
    try:
        check_embed_canaries(embedder, canaries)
    except AdapterError as error:
        raise type(error)(f"{_name(card)} on {embedder.identity.model}: {error}") from error
    return card
