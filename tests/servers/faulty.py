"""A share with faults, in a process of its own: `tests.servers.faulty_process` starts it.

::

    python -m tests.servers.faulty --root SHARE --log FILE [--plan PLAN]

It serves the directory SHARE on a free loopback port as any static server would, except for what its plan
(`tests.servers.faults`) does to single requests, and for its mode:

    up      as planned
    down    nobody listens: connections are refused, those that are open end
    deaf    the port is open and nobody accepts: connections are not made, nor refused

Orders come as lines of JSON on stdin, ``{"plan": ..., "mode": ...}``, either key may be left out; each is
answered on stdout with the statistics so far, and so is the start. stdin's end is the end. The log has one
line of JSON a request: what was asked, what was done to it, what went out.
"""

import argparse
import json
import os
import socket
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import unquote_to_bytes

import trio

from tests.servers.faults import Fault, PathKind, Plan, parse_plan
from tests.servers.faulty_answers import answer
from tests.servers.scripted import Behaviour, Connection, Reply, Request, ScriptedServer, ranged_reply

FILLERS = 4
"""Connections that fill the queue of a listener that never accepts; it holds one."""


class Mode(StrEnum):
    UP = "up"
    DOWN = "down"
    DEAF = "deaf"


def right_reply(root: bytes, request: Request, missing: int = 0) -> Reply:
    """What a static file server says: the bytes, 301 for a directory, 404. `missing`: bytes at its end."""
    path = os.path.join(root, unquote_to_bytes(request.path).lstrip(b"/"))
    if b"/../" in path + b"/" or not os.path.exists(path):
        return Reply(404, {"Content-Length": "2"}, b"no")
    if os.path.isdir(path):
        return Reply(301, {"Content-Length": "0", "Location": request.path.rstrip("/") + "/"}, b"")
    with open(path, "rb") as file:
        content = file.read()
    content = content[: max(0, len(content) - missing)]
    return ranged_reply(request, content, {"Content-Type": "application/octet-stream"})


def without_range(request: Request) -> Request:
    headers = {key: value for key, value in request.headers.items() if key != "range"}
    return Request(request.method, request.path, headers)


@dataclass
class FaultyShare(ScriptedServer):
    """Serves `root` by a plan. Mutable: `plan` and `mode`, by orders only; the counts."""

    root: bytes = b""
    log: TextIO = sys.stderr
    plan: Plan = field(default_factory=lambda: parse_plan(""))
    mode: Mode = Mode.UP
    faults: Counter[str] = field(default_factory=Counter)
    changed: trio.Event = field(default_factory=trio.Event)
    """The mode is to be another one."""
    entered: trio.Event = field(default_factory=trio.Event)
    """The mode holds."""

    def behaviour(self, request: Request) -> Behaviour:
        fault = next(self.plan[PathKind.of(request.path)])
        self.faults[str(fault)] += 1
        self.requests.clear()  # they are in the log

        async def behave(request: Request, connection: Connection) -> bool:
            return await self._answer(fault, request, connection)

        return behave

    async def _answer(self, fault: Fault, request: Request, connection: Connection) -> bool:
        asked = without_range(request) if fault.letter == "v" else request
        right = right_reply(self.root, asked, fault.number if fault.letter == "u" else 0)
        began, before = time.time(), connection.sent
        try:
            return await answer(fault, right, request, connection)
        finally:
            entry = {
                "time": began,
                "ms": round((time.time() - began) * 1000),
                "method": request.method,
                "path": request.path,
                "range": request.headers.get("range", ""),
                "fault": str(fault),
                "right": right.status,
                "sent": connection.sent - before,
            }
            self.log.write(json.dumps(entry) + "\n")

    def statistics(self) -> dict[str, Any]:
        return {
            "port": self.port,
            "mode": self.mode,
            "requests": self.faults.total(),
            "sent": self.sent,
            "connections": self.connections,
            "open": self.open,
            "faults": self.faults,
        }

    # Listening

    async def serve(self) -> None:
        """Listens as the mode says, until it is cancelled. The port stays ours, whatever the mode."""
        with bound_socket(0) as reserved:
            self.port = reserved.getsockname()[1]
            while True:
                self.changed = trio.Event()
                match self.mode:
                    case Mode.UP:
                        await self._listen()
                    case Mode.DOWN:
                        self.entered.set()
                        await self.changed.wait()
                    case Mode.DEAF:
                        await self._ignore()

    async def _listen(self) -> None:
        async with trio.open_nursery() as nursery:
            listening = trio.socket.from_stdlib_socket(bound_socket(self.port))
            listening.listen(128)
            self.entered.set()
            nursery.start_soon(trio.serve_listeners, self.converse, [trio.SocketListener(listening)])
            await self.changed.wait()
            nursery.cancel_scope.cancel()

    async def _ignore(self) -> None:
        with ExitStack() as stack:
            stack.enter_context(bound_socket(self.port)).listen(0)
            for _ in range(FILLERS):
                filler = stack.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", self.port))
            self.entered.set()
            await self.changed.wait()

    # Orders

    async def obey(self, orders: AsyncIterator[bytes]) -> None:
        """Until there are no more."""
        async for line in orders:
            order = json.loads(line)
            if "plan" in order:
                self.plan = parse_plan(order["plan"])
            if (mode := Mode(order.get("mode", self.mode))) is not self.mode:
                self.mode, self.entered = mode, trio.Event()
                self.changed.set()
                await self.entered.wait()
            self.tell()

    def tell(self) -> None:
        print(json.dumps(self.statistics()), flush=True)


def bound_socket(port: int) -> socket.socket:
    """Several may be bound to the port; of those only one listens."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind(("127.0.0.1", port))
    return made


async def lines_of(descriptor: int) -> AsyncIterator[bytes]:
    pending = b""
    async with trio.lowlevel.FdStream(os.dup(descriptor)) as stream:
        async for piece in stream:
            *lines, pending = (pending + bytes(piece)).split(b"\n")
            for line in lines:
                yield line


async def run(share: FaultyShare) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(share.serve)
        await share.entered.wait()
        share.tell()
        await share.obey(lines_of(sys.stdin.fileno()))
        nursery.cancel_scope.cancel()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--plan", type=parse_plan, default="")
    options = parser.parse_args()
    with options.log.open("a", buffering=1) as log:
        trio.run(run, FaultyShare(root=os.fsencode(options.root), log=log, plan=options.plan))


if __name__ == "__main__":
    main()
