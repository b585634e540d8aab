"""A defect in what serves the control socket costs the socket, not the mount."""

import socket
from typing import Any

import pytest
import trio

from blobfs.control.service import ControlApp
from blobfs.daemon.control import _serve
from blobfs.shares.listening import bind_listener


async def unused(*_: object) -> Any:
    raise AssertionError("nobody asks")


async def test_a_defect_is_logged_and_survived(caplog: pytest.LogCaptureFixture) -> None:
    """With its traceback, and where nobody answers now."""
    listener = bind_listener("127.0.0.1:0")
    port = listener.getsockname()[1]

    async def break_down(app: object, bound: socket.socket, *, task_status: trio.TaskStatus[str]) -> None:
        with bound:
            task_status.started("here")
            await trio.lowlevel.checkpoint()
            raise ZeroDivisionError("a defect")

    async with trio.open_nursery() as nursery:
        await nursery.start(_serve, break_down, ControlApp(dict, unused, unused), listener)
    assert f"127.0.0.1:{port} answers no more, the mount goes on" in caplog.text
    assert "ZeroDivisionError: a defect" in caplog.text
