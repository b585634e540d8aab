"""What is counted: blobfs, bindfs and ``rclone mount``, each taken through its phases."""

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass, replace
from pathlib import Path

from tools.benchmarks.rclone import LISTING, PROGRAM, rclone_mount
from tools.benchmarks.running import Overdue, Word
from tools.benchmarks.workbench import Workbench, served
from tools.counting.calling import caller_in
from tools.counting.counted import Counted, Key
from tools.counting.operations import Operation, Plan
from tools.counting.watching import Watched, count

MOUNT_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Counting:
    """One pass over one peer after the other: with `calls` their system calls are counted, else the rest."""

    bench: Workbench
    plan: Plan
    share: Path
    calls: bool
    only: Set[Key] | None = None
    """What is counted; all if it is None."""

    def _go(self, watched: Watched, operations: list[Operation]) -> Iterator[Counted]:
        with caller_in(watched.path, self.share / "big") as caller:
            for operation in operations:
                if self.only is not None and (operation.name, operation.state) not in self.only:
                    operation = replace(operation, name="")
                found = count(watched, caller, operation, self.calls)
                if found is not None:
                    yield found
                if found is not None and found.failure:
                    return

    def blobfs(self) -> Iterator[Counted]:
        with served(self.share) as [server], self.bench.node([server.url]) as node:

            def watched() -> Watched:
                return Watched(
                    "blobfs", node.mountpoint, node.pid, server, lambda: int(node.count("thread_hops"))
                )

            yield from self._go(watched(), self.plan.first())
            node.stop()
            node.start()
            yield from self._go(watched(), self.plan.again())
            yield from self._go(watched(), self.plan.writing())

    def bindfs(self) -> Iterator[Counted]:
        with self.bench.place() as place, _bindfs_mount(self.share, place) as watched:
            yield from self._go(watched, self.plan.again())
        with (
            self.bench.place() as place,
            self.bench.place() as target,
            _bindfs_mount(target, place) as watched,
        ):
            yield from self._go(watched, self.plan.writing())

    def rclone(self) -> Iterator[Counted]:
        with served(self.share, directives=LISTING) as [server], self.bench.place() as place:
            for operations in (self.plan.first(), self.plan.again()):
                with rclone_mount(server.url, place) as mount:
                    yield from self._go(Watched("rclone", mount.path, mount.pid, server), operations)
                mount.path.rmdir()
        with (
            self.bench.place() as place,
            self.bench.place() as target,
            _rclone_write(target, place) as watched,
        ):
            yield from self._go(watched, self.plan.writing())

    def all(self) -> dict[str, Callable[[], Iterator[Counted]]]:
        return {"blobfs": self.blobfs, "bindfs": self.bindfs, "rclone": self.rclone}


def merge(found: list[Counted], with_calls: list[Counted]) -> list[Counted]:
    """One of both passes."""
    calls = {(each.peer, each.key): each.calls for each in with_calls}
    return [replace(each, calls=calls.get((each.peer, each.key))) for each in found]


@contextlib.contextmanager
def _bindfs_mount(source: Path, place: Path) -> Iterator[Watched]:
    with _mounted(place, ["bindfs", "-f", source, place / "mnt"]) as pid:
        yield Watched("bindfs", place / "mnt", pid)


@contextlib.contextmanager
def _rclone_write(target: Path, place: Path) -> Iterator[Watched]:
    """A directory behind rclone's cache for writes: http cannot be written to."""
    options: list[Word] = [
        "--config",
        "/dev/null",
        "--vfs-cache-mode",
        "writes",
        "--cache-dir",
        place / "cache",
    ]
    with _mounted(place, [PROGRAM, "mount", target, place / "mnt", *options]) as pid:
        yield Watched("rclone", place / "mnt", pid)


@contextlib.contextmanager
def _mounted(place: Path, command: list[Word]) -> Iterator[int]:
    """The process that serves the mount on `place`/mnt, in the foreground."""
    mountpoint = place / "mnt"
    mountpoint.mkdir()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + MOUNT_SECONDS
        while not mountpoint.is_mount():
            if process.poll() is not None or time.monotonic() > end:
                raise Overdue(f"{command[0]} did not mount")
            time.sleep(0.02)
        yield process.pid
    finally:
        subprocess.run(
            ["fusermount3", "-u", "-z", "--", mountpoint], check=False, timeout=10, capture_output=True
        )
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
