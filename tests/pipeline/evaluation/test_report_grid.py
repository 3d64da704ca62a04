"""Tables of systems by metrics: items and groups stand beside every interval."""

from __future__ import annotations

import pytest

from lorag.pipeline.evaluation.report.grid import figure_cell, floor_cell, head_row, said_size, shared_sizes
from lorag.pipeline.evaluation.report.records import AblationRow, Cell, Floor

ROWS = (
    AblationRow("base", {"F1": Cell(0.2, 0.1, 0.3, 110, 10), "words": Cell(4.0, None, None, 9, 1)}),
    AblationRow("tuned", {"F1": Cell(0.4, 0.3, 0.5, 108, 9), "words": Cell(5.0, 4.0, 6.0, 8, 1)}),
    AblationRow("both", {"F1": Cell(0.5, 0.4, 0.6, 110, 10)}),
)


def test_a_column_head_says_the_size_that_most_cells_have() -> None:
    shared = shared_sizes(ROWS)
    assert shared == {"F1": (110, 10), "words": (9, 1)}  # of equally frequent ones that of the first row
    head = head_row("System", ("F1", "words", "EM"), shared)
    assert "F1<small>110 items, 10 groups</small>" in head and "words<small>9 items, 1 group</small>" in head
    assert ">EM</th>" in head


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        (ROWS[0].cells["F1"], "<strong>0.200</strong><small>0.100–0.300</small></td>"),
        (ROWS[1].cells["F1"], '<small>0.300–0.500</small><small class="size">108 items, 9 groups</small></td>'),
        (ROWS[0].cells["words"], '<small>too few</small><small class="size">9 items, 1 group</small></td>'),
        (None, "n/a"),
    ],
)
def test_a_cell_says_its_own_size_if_that_differs(cell: Cell | None, said: str) -> None:
    assert said in figure_cell(cell, (110, 10))


def test_so_does_a_floor() -> None:
    floor = Floor("F1", "best sentence", 0.1, 0.05, 0.2, 110, 10)
    assert floor_cell(floor, (110, 10)).endswith("<small>0.050–0.200 best sentence</small></td>")
    assert "110 items, 10 groups" in floor_cell(floor, (108, 9))
    assert "items" not in floor_cell(Floor("F1", "raw", 0.1), (110, 10)) and floor_cell(None, None) == '<td class="figure"></td>'
    assert (said_size((1, 0)), said_size((2, 1))) == ("1 item", "2 items, 1 group")
