"""`lorag data review`: made rows are read in the terminal, one key each; what is kept becomes the honest test."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lorag.services.terminal import say, show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lorag.training.data.reviewing import Reviewed, ReviewItem

KEYS = "k keep, d drop, q correct the question, a correct the answer, s skip, b back, x end"


def review(
    rows: Annotated[Path, typer.Argument(metavar="ROWS", help="Folder that `lorag data make` wrote.")],
    count: Annotated[int, typer.Option("--rows", metavar="N", min=1, help="Rows to read.")] = 20,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of what is drawn.")] = 0,
) -> None:
    """Read made test rows: keep, drop or correct each. What you keep are human rows in ROWS/test, which can promote an adapter.

    Each verdict is kept at once; stop whenever you like, and go on another time with rows that you have not seen.
    """
    from lorag.training.data.reviewing import read_reviewed, review_items

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
        """Note the verdict. False if the key is none."""
        from lorag.training.data.reviewing import Reviewed, Verdict, add_reviewed

        question, answer = item.question, item.answer
        match key:
            case "k":
                verdict = Verdict.KEEP
            case "d":
                verdict = Verdict.DROP
            case "q":
                verdict, question = Verdict.CORRECT, _ask("question: ") or item.question
            case "a":
                verdict, answer = Verdict.CORRECT, _ask("answer: ") or item.answer
            case _:
                say(f"{key!r} is no key: {KEYS}")
                return False
        add_reviewed(self._folder, Reviewed(item.id, verdict, question, answer, item.filter))
        return True


def _show_item(item: ReviewItem, number: int, total: int) -> None:
    show()
    show(f"{number} of {total}", "bold")
    for passage in item.passages:
        show(passage.title, "dim")
        show(passage.text)
    show(f"Question: {item.question}")
    show(f"Answer:   {item.answer or 'the passages do not say'}")


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
    from lorag.training.data.reviewing import agreements

    found = agreements(reviewed)
    if not found:
        return
    show()
    for each in found:
        of = f"dropped by “{each.filter}”, you drop too" if each.filter else "that passed all filters, you keep"
        weak = ", below 0.8: look at this filter" if each.is_weak and each.filter else ""
        weak = ", below 0.8: do not train on the rest before you know why" if each.is_weak and not each.filter else weak
        show(f"Of {each.seen} {of} {each.agreed} ({each.precision:.2f}){weak}.")
