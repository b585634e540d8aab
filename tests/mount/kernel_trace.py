"""What a mount's kernel side asked its daemon for, request by request, as the kernel itself traces it.

::

    with fuse_requests(node.mountpoint) as seen:
        node.path("f").read_bytes()
    assert seen == {"LOOKUP": 1, "OPEN": 1, "READ": 1, "FLUSH": 1, "RELEASE": 1}
    assert seen["GETATTR"] == 0

It works for every FUSE mount, and counts what never reaches an adapter too. Three rules:

1. The kernel's events ``fuse_request_send`` and ``fuse_request_end`` are read from a trace instance of one's
   own, filtered by the mount's connection. FORGET has no answer and no event: it is not counted.
2. Where the kernel cannot tell (no tracefs, no rights, a kernel before 6.11), a blobfs mount is asked what
   its adapter has counted: the same names, `requests` stays empty. Nothing is ever skipped over in silence:
   where there is neither, it raises `NoTrace`.
3. An event that was lost raises. A count that may be wrong is no count.
"""

import itertools
import os
import re
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from blobfs.control.client import fetch_status

TRACEFS = Path("/sys/kernel/tracing")
BUFFER_KIB = 4096
"""For each CPU; an event takes some 40 bytes."""
NOBODY_WAITS = frozenset({"RELEASE", "RELEASEDIR", "FORGET", "BATCH_FORGET", "INTERRUPT", "INIT", "DESTROY"})
"""The kernel sends these in the background: the caller goes on, or is none.

A READ may be one that was sent ahead, but somebody waits for the last of them. How often a caller really
slept is for him to tell: ``getrusage(RUSAGE_THREAD).ru_nvcsw``.
"""

_EVENT = re.compile(
    r"-(?P<pid>\d+) +\[\d+\] \S+ +(?P<seconds>[\d.]+): fuse_request_(?P<kind>send|end): "
    r"connection \d+ req (?P<unique>\d+) (?:opcode \d+ \(FUSE_(?P<opcode>\w+)\) )?len (?P<length>\d+)"
)
_LOST = re.compile(r"^(?:overrun|commit overrun|dropped events): (\d+)$", re.MULTILINE)
_INSTANCES = itertools.count()
_COUNTED_AS = {"readdir": "READDIRPLUS", "prune": "", "forget": "", "errors": ""}
"""Where the adapter's word is not the kernel's; "" is no request that is counted."""
_SETTLED_SECONDS = 0.02
"""Between two looks at an adapter's counters that must be alike: RELEASE is on its way after the close."""


class NoTrace(Exception):
    """Neither the kernel nor a daemon of ours tells what was asked for."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request. Times are the kernel's, in seconds."""

    opcode: str
    pid: int
    """The thread that caused it, which is not always the one that waits."""
    sent: float
    length: int
    answered: float | None
    """None: not while it was looked at."""


def _already_forgotten() -> None:
    """Before the ``with`` and after it there is nothing to forget."""


class Seen(Counter[str]):
    """How often each opcode was sent; filled in when the ``with`` is left."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[Request] = []
        """In the order they were sent; none if only an adapter could be asked."""
        self.forget: Callable[[], object] = _already_forgotten
        """Inside of the ``with``: only what comes from now on is counted."""

    def waited_for(self) -> int:
        """The round trips that stand in a caller's way."""
        return sum(number for opcode, number in self.items() if opcode not in NOBODY_WAITS)


@contextmanager
def fuse_requests(mountpoint: Path) -> Iterator[Seen]:
    seen = Seen()
    if is_traceable():
        with _instance(_connection(mountpoint)) as instance:
            seen.forget = partial((instance / "trace").write_text, "")
            yield seen
            seen.requests = _read_requests(instance)
        seen.update(request.opcode for request in seen.requests)
        return
    store = _store_of(mountpoint)
    before = _adapter_counts(store)

    def forget() -> None:
        before.clear()
        before.update(_settled_counts(store))

    seen.forget = forget
    yield seen
    seen.update(_settled_counts(store) - before)


# --- the kernel


def is_traceable() -> bool:
    """Whether the kernel tells; tracefs is mounted if it is not yet."""
    events = TRACEFS / "events" / "fuse" / "fuse_request_send"
    if not events.exists() and os.geteuid() == 0:
        command = ["mount", "-t", "tracefs", "tracefs", str(TRACEFS)]
        subprocess.run(command, check=False, capture_output=True, timeout=10)
    return events.exists() and os.access(TRACEFS / "instances", os.W_OK)


def _connection(mountpoint: Path) -> int:
    """The number of a mount's connection is its device, as the kernel packs it. The mount is not touched."""
    table = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape")
    devices = [line.split(" ")[2] for line in table.splitlines() if line.split(" ")[4] == str(mountpoint)]
    if not devices:
        raise NoTrace(f"nothing is mounted on {mountpoint}")
    major, minor = map(int, devices[-1].split(":"))
    return major << 20 | minor


@contextmanager
def _instance(connection: int) -> Iterator[Path]:
    path = TRACEFS / "instances" / f"blobfs-{os.getpid()}-{next(_INSTANCES)}"
    path.mkdir()
    try:
        (path / "buffer_size_kb").write_text(str(BUFFER_KIB))
        # Only `send` knows the opcode; `end` has the connection too.
        (path / "events/fuse/filter").write_text(f"connection == {connection}")
        (path / "events/fuse/enable").write_text("1")
        yield path
    finally:
        (path / "events/fuse/enable").write_text("0")
        path.rmdir()


def _read_requests(instance: Path) -> list[Request]:
    (instance / "events/fuse/enable").write_text("0")
    for statistics in instance.glob("per_cpu/cpu*/stats"):
        if lost := sum(map(int, _LOST.findall(statistics.read_text()))):
            raise NoTrace(f"{lost} events were lost: ask for less at once")
    events = list(_EVENT.finditer((instance / "trace").read_text("utf-8", "replace")))
    ends = {event["unique"]: float(event["seconds"]) for event in events if event["kind"] == "end"}
    return [
        Request(
            event["opcode"],
            int(event["pid"]),
            float(event["seconds"]),
            int(event["length"]),
            ends.get(event["unique"]),
        )
        for event in events
        if event["kind"] == "send"
    ]


# --- the adapter


def _store_of(mountpoint: Path) -> Path:
    """The mount's source, in the table that ends `... - TYPE SOURCE OPTIONS`."""
    table = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape")
    for line in reversed(table.splitlines()):
        before, _, after = line.partition(" - ")
        kind, source, *_ = after.split(" ")
        if before.split(" ")[4] == str(mountpoint) and kind == "fuse.blobfs":
            return Path(source)
    raise NoTrace(f"the kernel does not trace FUSE here, and {mountpoint} is no mount of blobfs")


def _adapter_counts(store: Path) -> Counter[str]:
    asked: dict[str, Any] = fetch_status(store)["operations"]
    words = {word: _COUNTED_AS.get(word, word.upper()) for word in asked}
    return Counter({opcode: asked[word] for word, opcode in words.items() if opcode})


def _settled_counts(store: Path) -> Counter[str]:
    counts = _adapter_counts(store)
    while True:
        time.sleep(_SETTLED_SECONDS)
        before, counts = counts, _adapter_counts(store)
        if counts == before:
            return counts
