"""The control socket of a node: which of its abilities can be asked for from outside."""

from functools import partial

import trio

from blobfs.control.service import ControlApp
from blobfs.daemon.node import Node
from blobfs.daemon.status import node_status
from blobfs.shares.late_asgi import serve_asgi_late
from blobfs.shares.listening import bind_listener
from blobfs.sync.packages.path_keeping import PathKeeping
from blobfs.sync.packages.path_loading import PathLoading


async def serve_control(node: Node, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
    listener = bind_listener(f"unix:{node.store.layout.root / 'control'}")
    keeping = PathKeeping(node.sync)
    touching = {"pin": keeping.pin, "unpin": keeping.unpin, "evict": keeping.evict}
    app = ControlApp(partial(node_status, node), node.why, PathLoading(node.sync).load, touching)
    await serve_asgi_late(app, listener, task_status=task_status)
