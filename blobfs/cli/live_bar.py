"""A bar that is drawn over itself on a terminal. Imported when there is one to draw."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from blobfs.cli.bars import Bar, Draw


class _Drawn:
    """Asked anew whenever it is drawn."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar

    def __rich__(self) -> Table:
        bar = self._bar
        first = Table.grid(padding=(0, 1), expand=True)
        first.add_column(ratio=1)
        first.add_column(no_wrap=True)
        length, position = bar.steps.length, bar.steps.position
        done = ProgressBar(total=100, completed=100 * position / length if length else bar.percent)
        first.add_row(done, _line(f"{bar.percent:3}%  {bar.text()}"))
        table = Table.grid(padding=(0, 1), expand=True)
        table.add_column(no_wrap=True)
        table.add_column(ratio=1)
        table.add_row(_line(bar.label), first)
        if details := bar.details():
            table.add_row("", _line(details, style="dim"))
        return table


def _line(text: str, style: str = "") -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


@contextmanager
def live(bar: Bar) -> Iterator[Draw]:
    """Gives what draws it anew."""
    console = Console(stderr=True)
    with Live(_Drawn(bar), console=console, auto_refresh=False, redirect_stdout=False) as display:
        yield display.refresh
