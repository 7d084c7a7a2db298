"""A table of plain text."""

from collections.abc import Callable, Sequence


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    paint: Callable[[int, str], str] = lambda _, cell: cell,
) -> str:
    """Return rows under a head, each column as wide as its widest cell.

    Args:
        head: the names of the columns.
        rows: one cell per column.
        paint: called with the number of the column and each cell once it has its width.
    """
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]

    def line(cells: Sequence[str]) -> list[str]:
        return [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]

    rule = ["-" * width for width in widths]
    painted = [[paint(number, cell) for number, cell in enumerate(line(row))] for row in rows]
    return "\n".join("  ".join(cells).rstrip() for cells in [line(head), rule, *painted])
