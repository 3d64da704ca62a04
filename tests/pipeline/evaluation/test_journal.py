"""An engine's answers kept: not asked twice, the same after real kills, counted by stage."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from lorag.pipeline.contracts import rewrite, synthesize
from lorag.pipeline.contracts.context import PassageText
from lorag.pipeline.engine.layer import Layer
from lorag.pipeline.engine.memo import Memo
from lorag.pipeline.engine.protocol import ChoiceRequest, Completion, Finish, Generation
from lorag.pipeline.evaluation.journal import Journal, Usage, digest
from lorag.pipeline.evaluation.row_file import RowFile
from lorag.pipeline.records import Message

ROOT = Path(__file__).resolve().parents[3]
HEADER = {"seed": 0}


class Counting:
    """Answers with how often it was asked before, so that an answer that is asked for again is another."""

    adapters: tuple[str, ...] = ("x",)

    def __init__(self, pause: float = 0.0) -> None:
        self.asked = 0
        self.batches: list[int] = []
        self._pause = pause

    def generate(self, requests: Sequence[Generation]) -> list[Completion]:
        return [Completion(f"reply {self._next(len(requests))}", 7, 3, Finish.STOP) for _ in requests]

    def choice_probabilities(self, requests: Sequence[ChoiceRequest]) -> list[tuple[float, ...]]:
        return [(self._next(len(requests)) / 3, 0.1 + 0.2) for _ in requests]

    def _next(self, batch: int) -> int:
        self.batches.append(batch)
        self.asked += 1
        time.sleep(self._pause)
        return self.asked


def prompt(text: str) -> tuple[Message, ...]:
    return (Message("user", text),)


def open_rows(folder: Path) -> RowFile:
    return RowFile(folder / "requests.jsonl", HEADER)


def test_what_was_answered_is_not_asked_again(tmp_path: Path) -> None:
    texts, choices = [Generation(prompt(t), "x") for t in "abc"], [ChoiceRequest(prompt("d"), ("yes", "no"), "x")]
    rows = open_rows(tmp_path)
    first = Layer(Counting(), Journal(rows))
    answers = (first.generate(texts), first.choice_probabilities(choices))
    rows.close()
    rows, engine = open_rows(tmp_path), Counting()
    journal = Journal(rows)
    again = Layer(engine, journal)
    assert (again.generate(texts), again.choice_probabilities(choices)) == answers
    assert answers[1] == [(4 / 3, 0.30000000000000004)]
    assert engine.asked == 0
    assert {usage.latency for usage in journal.usage()} == {None}
    again.generate([Generation(prompt("e"))])
    rows.close()
    assert engine.asked == 1
    assert len((tmp_path / "requests.jsonl").read_text().splitlines()) == 1 + 3 + 1 + 1


def test_a_batch_of_which_one_is_new_is_asked_whole() -> None:
    """Batches decide the last digits: what a run that nobody stopped asks together is asked together."""
    engine = Counting()
    journal = Layer(engine, Journal())
    journal.generate([Generation(prompt("a"))])
    journal.generate([Generation(prompt("a")), Generation(prompt("b"))])
    assert engine.batches == [1, 2, 2]


def test_requests_tokens_and_time_are_counted_by_stage_and_adapter() -> None:
    journal = Journal()
    engine = Layer(Counting(pause=0.01), journal)
    answer = synthesize.messages("When?", [PassageText("T", "At noon.")])
    engine.generate([Generation(answer, "s", stage="synthesize"), Generation(answer, "s", stage="synthesize")])
    engine.generate([Generation(rewrite.messages((), "And then?"), stage="rewrite")])
    engine.choice_probabilities([ChoiceRequest(prompt("judge"), ("a", "b"), "j", "support")])
    found = {(usage.stage, usage.adapter): usage for usage in journal.usage()}
    assert list(found) == [("synthesize", "s"), ("rewrite", "base"), ("support", "j")]
    usage = found["synthesize", "s"]
    assert (usage.requests, usage.prompt_tokens, usage.completion_tokens, usage.timed) == (2, 14, 6, 2)
    assert usage.latency is not None
    assert 0.01 <= usage.latency < 1
    assert Usage("support", "base").latency is None


def test_the_digest_tells_all_requests_apart() -> None:
    different = [
        Generation(prompt("a")),
        Generation(prompt("b")),
        Generation(prompt("a"), "x"),
        Generation(prompt("a"), max_tokens=7),
        ChoiceRequest(prompt("a"), ("yes", "no")),
        ChoiceRequest(prompt("a"), ("no", "yes")),
        ChoiceRequest(prompt("a"), ("no", "yes"), relative=False),
    ]
    assert len({digest(each) for each in different}) == len(different)
    assert digest(different[0]) == digest(Generation(prompt("a")))


def test_who_asks_decides_nothing() -> None:
    """A request is the same whichever stage makes it, to all that remembers answers."""
    asked, again = Generation(prompt("a"), stage="rewrite"), Generation(prompt("a"), stage="synthesize")
    assert asked == again
    assert hash(asked) == hash(again)
    assert digest(asked) == digest(again)
    assert ChoiceRequest(prompt("a"), ("x", "y"), stage="intent") == ChoiceRequest(prompt("a"), ("x", "y"))


RUN = """
import sys
from pathlib import Path
from lorag.pipeline.engine import memo
from tests.pipeline.evaluation.test_journal import run_all
memo.SLICE = 4
run_all(Path(sys.argv[1]), pause=float(sys.argv[2]))
"""


def run_all(folder: Path, pause: float = 0.0) -> None:
    """60 requests, every fifth asked before, in slices of 4. The reply depends on the request alone, as a greedy model's does."""
    rows = open_rows(folder)
    engine = Echo(pause)
    memo = Layer(Layer(engine, Journal(rows)), Memo())
    for start in range(0, 60, 20):
        memo.generate([Generation(prompt(f"q{n - n % 5 if n % 5 == 4 else n}")) for n in range(start, start + 20)])
    rows.close()


class Echo(Counting):
    def generate(self, requests: Sequence[Generation]) -> list[Completion]:
        self._next(len(requests))
        text = " | ".join(request.messages[0].content for request in requests)  # a whole batch decides each of its answers
        return [Completion(f"{request.messages[0].content} in {text}", 1, 1, Finish.STOP) for request in requests]


def test_killed_again_and_again_the_file_ends_up_the_same(tmp_path: Path) -> None:
    run_all_in_process = tmp_path / "whole"
    code = {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", RUN, str(run_all_in_process), "0"], env={**os.environ, **code}, check=False)
    assert done.returncode == 0
    whole = (run_all_in_process / "requests.jsonl").read_bytes()
    path, lines, kills = tmp_path / "killed" / "requests.jsonl", 0, 0
    while kills < 4:
        process = subprocess.Popen(
            [sys.executable, "-c", RUN, str(path.parent), "0.05"], env={**os.environ, **code}, stderr=subprocess.DEVNULL
        )
        wanted = min(lines + 5, 40)
        while process.poll() is None and (not path.exists() or path.read_bytes().count(b"\n") < wanted):
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        if process.wait() == 0:
            break
        kills += 1
        lines = path.read_bytes().count(b"\n")
        assert whole.startswith(path.read_bytes()[: path.read_bytes().rfind(b"\n") + 1])
    assert kills >= 3, "the run was over before it could be killed"
    subprocess.run([sys.executable, "-c", RUN, str(path.parent), "0"], env={**os.environ, **code}, check=True)
    assert path.read_bytes() == whole
