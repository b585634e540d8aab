"""A list on a terminal: rows of one line each, of which some may have no room. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, chop_cells
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from blobfs.cli.status_words import Found
from blobfs.cli.words import printable

GAP = 2
"""Characters between two columns."""


@dataclass(frozen=True, slots=True)
class Column:
    cell: Callable[[Found], RenderableType]
    width: int | None = None
    """Characters; None: what the others leave."""
    right: bool = False


@dataclass(frozen=True, slots=True)
class Rows:
    """A list that may be cut."""

    items: Sequence[Found]
    columns: Sequence[Column]
    rank: Callable[[Found], tuple[int, int]] = lambda item: (0, 0)
    """Those for which it is least stay. The order of the list is kept: rows that change places cannot be
    read."""
    left_out: Callable[[Sequence[Found]], str] = lambda items: ""
    """What is worth telling of the others."""

    def __len__(self) -> int:
        return len(self.items)

    def table(self, most: int) -> Table:
        """So many of them."""
        table = Table.grid(padding=(0, GAP, 0, 0), pad_edge=False, expand=True)
        for column in self.columns:
            table.add_column(
                width=column.width, ratio=1 if column.width is None else None, no_wrap=True,
                overflow="ellipsis", justify="right" if column.right else "left",
            )  # fmt: skip
        for item in self._split(most)[0]:
            table.add_row(*(column.cell(item) for column in self.columns))
        return table

    def rest(self, most: int) -> str:
        """What stays away, in words."""
        others = self._split(most)[1]
        return f"and {len(others)} more{self.left_out(others)}"

    def _split(self, most: int) -> tuple[list[Found], list[Found]]:
        places = sorted(range(len(self.items)), key=lambda place: self.rank(self.items[place]))
        kept = set(places[:most])
        return (
            [item for place, item in enumerate(self.items) if place in kept],
            [item for place, item in enumerate(self.items) if place not in kept],
        )


def columns_that_fit(wanted: Sequence[tuple[int, Column]], width: int) -> list[Column]:
    """Those for which the terminal is wide enough: each stands with the least width that it is shown at."""
    return [column for least, column in wanted if width >= least]


def keep_end(text: str, width: int) -> str:
    """Of a path the end tells more than the beginning."""
    if cell_len(text) <= width:
        return text
    kept = chop_cells(text[::-1], max(width - 1, 1))[0][::-1]
    return f"…{kept}"


def line(text: str, style: str = "") -> Text:
    """One line, whatever it is."""
    return Text(printable(text), style=style, no_wrap=True, overflow="ellipsis")
