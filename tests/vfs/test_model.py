"""The file system against a dictionary: the same operations, restarts and crashes among them."""

import errno
import os
import stat
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from blobfs.errors import BlobfsError
from blobfs.store.opening import open_store
from blobfs.vfs.attributes import Change
from tests.sync.crashes import check_store
from tests.sync.running import content
from tests.vfs.kernel import Kernel, mounted
from tests.vfs.model import Directory, File, Link, Model, Node, Refused, Unclear

PATHS = ["x", "y", "d", "d/x", "d/y", "d/e", "d/e/x", "b", "b/x"]
SIZES = [0, 1, 100, 8192, 20_000, 140_000]

START = [("mkdir", "d"), ("mkdir", "d/e"), ("mkdir", "b"), ("put", "x", b"content", 0o644), ("forget",)]
"""Without it most operations would find nothing."""

Operation = tuple
path = st.sampled_from(PATHS)
slot = st.integers(0, 2)
mode = st.sampled_from([0o644, 0o755, 0o600, 0o444])
raw = st.builds(content, st.sampled_from(SIZES), st.integers(0, 5))

operations = st.one_of(
    st.tuples(st.just("put"), path, raw, mode),
    st.tuples(st.just("put"), path, raw, mode),
    st.tuples(st.just("create"), slot, path, mode),
    st.tuples(st.just("open"), slot, path, st.booleans()),
    st.tuples(st.just("write"), slot, st.sampled_from(SIZES), raw.filter(bool)),
    st.tuples(st.just("truncate"), path, st.sampled_from(SIZES)),
    st.tuples(st.just("fsync"), slot),
    st.tuples(st.just("close"), slot),
    st.tuples(st.just("mkdir"), path),
    st.tuples(st.just("rmdir"), path),
    st.tuples(st.just("unlink"), path),
    st.tuples(st.just("rename"), path, path),
    st.tuples(st.just("rename"), path, path),
    st.tuples(st.just("link"), path, path),
    st.tuples(st.just("symlink"), path, st.sampled_from(["x", "../x"])),
    st.tuples(st.just("chmod"), path, mode),
    st.tuples(st.just("utimens"), path, st.integers(0, 2**60)),
    st.tuples(st.just("forget")),
    st.tuples(st.just("settle")),
    st.tuples(st.just("restart")),
    st.tuples(st.just("crash")),
)


