"""Every error blobfs raises on purpose, and the errno each one becomes at the mount.

::

    BlobfsError
    ├── NameRefused            the caller's name cannot be a name here
    │   ├── InvalidName                EINVAL
    │   └── NameTooLong                ENAMETOOLONG
    ├── OperationRefused       the caller asked for what the rules forbid
    │   ├── Sealed                     EPERM     a sealed file is immutable
    │   ├── ForeignName                EPERM     the name belongs to another node
    │   ├── NotPermitted               EPERM
    │   ├── ReadOnlyMount              EROFS
    │   ├── NameMissing                ENOENT
    │   ├── NameExists                 EEXIST
    │   ├── NotADirectory              ENOTDIR
    │   ├── IsADirectory               EISDIR
    │   ├── DirectoryNotEmpty          ENOTEMPTY
    │   ├── CrossesNodes               EXDEV
    │   ├── InvalidArgument            EINVAL
    │   ├── NotSupported               ENOTSUP
    │   ├── AttributeMissing           ENODATA
    │   ├── StaleHandle                ESTALE
    │   ├── WrongContent               EBADMSG   what was written is not what its id says
    │   ├── ShortContent               ENODATA
    │   ├── ContentTooLong             EFBIG
    │   ├── WriteOnly                  EACCES    a needed blob is not here yet: there is nothing to read
    │   ├── WrongState                 EPROTO    the transaction is not where this call belongs
    │   └── TransactionAborted         ECANCELED whoever waited for it is told
    ├── LoadFailed             the shares could not give us what was asked for
    │   ├── AbsentEverywhere           ENOENT
    │   ├── Unreachable                EHOSTUNREACH
    │   ├── DeadlineExceeded           ETIMEDOUT
    │   ├── RefusedEverywhere          EACCES
    │   ├── BusyEverywhere             EAGAIN
    │   ├── WrongEverywhere            EBADMSG
    │   ├── PlainFileChanged           ESTALE
    │   ├── WouldBlock                 EAGAIN    O_NONBLOCK, and the load goes on
    │   └── Interrupted                EINTR
    ├── StoreError             this node's disk
    │   ├── StoreFull                  ENOSPC
    │   ├── QuotaExceeded              EDQUOT
    │   ├── StoreReadOnly              EROFS
    │   ├── StoreBroken                EIO
    │   └── StoreRefused               EIO       at start only: one line tells the operator why
    ├── CommandEnded           a command was not carried out to its end; no call of the mount's
    │   ├── QueueFull                  EAGAIN    it was not accepted
    │   ├── CommandCancelled           ECANCELED its caller did not want it any more
    │   └── ServiceEnded               ESHUTDOWN
    └── StartRefused           at start only: the mountpoint, an option, the system
        └── ConfigRefused              EIO       what is set cannot be; a line for each mistake

The errno is a class attribute and nothing else in blobfs chooses one. What is not in this tree is
a defect: it is logged with its traceback and becomes EIO (fuse.adapter).
"""

import errno
from collections.abc import Sequence
from typing import ClassVar

from blobfs.model import Attempt


class BlobfsError(Exception):
    """The root of the tree. The message is one line that an operator can act on."""

    errno: ClassVar[int] = errno.EIO


class NameRefused(BlobfsError):
    errno = errno.EINVAL


class InvalidName(NameRefused):
    errno = errno.EINVAL


class NameTooLong(NameRefused):
    errno = errno.ENAMETOOLONG


class OperationRefused(BlobfsError):
    errno = errno.EPERM


class Sealed(OperationRefused):
    errno = errno.EPERM


class ForeignName(OperationRefused):
    errno = errno.EPERM


class NotPermitted(OperationRefused):
    errno = errno.EPERM


class ReadOnlyMount(OperationRefused):
    errno = errno.EROFS


class NameMissing(OperationRefused):
    errno = errno.ENOENT


class NameExists(OperationRefused):
    errno = errno.EEXIST


class NotADirectory(OperationRefused):
    errno = errno.ENOTDIR


class IsADirectory(OperationRefused):
    errno = errno.EISDIR


class DirectoryNotEmpty(OperationRefused):
    errno = errno.ENOTEMPTY


class CrossesNodes(OperationRefused):
    errno = errno.EXDEV


class InvalidArgument(OperationRefused):
    errno = errno.EINVAL


class NotSupported(OperationRefused):
    errno = errno.ENOTSUP


class AttributeMissing(OperationRefused):
    errno = errno.ENODATA


class StaleHandle(OperationRefused):
    errno = errno.ESTALE


class WrongContent(OperationRefused):
    errno = errno.EBADMSG


class ShortContent(OperationRefused):
    errno = errno.ENODATA


class ContentTooLong(OperationRefused):
    errno = errno.EFBIG


class WriteOnly(OperationRefused):
    errno = errno.EACCES


class WrongState(OperationRefused):
    errno = errno.EPROTO


class TransactionAborted(OperationRefused):
    errno = errno.ECANCELED


class LoadFailed(BlobfsError):
    """Nothing usable came from the shares; `attempts` says what each one did."""

    errno = errno.EIO

    def __init__(self, message: str, attempts: Sequence[Attempt] = ()) -> None:
        super().__init__(message)
        self.attempts = tuple(attempts)


class AbsentEverywhere(LoadFailed):
    errno = errno.ENOENT


class Unreachable(LoadFailed):
    errno = errno.EHOSTUNREACH


class DeadlineExceeded(LoadFailed):
    errno = errno.ETIMEDOUT


class RefusedEverywhere(LoadFailed):
    errno = errno.EACCES


class BusyEverywhere(LoadFailed):
    errno = errno.EAGAIN


class WrongEverywhere(LoadFailed):
    errno = errno.EBADMSG


class PlainFileChanged(LoadFailed):
    errno = errno.ESTALE


class WouldBlock(LoadFailed):
    errno = errno.EAGAIN


class Interrupted(LoadFailed):
    errno = errno.EINTR


class StoreError(BlobfsError):
    errno = errno.EIO


class StoreFull(StoreError):
    errno = errno.ENOSPC


class QuotaExceeded(StoreError):
    errno = errno.EDQUOT


class StoreReadOnly(StoreError):
    errno = errno.EROFS


class StoreBroken(StoreError):
    errno = errno.EIO


class StoreRefused(StoreError):
    errno = errno.EIO


class CommandEnded(BlobfsError):
    errno = errno.ECANCELED


class QueueFull(CommandEnded):
    errno = errno.EAGAIN


class CommandCancelled(CommandEnded):
    errno = errno.ECANCELED


class ServiceEnded(CommandEnded):
    errno = errno.ESHUTDOWN


class StartRefused(BlobfsError):
    errno = errno.EIO


class ConfigRefused(StartRefused):
    """Its text has a line for each mistake."""

    errno = errno.EIO
