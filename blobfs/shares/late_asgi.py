"""An ASGI application whose server is imported when the first visitor comes.

Hypercorn and what it needs take a fifth of the time in which a node starts, and 8 MB; many a node never has a
visitor on its control socket.
"""

import socket
from typing import Any

import trio

from blobfs.shares.listening import shown_address


async def serve_asgi_late(
    app: Any,
    listener: socket.socket,
    *,
    most: int | None = None,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """`blobfs.shares.asgi.serve_asgi`. The visitor waits in the kernel meanwhile."""
    with listener:
        task_status.started(shown_address(listener))
        await trio.lowlevel.wait_readable(listener)
        serve_asgi = await trio.to_thread.run_sync(_import_server)
        await serve_asgi(app, listener, most=most)


def _import_server() -> Any:
    from blobfs.shares.asgi import serve_asgi

    return serve_asgi
