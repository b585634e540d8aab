"""``httpdirfs``: a web server's lists as directories, with its permanent cache.

Without ``--no-range-check`` 1.2.5 ends at the first read: it looks for Accept-Ranges in answers of 206 too,
where no server needs to say it and nginx does not.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tools.benchmarks.running import Word, run, version_of
from tools.comparing.peers.daemon import mounting
from tools.comparing.peers.peer import Mounted, Source

PROGRAM = "httpdirfs"


class Httpdirfs:
    name = "httpdirfs"
    options = (
        "httpdirfs --cache --no-range-check of the web server; without the latter it ends at the first read; "
        "it reads one in twenty of the small files"
    )

    def version(self) -> str | None:
        if version_of(PROGRAM, "--version") is None:
            return None
        said = run(PROGRAM, "--version", limit=10, may_fail=True).said.splitlines()
        return next((line for line in said if "version" in line.lower()), "of no known version")

    @contextlib.contextmanager
    def mount(self, source: Source, place: Path) -> Iterator[Mounted]:
        mountpoint, cache = place / "mnt", place / "cache"
        cache.mkdir(exist_ok=True)
        kept = ("--cache", "--cache-location", cache)
        command: list[Word] = [PROGRAM, "-f", "--no-range-check", *kept, source.url, mountpoint]
        with mounting(place, command, mountpoint) as daemon:
            yield Mounted(mountpoint, (daemon.pid,), cache, death=daemon.death)
