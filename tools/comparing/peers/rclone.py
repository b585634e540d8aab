"""``rclone mount``: of a web server read-only with a full cache; written to, with its cache for writes."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from tools.benchmarks.running import Word, version_of
from tools.comparing.peers.daemon import mounting
from tools.comparing.peers.peer import Mounted, Source


class Rclone:
    name = "rclone"
    options = (
        "rclone mount --vfs-cache-mode full --read-only of the web server; "
        "written to: --vfs-cache-mode writes over a local directory"
    )

    def version(self) -> str | None:
        return version_of("rclone", "version")

    def mount(self, source: Source, place: Path) -> contextlib.AbstractContextManager[Mounted]:
        return _mounted(place, ":http:", "full", "--http-url", source.url, "--read-only")

    @contextlib.contextmanager
    def mount_writable(self, place: Path) -> Iterator[Mounted]:
        (place / "remote").mkdir(exist_ok=True)
        with _mounted(place, place / "remote", "writes") as mounted:
            yield mounted


@contextlib.contextmanager
def _mounted(place: Path, remote: Word, mode: str, *options: Word) -> Iterator[Mounted]:
    mountpoint, cache = place / "mnt", place / "cache"
    cache.mkdir(exist_ok=True)
    command: Sequence[Word] = [
        *("rclone", "mount", remote, mountpoint, "--config", "/dev/null"),
        *("--vfs-cache-mode", mode, "--cache-dir", cache, *options),
    ]
    with mounting(place, command, mountpoint) as daemon:
        yield Mounted(mountpoint, (daemon.pid,), cache, death=daemon.death)
