"""A real node whose share takes requests and says nothing, and programs that wait for it.

Every time limit of the node is ten minutes, so whatever ends in these tests ends because of a signal, or
because the share comes alive.
"""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from blobfs.merkle import StreamHasher
from blobfs.record import BlobRecord, encode_record
from tests.mount.conftest import StartNode
from tests.mount.node import BlobfsNode
from tests.mount.probes import scripted, until
from tests.servers.scripted import Behaviour, Connection, Request, ScriptedServer, ok, ranged

SECONDS = 15
"""Within which a program ends after its signal; it takes a tenth of one."""
LIMITS = ("lookup_timeout", "read_timeout", "first_byte_timeout", "idle_timeout")
CONTENT = bytes(range(128)) * 2400
"""Many pages, in several leaves."""
SIZE = str(1 + len(CONTENT))

READ = """
import ctypes, os, signal, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)

def read(path):  # the system call, without Python's going on after EINTR
    fd = os.open(path, os.O_RDONLY)
    buffer = ctypes.create_string_buffer(1 << 20)
    count = libc.read(fd, buffer, len(buffer))
    return os.strerror(ctypes.get_errno()) if count < 0 else len(buffer.raw[:count])

def say(*words):
    print(*words, flush=True)
"""
"""What the programs of these tests begin with."""


def waking(alive: threading.Event, then: Behaviour) -> Behaviour:
    """Says nothing until the share is alive."""

    async def behave(request: Request, connection: Connection) -> bool:
        await trio.to_thread.run_sync(alive.wait, abandon_on_cancel=True)
        return await then(request, connection)

    return behave


@dataclass
class Silence:
    """A node whose share has the files `f0` and `f1`.

    It tells of them at once but does not give their content, and says nothing of the name `missing` and of
    what stands in the directory: until it is `alive`.
    """

    node: BlobfsNode
    server: ScriptedServer
    alive: threading.Event

    def path(self, name: str) -> Path:
        return self.node.path(name)

    @contextmanager
    def start(self, *command: str | Path) -> Iterator[subprocess.Popen[str]]:
        """A program, which is killed at the end if it is not over by then."""
        pipe = subprocess.PIPE
        program = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        with program:
            try:
                yield program
            finally:
                program.kill()

    def start_python(
        self, code: str, *arguments: str | Path
    ) -> AbstractContextManager[subprocess.Popen[str]]:
        return self.start(sys.executable, "-c", READ + code, *arguments)

    def waits(self, of: str = "waiting") -> int:
        count: int = self.node.status()["waits"][of]
        return count

    def wait_for_waits(self, count: int = 1) -> None:
        """Until so many calls wait, and have been looked at."""
        until(lambda: self.waits() >= count, "it waits")
        before = self.waits("looks")
        until(lambda: self.waits("looks") >= before + count, "it is watched")

    def wait_on(self) -> None:
        """For as long as an interruption would take; somebody still waits then."""
        before = self.waits("looks")
        until(lambda: self.waits("looks") > before + 5, "it waits on")

    def interruptions(self) -> int:
        count: int = self.node.status()["operations"]["errors"].get("Interrupted", 0)
        return count


def content_of(number: int) -> bytes:
    return bytes([number]) + CONTENT


def serve_file(server: ScriptedServer, number: int, alive: threading.Event) -> None:
    content = content_of(number)
    hasher = StreamHasher()
    hasher.append(content)
    tree = hasher.finish()
    record = BlobRecord(tree.root, len(content), 0o444, 1, 1)
    server.route(f"/.blobfs/names/f{number}", ok(encode_record(record)))
    server.route(f"/.blobfs/trees/{tree.root}", waking(alive, ranged(tree.tree)))
    server.route(f"/.blobfs/blobs/{tree.root}", waking(alive, ranged(content)))


@contextmanager
def silent_share(start_node: StartNode) -> Iterator[Silence]:
    alive = threading.Event()
    with scripted() as server:
        for number in range(2):
            serve_file(server, number, alive)
        server.route("/.blobfs/names/missing", waking(alive, ok(b"")))
        server.route("/.blobfs/names/.blobfs-log", waking(alive, ok(b"")))
        options = ["fill=never", *(f"{limit}=600" for limit in LIMITS)]
        node = start_node("b", shares=[server.url], options=options)
        node.expect_log("", perhaps=True)  # loads whose readers are gone fail when the server ends
        yield Silence(node, server, alive)
        alive.set()
