"""``bindfs``: a directory shown again through FUSE, in C, with nothing in between: what FUSE itself costs."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tools.benchmarks.running import version_of
from tools.comparing.peers.daemon import mounting
from tools.comparing.peers.peer import Mounted, Source

PROGRAM = "bindfs"


class Bindfs:
    name = "bindfs"
    options = "bindfs, as it comes, over the share directory; written to: over an empty one"

    def version(self) -> str | None:
        return version_of(PROGRAM, "--version")

    def mount(self, source: Source, place: Path) -> contextlib.AbstractContextManager[Mounted]:
        return _mounted(place, source.share)

    @contextlib.contextmanager
    def mount_writable(self, place: Path) -> Iterator[Mounted]:
        (place / "written").mkdir(exist_ok=True)
        with _mounted(place, place / "written") as mounted:
            yield mounted


@contextlib.contextmanager
def _mounted(place: Path, directory: Path) -> Iterator[Mounted]:
    mountpoint = place / "mnt"
    with mounting(place, [PROGRAM, "-f", directory, mountpoint], mountpoint) as daemon:
        yield Mounted(mountpoint, (daemon.pid,), directory, death=daemon.death)
