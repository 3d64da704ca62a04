"""Adapters on disk: their card, the registry of their versions, and the proof that a loaded one does what it should."""

from lorag.pipeline.adapters.card import AdapterCard, DataFacts, Identity, LoraFacts, TrainingFacts
from lorag.pipeline.adapters.evidence import Evidence
from lorag.pipeline.adapters.inspection import AdapterFacts, inspect_folder, inspect_weights
from lorag.pipeline.adapters.proof import load_proven, prove_embedder
from lorag.pipeline.adapters.registry import Registry, Version

__all__ = [
    "AdapterCard",
    "AdapterFacts",
    "DataFacts",
    "Evidence",
    "Identity",
    "LoraFacts",
    "Registry",
    "TrainingFacts",
    "Version",
    "inspect_folder",
    "inspect_weights",
    "load_proven",
    "prove_embedder",
]
