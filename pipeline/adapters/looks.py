"""The ledger of looks: every measurement of a version on a test set, and the error probability that each may spend.

Who measures candidate after candidate on one test set finds a good one by chance. So the looks at a test set share one error
probability, `ALPHA`: the k-th may spend `ALPHA` / (k (k + 1)), which adds up to `ALPHA` over any number of looks (alpha-spending,
Foster and Stine 2008). Lines are appended and never changed.

A test set is known by its items, not by its file: a look names what it asked, and a later one comes after each earlier look that
many of its own items were in (`SHARED`). So no row that is added, changed or taken away gives the others a new error probability.
Knows no registry and no card.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from unicodedata import normalize

from lorag.pipeline.adapters.evidence import EvidenceData
from lorag.pipeline.adapters.files import build
from lorag.pipeline.errors import AdapterError, DataError
from lorag.pipeline.storage.atomic import write_file
from lorag.pipeline.storage.digests import text_digest
from lorag.pipeline.storage.jsonl import read_lines
from lorag.pipeline.storage.strict_json import OPTIONAL, plain

LEDGER_FILE = "looks.jsonl"

ALPHA = 0.025
"""The probability that any of the looks of one role at one test set promotes an adapter that is no better: one-sided."""

_ROUNDED = 1e-9
"""Differences of one measurement that is repeated are equal, up to this."""


_WORD = re.compile(r"[^\W_]+")


def spent(number: int) -> float:
    """The part of `ALPHA` that look `number`, from 1, may spend: one-sided."""
    return ALPHA / (number * (number + 1))


def confidence(number: int) -> float:
    """The level of the two-sided interval whose lower end decides at look `number`: 97.5 % at the first, 99.2 % at the second."""
    return 1 - 2 * spent(number)


SHARED = 0.25
"""A look counts as the next one after those that more than this share of its items were in."""

MOST_FLIPS = 10_000
"""The most flips of signs that the test counts. With up to 14 groups these are all of them; more have their flips drawn."""


def least_p(groups: int) -> float:
    """The smallest one-sided p that a sign-flip test on so many groups can give: 2⁻ᴳ, or half of one in `MOST_FLIPS` flips."""
    return max(2.0**-groups, 0.5 / MOST_FLIPS)


@dataclass(frozen=True, slots=True)
class Result:
    """The difference from one reference, by its key (`Against.key`) and name, in the leading metric. `p` is two-sided."""

    key: str
    name: str
    difference: float
    p: float


@dataclass(frozen=True, slots=True)
class Look:
    """One measurement of a version on a test set, by the role's leading metric. `weights` is the SHA-256 of its weights.

    `number` counts the looks of the role at these items from 1; 0 until it is recorded. `alpha` is what it may spend. `items` are
    `item_key`s (None: written before items were; then digest or name of the data tell whether it is the same).
    """

    number: int
    time: str
    role: str
    version: str
    weights: str
    metric: str
    data: EvidenceData
    n: int
    groups: int
    results: tuple[Result, ...]
    alpha: float
    items: tuple[str, ...] | None = field(default=None, metadata=OPTIONAL)


def item_key(*texts: str) -> str:
    """12 hex digits over the letters and digits of what is asked: an edit of case, punctuation, spacing or the form of an accent
    is no new item."""
    return text_digest("".join(_WORD.findall(normalize("NFKC", "".join(texts)).casefold())))[:12]


def read_looks(path: Path) -> tuple[Look, ...]:
    """The lines of a ledger, oldest first; none if there is no file. Raises AdapterError that names file and line."""
    try:
        return tuple(_looks(path)) if path.exists() else ()
    except DataError as error:
        raise AdapterError(f"{error}; restore this ledger of looks at test sets from a copy") from error


def _looks(path: Path) -> Iterator[Look]:
    for line in read_lines(path):
        look = build(Look, line.fields, line.where)
        if look.number < 1:
            raise AdapterError(f"{line.where}: number is {look.number}; looks are counted from 1")
        yield look


def recorded(path: Path, look: Look) -> Look:
    """`look` with its number, written to the ledger unless the same results are there. Call it under the ledger's lock.

    The same version with the same figures is the same look, also if it is compared with fewer or with further references.
    Raises AdapterError for a damaged ledger, OSError if it cannot be written.
    """
    known = _by_look(read_looks(path))
    same = next((lines for lines in known if _repeats(lines, look)), ())
    number = same[0].number if same else 1 + _times_seen(known, look)
    found = replace(look, number=number, alpha=spent(number))
    if set(found.results) - {result for each in same for result in each.results}:
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        write_file(path, text + json.dumps(plain(found), ensure_ascii=False, allow_nan=False) + "\n")
    return found


def _by_look(lines: Sequence[Look]) -> list[tuple[Look, ...]]:
    """The lines of each look: one is written again with each further reference. A version's looks at two test sets may have one
    number."""
    found: list[list[Look]] = []
    for line in lines:
        own = (each for each in found if each[0].number == line.number and _repeats(each, line))
        of = next(own, None)
        if of is None:
            found.append([line])
        else:
            of.append(line)
    return [tuple(each) for each in found]


def _times_seen(known: Sequence[tuple[Look, ...]], look: Look) -> int:
    """The most earlier looks that more than `SHARED` of the items were in."""
    if look.items is None:
        return sum(bool(_share_seen([lines], look)) for lines in known)
    seen = [_asked(lines, look) for lines in known]
    times = sorted((sum(item in each for each in seen) for item in set(look.items)), reverse=True)
    return times[int(SHARED * len(times))] if times else 0


def _share_seen(known: Sequence[tuple[Look, ...]], look: Look) -> float:
    """The share of the items of `look` that any of the `known` looks was at."""
    own = set(look.items or [look.data.identity])
    seen = set[str]().union(*(_asked(lines, look) for lines in known))
    return len(own & seen) / len(own)


def _asked(lines: Sequence[Look], look: Look) -> set[str]:
    """The items of a look; of lines without any, all those of `look` if the data are the same by digest, or by name."""
    found: set[str] = set()
    for each in lines:
        names = (each.data.identity, look.data.identity), (each.data.name, look.data.name)
        if look.items is None:
            found |= {look.data.identity} if each.data.identity == look.data.identity else set()
        elif each.items is not None:
            found |= set(each.items)
        elif any(before == now for before, now in names):
            found |= set(look.items)
    return found


def _repeats(lines: Sequence[Look], look: Look) -> bool:
    """Whether `look` repeats the look that these lines record, at the same items and figures, if with more references than all of
    them or with fewer."""
    first = lines[0]
    if (first.weights, first.metric, first.n) != (look.weights, look.metric, look.n) or _share_seen(
        [tuple(lines)], look
    ) <= SHARED:
        return False
    before: Mapping[str, float] = {each.key: each.difference for line in lines for each in line.results}
    now = {each.key: each.difference for each in look.results}
    shared = before.keys() & now.keys()
    agree = all(abs(before[key] - now[key]) <= _ROUNDED for key in shared)
    return bool(shared) and agree and (before.keys() <= now.keys() or now.keys() <= before.keys())


def look_line(number: int, groups: int | None, data: EvidenceData) -> str:
    """What a look may spend, in one line."""
    line = (
        f"This is look {number} of this role at {data.name}: of a one-sided alpha of {ALPHA:g} it may spend {spent(number):.2g}, "
        f"so the interval at {100 * confidence(number):.4g} % decides"
    )
    if groups is None or least_p(groups) <= spent(number):
        return f"{line}."
    return f"{line}, which {groups} groups cannot show: their smallest p is {least_p(groups):.2g}. Use a new test set."


def require_counted(look: int | None, level: float, what: str, run: str) -> None:
    """Raises AdapterError for a claim that is of no recorded look, or whose interval is narrower than its look allows."""
    if look is None:
        raise AdapterError(f"{what} was measured before looks at test sets were counted; run {run}")
    if look < 1:
        raise AdapterError(f"{what} is of look {look}, and looks are counted from 1; run {run}")
    if level < confidence(look) - 1e-9:
        wanted = f"{100 * confidence(look):.4g} %"
        raise AdapterError(f"{what} has an interval at {100 * level:.4g} %, and look {look} must show it at {wanted}; run {run}")
