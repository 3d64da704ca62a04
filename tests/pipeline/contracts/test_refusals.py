"""Which replies decline: a table of each kind."""

from __future__ import annotations

import pytest

from lorag.pipeline.contracts.refusals import declines
from tests.pipeline.contracts.refusal_cases import ANSWERS, DECLINES


@pytest.mark.parametrize("reply", DECLINES)
def test_declines(reply: str) -> None:
    assert declines(reply)


@pytest.mark.parametrize("reply", ANSWERS)
def test_answers(reply: str) -> None:
    assert not declines(reply)


@pytest.mark.parametrize(
    ("claim", "answers"),
    [
        ("rule 7 says 10:00 [1]", True),
        ("it is 10:00", True),
        ("they say 10:00 [1]", True),
        ("they describe the pier", False),
        ("please ask the master", False),
        ("I cannot say", False),
    ],
)
def test_a_declining_clause_with_a_second_clause(claim: str, answers: bool) -> None:
    """The second clause decides, however it is joined."""
    for joint in (", but ", ". However, ", "; ", ". "):
        assert declines(f"The passages do not say when{joint}{claim}.") is not answers


def test_a_long_reply_is_read_in_one_pass() -> None:
    assert not declines("it is not so in any of the rules " * 3_000)
