"""What ``blobfs why`` says in words. Pure: of the JSON that the node answers.

Some of it comes from shares: every line is `printable`.
"""

from collections.abc import Iterator
from typing import Any

from blobfs.cli.words import count, duration, printable, size

MOST_LINES = 8
"""Requests, and attempts, that are shown; the JSON has all."""

_Found = dict[str, Any]

_ORIGINS = {"own": "of this node", "loaded": "loaded from the shares", "shares": "on the shares"}


def describe(found: _Found) -> list[str]:
    """A line that says what it is, then one for each thing that is known."""
    subject = found["name"] if found["name"] is not None else f".blobfs/blobs/{found['blob']}"
    lines = [printable(f"{subject or 'the mount itself'}: {_headline(found)}")]
    for label, text in _facts(found):
        lines.append(printable(f"  {label:<9} {text}".rstrip()))
    return lines


def _headline(found: _Found) -> str:
    kind, origin = found["kind"], _ORIGINS.get(found["origin"], "")
    if kind in ("file", "plain file", "blob"):
        return ", ".join(part for part in (f"a {kind}", origin, _state(found)) if part)
    if kind == "removed":
        return f"removed, {'by this node' if found['origin'] == 'own' else 'as a share says'}"
    if kind == "symlink":
        return f"a symlink {origin}, to {found['record']['target']}"
    if kind is not None:
        return f"a {kind} {origin}"
    if _is_absent(found):
        what = "it" if found["absent_of"] == found["name"] else f"the directory {found['absent_of']}"
        return f"no share has {what}: all of them said so {duration(found['absent_ago'])} ago (ENOENT)"
    if found["lookup"] is not None:
        if found["lookup"]["errno"] == "ENOENT":
            return "no share has it"
        return "what it is could not be found out"
    if found["is_known"]:
        return "it could not be loaded"
    return "nothing is known of it; no share was asked"


def _is_absent(found: _Found) -> bool:
    """Whether that is the last word."""
    if found["absent_ago"] is None:
        return False
    return found["lookup"] is None or found["absent_ago"] <= found["lookup"]["seconds_ago"]


def _state(found: _Found) -> str:
    writing = found["writing"]
    if writing is not None:
        ends = f"{count(writing['writers'], 'writer')}" if writing["writers"] else "closed, not sealed yet"
        return f"being written ({ends}), {size(found['present'])} so far"
    if found["state"] == "partial":
        return f"partial: {size(found['present'])} of {size(found['size'])} are here"
    return f"{found['state']}, {size(found['size'])}"


def _facts(found: _Found) -> Iterator[tuple[str, str]]:
    if found["blob"] is not None and found["name"] is not None:
        yield "blob", found["blob"]
    if found["record"] is not None:
        yield "record", _record(found["record"])
    if found["writing"] is not None and found["writing"]["failure"] is not None:
        yield "writing", f"could not be sealed: {found['writing']['failure']}"
    if found["load"] is not None:
        yield from _load(found["load"])
    yield from _told("failed", found["last_error"])
    yield from _told("lookup", found["lookup"], _as_seen(found))
    for share in found["shares"]:
        yield "share", f"{share['url']}  {'; '.join(_share(share))}"


def _as_seen(found: _Found) -> str:
    """What the caller got instead: a kernel that is to create a name must be told that it is not there."""
    lookup = found["lookup"]
    if lookup is None or found["name"] is None:
        return ""
    of = f" ({found['lookup_of']})" if found["lookup_of"] != found["name"] else ""
    hides = not found["read_only"] and lookup["errno"] not in ("ENOENT", "EBADMSG")
    return of + ("; as the mount is writable, its caller was told ENOENT" if hides else "")


def _record(record: _Found) -> str:
    parts = [f"{key} {record[key]}" for key in ("mode", "mtime", "published") if key in record]
    return f"{record['kind']}, {', '.join(parts)}"


def _load(load: _Found) -> Iterator[tuple[str, str]]:
    requests = load["requests"]
    if not load["readers"] and not requests:
        return
    yield "loading", f"{count(load['readers'], 'reader')}, {count(len(requests), 'request')} under way"
    for request in requests[:MOST_LINES]:
        yield "", _request(request)
    if len(requests) > MOST_LINES:
        yield "", f"and {len(requests) - MOST_LINES} more"
    yield from (("", _attempt(attempt)) for attempt in load["attempts"][-MOST_LINES:])


def _request(request: _Found) -> str:
    wanted = f"bytes {request['offset']} to {request['offset'] + request['length']} ({request['urgency']})"
    if request["share"] is None:
        return f"{wanted}: waits for a share"
    return (
        f"{wanted}: {request['share']}, {size(request['received'])} in {duration(request['asked_ago'])}, "
        f"silent for {duration(request['silent_for'])}"
    )


def _told(label: str, told: _Found | None, more: str = "") -> Iterator[tuple[str, str]]:
    if told is None:
        return
    yield label, f"{duration(told['seconds_ago'])} ago: {told['conclusion']}{more}"
    for attempt in told["attempts"][-MOST_LINES:]:
        yield "", _attempt(attempt)


def _attempt(attempt: _Found) -> str:
    arrived = f", {size(attempt['received'])}" if attempt["received"] else ""
    took = f"{attempt['ms']} ms{arrived}"
    request = f" [{attempt['request']}]" if attempt["request"] else ""
    return f"{attempt['share']} {attempt['phase']}: {attempt['detail']} ({attempt['kind']}, {took}){request}"


def _share(share: _Found) -> Iterator[str]:
    match share["circuit"]:
        case "open":
            yield f"down, tried again in {duration(share['next_try_in'] or 0.0)} (circuit open)"
        case "half-open":
            yield "may be down still (circuit half-open)"
        case _:
            was_asked = share["answered_ago"] is not None or share["last_failure"] is not None
            yield "up" if was_asked else "not asked yet"
    if share["record"] is not None:
        yield f"has a record of it: {share['record']['kind']}, published {share['record']['published']}"
    if share["log_read_ago"] is not None:
        yield f"its listing was read {duration(share['log_read_ago'])} ago"
    if share["log_failure"] is not None:
        yield f"its listing could not be read: {share['log_failure']['detail']}"
    if share["verdict"] is not None:
        yield f"not asked again for it: {share['verdict']['detail']}"
    if share["last_failure"] is not None:
        failure = share["last_failure"]
        ago = duration(share["failed_ago"])
        yield f"last failed {ago} ago: {failure['detail']} ({failure['phase']}, {failure['kind']})"
    if share["struck_for"] is not None:
        yield f"sent wrong bytes: {share['struck_for']}"
