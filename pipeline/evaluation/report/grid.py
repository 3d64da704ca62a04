"""Tables of systems by metrics. A column head says on how many items and groups its figures are, and a cell if its own differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from lorag.pipeline.evaluation.report.markup import EN_DASH, Markup, el, number
from lorag.pipeline.evaluation.report.records import AblationRow, Cell, Floor

Size = tuple[int, int]
"""Items and groups of a figure; 0 groups are not known."""


def shared_sizes(rows: Iterable[AblationRow]) -> dict[str, Size]:
    """Metric → the size that most of its figures have; of equally frequent ones that of the first row."""
    found: dict[str, Counter[Size]] = {}
    for row in rows:
        for metric, cell in row.cells.items():
            found.setdefault(metric, Counter())[cell.n, cell.groups] += 1
    return {metric: counts.most_common(1)[0][0] for metric, counts in found.items()}


def said_size(size: Size) -> str:
    """`266 items, 22 groups`."""
    items, groups = size
    counted = f"{items} item" + ("" if items == 1 else "s")
    return f"{counted}, {groups} group" + ("" if groups == 1 else "s") if groups else counted


def head_row(first: str, metrics: Sequence[str], shared: Mapping[str, Size]) -> Markup:
    """The row of column heads."""
    names = (
        el("th", name, el("small", said_size(shared[name])) if name in shared else None, scope="col", class_="figure")
        for name in metrics
    )
    return el("tr", el("th", first, scope="col"), names)


def figure_cell(cell: Cell | None, shared: Size | None, repeated: bool = False) -> Markup:
    """A figure with its interval under it, and its size if that is not the column's."""
    if cell is None:
        return el("td", el("span", "n/a", class_="absent"), class_="figure")
    own = (cell.n, cell.groups)
    kind = "figure repeated" if repeated else "figure"
    return el(
        "td",
        el("strong", number(cell.value)),
        el("small", _interval(cell) or "too few"),
        _own_size(own, shared),
        class_=kind,
    )


def floor_cell(floor: Floor | None, shared: Size | None) -> Markup:
    """A floor's figure with its interval and name, and its size if that is not the column's."""
    if floor is None:
        return el("td", "", class_="figure")
    span = _interval(floor)
    size = _own_size((floor.n, floor.groups), shared) if floor.n else None
    return el("td", number(floor.value), el("small", f"{span} {floor.name}".strip()), size, class_="figure")


def _interval(figure: Cell | Floor) -> str:
    return "" if figure.low is None or figure.high is None else f"{number(figure.low)}{EN_DASH}{number(figure.high)}"


def _own_size(own: Size, shared: Size | None) -> Markup | None:
    return None if own == shared else el("small", said_size(own), class_="size")
