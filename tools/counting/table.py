"""The counts as Markdown."""

from collections.abc import Iterator, Sequence

from tools.counting.counted import Counted, Key

Cells = Sequence[str]


def markdown(found: list[Counted], before: list[Counted] | None = None) -> str:
    """Every table; with `before`, first what blobfs cost then and costs now."""
    tables = [_compared(before, found)] if before else []
    return "\n\n".join([*tables, _costs(found), _peers(found), _opcodes(found)]) + "\n"


def _costs(found: list[Counted]) -> str:
    heads = (
        "operation",
        "waited for",
        "not waited for",
        "sleeps",
        "HTTP",
        "received",
        "hops",
        "system calls",
        "copies",
        "CPU µs",
        "µs",
    )
    rows = [
        (
            _name(each),
            _figure(each.waited_for),
            _figure(each.not_waited_for),
            _figure(each.sleeps),
            _figure(each.http),
            _size(each.received),
            _figure(each.hops),
            _figure(each.call_count),
            _figure(each.copies),
            _whole(each.cpu),
            _whole(each.took),
        )
        for each in found
        if each.peer == "blobfs"
    ]
    return _table(heads, rows)


def _compared(before: list[Counted], now: list[Counted]) -> str:
    """What blobfs cost, and what it costs: `before → now`, or one figure where nothing has changed."""
    heads = ("operation", "round trips waited for", "HTTP", "hops", "system calls", "copies", "CPU µs")
    old, new = _of("blobfs", before), _of("blobfs", now)
    rows = [
        (
            _name(new[key]),
            _change(old[key].waited_for, new[key].waited_for),
            _change(old[key].http, new[key].http),
            _change(old[key].hops, new[key].hops),
            _change(old[key].call_count, new[key].call_count),
            _change(old[key].copies, new[key].copies),
            f"{_whole(old[key].cpu)} → {_whole(new[key].cpu)}",
        )
        for key in new
        if key in old
    ]
    return _table(heads, rows)


def _peers(found: list[Counted]) -> str:
    """The same operation at every peer: round trips that are waited for, and the daemon's CPU time."""
    peers = list(dict.fromkeys(each.peer for each in found))
    by_peer = {peer: _of(peer, found) for peer in peers}
    heads = ("operation", *(f"{peer}: {what}" for what in ("waited for", "CPU µs", "µs") for peer in peers))
    keys = dict.fromkeys(each.key for each in found)
    rows = []
    for key in keys:
        at = [by_peer[peer].get(key) for peer in peers]
        rows.append(
            (
                ", ".join(filter(None, key)),
                *(_figure(each.waited_for) if each else "–" for each in at),
                *(_whole(each.cpu) if each else "–" for each in at),
                *(_whole(each.took) if each else "–" for each in at),
            )
        )
    return _table(heads, rows)


def _opcodes(found: list[Counted]) -> str:
    rows = [(_name(each), each.peer, _list(each.requests), each.failure) for each in found]
    return _table(("operation", "peer", "FUSE requests", "failed"), rows)


def _of(peer: str, found: list[Counted]) -> dict[Key, Counted]:
    return {each.key: each for each in found if each.peer == peer}


def _name(each: Counted) -> str:
    return ", ".join(filter(None, each.key))


def _list(counts: dict[str, float]) -> str:
    return ", ".join(f"{name} {_figure(number)}" for name, number in counts.items()) or "none"


def _change(before: float | None, now: float | None) -> str:
    old, new = _figure(before), _figure(now)
    return new if old == new else f"{old} → {new}"


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}".removesuffix(".0")


def _whole(value: float) -> str:
    return f"{value:,.0f}"


def _size(count: float | None) -> str:
    return "–" if count is None else f"{count / 1024:,.1f} KiB".replace(".0 ", " ")


def _table(heads: Cells, rows: Sequence[Cells]) -> str:
    return "\n".join(_lines(heads, rows))


def _lines(heads: Cells, rows: Sequence[Cells]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
