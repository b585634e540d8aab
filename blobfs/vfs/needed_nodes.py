"""The nodes of ``.blobfs/needed/``: an open transaction, what is missing of it, and its state as a text."""

from dataclasses import dataclass, field

from blobfs.model import BlobId
from blobfs.sync.packages.open_transaction import OpenTransaction
from blobfs.vfs.nodes import Container, Node


@dataclass(eq=False)
class TransactionNode(Container):
    """``needed/<package-id>/``"""

    transaction: OpenTransaction = field(kw_only=True)


@dataclass(eq=False)
class MissingNode(Container):
    """``needed/<package-id>/missing/``"""

    transaction: OpenTransaction = field(kw_only=True)


@dataclass(eq=False)
class NeededNode(Node):
    """A blob that is missing: ``missing/<blob-id>``, or ``meta``. It can only be written."""

    transaction: OpenTransaction = field(kw_only=True)
    blob: BlobId = field(kw_only=True)


@dataclass(eq=False)
class BundleNode(Node):
    """``needed/<package-id>/bundle``: the small blobs in one stream. It can only be written."""

    transaction: OpenTransaction = field(kw_only=True)

    @property
    def size(self) -> int:
        last = self.transaction.members[-1]
        return last.offset + last.size


@dataclass(eq=False)
class StateNode(Node):
    """``needed/<package-id>/state``"""

    transaction: OpenTransaction = field(kw_only=True)

    @property
    def text(self) -> bytes:
        return f"{self.transaction.known.summary}\n".encode()
