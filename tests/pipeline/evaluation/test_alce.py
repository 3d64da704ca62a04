"""ALCE's citation recall and precision, worked by hand on answers of few statements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from lorag.pipeline.evaluation.alce import ByWords, Claim, Statement, alce_scores, statements_of
from lorag.pipeline.records import Answer, Hit, Outcome, Passage, Response, Rewrite, Trace

TEXTS = {"pier": "The pier was built in 1911.", "swans": "Swans sleep at the pier.", "ropes": "Ropes dry in the hall."}
HITS = tuple(Hit(Passage(name, name, "", "", "", text, 0, len(text)), 1.0) for name, text in TEXTS.items())


def response(reply: str, *, refused: bool = False, outcome: Outcome = Outcome.OK) -> Response:
    return Response("q", Rewrite("q", Outcome.OK), Answer(reply, refused, (), outcome, reply), trace=Trace(hits=HITS))


@pytest.mark.parametrize(
    ("reply", "statements"),
    [
        ("at ten [1]", [("at ten", (1,))]),
        ("It opens at ten [1]. It shuts at five. [2, 3]", [("It opens at ten.", (1,)), ("It shuts at five.", (2, 3))]),
        ("It opens at ten. It shuts at five [1].", [("It opens at ten.", (1,)), ("It shuts at five.", (1,))]),  # as in a target
        ("[2] It opens at ten. It shuts. [1]", [("It opens at ten.", (2,)), ("It shuts.", (1,))]),
        ("at ten", [("at ten", ())]),
        ("[1]", []),
        ("", []),
    ],
)
def test_statements(reply: str, statements: list[tuple[str, tuple[int, ...]]]) -> None:
    assert statements_of(reply) == tuple(Statement(*each) for each in statements)


@pytest.mark.parametrize(
    ("reply", "recall", "precision"),
    [
        ("The pier was built in 1911 [1].", 1, 1),
        ("The pier was built in 1911 [3].", 0, 0),
        ("The pier was built in 1911 [1][3].", 1, 1 / 2),  # the second neither entails it nor is missed
        ("The pier was built in 1911 [1, 9].", 1, 1 / 2),  # 9 was never shown
        ("The pier was built in 1911.", 0, 0),
        ("The pier was built in 1911 [1]. Swans sleep there in 1950 [2].", 1 / 2, 1 / 2),
        ("The pier was built in 1911 [1]. Ropes dry in the hall [3].", 1, 1),
    ],
)
def test_by_words(reply: str, recall: float, precision: float) -> None:
    found = alce_scores("a", {"q": response(reply)}, ByWords())
    assert (found.answers, found.recall, found.precision) == (1, recall, pytest.approx(precision))


@dataclass
class Together:
    """Entails a statement by both passages or by neither alone; has no verdict on what is odd."""

    name: str = "together"
    asked: int = 0

    def entails(self, claims: Sequence[Claim]) -> list[bool | None]:
        self.asked += len(claims)
        return [None if "odd" in each.statement else len(each.passages) > 1 for each in claims]


def test_two_citations_that_only_together_entail_are_both_needed() -> None:
    model = Together()
    found = alce_scores("a", {"q": response("Both are so [1][2].")}, model)
    assert (found.recall, found.precision, model.asked) == (1, 1, 3)  # both, and each alone, which is also without the other


def test_what_has_no_verdict_or_no_claim_is_left_out() -> None:
    responses = {
        "odd": response("This is odd [1]."),
        "two": response("Both are so [1][2]."),
        "refused": response("The passages do not say.", refused=True),
        "failed": response("x [1]", outcome=Outcome.FAILED),
    }
    found = alce_scores("a", responses, Together())
    assert (found.answers, found.recall, found.unjudged) == (1, 1, ("odd",))
    assert alce_scores("a", {}, Together()).recall is None
