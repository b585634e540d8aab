"""The lists of ``status --watch``: transfers, shares, failures. Pure.

The narrower the terminal, the fewer columns: each stands with the least width at which it is shown.
"""

from collections.abc import Iterable, Sequence

from rich.cells import cell_len
from rich.progress_bar import ProgressBar
from rich.text import Text

from blobfs.cli.status_words import (
    ORDER,
    Found,
    failure_kind,
    failure_reason,
    health,
    last_failure,
    share_rate,
    short_url,
    sparkline,
    transfer_name,
    transfer_reason,
    transfer_sources,
)
from blobfs.cli.watch_table import Column, Rows, columns_that_fit, keep_end, line
from blobfs.cli.words import duration, percent, printable, rate, size

_STATE_STYLES = {"loading": "cyan", "waiting": "yellow", "filling": "blue"}
_HEALTH_STYLES = {
    "up": "green",
    "down": "bold red",
    "may be down": "yellow",
    "slow": "yellow",
    "not asked": "dim",
}


def _name_width(names: Iterable[str], width: int) -> int:
    """As wide as the longest, in bounds."""
    return min(max(map(cell_len, names), default=0), max(12, width * 3 // 10))


def _speed(bytes_per_second: float | None) -> str:
    return rate(bytes_per_second) if bytes_per_second else ""


# Transfers


def transfer_rows(found: Found, width: int) -> Rows:
    """The most urgent and the largest stay."""
    name = _name_width(map(transfer_name, found["transfers"]), width)
    has_sources = width >= 110
    columns = [
        (0, Column(lambda each: line(keep_end(transfer_name(each), name)), name)),
        (46, Column(_bar, width // 8 if has_sources else None)),
        (0, Column(lambda each: line(f"{percent(each['present'], each['size'])}%"), 4, right=True)),
        (74, Column(lambda each: line(f"of {size(each['size'])}"), 13)),
        (32, Column(lambda each: line(_speed(each["rate"])), 12, right=True)),
        (64, Column(lambda each: line(_eta(each)), 7, right=True)),
        (110, Column(_sources)),
    ]
    return Rows(found["transfers"], columns_that_fit(columns, width), _urgency, _to_come)


def _bar(transfer: Found) -> ProgressBar:
    style = _STATE_STYLES.get(transfer["state"], "cyan")
    whole = max(transfer["size"], 1)
    done = transfer["present"] if transfer["size"] else whole
    return ProgressBar(total=whole, completed=min(done, whole), complete_style=style, finished_style=style)


def _eta(transfer: Found) -> str:
    if transfer["state"] != "loading":
        return str(transfer["state"])
    return duration(transfer["eta"]) if transfer["eta"] is not None else ""


def _sources(transfer: Found) -> Text:
    if reason := transfer_reason(transfer):
        return line(reason, "yellow")
    return line(transfer_sources(transfer), "dim")


def _urgency(transfer: Found) -> tuple[int, int]:
    state = transfer["state"]
    return ORDER.index(state) if state in ORDER else len(ORDER), transfer["present"] - transfer["size"]


def _to_come(transfers: Sequence[Found]) -> str:
    return f", {size(sum(max(each['size'] - each['present'], 0) for each in transfers))} to come"


# Shares


def share_rows(found: Found, width: int) -> Rows:
    """Those that do not work stay, then those that deliver."""
    name = _name_width((short_url(share["url"]) for share in found["shares"]), width)
    sparks = min(30, width // 5)
    columns = [
        (0, Column(lambda share: line(short_url(share["url"])), name)),
        (0, Column(lambda share: line(health(share), _HEALTH_STYLES[health(share)]), 11)),
        (74, Column(_latency, 7, right=True)),
        (48, Column(lambda share: line(_speed(share_rate(share))), 12, right=True)),
        (90, Column(lambda share: _curve(share, sparks), sparks)),
        (60, Column(_note)),
    ]
    return Rows(found["shares"], columns_that_fit(columns, width), _trouble_first)


def _latency(share: Found) -> Text:
    latency = share["latency_ms"]
    return line("" if latency is None or health(share) == "down" else f"{latency:.3g} ms")


def _curve(share: Found, width: int) -> Text:
    text = Text(no_wrap=True)
    for char, failed in sparkline(share["history"], width):
        text.append(char, "red" if failed else "cyan" if char != "▁" else "dim")
    return text


def _note(share: Found) -> Text:
    if share["struck_for"] is not None:
        return line(f"sent wrong bytes: {printable(share['struck_for'])}", "red")
    if health(share) in ("down", "may be down"):
        return line(f"failed {last_failure(share)}", "yellow")
    group = "" if share["group"] == 1 else f", group {share['group']}"
    plain = ", plain" if share["plain"] else ""
    so_far = f"{size(share['received'])} so far"
    if health(share) == "slow":
        return line(f"{so_far}, another one was faster {duration(share['failed_ago'])} ago", "yellow")
    return line(f"{so_far}{group}{plain}", "dim")


def _trouble_first(share: Found) -> tuple[int, int]:
    return int(health(share) not in ("down", "may be down")), -int(share_rate(share))


# Failures


def failure_rows(found: Found, width: int) -> Rows:
    """The latest stay."""
    name = _name_width((printable(each["what"]) for each in found["failures"]), width)
    columns = [
        (0, Column(lambda each: line(f"{duration(each['ago'])} ago", "dim"), 10, right=True)),
        (60, Column(lambda each: line(each["operation"]), 7)),
        (0, Column(lambda each: line(keep_end(printable(each["what"]), name)), name)),
        (50, Column(lambda each: line(failure_kind(each), "red"), 17)),
        (0, Column(lambda each: line(failure_reason(each), "yellow" if width < 50 else ""))),
    ]
    return Rows(found["failures"], columns_that_fit(columns, width))
