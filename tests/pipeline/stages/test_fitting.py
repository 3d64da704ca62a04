"""Prompts that are too long lose the parts that do not fit, with a note, and the question is answered all the same."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

import pytest

from lorag.pipeline.contracts.judge import ANSWERABILITY
from lorag.pipeline.engine.layer import Layer, Request, Result
from lorag.pipeline.engine.protocol import Completion, Generation
from lorag.pipeline.engine.scripted import ScriptedEngine
from lorag.pipeline.errors import PromptTooLong
from lorag.pipeline.records import Hit, Outcome, Passage, Query, Speaker, Turn
from lorag.pipeline.stages import Judge, Rewriter, Synthesizer
from lorag.pipeline.stages.fitting import fewer
from lorag.pipeline.stages.judge import answerability
from lorag.pipeline.stages.stage import ChainState

ROOM = 600


def narrow(engine: ScriptedEngine, *, counted: bool = True) -> Layer:
    """An engine that reads 600 characters, and says by how much a prompt is too long if it counts."""

    def refuse(requests: Sequence[Request], ask: Callable[[Sequence[Request]], list[Result]]) -> list[Result]:
        for request in requests:
            length = sum(len(message.content) for message in request.messages)
            if length > ROOM:
                raise PromptTooLong("it does not fit", fits=ROOM / length) if counted else PromptTooLong("it does not fit")
        return ask(requests)

    return Layer(engine, refuse)


class Streaming(Layer):
    """As `narrow`, for streams."""

    def stream(self, request: Generation) -> Generator[str, None, Completion]:
        length = sum(len(message.content) for message in request.messages)
        if length > ROOM:
            raise PromptTooLong("it does not fit", fits=ROOM / length)
        return (yield from super().stream(request))


def hit(name: str, length: int) -> Hit:
    text = f"The {name} berth is deep. " + "x" * length
    return Hit(Passage(f"{name}#1", f"{name}.md", f"{name}.md", name, "", text, 0, len(text)), 1.0)


HITS = (hit("Dun", 10), hit("Kell", 80_000), hit("Voe", 20))
STATE = ChainState.start(Query("Which berth is deep?"), hits=HITS)


@pytest.mark.parametrize(
    ("sizes", "fits", "expected"),
    [
        pytest.param([10, 80_000, 20], 0.01, (0, 2), id="the-giant"),
        pytest.param([100, 100, 100, 100], 0.6, (0, 1), id="the-last"),
        pytest.param([100, 100], 0.99, (0,), id="at-least-one"),
        pytest.param([100, 300, 100], 1.5, (0, 2), id="wrong-count-the-longest"),
        pytest.param([100], 0.9, (), id="nothing-fits"),
    ],
)
def test_which_parts_stay(sizes: list[int], fits: float, expected: tuple[int, ...]) -> None:
    assert fewer(sizes, tuple(range(len(sizes))), PromptTooLong("", fits=fits)) == expected


@pytest.mark.parametrize("counted", [True, False])
def test_the_synthesizer_leaves_out_the_passage_that_does_not_fit(counted: bool) -> None:
    (result,) = Synthesizer(narrow(ScriptedEngine(["Voe [2]"]), counted=counted), "syn").run([STATE])
    assert result.answer is not None and result.record is not None
    assert (result.answer.text, result.answer.outcome) == ("Voe", Outcome.OK)
    assert result.hits == (HITS[0], HITS[2])
    assert [citation.passage_id for citation in result.answer.citations] == ["Voe#1"]
    assert result.record.detail["left_out"] == ["Kell#1"]
    assert "Voe" in result.record.prompt[-1].content and "xxxxx" * 100 not in result.record.prompt[-1].content


def test_a_streamed_answer_does_the_same() -> None:
    written = Synthesizer(Streaming(ScriptedEngine(["Voe [2]"])), "syn").write(STATE)
    with pytest.raises(StopIteration) as end:
        while True:
            next(written)
    assert end.value.value.hits == (HITS[0], HITS[2])
    assert end.value.value.record.detail["left_out"] == ["Kell#1"]


def test_what_fits_is_asked_once_with_all_hits() -> None:
    engine = ScriptedEngine(["Dun [1]"])
    (result,) = Synthesizer(narrow(engine), "syn").run([ChainState.start(STATE.query, hits=(HITS[0], HITS[2]))])
    assert result.hits is None and result.record is not None and "left_out" not in result.record.detail
    assert len(engine.requests) == 1


def test_a_question_that_is_too_long_itself_fails_as_before() -> None:
    state = ChainState.start(Query("why " * 400), hits=HITS)
    (result,) = Synthesizer(narrow(ScriptedEngine(["Dun [1]"])), "syn").run([state])
    assert isinstance(result.error, PromptTooLong) and str(result.error).startswith("synthesize (syn), question 'why why")


def test_the_judge_leaves_out_passages_too() -> None:
    (result,) = answerability(Judge(narrow(ScriptedEngine(scorer=lambda _: [3, 1])), "jd"), gate=0.5).run([STATE])
    assert result.verdict is not None and result.record is not None
    assert (result.verdict.task, result.verdict.label, result.error) == (ANSWERABILITY.task, "answerable", None)
    assert result.record.detail["left_out"] == 1


def test_the_rewriter_leaves_out_the_oldest_turns() -> None:
    turns = tuple(Turn(Speaker.USER, f"turn {number} " + "w " * 80) for number in range(9))
    (result,) = Rewriter(narrow(ScriptedEngine(["Which berth?"])), "rw").run([ChainState.start(Query("And it?", turns))])
    assert result.rewrite is not None and result.record is not None
    assert (result.rewrite.question, result.rewrite.outcome) == ("Which berth?", Outcome.OK)
    prompt = result.record.prompt[-1].content
    assert "turn 8" in prompt and "turn 7" in prompt and "turn 5" not in prompt
    assert prompt.index("turn 7") < prompt.index("turn 8")
    assert result.record.detail["left_out"] == 6 - prompt.count("turn ")
