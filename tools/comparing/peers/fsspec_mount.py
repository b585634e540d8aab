"""``fsspec.fuse``: the file systems of Python's data tools as a mount, here HTTP behind its file cache.

``-t`` (one thread) is needed: its threads seek and read the same file without a lock, so that the kernel's
read-ahead gets wrong bytes. ``filecache::`` answers every stat of a file with EINVAL, for the lists of a web
server tell no sizes; ``simplecache::`` asks for them. Neither can tell that a directory is one.
"""

import contextlib
import importlib.metadata
import sys
from collections.abc import Iterator
from pathlib import Path

from tools.benchmarks.running import Word
from tools.comparing.peers.daemon import mounting
from tools.comparing.peers.peer import Mounted, Source


class FsspecMount:
    name = "fsspec"
    options = (
        "python -m fsspec.fuse -t simplecache::URL: a file is fetched whole when it is opened; "
        "no directory of a web server can be entered"
    )

    def version(self) -> str | None:
        try:
            found = [f"{package} {importlib.metadata.version(package)}" for package in ("fsspec", "fusepy")]
        except importlib.metadata.PackageNotFoundError:
            return None
        return ", ".join(found)

    @contextlib.contextmanager
    def mount(self, source: Source, place: Path) -> Iterator[Mounted]:
        mountpoint, cache = place / "mnt", place / "cache"
        cache.mkdir(exist_ok=True)
        kept = ("-o", f"simplecache-cache_storage={cache}")
        command: list[Word] = [
            *(sys.executable, "-P", "-m", "fsspec.fuse", f"simplecache::{source.url}"),
            *(source.url, mountpoint, "-t", *kept),
        ]
        with mounting(place, command, mountpoint) as daemon:
            yield Mounted(mountpoint, (daemon.pid,), cache, death=daemon.death)
