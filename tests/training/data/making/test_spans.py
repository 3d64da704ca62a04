"""The visible rules of spans."""

from __future__ import annotations

from collections import Counter

import pytest

from lorag.training.data.making.records import SpanKind
from lorag.training.data.making.settings import MakingSettings
from lorag.training.data.making.spans import choose_spans, find_spans, small_words
from lorag.training.data.rows import PassageRow

TABLE = "| item | value |\n| --- | --- |\n| clear width | 820 mm |\n| hinge | two pins, orange |"
LIST = "Bring:\n\n- a signed form and the old pass\n- two\n- proof of address, at most three months old."


def found(text: str) -> dict[SpanKind, list[str]]:
    kinds: dict[SpanKind, list[str]] = {}
    for span in find_spans(PassageRow("d.md#1", "", text)):
        assert text[span.start : span.end] == span.text
        kinds.setdefault(span.kind, []).append(span.text)
    return kinds


@pytest.mark.parametrize(
    ("text", "kind", "spans"),
    [
        ("the alarm comes at 440 °C after 2.5 hours and 60-70 kg.", SpanKind.QUANTITY, ["440 °C", "2.5 hours", "60-70 kg"]),
        ("ask for 12 things in STP-144.", SpanKind.QUANTITY, []),
        ("it costs £12.50, or M 8,940.00 a year.", SpanKind.MONEY, ["£12.50", "M 8,940.00"]),
        ("passed on 6 May 2025, again 2026-01-04 and on 3 June.", SpanKind.DATE, ["6 May 2025", "2026-01-04", "3 June"]),
        ("opens at 07:30 and closes 9 pm.", SpanKind.TIME, ["07:30", "9 pm."]),
        ("see part RF-19, job 88-1402 and W-26-019.", SpanKind.CODE, ["RF-19", "W-26-019"]),
        ("We met Elke Dray of the Port of Hask on Monday in May.", SpanKind.NAME, ["Elke Dray of the Port of Hask"]),
        ("Order taken by Old Nils' brother.", SpanKind.NAME, ["Old Nils"]),
        ("Swaps only by the manager, Mrs D. Oyelaran, or by Mr J.R. Holt.", SpanKind.NAME, ["Mrs D. Oyelaran", "Mr J.R. Holt"]),
        (
            "- Opening the post.\n- 07:22 Certificate for Ilona failed, Wed Lomax.\n2. Filters go to Henshaw.",
            SpanKind.NAME,
            ["Ilona", "Lomax", "Henshaw"],
        ),
        ("| lot | Buyer |\n| --- | --- |\n| 4 | by Hofer |", SpanKind.NAME, []),
        ("Kept by: Elke Dray, Hask\nSerial: BR36-2207.", SpanKind.VALUE, ["Elke Dray, Hask", "BR36-2207"]),
        (TABLE, SpanKind.CELL, ["820 mm", "two pins, orange"]),
        (LIST, SpanKind.ITEM, ["a signed form and the old pass", "proof of address, at most three months old"]),
        (
            "It was late because the pump of berth 2 failed, and nobody came.",
            SpanKind.REASON,
            ["because the pump of berth 2 failed"],
        ),
        ("The hatch must not be opened before 22:30; ask.", SpanKind.REASON, ["be opened before 22:30"]),
        (
            "# Head\n\nThe pool is emptied every March. No. See you there.",
            SpanKind.SENTENCE,
            ["The pool is emptied every March."],
        ),
    ],
)
def test_each_kind_by_its_rule(text: str, kind: SpanKind, spans: list[str]) -> None:
    assert found(text).get(kind, []) == spans


def test_a_word_that_is_written_small_elsewhere_is_no_name() -> None:
    text = (
        "Version 2. Author: Tomas Eide. The log of the Loft and of the ferry Tollan is kept by the Line. "
        "Diver Aksel Trine saw it. Particulars follow."
    )
    passage = PassageRow("d.md#1", "", text)
    small = small_words([PassageRow("e.md#1", "", "a diver in the loft; the line is not the author of the story")])
    assert {"loft", "line", "diver", "the"} <= small and "tollan" not in small
    names = [span.text for span in find_spans(passage, small) if span.kind is SpanKind.NAME]
    assert names == ["Tomas Eide", "Tollan", "Aksel Trine"]


def test_what_one_rule_found_is_not_found_again() -> None:
    assert found(TABLE) == {SpanKind.CELL: ["820 mm", "two pins, orange"]}


LONG = " ".join(
    f"The tank of pump {at} holds {at + 11} kg and is kept by Elke Dray{at} since 0{at % 9 + 1}:30 every day." for at in range(9)
)


def test_chosen_spans_do_not_overlap_and_are_of_unlike_kinds() -> None:
    passage = PassageRow("d.md#1", "", LONG)
    chosen = choose_spans(passage, MakingSettings(sentences=0.0))
    assert len({span.kind for span in chosen}) == 3 == len(chosen)
    ordered = sorted(chosen, key=lambda span: span.start)
    assert all(one.end <= other.start for one, other in zip(ordered, ordered[1:], strict=False))
    assert chosen == choose_spans(passage, MakingSettings(sentences=0.0))
    assert chosen != choose_spans(passage, MakingSettings(sentences=0.0, seed=1))


def test_a_quarter_are_whole_sentences_and_a_short_passage_gets_one_span() -> None:
    chosen = [span for at in range(200) for span in choose_spans(PassageRow(f"d{at}.md#1", "", LONG), MakingSettings())]
    share = Counter(span.kind for span in chosen)[SpanKind.SENTENCE] / len(chosen)
    assert 0.2 < share < 0.3  # 600 draws at .25: a standard deviation of .018
    assert len(choose_spans(PassageRow("d.md#1", "", "Dose 5 kg, at 07:30, by Elke Dray."), MakingSettings(sentences=0.0))) == 1
    assert choose_spans(PassageRow("d.md#1", "", "nothing here"), MakingSettings()) == ()
