"""The contract hash: a digest of a contract's output for fixed inputs, so it changes if and only if the text does."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable

from lorag.pipeline.contracts import embed, judge, question, rewrite, synthesize
from lorag.pipeline.contracts.context import PassageText
from lorag.pipeline.records import Message, Role, Speaker, Turn

# Long enough to be cut, and with white space to be normalised: a change of those rules changes the hash.
_TURNS = (
    *(Turn(Speaker.TOPIC, f"subject {n}") for n in range(32)),
    Turn(Speaker.USER, "Who keeps\nthe key?"),
    Turn(Speaker.ASSISTANT, "The porter, in room 4. " + "It hangs there. " * 256),
)
_PASSAGES = (PassageText("House rules > Keys", "The key:\n\n  room 4. \n"), PassageText("Stores", "Two lamps."))


def _lines(prompt: tuple[Message, ...]) -> list[list[str]]:
    return [[m.role, m.content] for m in prompt]


def _rewriter() -> object:
    return [_lines(rewrite.messages(_TURNS, "And at night?")), _lines(rewrite.messages((), "Q")), rewrite.target("Who?")]


def _synthesizer() -> object:
    targets = [synthesize.target("room 4", [2, 1]), synthesize.target("", [])]
    return [_lines(synthesize.messages("Where is the key?", _PASSAGES)), targets]


def _judge() -> object:
    inputs = judge.JudgeInputs("Hi", "Where?", "Room 4.", _TURNS, _PASSAGES)
    schemas = [*judge.BUILT_IN.values(), judge.intent_schema({"a": "x", "b": "y"})]
    targets = [judge.target(judge.SUPPORT, "partly")]
    return [[_lines(judge.messages(schema, inputs)) for schema in schemas], targets]


def _embedder() -> object:
    return [
        embed.query_text("Where is\nthe key?"),
        embed.passage_text("House rules", "Keys", "In room 4."),
        embed.passage_text("", "", "x"),
    ]


def _questioner() -> object:
    prompts = [_lines(question.messages(_PASSAGES[0], "room\n4", manner)) for manner in question.Manner]
    return [prompts, _lines(question.follow_up_messages(_TURNS, "Where is the key?")), question.target("Who\nhas it?")]


_SAMPLES: dict[Role, Callable[[], object]] = {
    Role.REWRITER: _rewriter,
    Role.SYNTHESIZER: _synthesizer,
    Role.JUDGE: _judge,
    Role.EMBEDDER: _embedder,
    Role.QUESTIONER: _questioner,
}


def contract_hash(role: Role) -> str:
    """16 hex digits over the tuned prompts and targets of `role` for fixed inputs."""
    text = json.dumps(_SAMPLES[role](), ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
