"""Every control command in every state of a node: what it says, its exit code, and how long it took.

The states: healthy; all shares are silent and 100 readers wait for them; the daemon is stopped (SIGSTOP); the
store's disk is full. `tools/control-states` prints them as a table.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.mount.loop_disk import SmallDisk, loop_disk
from tests.mount.node import BlobfsNode
from tests.mount.probes import MIB, children_of, put, until
from tests.structure import ROOT

READERS = 100
SECONDS = 20
"""No command takes longer, or the row says so."""
INTERRUPTED_AFTER = 2.0
"""Seconds. A load waits as any reader does; this long somebody looks at it, and presses Ctrl-C."""

READ = """
import os, sys, threading
files = [os.open(sys.argv[1], os.O_RDONLY) for _ in range(int(sys.argv[2]))]
print("open", flush=True)
sys.stdin.readline()
def read(number):
    try:
        os.pread(files[number], 100, (number + 1) << 17)
    except OSError:
        return  # cut off
for number in range(len(files)):
    threading.Thread(target=read, args=(number,), daemon=True).start()
print("reading", flush=True)
sys.stdin.read()
os._exit(0)
"""

TOGETHER = (
    ("status",),
    ("status", "--json"),
    ("why", "for-why"),
    ("pin", "for-pin"),
    ("unpin", "for-unpin"),
    ("reload",),
)
"""Called at once, as many users would. Then `evict` and `load`, of which one makes room and the other takes
it, and what ends a node."""
NAMES = ("for-why", "for-pin", "for-unpin", "for-evict")


@dataclass(frozen=True)
class Row:
    """What came of one command."""

    command: str
    code: int
    line: str
    """The first of what it printed, stderr's before stdout's."""
    seconds: float


@dataclass(frozen=True)
class State:
    """Brings a node into it, and takes it out of it again."""

    name: str
    words: str
    entered: Callable[[BlobfsNode, BlobfsNode], AbstractContextManager[None]]
    on_small_disk: bool = False


def call(node: BlobfsNode, command: str, *arguments: str, interrupted: bool = False) -> Row:
    """One command, to its end."""
    words = [word for word in (command, *arguments) if word.startswith("-")]
    names = [word for word in arguments if not word.startswith("-")]
    begin = time.monotonic()
    called = subprocess.Popen(
        [sys.executable, "-P", "-m", "blobfs", command, *words, str(node.mountpoint), *names],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        if interrupted:
            try:
                called.wait(INTERRUPTED_AFTER)
            except subprocess.TimeoutExpired:
                called.send_signal(signal.SIGINT)
        out, err = called.communicate(timeout=SECONDS)
    finally:
        called.kill()
    line = next(iter((err or out).splitlines()), "")
    shown = line.replace(str(node.mountpoint), "/mnt").replace(str(node.store), "/store")
    pid = str(node.process.pid) if node.process is not None else ""
    shown = shown.replace(pid, "PID") if pid else shown
    title = " ".join((command, *arguments))
    return Row(title, called.returncode, shown, round(time.monotonic() - begin, 1))


def rows_of(state: State, a: BlobfsNode, directory: Path) -> Iterator[Row]:
    """Each command in this state, to a node that loads from `a` (`origin`)."""
    with loading_node(state, a, directory / "together") as b, state.entered(a, b):
        with ThreadPoolExecutor(len(TOGETHER)) as pool:
            asked = [pool.submit(call, b, *command) for command in TOGETHER]
            yield from (each.result() for each in asked)
        yield call(b, "evict", "for-evict")
        yield call(b, "load", "for-load", interrupted=state.name == "readers")
        yield call(b, "unmount")
        if b.is_mounted():
            yield call(b, "unmount", "--lazy")
    with loading_node(state, a, directory / "abort") as b, state.entered(a, b):
        yield call(b, "abort")


@contextmanager
def origin(directory: Path) -> Iterator[BlobfsNode]:
    """It has everything."""
    with BlobfsNode(directory, "a", listen=True) as a:
        for name in NAMES:
            put(a, name, os.urandom(MIB))
        put(a, "for-load", os.urandom(2 * MIB))  # more than evictions make room for on a full disk
        put(a, "big", os.urandom((READERS + 2) << 17))
        yield a


@contextmanager
def loading_node(state: State, a: BlobfsNode, directory: Path) -> Iterator[BlobfsNode]:
    """It has loaded some of it, and need not end well. No read ends by itself."""
    directory.mkdir(parents=True)
    with ExitStack() as stack:
        if state.on_small_disk:
            stack.enter_context(loop_disk(directory / "b-store"))
        limits = [f"{each}=600" for each in ("read_timeout", "first_byte_timeout", "idle_timeout")]
        options = ["fill=never", "read_ahead=0", *limits]
        b = BlobfsNode(directory, "b", shares=[a.url], options=options)
        a.prolong()
        b.start()
        stack.callback(b._clear_away)
        for name in NAMES:
            b.path(name).read_bytes()
        call(b, "pin", "for-why")
        b.path("for-load").stat()
        until(lambda: b.status()["loading"]["loads"] == 0, "what was loaded is kept")
        yield b


@contextmanager
def healthy(a: BlobfsNode, b: BlobfsNode) -> Iterator[None]:
    yield


@contextmanager
def with_readers(a: BlobfsNode, b: BlobfsNode) -> Iterator[None]:
    """The share takes connections and says nothing; all readers have asked for something."""
    assert a.process is not None
    server = children_of(a.process.pid)
    readers = subprocess.Popen(
        [sys.executable, "-c", READ, b.path("big"), str(READERS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert readers.stdin is not None
    assert readers.stdout is not None
    try:
        assert readers.stdout.readline() == "open\n"
        for pid in server:
            os.kill(pid, signal.SIGSTOP)
        readers.stdin.write("go\n")
        readers.stdin.flush()
        assert readers.stdout.readline() == "reading\n"
        until(lambda: b.status()["loading"]["in_flight"] >= READERS, "all of them wait")
        yield
    finally:
        for pid in server:
            os.kill(pid, signal.SIGCONT)
        readers.kill()
        readers.communicate()


@contextmanager
def stopped(a: BlobfsNode, b: BlobfsNode) -> Iterator[None]:
    assert b.process is not None
    b.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        b.process.send_signal(signal.SIGCONT)


@contextmanager
def full(a: BlobfsNode, b: BlobfsNode) -> Iterator[None]:
    SmallDisk(b.store).fill()
    yield


STATES = (
    State("healthy", "all is well", healthy),
    State("readers", f"the share is silent, {READERS} readers wait", with_readers),
    State("stopped", "the daemon is stopped (SIGSTOP)", stopped),
    State("full", "the store's disk is full", full, on_small_disk=True),
)


def main() -> None:
    """Prints the table."""
    print("| state | command | exit code | seconds | first line |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as directory, origin(Path(directory)) as a:
        for state in STATES:
            for row in rows_of(state, a, Path(directory) / state.name):
                cells = state.words, f"`{row.command}`", str(row.code), str(row.seconds), row.line
                print("|", " | ".join(cell.replace("|", "\\|") for cell in cells), "|", flush=True)


if __name__ == "__main__":
    main()
