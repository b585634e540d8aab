"""Shares that are not there: on the port of one that was, or on one of their own.

Refused: nobody listens. Dropped: the SYN gets no answer at all, as behind a firewall or with the machine off.
Silent: the connection is accepted, the request is taken, and nothing ever comes.
"""

import contextlib
import select
import socket
from collections.abc import Iterator

from tools.benchmarks.tap import Tap

FILLING_SECONDS = 0.3
"""A connection to loopback that is not there by then was dropped; the kernel tries again after 1 s."""


@contextlib.contextmanager
def refused(port: int) -> Iterator[int]:
    yield port


@contextlib.contextmanager
def dropped(port: int) -> Iterator[int]:
    """A listener that accepts nothing and whose backlog is full: Linux drops the SYNs of all others."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(0)
        for _ in range(8):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
            _, connected, _ = select.select([], [filler], [], FILLING_SECONDS)
            if not connected:
                yield port
                return
        raise RuntimeError("the backlog is not full after eight connections")


@contextlib.contextmanager
def silent(port: int) -> Iterator[int]:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        nobody.listen()
        with Tap(nobody.getsockname()[1], port=port, stall_after=0):
            yield port


OUTAGES = {"refused": refused, "dropped": dropped, "silent": silent}
