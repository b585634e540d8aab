"""What ``status --watch`` shows, fitted to a terminal's width and height. Pure.

A node has a head of two lines and three lists: transfers, shares, failures. What has no room is counted: of
the transfers the largest stay, of the failures the latest. Every row is one line, so rows can be counted.
"""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.styled import Styled
from rich.table import Table
from rich.text import Text

from blobfs.cli.status_words import condition, room, shares_by_health, transfers_by_state
from blobfs.cli.watch_poll import Seen
from blobfs.cli.watch_rows import failure_rows, share_rows, transfer_rows
from blobfs.cli.watch_table import Rows, keep_end, line
from blobfs.cli.words import count, duration, percent, printable, rate, size

SILENT = 2.5
"""Seconds without an answer until that is said: it is asked every second."""
LEAST_NODE = 8
"""Lines that a node is given at least; those that have no room are counted."""
NEARLY_FULL = 95
"""Percent."""
ROOMY = 20
"""Lines of a node from which on an empty one stands between its lists."""


def view(seen: Sequence[Seen], now: float, width: int, height: int | None) -> RenderableType:
    """All nodes, one below the other. Without a height everything is shown."""
    if not seen:
        return line("no blobfs is mounted; q ends", "dim")
    most = len(seen) if height is None else max(1, height // LEAST_NODE)
    each = None if height is None else height // min(len(seen), most)
    parts = [_node(node, now, width, each) for node in seen[:most]]
    if len(seen) > most:
        parts[-1] = _node(seen[most - 1], now, width, each and each - 1)
        parts.append(line(f"and {count(len(seen) - most, 'more mount')}", "dim"))
    return Group(*parts)


def _node(seen: Seen, now: float, width: int, height: int | None) -> RenderableType:
    trouble = _trouble(seen, now)
    if seen.status is None:
        return Group(line(printable(seen.mountpoint), "bold"), line(trouble or "", "red"))
    head: list[RenderableType] = [_title(seen, width)]
    if trouble is not None:
        head.append(line(trouble, "bold red"))
    head.append(_store(seen, width))
    lists = _lists(seen, width, None if height is None else height - len(head))
    body = Group(*lists)
    return Group(*head, body if trouble is None else Styled(body, "dim"))


def _trouble(seen: Seen, now: float) -> str | None:
    silent = now - seen.answered
    if seen.trouble is None and silent <= SILENT:
        return None
    below = "; below is what it said last" if seen.status is not None else ""
    reason = "" if seen.trouble is None else f" ({printable(seen.trouble)})"
    return f"no answer for {duration(max(silent, 0.1))}{below}{reason}"


def _title(seen: Seen, width: int) -> RenderableType:
    found = seen.status
    assert found is not None
    came = sum(transfer["rate"] or 0 for transfer in found["transfers"] if transfer["kind"] != "package")
    title = Table.grid(expand=True, padding=(0, 2, 0, 0))
    title.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    title.add_column(no_wrap=True, justify="right")
    left = line(keep_end(printable(seen.mountpoint), width // 2), "bold")
    left.append(line(f"  {condition(found)}", "not bold"))
    if found["listen"] and width >= 90:
        left.append(line(f", serves {found['listen']}", "not bold"))
    right = Text(f"{rate(came)} in", "bold cyan" if came else "dim")
    title.add_row(left, right)
    return title


def _store(seen: Seen, width: int) -> RenderableType:
    found = seen.status
    assert found is not None
    space = found["space"]
    used, whole, words = room(space)
    full = percent(used, whole)
    told = line(f"{full}% {words}")
    if space["evicted"]:
        told.append(line(f", {space['evicted']} evicted ({size(space['evicted_bytes'])})"))
    style = "red" if full >= NEARLY_FULL else "blue"
    bar = ProgressBar(total=max(whole, 1), completed=used, complete_style=style, finished_style=style)
    row = Table.grid(padding=(0, 2, 0, 0))
    row.add_column(width=max(8, width // 4))
    row.add_column(no_wrap=True, overflow="ellipsis")
    row.add_row(bar, told)
    return row


def _lists(seen: Seen, width: int, height: int | None) -> list[RenderableType]:
    found = seen.status
    assert found is not None
    lists = [
        (
            "TRANSFERS",
            transfers_by_state(found["transfers"]) or "nothing is being loaded",
            transfer_rows(found, width),
        ),
        ("SHARES", shares_by_health(found["shares"]) or "none", share_rows(found, width)),
    ]
    if found["failures"]:
        lists.append(("FAILURES", "the latest first", failure_rows(found, width)))
    is_roomy = height is None or height >= ROOMY
    rows = [len(rows) for _, _, rows in lists]
    if height is not None:
        rows = allot(height - len(lists) * (2 if is_roomy else 1), rows)
    shown: list[RenderableType] = []
    for (title, words, content), most in zip(lists, rows, strict=True):
        if is_roomy:
            shown.append(Text())
        shown.append(Text.assemble((title, "bold"), (f"  {words}", "dim"), no_wrap=True, overflow="ellipsis"))
        shown.extend(_cut(content, most))
    return shown


def _cut(content: Rows, most: int) -> list[RenderableType]:
    if len(content) <= most:
        return [content.table(len(content))] if len(content) else []
    if most <= 1:
        return [line(f" {content.rest(0)}", "dim")] if most else []
    return [content.table(most - 1), line(f" {content.rest(most - 1)}", "dim")]


def allot(rows: int, needs: Sequence[int]) -> list[int]:
    """So many rows to each list: in turn, until each has what it needs or nothing is left."""
    given = [0] * len(needs)
    left = max(rows, 0)
    while left and given != list(needs):
        for index, need in enumerate(needs):
            if given[index] < need and left:
                given[index] += 1
                left -= 1
    return given
