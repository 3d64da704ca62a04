"""`lorag chat`: a conversation in the terminal."""

from __future__ import annotations

import io
import sys
from collections.abc import Generator, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from lorag.pipeline.errors import LoragError
from lorag.services.answer_view import show_grounds, show_trace
from lorag.services.failures import describe
from lorag.services.options import HERE, Project
from lorag.services.terminal import for_project, say, show, visible, working

if TYPE_CHECKING:
    from lorag.pipeline.chain import Event
    from lorag.pipeline.records import Query, Response, Turn

PROMPT = "> "
COMMANDS = "/trace shows how the last answer came about, /reset forgets the conversation, /quit ends."


def chat(project: Project = HERE) -> None:
    """Talk with the documents. Follow-up questions are understood; /quit or end of input ends."""
    from lorag.services.served import open_project

    with open_project(project) as opened:
        with working("loading the models"):
            opened.load()
        if sys.stdin.isatty():
            say(COMMANDS)
        Conversation(opened, project).run()


class Streams(Protocol):
    """The source of answers in a conversation: a project or a chain."""

    def stream(self, query: Query, /) -> Generator[Event]: ...


class Conversation:
    """A loop over the lines of stdin. A question that fails is reported and leaves the conversation as it was."""

    def __init__(self, chain: Streams, project: Path = HERE) -> None:
        self._chain, self._project = chain, project
        self._history: list[Turn] = []
        self._last: Response | None = None

    def run(self) -> None:
        for line in _lines():
            match line.strip():
                case "":
                    continue
                case "/quit":
                    return
                case "/reset":
                    self._history.clear()
                    self._last = None
                    say("the conversation is forgotten")
                case "/trace":
                    self._trace()
                case command if command.startswith("/"):
                    say(f"{command.split()[0]} is no command; {COMMANDS}")
                case question:
                    self._answer(question)

    def _trace(self) -> None:
        if self._last is None:
            say("nothing was answered yet; ask something first")
        else:
            show_trace(self._last)

    def _answer(self, question: str) -> None:
        from lorag.pipeline.records import Query, Speaker, Turn

        try:
            response = self._stream(Query(question, tuple(self._history)))
        except LoragError as error:
            say(f"error: {for_project(describe(error), self._project)}")
        except KeyboardInterrupt:
            say("\nstopped; ask on, or /quit")
        else:
            self._last = response
            self._history += [Turn(Speaker.USER, question), Turn(Speaker.ASSISTANT, response.answer.text)]

    def _stream(self, query: Query) -> Response:
        """Print the reply as it is generated, then its citations and verdicts."""
        from lorag.pipeline.chain import Final, TextDelta

        written = False
        with closing(self._chain.stream(query)) as events:
            for event in events:
                if isinstance(event, TextDelta):
                    print(visible(event.text), end="", flush=True)
                    written = True
                elif isinstance(event, Final):
                    print("" if written else visible(event.response.answer.text))
                    show_grounds(event.response)
                    show()
                    return event.response
        raise AssertionError("a stream ends with its response")


def _lines() -> Iterator[str]:
    """Lines of stdin, with a prompt and line editing on a terminal. The chain checks for text that is not UTF-8."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")
    if not sys.stdin.isatty():
        yield from sys.stdin
        return
    with suppress(ImportError):
        import readline  # noqa: F401 - gives input() its line editing
    while True:
        try:
            yield input(PROMPT)
        except EOFError:
            print()
            return
