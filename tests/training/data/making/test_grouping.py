"""Documents that must stay together, and their split."""

from __future__ import annotations

from collections import Counter

import pytest

from lorag.pipeline.errors import DataError
from lorag.training.data.making.grouping import HumanTies, group_documents
from lorag.training.data.making.settings import MakingSettings
from lorag.training.data.rows import PassageRow

SETTINGS = MakingSettings()
SAME = "The reading room closes at half past seven on weekdays, at noon on Saturdays, and the pool is emptied every March."


def words(name: str, count: int = 40) -> str:
    return " ".join(f"{name}{at}" for at in range(count))


def documents(count: int) -> list[PassageRow]:
    return [PassageRow(f"{n:02}.md#{at}", "", words(f"d{n}p{at}w")) for n in range(count) for at in range(2)]


def test_unlike_documents_are_groups_of_their_own_and_the_shares_hold() -> None:
    grouping = group_documents(documents(20), SETTINGS)
    assert grouping.groups == 20
    assert Counter(grouping.split.values()) == {"train": 14, "dev": 2, "test": 4}
    assert grouping == group_documents(documents(20), SETTINGS)


@pytest.mark.parametrize("seed", range(3))
def test_even_the_fewest_groups_fill_each_split(seed: int) -> None:
    split = group_documents(documents(8), MakingSettings(seed=seed)).split
    assert set(split.values()) == {"train", "dev", "test"}


def test_too_few_documents_are_refused() -> None:
    with pytest.raises(DataError, match="7 documents form 7 group.s. .*at least 8 are needed: add documents"):
        group_documents(documents(7), SETTINGS)


def test_versions_of_a_document_are_one_group() -> None:
    """Of 36 5-grams of the second version 20 stand in the first."""
    old, new = words("same", 24), words("new", 16)
    passages = [*documents(9), PassageRow("v1.md#1", "", words("same", 40)), PassageRow("v2.md#1", "", f"{old} {new}")]
    grouping = group_documents(passages, SETTINGS)
    assert grouping.group["v2.md"] == grouping.group["v1.md"] == "v1.md"
    assert grouping.split["v2.md"] == grouping.split["v1.md"]
    assert grouping.groups == 10


def test_documents_with_a_passage_in_common_are_one_group_but_a_short_one_ties_nothing() -> None:
    long = [PassageRow(f"{n:02}.md#same", "", SAME) for n in (1, 5)]
    short = [PassageRow(f"{n:02}.md#short", "", "Ring the office in Tollan on 0300.") for n in (2, 6)]
    filler = [PassageRow(f"{n:02}.md#more", "", words(f"more{n}", 200)) for n in (1, 2, 5, 6)]
    group = group_documents([*documents(10), *long, *short, *filler], SETTINGS).group
    assert group["05.md"] == "01.md"
    assert group["06.md"] == "06.md"


def test_a_passage_of_many_documents_is_boilerplate_and_ties_none() -> None:
    passages = [*documents(25), *(PassageRow(f"{n:02}.md#same", "", SAME) for n in range(25))]
    grouping = group_documents(passages, SETTINGS)
    assert grouping.groups == 25
    assert grouping.boilerplate == {f"{n:02}.md#same" for n in range(25)}


def test_human_rows_fix_splits_and_tie_documents() -> None:
    human = HumanTies((frozenset({"01.md", "02.md"}),), {"01.md": "test", "03.md": "train"})
    grouping = group_documents(documents(12), SETTINGS, human)
    assert grouping.group["02.md"] == "01.md"
    assert (grouping.split["01.md"], grouping.split["02.md"], grouping.split["03.md"]) == ("test", "test", "train")


def test_a_group_whose_human_rows_disagree_gives_no_rows() -> None:
    human = HumanTies((frozenset({"01.md", "02.md"}),), {"01.md": "test", "02.md": "train"})
    assert group_documents(documents(12), SETTINGS, human).split["01.md"] == ""
