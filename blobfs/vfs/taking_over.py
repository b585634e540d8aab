"""``ln`` and ``mv`` of a file of the mount onto a needed blob: nothing is copied, what is here is taken."""

from blobfs import errors
from blobfs.model import BlobId
from blobfs.sync.packages.transition import State
from blobfs.vfs.files import wait_sealed
from blobfs.vfs.needed import META, parse_package_id
from blobfs.vfs.needed_nodes import MissingNode, TransactionNode
from blobfs.vfs.nodes import FileNode, Node, Settled
from blobfs.vfs.state import MountState


async def take_over(
    state: MountState, container: TransactionNode | MissingNode, raw: bytes, node: Node, pid: int
) -> None:
    """`node` is the blob, and it is here.

    Raises `WrongContent`, `NameMissing`; `CrossesNodes` for what is not on this node, which is copied then.
    """
    state.demand_writable()
    if not isinstance(node, FileNode) or not await wait_sealed(state, node, pid):
        raise errors.NotPermitted("only a sealed file can become a needed blob")
    content = node.settle()
    if not isinstance(content, Settled):
        raise errors.CrossesNodes("its blob id is not known: copy it")
    transaction = container.transaction
    blob = _named_in(container, raw)
    if content.record.blob != blob:
        raise errors.WrongContent(f"it is the blob {content.record.blob}, not {blob}")
    if not await state.sync.is_here(blob):
        raise errors.CrossesNodes("its bytes are not on this node yet: copy it")
    transaction.arrived(blob)
    with state.waits.killable(pid), transaction.ended_with():
        await transaction.wait_taken(blob)


def _named_in(container: TransactionNode | MissingNode, raw: bytes) -> BlobId:
    """The blob that is needed, or was, under a name in a transaction."""
    transaction = container.transaction
    if isinstance(container, TransactionNode):
        if raw != META.encode():
            raise errors.NotPermitted("only the meta blob is made in a transaction")
        return transaction.package
    blob = parse_package_id(raw)
    if transaction.state in (State.NEED_META, State.FAILED) or blob not in transaction.known.needs:
        transaction.known.demand_open(blob)
    return blob
