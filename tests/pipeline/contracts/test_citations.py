"""Citation marks: every form that a reply gives them, and what only looks like one."""

from __future__ import annotations

import pytest

from lorag.pipeline.contracts.citations import cited_numbers, find_marks, without_marks


@pytest.mark.parametrize(
    ("reply", "numbers"),
    [
        ("at ten [1]", (1,)),
        ("at ten [2][1]", (2, 1)),
        ("at ten [1, 2]", (1, 2)),
        ("at ten [1,2,4]", (1, 2, 4)),
        ("at ten [1; 3]", (1, 3)),
        ("at ten [1 and 2]", (1, 2)),
        ("at ten [1, 2, and 4]", (1, 2, 4)),
        ("at ten [1 & 2]", (1, 2)),
        ("at ten [1-3]", (1, 2, 3)),
        ("at ten [1–3]", (1, 2, 3)),
        ("at ten [1—3]", (1, 2, 3)),
        ("at ten [1 ‑ 3]", (1, 2, 3)),
        ("at ten [1 to 3]", (1, 2, 3)),
        ("at ten [3-1]", (1, 2, 3)),
        ("at ten [1-2, 4]", (1, 2, 4)),
        ("at ten [ 1 ]", (1,)),
        ("at ten [passage 2]", (2,)),
        ("at ten [Passages 1 and 3]", (1, 3)),
        ("at ten [^1]", (1,)),
        ("at ten [source 2]", (2,)),
        ("at ten [doc 2, doc 3]", (2, 3)),
        ("at ten [Passage 1, Passage 3]", (1, 3)),
        ("at ten [#2]", (2,)),
        ("at ten 【2】", (2,)),
        ("at ten ［2］", (2,)),
        ("at ten [see 1]", (1,)),
        ("at ten [cf. 2]", (2,)),
        ("at ten [source: 1]", (1,)),
        ("at ten [ref 1, ref 3]", (1, 3)),
        ("at ten [Doc. 2]", (2,)),
        ("[1] at ten [2], daily [1].", (1, 2)),
        ("at ten [0]", (0,)),
        ("at ten [99]", (99,)),
    ],
)
def test_marks(reply: str, numbers: tuple[int, ...]) -> None:
    assert cited_numbers(reply) == numbers


@pytest.mark.parametrize(
    "reply",
    [
        "at 10",
        "at ten (1)",
        "at ten [1234]",
        "[-1]",
        "[1.5]",
        "[one]",
        "[]",
        "[1 2]",
        "[1,]",
        "[see below]",
        "[p. 1]",
        "[rule 1]",
        "[1 x 2]",
        "1]",
        "[a, 1]",
    ],
)
def test_no_marks(reply: str) -> None:
    assert find_marks(reply) == ()
    assert without_marks(reply) == reply


def test_marks_have_places_and_are_removed_with_the_white_space_before_them() -> None:
    reply = "at ten [1, 2] daily [3]."
    assert [reply[mark.start : mark.end] for mark in find_marks(reply)] == [" [1, 2]", " [3]"]
    assert without_marks(reply) == "at ten daily."
