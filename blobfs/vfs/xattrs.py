"""The extended attributes ``user.blobfs.*``: what is known of a file, and why its last load failed."""

import json
import time
from dataclasses import asdict

import trio

from blobfs import errors
from blobfs.model import Attempt
from blobfs.record import format_time
from blobfs.store import sealed
from blobfs.sync.loading.source import plain_key
from blobfs.sync.naming.share_listings import ShareListing
from blobfs.sync.packages.transaction import LastError
from blobfs.vfs.files import wait_sealed
from blobfs.vfs.needed_nodes import MissingNode, NeededNode, StateNode, TransactionNode
from blobfs.vfs.nodes import DirectoryNode, FileNode, Node, PlainContent, Settled, Writing
from blobfs.vfs.package_nodes import PackageFile
from blobfs.vfs.stat import is_wrong, present_bytes
from blobfs.vfs.state import MountState

NAMESPACE = b"user."
PREFIX = NAMESPACE + b"blobfs."

ALWAYS = ("state", "present", "verified", "shares", "pinned")
"""Those that every file has; ``id`` and ``last_error`` only when there is one."""


async def list_attributes(state: MountState, node: Node) -> list[bytes]:
    if _refused(node) is not None:
        return [PREFIX + b"last_error"]
    if isinstance(node, DirectoryNode):
        return [PREFIX + name for name in _of_directory(state, node)]
    if not isinstance(node, FileNode):
        return []
    names = list(ALWAYS)
    if isinstance(node.settle(), Settled):
        names.append("id")
    if _last_attempts(state, node):
        names.append("last_error")
    return [PREFIX + name.encode() for name in sorted(names)]


def demand_known(name: bytes) -> None:
    """Other namespaces (ACLs, capabilities, labels) are not supported at all: who is told so, like `ls -l`,
    does not ask about each file again."""
    if not name.startswith(NAMESPACE):
        raise errors.NotSupported("only user attributes are known")


async def get_attribute(state: MountState, node: Node, name: bytes, pid: int) -> bytes:
    """Raises `AttributeMissing`. Reading ``id`` waits for the seal of a file that was just closed."""
    demand_known(name)
    refused = _refused(node)
    if refused is not None and name == PREFIX + b"last_error":
        return json.dumps(asdict(refused)).encode()
    if isinstance(node, DirectoryNode):
        found = _of_directory(state, node).get(name.removeprefix(PREFIX))
        if found is not None and name.startswith(PREFIX):
            return found
    if not name.startswith(PREFIX) or not isinstance(node, FileNode):
        raise errors.AttributeMissing("no such attribute")
    match name.removeprefix(PREFIX):
        case b"id":
            return await _id(state, node, pid)
        case b"state":
            return _state(state, node).encode()
        case b"present":
            return str(present_bytes(state, node)).encode()
        case b"verified":
            return b"yes" if await _is_verified(state, node) else b"no"
        case b"shares":
            return "\n".join(_shares(state, node)).encode()
        case b"last_error":
            return _last_error(state, node)
        case b"pinned":
            return b"1" if await _is_pinned(state, node) else b"0"
    raise errors.AttributeMissing("no such attribute")


def _of_directory(state: MountState, node: DirectoryNode) -> dict[bytes, bytes]:
    """How much of its listing is whose, and of when; nothing where there are no shares."""
    listed = state.sync.catalogue.listed(node.name)
    if not listed:
        return {}
    failures = [asdict(each.failure) for each in listed if each.failure is not None]
    found = {b"listing": json.dumps([_listed(each) for each in listed]).encode()}
    return {b"last_error": json.dumps(failures).encode(), **found} if failures else found


def _listed(listed: ShareListing) -> dict[str, object]:
    read = None
    if listed.read is not None:
        read = format_time(time.time_ns() - int((trio.current_time() - listed.read) * 1e9))
    return {"url": listed.peer.shown, "read": read, "fresh": listed.is_fresh, "names": listed.names}


def _refused(node: Node) -> LastError | None:
    """What went wrong last in a transaction, of the nodes that stand for it or a blob of it."""
    match node:
        case TransactionNode() | MissingNode() | StateNode():
            return node.transaction.known.last_error
        case NeededNode():
            last = node.transaction.known.last_error
            return last if last is not None and last.blob in (node.blob, None) else None
    return None


async def set_attribute(state: MountState, node: Node, name: bytes, value: bytes, pid: int) -> None:
    """Only ``pinned`` can be set, to 0 or 1."""
    state.demand_writable()
    if name != PREFIX + b"pinned":
        raise errors.NotSupported("only user.blobfs.pinned can be set")
    if value not in (b"0", b"1"):
        raise errors.InvalidArgument("user.blobfs.pinned is 0 or 1")
    key = None
    if isinstance(node, FileNode) and await wait_sealed(state, node, pid):
        key = _key(state, node)
    if key is None or not await state.sync.disk.run(sealed.set_pinned, state.sync.store, key, value == b"1"):
        raise errors.NotPermitted("nothing of it is on this node yet")


async def _id(state: MountState, node: FileNode, pid: int) -> bytes:
    await wait_sealed(state, node, pid)
    content = node.settle()
    if not isinstance(content, Settled):
        raise errors.AttributeMissing("its id is not known yet")
    return content.record.blob.encode()


def _state(state: MountState, node: FileNode) -> str:
    content = node.settle()
    if isinstance(content, Writing):
        return "writing"
    size = content.record.size if isinstance(content, Settled) else content.file.size
    if isinstance(content, Settled) and content.is_own and not is_wrong(state, content):
        return "sealed"
    present = present_bytes(state, node)
    if present == size and (size or _is_here(state, node)):
        return "whole"
    return "partial" if present else "missing"


def _is_here(state: MountState, node: FileNode) -> bool:
    content = node.settle()
    if isinstance(node, PackageFile):
        return present_bytes(state, node) == node.record.size
    return isinstance(content, Settled) and sealed.has(state.sync.store, content.record.blob)


async def _is_verified(state: MountState, node: FileNode) -> bool:
    """Whether a blob id vouches for what a reader gets."""
    content = node.settle()
    return isinstance(content, Settled)


def _shares(state: MountState, node: FileNode) -> list[str]:
    """The shares that are known to have it, without asking them."""
    content = node.settle()
    if isinstance(content, Writing) or (isinstance(node, PackageFile) and _is_here(state, node)):
        return []
    found = [] if content.peer is None else [content.peer]
    if isinstance(content, Settled):
        for name in node.names():
            found += state.sync.catalogue.listed_by(name, content.record.blob)
    return list(dict.fromkeys(peer.shown for peer in found))


def _key(state: MountState, node: FileNode) -> str | None:
    """What the file's bytes are called in the store."""
    match node.settle():
        case Settled(record):
            return record.blob
        case PlainContent(file, peer):
            return plain_key(peer, node.names()[0], file) if node.names() else None
    return None


async def _is_pinned(state: MountState, node: FileNode) -> bool:
    key = _key(state, node)
    return key is not None and await state.sync.disk.run(sealed.is_pinned, state.sync.store, key)


def _last_attempts(state: MountState, node: FileNode) -> tuple[Attempt, ...]:
    key = _key(state, node)
    return () if key is None else state.sync.loads.last_attempts(key)


def _last_error(state: MountState, node: FileNode) -> bytes:
    attempts = _last_attempts(state, node)
    if not attempts:
        raise errors.AttributeMissing("nothing went wrong")
    return json.dumps([asdict(attempt) for attempt in attempts]).encode()
