"""`lorag data review`: made rows are read in the terminal or on a page, one key each; what is kept becomes the honest test."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lorag.services.terminal import say, show, show_styled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lorag.training.data.reviewed import Reviewed
    from lorag.training.data.reviewing import ReviewItem
    from lorag.training.data.rows import PassageRow

KEYS = "k keep, d drop, q correct the question, a correct the answer, s skip, b back, x end"


def review(
    rows: Annotated[Path, typer.Argument(metavar="ROWS", help="Folder that `lorag data make` wrote.")],
    count: Annotated[int, typer.Option("--rows", metavar="N", min=1, max=1000, help="Rows to read.")] = 20,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of what is drawn.")] = 0,
    web: Annotated[bool, typer.Option("--web", help="Read them in a browser on this machine instead.")] = False,
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port of the page of --web.")] = 8322,
) -> None:
    """Read made test rows: keep, drop or correct each. What you keep are human rows in ROWS/test, which can promote an adapter.

    Each verdict is kept at once; stop whenever you like, and go on another time with rows that you have not seen.
    """
    from lorag.training.data.reviewed import read_reviewed
    from lorag.training.data.reviewing import review_items

    if web:
        from lorag.services.api.review_server import serve_review

        serve_review(rows, port, count=count, seed=seed, on_notice=say)
    else:
        items = review_items(rows, count, seed)
        if not items:
            show("Every made test row was read already.")
        Reading(rows, items).run()
    _show_agreement(read_reviewed(rows))


class Reading:
    """A loop over the items, with one line of input for each."""

    def __init__(self, folder: Path, items: Sequence[ReviewItem]) -> None:
        self._folder, self._items = folder, items

    def run(self) -> None:
        """Ask for each item until the last, `x` or the end of input."""
        place = 0
        while place < len(self._items):
            _show_item(self._items[place], place + 1, len(self._items))
            key = _ask(f"[{KEYS}] ")
            if key in (None, "x"):
                return
            if key == "b":
                place = max(0, place - 1)
            elif key == "s" or self._said(self._items[place], key or ""):
                place += 1

    def _said(self, item: ReviewItem, key: str) -> bool:
        """Note the verdict. False if the key is none, or the verdict cannot be taken."""
        from lorag.pipeline.errors import InputError
        from lorag.training.data.reviewed import Verdict
        from lorag.training.data.reviewing import give_verdict

        try:
            match key:
                case "k":
                    give_verdict(self._folder, item, Verdict.KEEP)
                case "d":
                    give_verdict(self._folder, item, Verdict.DROP)
                case "q":
                    give_verdict(self._folder, item, Verdict.CORRECT, question=_ask("question: ") or item.question)
                case "a":
                    give_verdict(self._folder, item, Verdict.CORRECT, answer=_ask("answer: ") or item.answer)
                case _:
                    say(f"{key!r} is no key: {KEYS}")
                    return False
        except InputError as error:
            say(str(error))
            return False
        return True


def _show_item(item: ReviewItem, number: int, total: int) -> None:
    show()
    show(f"{number} of {total}", "bold")
    for passage in item.passages:
        show(passage.title, "dim")
        _show_text(item, passage)
    show(f"Question: {item.question}")
    show(f"Answer:   {item.answer or 'the passages do not say'}")


def _show_text(item: ReviewItem, passage: PassageRow) -> None:
    """A passage, with the answer's place in it marked."""
    start, end = (0, 0) if item.place is None else (item.place.start, item.place.end)
    show_styled((passage.text[:start], ""), (passage.text[start:end], "bold underline"), (passage.text[end:], ""))


def _ask(prompt: str) -> str | None:
    """A line of input without blanks around it; None at its end."""
    if not sys.stdin.isatty():
        line = sys.stdin.readline()
        return line.strip() if line else None
    try:
        return input(prompt).strip()
    except EOFError:
        return None


def _show_agreement(reviewed: Sequence[Reviewed]) -> None:
    from lorag.training.data.reviewed import agreements

    found = agreements(reviewed)
    if found:
        show()
    for each in found:
        show(str(each))
