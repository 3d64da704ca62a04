"""The loop of `lorag chat`: lines in, answers out, and a conversation that grows only by what was answered."""

from __future__ import annotations

import pytest

from lorag.pipeline.chain import Chain
from lorag.pipeline.engine.scripted import ScriptedEngine
from lorag.pipeline.errors import EngineError
from lorag.pipeline.records import Hit, Passage, Query
from lorag.pipeline.stages import Retriever, Synthesizer
from lorag.services.commands.chat import Conversation

PASSAGE = Passage("keys.md#1", "keys.md", "docs/keys.md", "Keys", "", "The porter keeps the key.", 8, 33)


class OnePassage:
    def search_many(self, questions, k, *, hybrid=True, filter=None, contexts=()):
        return [[Hit(PASSAGE, 1.0)] for _ in questions]


class Recorded(Chain):
    """Notes the queries that it is asked; fails, or is interrupted, where the question says so."""

    asked: list[Query]

    def stream(self, query):
        self.asked.append(query)
        if query.question == "fail":
            raise EngineError("generation failed; try again")
        if query.question == "interrupt":
            raise KeyboardInterrupt
        return super().stream(query)


@pytest.fixture
def chain() -> Recorded:
    engine = ScriptedEngine(lambda generation: "the porter [1]")
    made = Recorded([Retriever(OnePassage()), Synthesizer(engine)])
    made.asked = []
    return made


def talk(chain: Chain, monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
    Conversation(chain).run()


def test_it_keeps_its_own_history(chain, monkeypatch, capsys) -> None:
    talk(chain, monkeypatch, "Who keeps the key?", "", "And at night?", "/reset", "Who?")
    assert [(query.question, len(query.history)) for query in chain.asked] == [
        ("Who keeps the key?", 0),
        ("And at night?", 2),
        ("Who?", 0),
    ]
    assert list(map(str, chain.asked[1].history)) == ["User: Who keeps the key?", "Assistant: the porter"]
    out = capsys.readouterr().out
    assert out.count("the porter [1]\n") == 3
    assert out.count("[1] “The porter keeps the key.”\n    docs/keys.md:8–33\n") == 3


def test_what_fails_or_is_stopped_is_told_and_forgotten(chain, monkeypatch, capsys) -> None:
    talk(chain, monkeypatch, "Who?", "fail", "interrupt", "Why\0?", "And now?")
    assert [str(turn) for turn in chain.asked[-1].history] == ["User: Who?", "Assistant: the porter"]
    err = capsys.readouterr().err.splitlines()
    assert err == [
        "error: generation failed; try again",
        "",
        "stopped; ask on, or /quit",
        "error: the question holds U+0000, which is no text character; remove it",
    ]


def test_commands(chain, monkeypatch, capsys) -> None:
    talk(chain, monkeypatch, "/trace", "/sing", "Who?", "/trace", "/quit", "never asked")
    assert [query.question for query in chain.asked] == ["Who?"]
    captured = capsys.readouterr()
    nothing, unknown = captured.err.splitlines()
    assert nothing == "nothing was answered yet; ask something first"
    assert unknown.startswith("/sing is no command; /trace shows")
    assert "docs/keys.md:8–33" in captured.out.rpartition("Passages")[2]


@pytest.mark.parametrize("lines", ["", "/quit\n", "Who keeps the key?"], ids=["end of input", "/quit", "no last line break"])
def test_the_command_ends_with_its_input(lorag, project, lines: str) -> None:
    lorag("ingest", "--project", project.folder)
    done = lorag("chat", "--project", project.folder, input=lines)
    assert (done.code, done.err) == (0, "")
    assert bool(done.out) is lines.startswith("Who")
