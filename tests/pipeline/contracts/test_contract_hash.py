"""The contract hash: pinned, and moved by every text that goes into a tuned prompt or target."""

from __future__ import annotations

import importlib

import pytest

from lorag.pipeline.contracts import contract_hash
from lorag.pipeline.records import Role

# A change here means that prompts or targets changed: every adapter trained before is refused and must be trained again.
PINNED = {
    Role.REWRITER: "99cc30640ac9bd49",
    Role.SYNTHESIZER: "2e383a028efcc3b1",
    Role.JUDGE: "cddcc0c74b3cdec3",
    Role.EMBEDDER: "f2c27dd97652b6eb",
    Role.QUESTIONER: "450c0391d5f9ecbc",
}


def changed_roles() -> set[Role]:
    return {role for role, pinned in PINNED.items() if contract_hash(role) != pinned}


def test_pinned() -> None:
    assert {role: contract_hash(role) for role in PINNED} == PINNED


@pytest.mark.parametrize(
    ("module", "name", "value", "roles"),
    [
        ("rewrite", "TUNED_TASK", "Rewrite the question.", {Role.REWRITER}),
        ("synthesize", "TUNED_TASK", "Answer.", {Role.SYNTHESIZER}),
        ("synthesize", "REFUSAL", "I do not know.", {Role.SYNTHESIZER}),
        ("question", "TUNED_FOLLOW_UP", "Say it.", {Role.QUESTIONER}),
        ("context", "HISTORY_TURNS", 8, {Role.REWRITER, Role.JUDGE, Role.QUESTIONER}),
        ("context", "TURN_CHARS", 500, {Role.REWRITER, Role.JUDGE, Role.QUESTIONER}),
        ("context", "block", str.strip, {Role.SYNTHESIZER, Role.JUDGE, Role.QUESTIONER}),
        ("embed", "one_line", str.strip, {Role.EMBEDDER}),
        (
            "judge",
            "intent_schema",
            lambda labels: importlib.import_module("lorag.pipeline.contracts.judge").SUPPORT,
            {Role.JUDGE},
        ),
        ("rewrite", "PLAIN_TASK", "Rewrite it.", set()),  # the base's prompt: no adapter was trained on it
        ("synthesize", "PLAIN_TASK", "Answer it.", set()),
        ("rewrite", "MAX_REPLY_TOKENS", 32, set()),
    ],
)
def test_changes_with_the_text_of_its_role_alone(
    monkeypatch: pytest.MonkeyPatch, module: str, name: str, value: object, roles: set[Role]
) -> None:
    monkeypatch.setattr(importlib.import_module(f"lorag.pipeline.contracts.{module}"), name, value)
    assert changed_roles() == roles
    monkeypatch.undo()
    assert changed_roles() == set()
