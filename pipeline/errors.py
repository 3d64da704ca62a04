"""The error tree. Every class says whether a retry can help; every message says what was wrong, where, and what to do.

LoragError                      anything LoRAG raises on purpose; the command line prints it in one line, exit 2
├── ConfigError                 lorag.yaml or a recipe: unknown key, wrong type, missing file
├── ProjectClosed               the project was used after it was closed
├── InputError                  a question, history, document or training row that cannot be used
│   ├── HoldsNoText             a document that was read and has no text
│   ├── DataError               a row of a data file; names file and line
│   └── UnknownAnswer           feedback speaks of an answer that is not kept
├── FileError                   a file of LoRAG's own is damaged or of another kind
├── FeedbackError               feedback cannot be stored or deleted: a limit, or the disk
├── BaseError                   the base model cannot be found or loaded
├── AdapterError                an adapter folder, card or registry entry
│   ├── IdentityMismatch        trained for another base, contract or encoder
│   └── NoEffect                weights not consumed, delta zero, or canary outputs differ
├── StoreError                  the vector store  (retry: True if it is remote)
│   ├── IndexMismatch           the index was filled by another encoder
│   ├── IndexOwned              the collection belongs to another project
│   └── NothingIngested         there is no index yet
├── EngineError                 generation failed (retry: True if it is remote)
│   ├── PromptTooLong           prompt and answer do not fit the context window
│   ├── Overloaded              too many requests wait already  (retry: True)
│   ├── DeadlinePassed          the time given to a request is over  (retry: True)
│   ├── Cancelled               the caller has cancelled the request
│   └── ShuttingDown            the engine finishes its requests and accepts no new ones  (retry: True)
├── ServiceError                the running service of the project refused or failed  (retry: True)
└── TrainingError               a run cannot start or continue; checkpoints stay
"""

from __future__ import annotations

_QUOTED = 1000
"""Maximum characters of a message that quotes files of unknown origin."""


def _middle_out(text: str) -> str:
    return text if len(text) <= _QUOTED else f"{text[: _QUOTED - 203]} … {text[-200:]}"


def _printable(text: str) -> str:
    return _middle_out("".join(c if c.isprintable() else repr(c)[1:-1] for c in _middle_out(text)))


class LoragError(Exception):
    """Base of all errors raised on purpose. `retry` says whether the same call may succeed later."""

    retry = False


class ConfigError(LoragError):
    """A settings file or option is wrong."""


class ProjectClosed(LoragError):
    """A project, or a part of it, is used after `close`."""


class InputError(LoragError):
    """A question, history or document cannot be used as it is."""


class HoldsNoText(InputError):
    """A document was read and there is no text in it: it is empty, or was emptied. That is no failure to read it."""


class DataError(InputError):
    """A row of a data file is wrong; the message names file and line."""


class UnknownAnswer(InputError):
    """Feedback speaks of an answer whose trace is not kept, or not for this tenant."""


class FileError(LoragError):
    """A file is unusable: a link, too large, no JSON, an unknown key. A caller that knows its use adds what to do.

    Its message may quote a file of unknown origin, so it is made one line of printable text, short enough for a log.
    """

    def __init__(self, message: str) -> None:
        super().__init__(_printable(message))


class FeedbackError(LoragError):
    """Feedback cannot be stored or deleted: the tenant's limit is reached, or the disk refuses."""


class BaseError(LoragError):
    """The base model cannot be found or loaded."""


class AdapterError(LoragError):
    """An adapter folder, card or registry entry is wrong.

    Its message may quote a file, as that of `FileError` does.
    """

    def __init__(self, message: str) -> None:
        super().__init__(_printable(message))


class IdentityMismatch(AdapterError):
    """The adapter was made for another base, contract or encoder."""


class NoEffect(AdapterError):
    """The adapter would not do what it was trained to do: weights unused, delta zero or canaries differ."""


class StoreError(LoragError):
    """The vector store refused a request or failed."""


class IndexMismatch(StoreError):
    """The index was filled by another encoder than the current one."""


class IndexOwned(StoreError):
    """The collection belongs to another project."""


class NothingIngested(StoreError):
    """There is no index yet: nothing was ingested."""


class ServiceError(LoragError):
    """The `lorag serve` that has the project open refused a request, failed, or ended meanwhile."""

    retry = True


class EngineError(LoragError):
    """Generation failed."""


class PromptTooLong(EngineError):
    """Prompt and answer do not fit the context window. `fits` is the share of the prompt that would: a guess if unknown."""

    def __init__(self, message: str, *, fits: float = 0.5) -> None:
        super().__init__(message)
        self.fits = fits


class Overloaded(EngineError):
    """Too many requests wait already; HTTP answers 429."""

    retry = True


class DeadlinePassed(EngineError):
    """The time given to a request is over; HTTP answers 504."""

    retry = True


class Cancelled(EngineError):
    """The caller has cancelled the request."""


class ShuttingDown(EngineError):
    """The engine finishes its requests and accepts no new ones; HTTP answers 503."""

    retry = True


class TrainingError(LoragError):
    """A training run cannot start or continue. Finished checkpoints stay."""
