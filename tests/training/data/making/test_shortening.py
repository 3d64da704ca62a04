"""What a user would say next, by rules."""

from __future__ import annotations

import pytest

from lorag.training.data.making.shortening import shortened

FIRST = ("How heavy is the anchor of the Kittiwake?", "It weighs 640 kg.")


@pytest.mark.parametrize(
    ("question", "before", "forms"),
    [
        # only the thing differs
        (
            "How heavy is the capstan of the Kittiwake?",
            FIRST,
            ["And the capstan?", "What about the capstan?", "How heavy is the capstan?", "How heavy is the capstan of it?"],
        ),
        # a name with its preposition, and as a pronoun
        ("Who is master of the Kittiwake?", FIRST, ["Who is master?", "Who is master of it?"]),
        ("When was the Kittiwake built?", FIRST, ["When was it built?"]),
        ("What is the Kittiwake's call sign?", FIRST, ["What is its call sign?"]),
        # a name that describes a noun
        ("Where does the Kittiwake crew sleep?", FIRST, ["Where does the crew sleep?"]),
        # nothing is shared
        ("Who keeps the key of the Dunlin?", FIRST, []),
        # a shared word that names nothing
        ("How old is he?", FIRST, []),
    ],
)
def test_forms(question: str, before: tuple[str, ...], forms: list[str]) -> None:
    assert shortened(question, before) == forms
