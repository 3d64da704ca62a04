"""Shortens a standalone question to what a user would say next, by rules: what is clear from the conversation is left out.

“And the X?” if only X differs from the question before; a name or phrase that the conversation has named already becomes a
pronoun, or is dropped with its preposition. English rules; whether a turn still works is for the search to say.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from lorag.training.data.making.words import content_words

_DETERMINERS = frozenset(("the", "a", "an", "this", "that"))
_PREPOSITIONS = frozenset(("of", "on", "in", "at", "for", "from", "by", "to", "with", "aboard"))
_LEAST_SAME = 3
"""Words that two questions must share for “and the X?”."""
_MOST_NEW = 6
_LEAST_WORDS = 2
_BARE = re.compile(r"[^\w'’-]+")


def shortened(question: str, before: Sequence[str]) -> list[str]:
    """Shorter forms of `question` after the utterances `before`, oldest first; the first of them are the shortest."""
    words = question.rstrip(" ?.").split()
    found: list[str] = []
    for earlier in reversed(before):
        if (new := _what_differs(words, earlier.rstrip(" ?.").split())) is not None:
            found += [f"And {new}?", f"What about {new}?"]
            break
    for start, end in _named_before(words, " ".join(before)):
        found += _without(words, start, end)
    known = content_words(question)
    return [text for text in dict.fromkeys(found) if content_words(text) < known and len(text.split()) >= _LEAST_WORDS]


def _what_differs(words: Sequence[str], earlier: Sequence[str]) -> str | None:
    """The words between what both begin and end with; None if they share too little or differ in too much."""
    one, other = [_plain(word) for word in words], [_plain(word) for word in earlier]
    head = 0
    while head < min(len(one), len(other)) and one[head] == other[head]:
        head += 1
    tail = 0
    while tail < min(len(one), len(other)) - head and one[-1 - tail] == other[-1 - tail]:
        tail += 1
    new = words[head : len(words) - tail]
    if head < 2 or head + tail < _LEAST_SAME or not 1 <= len(new) <= _MOST_NEW:
        return None
    determiner = next((word.lower() for word in reversed(words[max(0, head - 3) : head]) if word.lower() in _DETERMINERS), "")
    if determiner and new[0].lower() not in _DETERMINERS:
        new = ["the", *new]
    return " ".join(new)


def _named_before(words: Sequence[str], before: str) -> list[tuple[int, int]]:
    """Runs of words that the conversation has, which name something: with a capital or digit, or two content words. The longest
    first."""
    known = f" {' '.join(_plain(word) for word in before.split())} "
    runs = [
        (start, end)
        for start in range(1, len(words))
        for end in range(start + 1, len(words) + 1)
        if f" {' '.join(_plain(word) for word in words[start:end])} " in known and _names(words[start:end])
    ]
    maximal = [run for run in runs if not any(other != run and other[0] <= run[0] and run[1] <= other[1] for other in runs)]
    return sorted(maximal, key=lambda run: (run[0] - run[1], run))


def _names(run: Sequence[str]) -> bool:
    if not content_words(run[-1]) or not content_words(run[0]):
        return False
    marked = any(word[:1].isupper() or any(map(str.isdigit, word)) for word in run)
    return marked or len(content_words(" ".join(run))) > 1


def _without(words: Sequence[str], start: int, end: int) -> list[str]:
    """The question without the run, and with a pronoun in its place.

    With its preposition it is dropped; before a noun that it describes it is dropped alone: “the Gellan crane”, “the crane”.
    A last word is taken for the verb.
    """
    before, after = words[start - 1].lower(), words[end] if end + 1 < len(words) else ""
    if before in _DETERMINERS and content_words(after) and not words[end - 1].endswith(("'s", "’s", "s'")):
        return [" ".join([*words[:start], *words[end:]]) + "?"]
    if before in _DETERMINERS and start > 1:
        start -= 1
    possessive = re.search(r"['’]s?$", words[end - 1]) is not None
    pronoun = "its" if possessive else "it"
    found = []
    if words[start - 1].lower() in _PREPOSITIONS and not possessive and start > 1:
        found.append([*words[: start - 1], *words[end:]])
    found.append([*words[:start], pronoun, *words[end:]])
    return [" ".join(each) + "?" for each in found]


def _plain(word: str) -> str:
    return re.sub(r"['’]s$", "", _BARE.sub("", word.casefold()))
