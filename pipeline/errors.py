"""The error tree. Every class says whether a retry can help; every message says what was wrong, where, and what to do.

LoragError                      anything LoRAG raises on purpose; the command line prints it in one line, exit 2
├── ConfigError                 lorag.yaml or a recipe: unknown key, wrong type, missing file
├── InputError                  a question, history, document or training row that cannot be used
│   └── DataError               a row of a data file; names file and line
├── BaseError                   the base model cannot be had or loaded
├── AdapterError                an adapter folder, card or registry entry
│   ├── IdentityMismatch        trained for another base, contract or encoder
│   └── NoEffect                weights not consumed, delta zero, or canary outputs differ
├── StoreError                  the vector store  (retry: True where it is remote)
│   └── IndexMismatch           the index was filled by another encoder
├── EngineError                 generation failed (retry: True where it is remote)
│   └── PromptTooLong           prompt and answer do not fit the context window
└── TrainingError               a run cannot start or go on; checkpoints stay
"""

from __future__ import annotations


class LoragError(Exception):
    """Base of all errors raised on purpose. `retry` says whether the same call may succeed later."""

    retry = False


class ConfigError(LoragError):
    """A settings file or option is wrong."""


class InputError(LoragError):
    """A question, history or document cannot be used as it is."""


class DataError(InputError):
    """A row of a data file is wrong; the message names file and line."""


class BaseError(LoragError):
    """The base model cannot be had or loaded."""


class AdapterError(LoragError):
    """An adapter folder, card or registry entry is wrong."""


class IdentityMismatch(AdapterError):
    """The adapter was made for another base, contract or encoder."""


class NoEffect(AdapterError):
    """The adapter would not do what it was trained to do: weights unused, delta zero or canaries differ."""


class StoreError(LoragError):
    """The vector store refused or failed."""


class IndexMismatch(StoreError):
    """The index was filled by another encoder than the one asked for."""


class EngineError(LoragError):
    """Generation failed."""


class PromptTooLong(EngineError):
    """Prompt and answer do not fit the context window."""


class TrainingError(LoragError):
    """A training run cannot start or go on. Finished checkpoints stay."""