@dataclass
class Run:
    """One list of operations, applied to both."""

    kernel: Kernel
    model: Model
    slots: dict[int, int] = field(default_factory=dict)
    """The handles behind the model's slots."""

    async def apply(self, operation: Operation) -> None:
        """Both do it; both succeed, or both fail with the same errno."""
        name, *args = operation
        if name in ("write", "fsync", "close") and args[0] not in self.model.slots:
            return
        if name in ("create", "open") and args[0] in self.model.slots:
            return
        try:
            getattr(self, f"model_{name}", getattr(self.model, name, None))(*args)  # type: ignore[misc]
            expected = 0
        except Refused as refused:
            expected = refused.number
        except Unclear:
            return
        assert await outcome(getattr(self, name), *args) == expected, operation

    # What is not one operation of the model

    def model_put(self, path: str, raw: bytes, mode: int) -> None:
        self.model.create(-1, path, mode)
        self.model.write(-1, 0, raw)
        self.model.close(-1)

    def model_forget(self) -> None:
        """Nothing changes."""

    # The same, through the kernel's eyes

    async def put(self, path: str, raw: bytes, mode: int) -> None:
        await self.kernel.write_file(path, raw, mode)

    async def create(self, slot: int, path: str, mode: int) -> None:
        self.slots[slot] = await self.kernel.create(path, mode)

    async def open(self, slot: int, path: str, truncate: bool) -> None:
        flags = os.O_WRONLY | (os.O_TRUNC if truncate else 0)
        self.slots[slot] = await self.kernel.open(path, flags)

    async def write(self, slot: int, offset: int, raw: bytes) -> None:
        await self.kernel.fs.write(self.slots[slot], offset, raw)

    async def truncate(self, path: str, size: int) -> None:
        await self.kernel.fs.setattr(await self.kernel.file(path), Change(size=size), None)

    async def fsync(self, slot: int) -> None:
        await self.kernel.fs.fsync(self.slots[slot], False)

    async def close(self, slot: int) -> None:
        await self.kernel.close(self.slots.pop(slot))

    async def mkdir(self, path: str) -> None:
        await self.kernel.mkdir(path)

    async def rmdir(self, path: str) -> None:
        await self.kernel.rmdir(path)

    async def unlink(self, path: str) -> None:
        await self.kernel.unlink(path)

    async def rename(self, path: str, new_path: str) -> None:
        await self.kernel.rename(path, new_path)

    async def link(self, path: str, new_path: str) -> None:
        await self.kernel.link(path, new_path)

    async def symlink(self, path: str, target: str) -> None:
        await self.kernel.symlink(path, target)

    async def chmod(self, path: str, mode: int) -> None:
        await self.kernel.fs.setattr(await self.kernel.file(path), Change(mode=mode), None)

    async def utimens(self, path: str, mtime_ns: int) -> None:
        await self.kernel.fs.setattr(await self.kernel.file(path), Change(mtime_ns=mtime_ns), None)

    async def forget(self) -> None:
        self.kernel.forget_all()

    async def settle(self) -> None:
        for path, node in self.model.nodes.items():
            if isinstance(node, Directory):
                await self.kernel.sync_directory(path)

    # Comparing

    async def compare(self) -> None:
        """Everything that can be seen is what the model says."""
        for path, node in self.model.nodes.items():
            await self._compare(path, node)

    async def _compare(self, path: str, node: Node) -> None:
        match node:
            case Directory():
                assert await self.kernel.listdir(path) == self.model.listdir(path)
            case Link(target):
                assert await self.kernel.readlink(path) == target
            case File():
                assert await self.kernel.read_file(path) == node.content
                await self._compare_attributes(path, node)

    async def _compare_attributes(self, path: str, file: File) -> None:
        if file.is_sealed:
            await self.kernel.sealed_id(path)
        shown = await self.kernel.stat(path)
        assert shown.size == len(file.content)
        if file.is_linked:
            return
        if file.mode is not None:
            sealed_mode = 0o555 if file.mode & 0o111 else 0o444
            assert stat.S_IMODE(shown.mode) == (sealed_mode if file.is_sealed else file.mode)
        if file.mtime_ns is not None:
            assert shown.mtime_ns == file.mtime_ns

    async def adopt_what_a_crash_left(self) -> None:
        """What was not safe may be gone or be there; what is there is never a half of it."""
        for path, node in list(self.model.nodes.items()):
            if not isinstance(node, File) or node.is_settled:
                continue
            node.mode = node.mtime_ns = None  # a change of these may not have come to the disk
            found = await outcome(self.kernel.read_file, path)
            if not node.is_safe and (not node.is_sealed or found == errno.ENOENT):
                assert found == errno.ENOENT, path
                del self.model.nodes[path]
        self.model.slots.clear()


async def outcome(call: Callable[..., Awaitable[object]], *args: object) -> int:
    try:
        await call(*args)
    except BlobfsError as error:
        return error.errno
    return 0


async def run(root: Path, steps: list[Operation]) -> None:
    """Each restart or crash is a new file system over the same store."""
    model = Model()
    rest = [*START, *steps]
    is_crashed = False
    while rest or is_crashed:
        store = open_store(root)
        async with mounted(store) as kernel:
            running = Run(kernel, model)
            if is_crashed:
                await running.adopt_what_a_crash_left()
            await running.compare()
            is_crashed = False
            while rest and not is_crashed:
                operation = rest.pop(0)
                if operation[0] == "restart":
                    break
                is_crashed = operation[0] == "crash"
                if not is_crashed:
                    await running.apply(operation)
            if not is_crashed:
                await finish(running)
        if not is_crashed:
            check_store(store)
        store.close(clean=not is_crashed)


async def finish(running: Run) -> None:
    """A clean end: everything is as the model says, and nothing of it stays behind."""
    await running.compare()
    while not await running.kernel.sync.finish(5):
        await wait_all_tasks_blocked()
    for handle in running.slots.values():
        await running.kernel.fs.release(handle)
    for file in {id(file): file for file in running.model.slots.values()}.values():
        file.writers = 0
    running.model.slots.clear()
    while not await running.kernel.sync.finish(5):
        await wait_all_tasks_blocked()
    await running.compare()
    running.kernel.forget_all()
    assert running.kernel.fs.statistics() == {"inodes": 1, "handles": 0}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(operations, min_size=3, max_size=30))
def test_the_file_system_is_what_the_model_says(steps: list[Operation]) -> None:
    """Any operations, in any order: the same results, the same errors, the same after each restart."""
    with tempfile.TemporaryDirectory() as directory:
        trio.run(run, Path(directory) / "store", steps)
