"""What the judge writes freely, and its word on answers with how far it can be believed; with a scripted engine."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from lorag.pipeline.contracts.context import PassageText
from lorag.pipeline.contracts.judge import SUPPORT, JudgeInputs
from lorag.pipeline.engine.protocol import ChoiceRequest, Completion, Finish, Generation
from lorag.pipeline.errors import PromptTooLong
from lorag.pipeline.evaluation.ablation import Configuration, JudgeItem, Measured
from lorag.pipeline.evaluation.judge_evaluation import LABEL_TOKENS, judge_answers, write_freely
from lorag.pipeline.evaluation.judgments import Judged
from lorag.pipeline.evaluation.scores import ScoreTable
from lorag.pipeline.records import Answer, Citation, Hit, Outcome, Passage, Response, Rewrite, Trace
from lorag.pipeline.stages import Judge


class Told:
    """Writes what the answer in the prompt tells it to; weighs by the digit in it. Refuses prompts that hold `too long`."""

    adapters: tuple[str, ...] = ("judge-1",)

    def __init__(self) -> None:
        self.requests: list[Generation | ChoiceRequest] = []

    def generate(self, requests: Sequence[Generation]) -> list[Completion]:
        self._check(requests)
        return [Completion(told(request), 9, 2, Finish.STOP) for request in requests]

    def choice_probabilities(self, requests: Sequence[ChoiceRequest]) -> list[tuple[float, ...]]:
        self._check(requests)
        return [(share := float(told(request)), (1 - share) / 4, (1 - share) * 3 / 4) for request in requests]

    def _check(self, requests: Sequence[Generation | ChoiceRequest]) -> None:
        if any("too long" in request.messages[0].content for request in requests):
            raise PromptTooLong("it does not fit")
        self.requests += requests


def told(request: Generation | ChoiceRequest) -> str:
    line = next(line for line in request.messages[0].content.splitlines() if line.startswith("Answer: "))
    return line.removeprefix("Answer: ")


def item(number: int, reply: str, gold: str = "supported") -> JudgeItem:
    return JudgeItem(f"j{number}", SUPPORT, JudgeInputs(answer=reply, passages=(PassageText("T", "x"),)), gold, f"g{number}")


def test_a_reply_that_is_not_exactly_a_label_is_unparsed() -> None:
    replies = ("supported", " partly.\n", "Supported", "supported, I think", "too long")
    engine = Told()
    found = write_freely(engine, "judge-1", [item(n, reply) for n, reply in enumerate(replies)])
    assert [(each.label, each.outcome) for each in found] == [
        ("supported", Outcome.OK),
        ("partly", Outcome.OK),
        (None, Outcome.UNPARSED),
        (None, Outcome.UNPARSED),
        (None, Outcome.FAILED),
    ]
    assert {(request.adapter, request.max_tokens) for request in engine.requests if isinstance(request, Generation)} == {
        ("judge-1", LABEL_TOKENS)
    }
    assert "Reply with one label only." not in engine.requests[0].messages[0].content
    write_freely(engine, None, [item(0, "supported")])
    assert "Reply with one label only." in engine.requests[-1].messages[0].content  # the base is told what is wanted


def passage(name: str) -> Passage:
    return Passage(name, name, "", name, "", f"Text of {name}.", 0, 9)


def response(text: str, *, refused: bool = False, outcome: Outcome = Outcome.OK, cited: Sequence[int] = (2,)) -> Response:
    hits = (Hit(passage("a"), 1.0), Hit(passage("b"), 0.5))
    citations = tuple(Citation(n, hits[n - 1].passage.id, "", "", 0, 0) for n in cited)
    answer = Answer(text, refused, citations, outcome)
    return Response("And that?", Rewrite("What is that?", Outcome.OK), answer, trace=Trace(hits=hits))


def measured(**responses: Response) -> Measured:
    empty = ScoreTable(())
    return Measured(Configuration("all adapters", frozenset()), empty, empty, empty, (), responses)


LABELLED = (
    Judged("1", "support: supported", "support: supported", {"support: supported": 0.9, "support: partly": 0.1}),
    Judged("2", "support: partly", "support: supported", {"support: supported": 0.9, "support: partly": 0.1}),
    Judged("3", "support: partly", None, {}, Outcome.FAILED),
    Judged("4", "intent: greet", "intent: greet", {"intent: greet": 1.0}),
)


def test_answers_that_claim_something_are_judged_and_failures_listed() -> None:
    engine = Told()
    found = judge_answers(
        measured(
            q1=response("0.9"),
            q2=response("0.25", cited=()),
            q3=response("The passages do not say.", refused=True),
            q4=response("", outcome=Outcome.FAILED),
            q5=response("too long"),
        ),
        Judge(engine, "judge-1"),
        LABELLED,
        proven=True,
    )
    assert (found.judged, found.supported, found.failed) == (2, 0.5, ("q5",))
    assert found.probability == pytest.approx((0.9 + 0.25) / 2)
    assert found.calibration is not None
    assert (found.calibration.n, found.calibration.accuracy) == (2, 0.5)
    assert found.calibration.ece == pytest.approx(0.4)  # sure by 0.9, right in half
    cited, all_shown = (request.messages[0].content for request in engine.requests)
    assert ("Text of b." in cited, "Text of a." in cited) == (True, False)
    assert ("Text of b." in all_shown, "Text of a." in all_shown) == (True, True)
    assert "Question: What is that?" in cited


def test_a_judge_that_is_not_shown_to_beat_a_floor_gives_no_verdict_on_answers() -> None:
    """The figures that do not rest on its word stay: its calibration, and the shares that labels correct."""
    answers = {"q1": response("0.9"), "q2": response("0.25")}
    proven, not_proven = (judge_answers(measured(**answers), Judge(Told(), "judge-1"), LABELLED, each) for each in (True, False))
    assert (proven.supported, not_proven.supported, not_proven.probability) == (0.5, None, None)
    assert (not_proven.judged, not_proven.calibration, not_proven.powered) == (2, proven.calibration, proven.powered)


def test_without_answers_or_labels_nothing_is_said() -> None:
    found = judge_answers(measured(q=response("x", refused=True)), Judge(Told(), "judge-1"), LABELLED[3:])
    assert (found.judged, found.supported, found.probability, found.calibration) == (0, None, None, None)
