"""A server whose library is imported when somebody comes: what a start does not need it does not wait for."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from blobfs.shares.late_asgi import serve_asgi_late
from blobfs.shares.listening import bind_listener
from tests.structure import ROOT

SECONDS = 30
HEAVY = ("hypercorn", "starlette", "asyncio", "anyio")


async def hello(scope: object, receive: object, send: object) -> None:
    assert callable(send)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


async def ask(path: Path) -> bytes:
    stream = await trio.open_unix_socket(str(path))
    async with stream:
        await stream.send_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        return b"".join([chunk async for chunk in stream])


async def test_the_first_visitor_is_answered_and_the_next(tmp_path: Path, nursery: trio.Nursery) -> None:
    """Though nothing was there to answer when they came."""
    path = tmp_path / "socket"
    address = await nursery.start(serve_asgi_late, hello, bind_listener(f"unix:{path}"))
    assert address == f"unix:{path}"
    with trio.fail_after(SECONDS):
        for _ in range(2):
            assert (await ask(path)).endswith(b"hello")


async def test_a_server_nobody_came_to_ends(tmp_path: Path) -> None:
    """And lets go of its socket."""
    listener = bind_listener(f"unix:{tmp_path / 'socket'}")
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_asgi_late, hello, listener)
        nursery.cancel_scope.cancel()
    assert listener.fileno() == -1
    with pytest.raises(ConnectionRefusedError), socket.socket(socket.AF_UNIX) as visitor:
        visitor.connect(str(tmp_path / "socket"))


def test_a_mount_does_not_import_what_serves() -> None:
    """A fifth of the time until it is ready, and its memory."""
    program = f"import sys, blobfs.cli.mount; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=True
    )
    assert done.stdout == "[]\n"
