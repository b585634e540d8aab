"""A share behind a tap: a TCP proxy that lets only so much through, or stops.

nginx's limit_rate is per connection; this is one rate for the share as a whole, however many
connections it has. All bytes the share sends pass one schedule: a piece of n bytes goes out n/rate
seconds after the piece before it, so the rate is exact in the long run, and no more than `BURST`
seconds of it can be saved up. What the share wrote into our buffers is bounded, so that its access log
tells what was fetched.

A `delay` is how far away the share is: every byte takes so many seconds, there and back again, and a
connection costs its handshake before. Nothing is lost and no window has to grow first, as on a line that
has been in use for a while.

It knows of HTTP only that a request begins with a line that names a path, and that a client sends the
next one when it has the answer to the last. So a body stops after `stall_after` bytes of each answer
(the head counts too), and only for paths that match `only`.

Run as a program it is the proxy, in a process of its own; `Tap` starts that.
"""

import argparse
import math
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import trio

from tests.servers.nginx import free_port
from tools.benchmarks.running import environment, python

PIECE = 64 << 10
BUFFER = 256 << 10
"""Bytes a socket may hold for us."""
BURST = 0.02
"""Seconds that an idle share may catch up."""
READY_SECONDS = 10.0
LINE = 64
"""Pieces that may be on their way at once when there is a delay: enough for 400 MB/s at 10 ms."""

Piece = tuple[float, bytes | bytearray]
"""When it arrives, on trio's clock, and what."""


class Tap:
    """One proxy before `upstream`, from entering to leaving: bytes a second, seconds one way."""

    def __init__(
        self,
        upstream: int,
        *,
        port: int | None = None,
        rate: float | None = None,
        delay: float = 0.0,
        stall_after: int | None = None,
        only: str = "",
    ) -> None:
        self.port = port or free_port()
        self._command = [
            *python("tap", f"--port={self.port}", f"--upstream={upstream}", f"--only={only}"),
            f"--delay={delay}",
            *([f"--rate={rate}"] if rate is not None else []),
            *([f"--stall-after={stall_after}"] if stall_after is not None else []),
        ]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environment()
        )
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            raise RuntimeError("the tap did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        has_died = self._process.poll() is not None
        self._process.kill()
        self._process.communicate()
        if has_died and error is None:
            raise RuntimeError("the tap has died")


@contextmanager
def tapped(upstream: int, rate: float | None, delay: float = 0.0) -> Iterator[str]:
    """Where to ask a share whose rate may be limited, and which may be far away."""
    if rate is None and not delay:
        yield f"http://127.0.0.1:{upstream}/"
    else:
        with Tap(upstream, rate=rate, delay=delay) as tap:
            yield tap.url


@dataclass
class Flow:
    """What passes, for all connections together. Mutable: `_free_at`, by `pass_through`."""

    upstream: int
    rate: float = math.inf
    delay: float = 0.0
    stall_after: float = math.inf
    only: re.Pattern[bytes] = field(default_factory=lambda: re.compile(b""))
    _free_at: float = -math.inf
    """trio's clock: when the piece before is through."""

    async def pass_through(self, size: int) -> float:
        """Returns when the piece is out; when it arrives at the other end."""
        self._free_at = max(self._free_at, trio.current_time() - BURST) + size / self.rate
        await trio.sleep_until(self._free_at)
        return trio.current_time() + self.delay

    async def serve(self, client: trio.SocketStream) -> None:
        """One connection of the client, with one of its own to the share."""
        try:
            share = await connect(self.upstream)
            async with client, share, trio.open_nursery() as nursery:
                answer = Answer(self)
                nursery.start_soon(answer.send, share, client, nursery.cancel_scope)
                await trio.sleep(2 * self.delay)  # SYN and its answer
                while request := await client.receive_some(PIECE):
                    await trio.sleep(self.delay)
                    answer.begin(bytes(request))
                    await share.send_all(request)
                nursery.cancel_scope.cancel()
        except* (OSError, trio.BrokenResourceError):
            pass  # either side went away, as is their right


@dataclass
class Answer:
    """What one connection is being told. Mutable: all, by `begin` and `send`."""

    flow: Flow
    left: float = math.inf
    """Bytes until this answer stops."""

    def begin(self, request: bytes) -> None:
        if line := re.match(rb"[A-Z]+ (\S+) HTTP/", request):
            self.left = self.flow.stall_after if self.flow.only.match(line[1]) else math.inf

    async def send(
        self, share: trio.SocketStream, client: trio.SocketStream, connection: trio.CancelScope
    ) -> None:
        out, line = trio.open_memory_channel[Piece](LINE if self.flow.delay else 0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(deliver, line, client)
            async with out:
                while piece := await share.receive_some(PIECE):
                    is_last = self.left < len(piece)
                    going = piece[: int(self.left)] if is_last else piece
                    self.left -= len(going)
                    await out.send((await self.flow.pass_through(len(going)), going))
                    if is_last:
                        await trio.sleep_forever()  # until the client has had enough
        connection.cancel()


async def deliver(line: trio.MemoryReceiveChannel[Piece], client: trio.SocketStream) -> None:
    async for arrival, piece in line:
        await trio.sleep_until(arrival)
        await client.send_all(piece)


async def connect(port: int) -> trio.SocketStream:
    raw = trio.socket.socket()
    raw.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, BUFFER)
    await raw.connect(("127.0.0.1", port))
    return trio.SocketStream(raw)


async def serve(flow: Flow, port: int) -> None:
    listeners = await trio.open_tcp_listeners(port, host="127.0.0.1", backlog=512)
    listeners[0].socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_SNDBUF, BUFFER)
    print("ready", flush=True)
    await trio.serve_listeners(flow.serve, listeners)


def main() -> None:
    parser = argparse.ArgumentParser(description=sys.modules[__name__].__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", type=int, required=True)
    parser.add_argument("--rate", type=float, default=math.inf)
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--stall-after", type=float, default=math.inf)
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    only = re.compile(given.only.encode())
    flow = Flow(given.upstream, given.rate, given.delay, given.stall_after, only)
    trio.run(serve, flow, given.port)


if __name__ == "__main__":
    main()
