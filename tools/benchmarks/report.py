"""What a scenario says: lines on stdout, tables with the figures to the right."""

from collections.abc import Sequence

GAP = "  "


def say(line: object = "") -> None:
    print(line, flush=True)


def shown(value: float) -> str:
    """Three significant digits; counts as they are."""
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


class Table:
    """Rows under a head; the first column is text, the others are figures. Mutable: the rows, by `add`."""

    def __init__(self, *head: str) -> None:
        self._rows: list[list[str]] = [list(head)]

    def add(self, *cells: str | float | None) -> None:
        """None is a figure that there is not."""
        row = ["–" if cell is None else cell if isinstance(cell, str) else shown(cell) for cell in cells]
        self._rows.append(row)

    def __str__(self) -> str:
        widths = [max(map(len, column)) for column in zip(*self._rows, strict=True)]
        return "\n".join(self._line(row, widths) for row in self._rows)

    @staticmethod
    def _line(row: Sequence[str], widths: Sequence[int]) -> str:
        figures = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        return GAP.join([row[0].ljust(widths[0]), *figures]).rstrip()
