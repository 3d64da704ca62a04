"""Which stage lost a question: one case for each rule."""

from __future__ import annotations

import pytest

from pipeline.evaluation.answers import GoldAnswer
from pipeline.evaluation.losses import Loss, lost_at, waterfall
from pipeline.records import Answer, Citation, Hit, Outcome, Passage, Response, Rewrite, Trace

GOLD = GoldAnswer("q", ("blue",), passage_ids=("gold",))
UNANSWERABLE = GoldAnswer("q", (), answerable=False)


def response(*, hits: str = "gold other", cited: str = "", refused: bool = False, failed: bool = False) -> Response:
    found = tuple(Hit(Passage(name, "d", "f.md", "T", "", "text", 0, 4), 1.0) for name in hits.split())
    citations = tuple(Citation(1, name, "f.md", "text", 0, 4) for name in cited.split())
    answer = Answer("", refused, citations, Outcome.FAILED if failed else Outcome.OK)
    return Response("q?", Rewrite("q?", Outcome.OK), answer, trace=Trace(hits=found))


@pytest.mark.parametrize(
    ("gold", "given", "f1", "entities", "loss"),
    [
        (GOLD, response(failed=True), 0.0, None, Loss.FAILED),
        (GOLD, response(cited="gold"), 0.5, None, Loss.RIGHT),
        (GOLD, response(cited="other"), 1.0, None, Loss.UNSUPPORTED),
        (GOLD, response(hits="other"), 0.0, 0.5, Loss.REWRITE),
        (GOLD, response(hits="other"), 0.0, 1.0, Loss.RETRIEVAL),
        (GOLD, response(hits="other", refused=True), 0.0, None, Loss.RETRIEVAL),  # no passage to answer from
        (GOLD, response(refused=True), 0.0, 0.5, Loss.REFUSED),
        (GOLD, response(cited="other"), 0.49, None, Loss.UNUSED),
        (GOLD, response(cited="gold"), 0.49, None, Loss.MISREAD),
        (GoldAnswer("q", ("blue",)), response(hits=""), 0.9, None, Loss.RIGHT),  # gold passages not known
        (UNANSWERABLE, response(refused=True), 0.0, None, Loss.RIGHT),
        (UNANSWERABLE, response(), 0.0, None, Loss.UNREFUSED),
    ],
)
def test_the_first_stage_that_lost_it(gold: GoldAnswer, given: Response, f1: float, entities: float | None, loss: Loss) -> None:
    assert lost_at(gold, given, {"F1": f1}, entities) is loss


def test_the_waterfall_counts_every_loss_in_the_order_of_the_chain() -> None:
    counts = waterfall([Loss.RIGHT, Loss.REFUSED, Loss.RIGHT, Loss.REWRITE])
    assert list(counts) == list(Loss)
    assert {loss: count for loss, count in counts.items() if count} == {Loss.REWRITE: 1, Loss.REFUSED: 1, Loss.RIGHT: 2}
