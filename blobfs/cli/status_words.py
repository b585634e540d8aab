"""What ``blobfs status`` says in words, with ``--watch`` and without. Pure: of the JSON that a node answers.

What comes from shares, and names are among it, is told as `printable` text.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from blobfs.cli.words import count, duration, part, percent, printable, rate, size

Found = Mapping[str, Any]

MOST_LINES = 8
"""Transfers, and failures, that are shown without ``--watch``; the JSON has all."""
RECENT = 10.0
"""Seconds that the rate of a share is the mean of."""
ORDER = ("loading", "waiting", "filling")
"""What transfers do, the most urgent first."""
HEALTH = ("up", "slow", "may be down", "down", "not asked")
"""Of a share."""

_SPARKS = "▁▂▃▄▅▆▇█"
_HISTORY_OVER = 300.0
"""Seconds that a node keeps of each share."""


def describe(found: Found) -> Iterator[str]:
    """The node in a few lines, and some for what moves, what failed and each share."""
    operations = {name: number for name, number in found["operations"].items() if name != "errors"}
    loading, failed = found["loading"], found["operations"]["errors"] or "none"
    yield f"{printable(found['mountpoint'])}  {condition(found)}, store {printable(found['store']['path'])}"
    yield f"  serves    {found['listen'] or 'nothing over HTTP'}"
    yield f"  space     {_space(found['space'])}"
    yield f"  sealing   {found['sealing']['pending']} pending, {found['sealing']['sealed']} sealed"
    yield (
        f"  loading   {count(loading['loads'], 'load')}, {count(loading['in_flight'], 'chunk')} in flight, "
        f"{loading['completed']} completed; {loading['bodies']} bodies at once, {loading['most_bodies']} at "
        f"most; {count(loading['waiting'], 'span')} waiting for a share"
    )
    yield (
        f"  traffic   {size(loading['kept'])} kept, {size(loading['wasted'])} wasted; "
        f"{loading['hedged']} hedged, {loading['moved']} moved, {loading['refused']} refused"
    )
    yield f"  packages  {'; '.join(_packages(found['packages']))}"
    if (scrub := found["scrub"])["rate"]:
        yield (
            f"  verified  {count(scrub['blobs'], 'blob')}, {size(scrub['bytes'])}, "
            f"{count(scrub['rounds'], 'whole round')}; {scrub['wrong']} wrong, {scrub['mended']} of these "
            "loaded again"
        )
    yield f"  requests  {sum(operations.values())} from the kernel, errors {failed}"
    yield f"  runs      {count(found['tasks'], 'task')}, {count(found['threads'], 'thread')}"
    yield from _listed("transfer", [_transfer(each) for each in found["transfers"]])
    yield from _listed("failed", [_failure(each) for each in found["failures"]])
    for share in found["shares"]:
        yield f"  share     {printable(share['url'])}  {health(share)}, {_speed(share)}; {_traffic(share)}"
        if trouble := "; ".join(share_trouble(share)):
            yield f"            {trouble}"


def condition(found: Found) -> str:
    """``ready for 3 h, pid 17``."""
    read_only = ", read-only" if found["read_only"] else ""
    return f"{found['state']} for {duration(found['time'] - found['started'])}, pid {found['pid']}{read_only}"


def _listed(label: str, lines: Sequence[str]) -> Iterator[str]:
    for line in lines[:MOST_LINES]:
        yield f"  {label:<9} {line}"
    if len(lines) > MOST_LINES:
        yield f"  {'':<9} and {len(lines) - MOST_LINES} more"


def _space(space: Found) -> str:
    used = "not measured" if space["used"] is None else f"{size(space['used'])} used"
    quota = "no quota" if space["quota"] is None else f"quota {size(space['quota'])}"
    evicted = f"{space['evicted']} evicted ({size(space['evicted_bytes'])})"
    return (
        f"{used}, {quota}; {size(space['free'])} of {size(space['partition'])} free, "
        f"{size(space['reserve'])} to stay free; {evicted}, {size(space['passed_bytes'])} passed through"
    )


def _packages(packages: Found) -> Iterator[str]:
    transactions, bundles = packages["transactions"], packages["bundles"]
    yield (
        f"{count(transactions['open'], 'transaction')} open, {transactions['completed']} completed, "
        f"{transactions['aborted']} aborted, {transactions['expired']} expired"
    )
    yield (
        f"{size(bundles['bytes'])} in {count(bundles['requests'], 'request')} for bundles, "
        f"{count(bundles['members'], 'blob')} out of them"
    )


# Transfers


def transfer_name(transfer: Found) -> str:
    """What it is called by people, or its id."""
    names = transfer["names"]
    if not names:
        return f"{transfer['kind']} {printable(transfer['key'])}"
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return printable(names[0]) + more


def transfer_sources(transfer: Found) -> str:
    """``a:8001 60%, b:8001 40%``: where it came from so far."""
    whole = sum(transfer["shares"].values())
    most = sorted(transfer["shares"].items(), key=lambda item: -item[1])
    return ", ".join(f"{short_url(url)} {percent(received, whole)}%" for url, received in most if received)


def transfer_reason(transfer: Found) -> str:
    """Why nothing comes, where that is known."""
    return printable(transfer["last_error"]) if transfer["last_error"] else ""


def transfers_by_state(transfers: Sequence[Found]) -> str:
    """``3 loading, 1 waiting``."""
    states = Counter(transfer["state"] for transfer in transfers)
    return ", ".join(f"{states[state]} {state}" for state in ORDER if states[state])


def _transfer(transfer: Found) -> str:
    parts = [
        f"{percent(transfer['present'], transfer['size'])}% of {size(transfer['size'])}",
        transfer["state"] + (f" for {count(transfer['readers'], 'reader')}" if transfer["readers"] else ""),
    ]
    if transfer["rate"]:
        parts.append(rate(transfer["rate"]))
    if transfer["eta"] is not None:
        parts.append(f"{duration(transfer['eta'])} left")
    if sources := transfer_sources(transfer):
        parts.append(f"from {sources}")
    if reason := transfer_reason(transfer):
        parts.append(reason)
    return f"{transfer_name(transfer)}  {', '.join(parts)}"


# Failures


def failure_reason(failure: Found) -> str:
    """What the caller was told, and what the last attempt was."""
    last = failure["attempts"][-1:]
    told = "".join(f" ({short_url(attempt['share'])}: {attempt['detail']})" for attempt in last)
    return printable(failure["message"] + told)


def failure_kind(failure: Found) -> str:
    """``EHOSTUNREACH``, and how often."""
    return f"{failure['errno']} x{failure['count']}" if failure["count"] > 1 else f"{failure['errno']}"


def _failure(failure: Found) -> str:
    return (
        f"{duration(failure['ago'])} ago, {failure['operation']} {printable(failure['what'])}: "
        f"{failure_reason(failure)} ({failure_kind(failure)})"
    )


# Shares


def short_url(url: str) -> str:
    """Without what all of them have."""
    return printable(url.partition("://")[2].rstrip("/") or url)


def health(share: Found) -> str:
    """up, slow, down, may be down, not asked. What others overtook counts as a failure; it is not down."""
    if share["circuit"] == "closed":
        return "up" if share["requests"] else "not asked"
    if share_rate(share) > 0 or _was_overtaken(share["last_failure"]):
        return "slow"
    return "may be down" if share["circuit"] == "half-open" else "down"


def _was_overtaken(failure: Found | None) -> bool:
    return failure is not None and failure["kind"] == "stalled" and failure["received"] > 0


def shares_by_health(shares: Sequence[Found]) -> str:
    """``2 up, 1 down``."""
    found = Counter(map(health, shares))
    return ", ".join(f"{found[word]} {word}" for word in HEALTH if found[word])


def share_rate(share: Found) -> float:
    """Bytes a second in the last seconds."""
    recent = [bucket for bucket in share["history"] if bucket["ago"] <= RECENT]
    if not recent:
        return 0.0
    taken: int = sum(bucket["bytes"] for bucket in recent)
    return taken / max(1.0, float(recent[0]["ago"]))


def sparkline(history: Sequence[Found], width: int) -> list[tuple[str, bool]]:
    """The bytes of the last five minutes in `width` characters, the latest at the right, and whether
    all failed then. What is not nothing is higher than nothing.
    """
    amounts, failed = [0] * width, [False] * width
    for bucket in history:
        column = width - 1 - int(bucket["ago"] / _HISTORY_OVER * width)
        if column >= 0:
            amounts[column] += bucket["bytes"]
            failed[column] |= bucket["failures"] > 0
    most = max(amounts, default=0)
    top = len(_SPARKS) - 1
    levels = [min(top, 1 + (top - 1) * amount // most) if amount else 0 for amount in amounts]
    return [(_SPARKS[level], wrong and not level) for level, wrong in zip(levels, failed, strict=True)]


def _speed(share: Found) -> str:
    latency, speed = share["latency_ms"], share["bytes_per_second"]
    answers = "no latency known" if latency is None else f"answers in {latency:g} ms"
    return answers if speed is None else f"{answers}, {rate(speed)}"


def _traffic(share: Found) -> str:
    asked = ", ".join(f"{number} {phase}" for phase, number in sorted(share["requests"].items())) or "nothing"
    return (
        f"asked for {asked}, {share['in_flight']} under way; {size(share['received'])} received; "
        f"connections {share['idle_connections']} idle, {share['connections_opened']} opened"
    )


def share_trouble(share: Found) -> Iterator[str]:
    """What it did wrong so far, and last."""
    if share["failures"]:
        kinds = sorted(share["failures"].items())
        yield "failures: " + ", ".join(f"{number} {kind}" for kind, number in kinds)
    if last := last_failure(share):
        yield f"the last one {last}"
    if share["struck_for"] is not None:
        yield f"sent wrong bytes: {printable(share['struck_for'])}"


def last_failure(share: Found) -> str:
    """``3 s ago: connection refused (record)``."""
    failure = share["last_failure"]
    if failure is None:
        return ""
    return f"{duration(share['failed_ago'])} ago: {printable(failure['detail'])} ({failure['phase']})"


# Room


def room(space: Found) -> tuple[int, int, str]:
    """What is taken, of how much, and in words: of the quota, or of the disk where there is none."""
    free = f"{size(space['free'])} free"
    if space["quota"] is not None:
        used = space["used"] or 0
        return used, space["quota"], f"{part(used, space['quota'])} quota, {free} on the disk"
    kept = "" if space["used"] is None else f", {size(space['used'])} in the store"
    return space["partition"] - space["free"], space["partition"], f"of the disk, {free}{kept}"
