"""The disk itself, without anything between: the limit."""

import contextlib
import platform
from collections.abc import Iterator
from pathlib import Path

from tools.comparing.peers.peer import Mounted, Source


class Ext4:
    name = "ext4"
    options = "the share directory itself, on the file system of the scratch directory: the limit"

    def version(self) -> str:
        return f"Linux {platform.release()}"

    @contextlib.contextmanager
    def mount(self, source: Source, place: Path) -> Iterator[Mounted]:
        yield Mounted(source.share, (), source.share)

    @contextlib.contextmanager
    def mount_writable(self, place: Path) -> Iterator[Mounted]:
        directory = place / "written"
        directory.mkdir(exist_ok=True)
        yield Mounted(directory, (), directory)
