"""Nodes that are worth looking at: one that loads from shares of all kinds, with readers that keep it at it.

A share is a slow line to an nginx that exports what a real node shares. One address is nobody's.
"""

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.mount.node import LIFETIME, BlobfsNode
from tests.page.slow_line import SlowLine
from tests.servers.nginx import Nginx, free_port

MIB = 1 << 20


@contextmanager
def reading(*paths: Path) -> Iterator[None]:
    """Programs that read these files meanwhile, each from its beginning."""
    with ExitStack() as stack:
        for path in paths:
            process = subprocess.Popen(
                ["cat", "--", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
        yield


@dataclass
class Scene:
    """`origin` has the files; `node` knows them from the shares, and shows a page at `url`."""

    directory: Path
    rates: Sequence[int]
    """Of each share: bytes a second on one connection."""
    options: Sequence[str] = ()
    name: str = "node"
    lifetime: float = LIFETIME
    """Of its nodes, in seconds."""
    _stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.origin = BlobfsNode(self.directory, "origin")
            self.origin.lifetime = self.lifetime
            stack.enter_context(self.origin)
            nginx = stack.enter_context(Nginx(self.origin.share))
            self.shares = [stack.enter_context(SlowLine(nginx.port, rate)) for rate in self.rates]
            self.dead = f"http://127.0.0.1:{free_port()}/"
            self._port = free_port()
            self.node = BlobfsNode(
                self.directory,
                self.name,
                shares=[*(share.url for share in self.shares), self.dead],
                options=["fill=never", *self.options],
                arguments=[f"--control-listen=127.0.0.1:{self._port}"],
            )
            self.node.lifetime = self.lifetime
            self.node.expect_log("", perhaps=True)
            stack.enter_context(self.node)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/"

    def put(self, name: str, size: int) -> str:
        """A file that the shares have; its blob's id."""
        path = self.origin.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(size))
        return os.getxattr(path, "user.blobfs.id").decode()  # waits for its seal

    def put_sparse(self, name: str, size: int) -> None:
        """The same of nothing but zeros: as large as it likes, and in no time."""
        path = self.origin.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.truncate(size)

    def put_without_bytes(self, name: str) -> None:
        """A name whose blob no share has, as far as can be known."""
        blob = self.put(name, MIB)
        (self.origin.share / ".blobfs" / "blobs" / blob).unlink()
        (self.origin.share / name).unlink()
