"""The two forms of a contract's prompt."""

from __future__ import annotations

from enum import StrEnum


class PromptStyle(StrEnum):
    """`TUNED` is what adapters are trained on; `PLAIN` explains the task to a base without an adapter."""

    TUNED = "tuned"
    PLAIN = "plain"
