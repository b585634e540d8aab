"""``.blobfs/canary``: what is read through the mount to see that the mount works.

Every look at it reaches the file system: the kernel may remember neither its name nor its bytes. It is longer
than one READ carries, every line of it says when it was opened, and it needs neither disk nor share: a
full disk or a dead share is no reason to restart a daemon.
"""

import os
import time
from dataclasses import dataclass

from blobfs import errors
from blobfs.vfs.attributes import Opened
from blobfs.vfs.nodes import Node, ViewNode
from blobfs.vfs.state import MountState, TextHandle
from blobfs.vfs.waits import Opener

NAME = "canary"
SIZE = 256 * 1024
"""Bytes: two READs and more, of which the kernel's largest are 128 KiB unless it is told otherwise."""


@dataclass(eq=False)
class CanaryNode(Node):
    """The one file of its kind."""


def canary_text(now_ns: int) -> bytes:
    """What is read by who opened it now (``CLOCK_MONOTONIC``)."""
    line = f"canary {now_ns}\n".encode()
    return (line * (SIZE // len(line) + 1))[:SIZE]


def canary_node(state: MountState, view: ViewNode) -> CanaryNode:
    known = view.children.get(NAME)
    if isinstance(known, CanaryNode):
        return known
    node = CanaryNode(state.inodes.next_inode())
    state.inodes.add(node, view, NAME)
    return node


def open_canary(state: MountState, node: CanaryNode, flags: int, pid: int) -> Opened:
    """Raises `NotPermitted` for a descriptor that writes."""
    if flags & os.O_ACCMODE != os.O_RDONLY:
        raise errors.NotPermitted("the canary can only be read")
    handle = TextHandle(node, Opener(pid), canary_text(time.monotonic_ns()))
    return Opened(state.register(handle), keep_cache=False, direct_io=True)
