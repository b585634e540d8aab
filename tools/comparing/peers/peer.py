"""What every peer looks like, and what all of them are given."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.servers.nginx import Nginx
from tools.comparing.reading import drop


@dataclass(frozen=True, slots=True)
class Source:
    """What is compared, the same for all in one run."""

    share: Path
    """The share directory of a node, for peers that work on a disk."""
    server: Nginx
    """Exports it on loopback, with lists of its directories; counts what it is asked."""
    digests: Mapping[str, str]
    """SHA-256 by name, of what is to be checked."""

    @property
    def url(self) -> str:
        return self.server.url


def _nothing() -> None:
    """There is nothing to wait for."""


def _lives() -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Mounted:
    """What a peer shows, as long as it does."""

    path: Path
    """The content as a directory."""
    pids: tuple[int, ...]
    """Of its daemons, for CPU time and memory."""
    backing: Path
    """Where on the disk it keeps the bytes it gives: dropped from memory for a read with nothing in it."""
    settle: Callable[[], None] = _nothing
    """Waits until what was written is as safe as the peer makes it."""
    death: Callable[[], str] = _lives
    """How its daemon ended; empty while it lives."""

    def forget(self, *names: str) -> None:
        """The kernel keeps nothing of these files, or of all, any more; the peer does."""
        drop(*(self.path / name for name in names or ("",)))


class Named(Protocol):
    """What the report says of everybody."""

    @property
    def name(self) -> str: ...

    @property
    def options(self) -> str:
        """How it is run, in words for the report."""

    def version(self) -> str | None:
        """None: it is not installed."""


class Peer(Named, Protocol):
    """A file system that gives a directory."""

    def mount(self, source: Source, place: Path) -> AbstractContextManager[Mounted]:
        """Read-only over `source`. What it keeps is below `place`, and is there for the next mount."""


class Writer(Peer, Protocol):
    """One that can be written to as well."""

    def mount_writable(self, place: Path) -> AbstractContextManager[Mounted]:
        """Empty; everything it keeps is below `place`."""
