"""A SIGKILL between any two system calls that change the disk.

From the call at which it strikes nothing is changed any more: what is on the disk then is what a killed
daemon leaves, and what stands in a `finally` was not done either.
"""

import os
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import xattr

from blobfs.store.opening import Store, open_store

_CHANGES = (
    *("mkdir", "rmdir", "link", "symlink", "rename", "unlink"),
    *("write", "pwrite", "ftruncate", "fsync", "utime", "chmod", "fchmod"),
)

COPY_SECONDS = 10

Call = Callable[[Store], object]


class Killed(BaseException):
    """There is no process any more."""


def run_killed(after: int, call: Callable[[], object]) -> bool:
    """Runs `call` up to so many changes; whether it was killed before its end."""
    made = 0

    def until_killed(real: Callable[..., Any], is_change: Callable[..., bool]) -> Callable[..., Any]:
        def run(*args: Any, **options: Any) -> Any:
            nonlocal made
            if is_change(*args):
                if made >= after:
                    raise Killed
                made += 1
            return real(*args, **options)

        return run

    def always(*args: object) -> bool:
        return True

    def creates(path: object, flags: int, *rest: object) -> bool:
        return bool(flags & os.O_CREAT)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", until_killed(os.open, creates))
        for name in _CHANGES:
            patch.setattr(os, name, until_killed(getattr(os, name), always))
        for name in ("setxattr", "removexattr"):
            patch.setattr(xattr, name, until_killed(getattr(xattr, name), always))
        try:
            call()
        except Killed:
            return True
    return False


def crashes(directory: Path, prepare: Call, call: Call) -> Iterator[Store]:
    """`call`, killed before its first change, before its second, ..., and last at its end: each time on a
    store of its own, which is then started again."""
    after, is_killed = 0, True
    while is_killed:
        store = open_store(directory / f"killed-{after}")
        prepare(store)
        is_killed = run_killed(after, partial(call, store))
        store.close(clean=False)
        yield from restarted(store.layout.root)
        after += 1


def crashing_starts(root: Path, copies: Path) -> Iterator[Store]:
    """A start of the store at `root`, killed before each of its changes, and the start after it."""
    copies.mkdir()
    after, is_killed = 0, True
    while is_killed:
        copied = copies / str(after)
        subprocess.run(["cp", "-a", "--", root, copied], check=True, timeout=COPY_SECONDS)
        is_killed = run_killed(after, lambda copied=copied: open_store(copied).close(clean=False))  # type: ignore[misc]
        yield from restarted(copied)
        after += 1


def restarted(root: Path) -> Iterator[Store]:
    store = open_store(root)
    try:
        yield store
    finally:
        store.close(clean=False)
