"""blobfs itself: ``blobfs mount`` with the server as its share."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from tools.benchmarks.node import MeasuredNode
from tools.comparing.peers.peer import Mounted, Source


class Blobfs:
    name = "blobfs"
    options = "blobfs mount --share URL -o fill=never (only what is read is loaded); every byte is verified"

    def version(self) -> str:
        return "of this checkout"

    def mount(self, source: Source, place: Path) -> contextlib.AbstractContextManager[Mounted]:
        return _node(place, [source.url])

    def mount_writable(self, place: Path) -> contextlib.AbstractContextManager[Mounted]:
        return _node(place, [])


@contextlib.contextmanager
def _node(place: Path, shares: Sequence[str]) -> Iterator[Mounted]:
    with MeasuredNode(place, "node", shares=shares) as node:
        yield Mounted(node.mountpoint, (node.pid,), node.store, node.wait_until_sealed)
