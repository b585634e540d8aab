"""Several peers over one source, side by side, so that they can take turns.

A peer is mounted when it is first asked for, and stays so. `fresh` gives it an empty place and a new mount:
nothing is here. `remounted` gives it a new mount over what it has: here, and nothing of it in the kernel.
"""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from tools.benchmarks.rclone import LISTING
from tools.benchmarks.running import Failed, Overdue, Word
from tools.benchmarks.workbench import empty, served
from tools.comparing.comparison import Comparison, WrongBytes
from tools.comparing.peers.peer import Mounted, Peer, Source
from tools.comparing.reading import SECONDS, Reading, read


class Fleet:
    """Mutable: what is mounted, where, and what was brought there. `close` unmounts all."""

    def __init__(self, folder: Path, source: Source, peers: Sequence[Peer]) -> None:
        self.source = source
        self._folder = folder
        self._peers = {peer.name: peer for peer in peers}
        self._places: dict[str, Path] = {}
        self._mounts: dict[str, tuple[ExitStack, Mounted]] = {}
        self._brought: dict[str, set[str]] = {}

    def __iter__(self) -> Iterator[str]:
        """The names of all."""
        return iter(self._peers)

    def __getitem__(self, name: str) -> Mounted:
        if name not in self._mounts:
            self._mount(name)
        return self._mounts[name][1]

    def remounted(self, name: str) -> Mounted:
        self._unmount(name)
        return self[name]

    def fresh(self, name: str) -> Mounted:
        self._unmount(name)
        if (place := self._places.pop(name, None)) is not None:
            empty(place)
        self._brought.pop(name, None)
        return self[name]

    def bring(self, name: str, file: str) -> None:
        """It is here, if it was not."""
        if file not in self._brought.setdefault(name, set()):
            self.read(name, "sequential", file, expected=self.source.digests[file])
            self._brought[name].add(file)

    def read(
        self, name: str, kind: str, path: str, *arguments: Word, expected: str = "", limit: float = SECONDS
    ) -> Reading:
        """Reads `path` of a peer. `expected`: the digest of what must come; anything else is WrongBytes."""
        mounted = self[name]
        with _blaming(mounted):
            done = read(kind, mounted.path / path, *arguments, digest=bool(expected), limit=limit)
        if done.digest != expected:
            raise WrongBytes(f"{path} is {done.digest[:12]}, not {expected[:12]}")
        return done

    def forget(self, name: str, *files: str) -> None:
        """The kernel keeps nothing of these files, or of all, in the mount of `name`."""
        with _blaming(self[name]):
            self[name].forget(*files)

    def named(self, *peers: Sequence[Peer]) -> list[str]:
        """The names of those among these that are here."""
        return [peer.name for some in peers for peer in some if peer.name in self._peers]

    def close(self) -> None:
        for name in list(self._mounts):
            self._unmount(name)
        for place in self._places.values():
            empty(place)

    def _mount(self, name: str) -> None:
        if name not in self._places:
            self._places[name] = Path(tempfile.mkdtemp(prefix=f"{name}.", dir=self._folder))
        with ExitStack() as stack:
            mounted = stack.enter_context(self._peers[name].mount(self.source, self._places[name]))
            self._mounts[name] = stack.pop_all(), mounted

    def _unmount(self, name: str) -> None:
        if (mount := self._mounts.pop(name, None)) is not None:
            mount[0].close()


@contextlib.contextmanager
def _blaming(mounted: Mounted) -> Iterator[None]:
    """Where a program failed because the daemon died, that is what is told."""
    try:
        yield
    except (Failed, Overdue) as failure:
        if death := mounted.death():
            raise Failed(death) from failure
        raise


@contextlib.contextmanager
def fleet(
    comparison: Comparison, share: Path, digests: dict[str, str], peers: Sequence[Peer]
) -> Iterator[Fleet]:
    """All peers over a share directory and a server of it."""
    with comparison.bench.place() as place, served(share, directives=LISTING) as [server]:
        fleet = Fleet(place, Source(share, server, digests), list(filter(comparison.has, peers)))
        try:
            yield fleet
        finally:
            fleet.close()
