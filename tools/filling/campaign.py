"""Two runs: a quota that is a fifth of what is read, and a partition that somebody else fills up.

In both every byte that a reader gets is compared, and the disk is looked at all the time.
"""

import os
import random
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.mount.loop_disk import loop_disk
from tests.mount.node import BlobfsNode
from tests.mount.probes import blob_id, blobfs
from tests.servers.nginx import Nginx

MIB = 1 << 20
SIZES = (1, 4, 16, 64, 96)
"""MiB: the blobs that are read in turn."""
LOOK_EVERY = 0.05
"""Seconds between two looks at the disk."""
DISK = 400 * MIB
"""Of the partition that is filled up."""


@dataclass(frozen=True, slots=True)
class Amounts:
    """Bytes."""

    quota: int
    read: int


@dataclass(eq=False)
class Watch:
    """Looks at how much of the disk a store takes. Mutable: what it saw, and what was wrong."""

    store: Path
    limit: int
    most: int = 0
    looks: int = 0
    failures: list[str] = field(default_factory=list)

    def look(self) -> None:
        taken = 0
        seen: set[int] = set()
        for directory, _, names in os.walk(self.store):
            for name in names:
                try:
                    found = os.lstat(f"{directory}/{name}")
                except FileNotFoundError:
                    continue
                if found.st_ino not in seen:
                    seen.add(found.st_ino)
                    taken += found.st_blocks * 512
        self.looks += 1
        self.most = max(self.most, taken)
        if taken > self.limit:
            self.failures.append(f"the store took {taken} bytes of {self.limit}")

    @contextmanager
    def watching(self) -> Iterator[None]:
        ended = threading.Event()

        def run() -> None:
            while not ended.wait(LOOK_EVERY):
                self.look()

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


class LongNode(BlobfsNode):
    lifetime = 1800.0


def run_campaign(directory: Path, amounts: Amounts) -> list[str]:
    """What was wrong; prints what it sees."""
    source = directory / "source"
    source.mkdir()
    with LongNode(source, "a") as a:
        ids = _publish(a, amounts)
        with Nginx(a.share) as nginx:
            failures = _within_quota(directory, nginx.url, ids, amounts)
            failures += _on_a_full_disk(directory, nginx.url, ids)
    return failures


def _publish(a: BlobfsNode, amounts: Amounts) -> dict[str, tuple[str, int]]:
    """Blobs of random bytes: id and size of each name."""
    chance = random.Random(7)
    ids, left, number = {}, amounts.read, 0
    largest = amounts.quota // 8
    while left > 0:
        size = min(SIZES[number % len(SIZES)] * MIB, largest, left)
        content = chance.randbytes(size)
        name = f"blobs/{number:03}"
        a.path("blobs").mkdir(exist_ok=True)
        a.path(name).write_bytes(content)
        ids[name] = (blob_id(content), size)
        left, number = left - size, number + 1
    subprocess.run(["sync", "-f", a.mountpoint], check=True, timeout=600)
    print(f"published {len(ids)} blobs, {amounts.read // MIB} MiB", flush=True)
    return ids


def _read(b: BlobfsNode, name: str, blob: str) -> str | None:
    """What was wrong with it."""
    try:
        content = b.path(name).read_bytes()
    except OSError as failure:
        return f"reading {name}: {failure.strerror}"
    return None if blob_id(content) == blob else f"{name} has wrong bytes"


def _within_quota(directory: Path, url: str, ids: dict[str, tuple[str, int]], amounts: Amounts) -> list[str]:
    options = ["fill=never", f"quota={amounts.quota}"]
    with LongNode(directory, "b", shares=[url], options=options) as b:
        watch = Watch(b.store, amounts.quota)
        failures = watch.failures
        pinned = list(ids)[:3]
        begin = time.monotonic()
        with watch.watching():
            for name, (blob, _) in ids.items():
                if (wrong := _read(b, name, blob)) is not None:
                    failures.append(wrong)
                if name in pinned and blobfs("pin", b.mountpoint, name).returncode:
                    failures.append(f"{name} could not be pinned")
        space = b.status()["space"]
        here = sum((b.share / ".blobfs/blobs" / blob).exists() for blob, _ in ids.values())
        failures += [
            f"the pinned {name} is gone"
            for name in pinned
            if not (b.share / ".blobfs/blobs" / ids[name][0]).exists()
        ]
        print(
            f"quota {amounts.quota // MIB} MiB: {amounts.read // MIB} MiB read in "
            f"{time.monotonic() - begin:.0f} s; at most {watch.most / MIB:.1f} MiB on the disk in "
            f"{watch.looks} looks; {space['evicted']} evicted ({space['evicted_bytes'] // MIB} MiB) in "
            f"{space['rounds']} rounds, {space['passed_bytes'] // MIB} MiB passed through; {here} of "
            f"{len(ids)} blobs here at the end, {len(pinned)} pinned ones among them",
            flush=True,
        )
        b.stop()
    return failures


def _on_a_full_disk(directory: Path, url: str, ids: dict[str, tuple[str, int]]) -> list[str]:
    """What reads, writes, status and evict do when nothing is left at all; and afterwards."""
    failures: list[str] = []
    store = directory / "c-store"
    names = list(ids)[:8]

    def check(name: str, what: str) -> None:
        wrong = _read(c, name, ids[name][0])
        print(f"  {what}: {wrong or 'the right bytes'}", flush=True)
        if wrong is not None:
            failures.append(wrong)

    with loop_disk(store, DISK) as disk, LongNode(directory, "c", shares=[url]) as c:
        c.expect_log("No space left on device|could not seal|no room", perhaps=True)
        for name in names[:4]:
            check(name, f"read {name} with room")
        disk.fill()
        print(f"the partition is full: {disk.free()} bytes free", flush=True)
        check(names[0], "read what is here")
        check(names[4], "read what is missing")
        try:
            c.path("mine").write_bytes(os.urandom(8 * MIB))
            print("  write 8 MiB: it succeeded, for something was evicted", flush=True)
        except OSError as failure:
            print(f"  write 8 MiB: {failure.strerror}", flush=True)
        for command in (["status"], ["evict", "blobs"]):
            done = blobfs(command[0], c.mountpoint, *command[1:])
            print(f"  blobfs {command[0]}: exit code {done.returncode}; {done.stdout.splitlines()[0]}")
            if done.returncode:
                failures.append(f"{command[0]} failed: {done.stderr}")
        disk.make_room()
        check(names[5], "read with room again")
        c.path("mine2").write_bytes(b"room again")
        loaded = blobfs("load", c.mountpoint, names[5])
        print(f"  blobfs load: {loaded.stdout.strip() or loaded.stderr.strip()}", flush=True)
        if loaded.returncode or c.path("mine2").read_bytes() != b"room again":
            failures.append("it did not recover")
        c.stop()
    return failures
