"""Groups documents that must stay on one side, and splits them before anything is written from them.

Versions of a document, documents with a passage in common, and those that a human row ties together are one group. Texts are
compared by their word 5-grams; how much of the shorter text the longer one holds decides (Broder 1997, containment).
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from lorag.pipeline.errors import DataError
from lorag.training.data.formats.splitting import DEV, TEST, TRAIN, Shares, deal, groups
from lorag.training.data.making.settings import MakingSettings
from lorag.training.data.rows import PassageRow, document_of

_WORD = re.compile(r"\w+")
_GRAM = 5
SAME_PASSAGE = 0.8
"""Share of the shorter passage's 5-grams from which on two passages are the same text."""
_LEAST_GRAMS = 15
"""Shorter passages tie no documents: an address or a date line says nothing of what a document is."""

Grams = frozenset[int]


@dataclass(frozen=True, slots=True)
class HumanTies:
    """What human rows fix: `tied` are sets of documents with rows in common, `split` the split of each document that has rows,
    '' if it has rows in several."""

    tied: tuple[frozenset[str], ...] = ()
    split: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Grouping:
    """`group` and `split` of each document, and the passages that are boilerplate. A group without a split gives no rows."""

    group: Mapping[str, str]
    split: Mapping[str, str]
    boilerplate: frozenset[str]

    def split_of(self, passage_id: str) -> str:
        return self.split[document_of(passage_id)]

    def group_of(self, passage_id: str) -> str:
        return self.group[document_of(passage_id)]

    @property
    def groups(self) -> int:
        return len(set(self.group.values()))


def group_documents(passages: Sequence[PassageRow], settings: MakingSettings, human: HumanTies | None = None) -> Grouping:
    """Group and split the documents of `passages`. A group is named after its first document.

    Raises DataError if there are too few groups to hold any out.
    """
    human = human or HumanTies()
    documents: dict[str, list[PassageRow]] = {}
    for passage in passages:
        documents.setdefault(document_of(passage.id), []).append(passage)
    names = list(documents)
    grams = {passage.id: _grams(passage.text) for passage in passages}
    spread = _spread(documents, grams)
    keys: list[set[Hashable]] = [{name} for name in names]
    for one, other in (*_versions(documents, grams, settings), *_shared_passages(passages, grams, settings)):
        keys[names.index(one)].add(("same", one, other))
        keys[names.index(other)].add(("same", one, other))
    for number, tied in enumerate(human.tied):
        for name in tied & documents.keys():
            keys[names.index(name)].add(("human", number))
    numbers = groups(keys)
    group = {name: names[number] for name, number in zip(names, numbers, strict=True)}
    boilerplate = frozenset(p.id for p in passages if _is_boilerplate(grams[p.id], spread, settings.common))
    split = _split(group, {name: len(held) for name, held in documents.items()}, settings, human)
    return Grouping(group, {name: split[group[name]] for name in names}, boilerplate)


def _grams(text: str) -> Grams:
    words = _WORD.findall(text.casefold())
    if len(words) < _GRAM:
        return frozenset()
    return frozenset(_hash(words[at : at + _GRAM]) for at in range(len(words) - _GRAM + 1))


def _hash(words: Sequence[str]) -> int:
    return int.from_bytes(hashlib.blake2b(" ".join(words).encode(), digest_size=8).digest(), "big")


def _spread(documents: Mapping[str, Sequence[PassageRow]], grams: Mapping[str, Grams]) -> Counter[int]:
    """5-gram → the number of documents that hold it."""
    return Counter(gram for held in documents.values() for gram in frozenset().union(*(grams[p.id] for p in held)))


def _versions(
    documents: Mapping[str, Sequence[PassageRow]], grams: Mapping[str, Grams], settings: MakingSettings
) -> Iterator[tuple[str, str]]:
    """Pairs of documents of which one holds much of the other."""
    texts = {name: frozenset().union(*(grams[p.id] for p in held)) for name, held in documents.items()}
    yield from _similar(texts, settings.same_text, settings.common)


def _shared_passages(
    passages: Sequence[PassageRow], grams: Mapping[str, Grams], settings: MakingSettings
) -> Iterator[tuple[str, str]]:
    """Pairs of documents that have a passage in common."""
    texts = {passage.id: grams[passage.id] for passage in passages if len(grams[passage.id]) >= _LEAST_GRAMS}
    for one, other in _similar(texts, SAME_PASSAGE, settings.common):
        if document_of(one) != document_of(other):
            yield document_of(one), document_of(other)


def _similar(texts: Mapping[str, Grams], share: float, common: int) -> Iterator[tuple[str, str]]:
    """Pairs of texts of which the longer holds `share` of the shorter one's 5-grams. Those in more than `common` texts do not
    count: they would compare everything with everything."""
    holders: dict[int, list[str]] = defaultdict(list)
    for name, grams in texts.items():
        for gram in grams:
            holders[gram].append(name)
    both: Counter[tuple[str, str]] = Counter()
    for names in holders.values():
        if len(names) <= common:
            both.update((one, other) for at, one in enumerate(names) for other in names[at + 1 :])
    for (one, other), number in both.items():
        if number >= share * max(1, min(len(texts[one]), len(texts[other]))):
            yield one, other


def _is_boilerplate(grams: Grams, spread: Counter[int], common: int) -> bool:
    return bool(grams) and sum(spread[gram] > common for gram in grams) >= SAME_PASSAGE * len(grams)


def _split(group: Mapping[str, str], sizes: Mapping[str, int], settings: MakingSettings, human: HumanTies) -> dict[str, str]:
    """Group → split: that of its human rows if it has any ('' if they disagree), else drawn by the passages' shares."""
    names = sorted(set(group.values()))
    if len(names) < settings.min_groups:
        raise DataError(
            f"{len(group)} documents form {len(names)} group(s) of unlike texts, too few to hold any out; "
            f"at least {settings.min_groups} are needed: add documents"
        )
    fixed: dict[str, set[str]] = defaultdict(set)
    for name, split in (human.split or {}).items():
        if name in group:
            fixed[group[name]].add(split)
    found = {name: splits.pop() if len(splits) == 1 else "" for name, splits in fixed.items()}
    weights = {name: sum(sizes[each] for each, own in group.items() if own == name) for name in names}
    return found | _dealt([name for name in names if name not in found], weights, settings, set(found.values()))


def _dealt(free: Sequence[str], weights: Mapping[str, int], settings: MakingSettings, held: set[str]) -> dict[str, str]:
    """The groups without human rows, split at random; a split that no group fits gets the smallest one of train."""
    numbers = dict(enumerate(free))
    dealt = deal({number: weights[name] for number, name in numbers.items()}, Shares(settings.dev, settings.test), settings.seed)
    split = {numbers[number]: name for number, name in dealt.items()}
    for wanted, share in ((TEST, settings.test), (DEV, settings.dev)):
        train = [name for name in free if split[name] == TRAIN]
        if share > 0 and wanted not in {*split.values(), *held} and len(train) > 1:
            split[min(train, key=lambda name: (weights[name], name))] = wanted
    return split
