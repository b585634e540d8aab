"""Every operation of the kernel, handed to the file system; types and errors translated, nothing decided.

One wrapper stands around every operation (`_answered`), with four rules:

1. A `BlobfsError` is an answer: its errno goes to the caller.
2. Anything else is a defect: it is logged with its traceback, the caller gets EIO, the mount lives on.
   (pyfuse3 lets only `FUSEError` through; everything else would end the mount.)
3. `Cancelled` passes untouched: the session is ending, and the caller gets ENOTCONN from the kernel.
4. Every operation and every error is counted, and how long the answer took (`counts.py`).

What blobfs does not do (``access``, ``poll``) is left to pyfuse3's ENOSYS, which the kernel remembers.
"""

import contextlib
import errno
import functools
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import pyfuse3
import trio
from pyfuse3 import EntryAttributes, FileInfo, ReaddirToken, RequestContext, SetattrFields

from blobfs.errors import BlobfsError, OperationRefused, StoreBroken
from blobfs.fuse import translation
from blobfs.fuse.at_once import AtOnce
from blobfs.fuse.counts import UNEXPECTED, OperationCounts
from blobfs.fuse.front import Front
from blobfs.fuse.interface import FileSystem
from blobfs.fuse.pruning import prune_stale
from blobfs.fuse.wire import without_flush
from blobfs.requests import begin_request, end_request

_log = logging.getLogger(__name__)

_P = ParamSpec("_P")
_T = TypeVar("_T")

_AFTER_DOT = 1 << 62
_AFTER_DOT_DOT = _AFTER_DOT + 1
"""Cookies of the two entries that every directory starts with; the file system's own are smaller."""


def _answered(
    operation: Callable[Concatenate["Adapter", _P], Awaitable[_T]],
) -> Callable[Concatenate["Adapter", _P], Coroutine[Any, Any, _T]]:
    name = operation.__name__

    @functools.wraps(operation)
    async def answer(self: "Adapter", /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        self.front.taken()
        counts, begun, request = self.counts, trio.current_time(), begin_request()
        counts.asked[name] += 1
        try:
            return await operation(self, *args, **kwargs)
        except pyfuse3.FUSEError as error:
            counts.errors[errno.errorcode[error.errno]] += 1
            counts.refused(name, error.errno)
            raise
        except Exception as error:
            raise pyfuse3.FUSEError(self._refused(name, args, error)) from None
        finally:
            end_request(request)
            counts.took[name].add(trio.current_time() - begun)

    return answer


def _deliberate(error: Exception) -> BlobfsError | None:
    """The error of ours that `error` is, or the first of a group of nothing but ours."""
    if isinstance(error, ExceptionGroup):
        leaves = [_deliberate(leaf) for leaf in error.exceptions]
        return None if None in leaves else leaves[0]
    return error if isinstance(error, BlobfsError) else None


class Adapter(pyfuse3.Operations):
    """The file system, as pyfuse3 calls it.

    Mutable: the counters, which only grow, and how often each handle was given out and not released yet.
    """

    supports_dot_lookup = False  # "." and ".." are asked for by NFS servers only; they are not names here

    def __init__(self, fs: FileSystem) -> None:
        self._fs = fs
        self.counts = OperationCounts()
        self._open: Counter[int] = Counter()
        self.front = Front(AtOnce(fs, self.counts, self._open, self._refused).answer, self.write)
        self.initialized = trio.Event()
        """Set while the kernel's first request, INIT, is being answered."""

    def statistics(self) -> dict[str, Any]:
        """How often each operation was asked for; under ``errors``, how often each error was the answer."""
        return self.counts.statistics()

    def _refused(self, name: str, subject: tuple[object, ...], error: Exception) -> int:
        number = self._errno_of(name, subject, error)
        self.counts.refused(name, number)
        return number

    def _errno_of(self, name: str, subject: tuple[object, ...], error: Exception) -> int:
        ours = _deliberate(error)
        if ours is None:
            self.counts.errors[UNEXPECTED] += 1
            _log.error("%s: unexpected, the caller gets EIO", name, exc_info=error)
            self._fs.tell(name, subject, StoreBroken("unexpected; see the log"))
            return errno.EIO
        self.counts.errors[type(ours).__name__] += 1
        self._fs.tell(name, subject, ours)
        if not isinstance(ours, OperationRefused):  # a caller's own mistakes are no news
            _log.debug("%s: %s: %s", name, type(ours).__name__, ours)
        return ours.errno

    def init(self) -> None:
        self.initialized.set()

    async def prune_stale(self, connection: int) -> None:
        """Tells the kernel, at that descriptor, what it is to ask for again, until it is cancelled."""
        await prune_stale(self._fs.wait_stale, connection, self.counts.asked)

    # --- names and inodes

    @_answered
    async def lookup(self, parent_inode: int, name: bytes, ctx: RequestContext) -> EntryAttributes:
        return translation.entry_attributes(
            await self._fs.lookup(parent_inode, name, translation.caller(ctx))
        )

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        """Has no answer, so whatever goes wrong ends here."""
        self.counts.asked["forget"] += len(inode_list)
        for inode, count in inode_list:
            try:
                self._fs.forget(inode, count)
            except Exception:
                self.counts.errors[UNEXPECTED] += 1
                _log.exception("forget: unexpected, inode %d", inode)

    @_answered
    async def getattr(self, inode: int, ctx: RequestContext) -> EntryAttributes:
        return translation.entry_attributes(await self._fs.getattr(inode))

    @_answered
    async def setattr(
        self, inode: int, attr: EntryAttributes, fields: SetattrFields, fh: int | None, ctx: RequestContext
    ) -> EntryAttributes:
        change = translation.change(attr, fields)
        return translation.entry_attributes(await self._fs.setattr(inode, change, fh))

    @_answered
    async def readlink(self, inode: int, ctx: RequestContext) -> bytes:
        return await self._fs.readlink(inode)

    @_answered
    async def mknod(
        self, parent_inode: int, name: bytes, mode: int, rdev: int, ctx: RequestContext
    ) -> EntryAttributes:
        made = await self._fs.mknod(parent_inode, name, mode, translation.caller(ctx))
        return translation.entry_attributes(made)

    @_answered
    async def mkdir(self, parent_inode: int, name: bytes, mode: int, ctx: RequestContext) -> EntryAttributes:
        made = await self._fs.mkdir(parent_inode, name, mode, translation.caller(ctx))
        return translation.entry_attributes(made)

    @_answered
    async def symlink(
        self, parent_inode: int, name: bytes, target: bytes, ctx: RequestContext
    ) -> EntryAttributes:
        made = await self._fs.symlink(parent_inode, name, target, translation.caller(ctx))
        return translation.entry_attributes(made)

    @_answered
    async def link(
        self, inode: int, new_parent_inode: int, new_name: bytes, ctx: RequestContext
    ) -> EntryAttributes:
        made = await self._fs.link(inode, new_parent_inode, new_name, translation.caller(ctx))
        return translation.entry_attributes(made)

    @_answered
    async def unlink(self, parent_inode: int, name: bytes, ctx: RequestContext) -> None:
        await self._fs.unlink(parent_inode, name, translation.caller(ctx))

    @_answered
    async def rmdir(self, parent_inode: int, name: bytes, ctx: RequestContext) -> None:
        await self._fs.rmdir(parent_inode, name, translation.caller(ctx))

    @_answered
    async def rename(
        self,
        parent_inode_old: int,
        name_old: bytes,
        parent_inode_new: int,
        name_new: bytes,
        flags: int,
        ctx: RequestContext,
    ) -> None:
        if flags & ~(pyfuse3.RENAME_EXCHANGE | pyfuse3.RENAME_NOREPLACE):
            raise pyfuse3.FUSEError(errno.EINVAL)  # RENAME_WHITEOUT: for overlay file systems' upper layers
        is_there = await self._fs.rename(
            parent_inode_old,
            name_old,
            parent_inode_new,
            name_new,
            exchange=bool(flags & pyfuse3.RENAME_EXCHANGE),
            noreplace=bool(flags & pyfuse3.RENAME_NOREPLACE),
            caller=translation.caller(ctx),
        )
        if not is_there:  # a thread waits until the kernel has moved it, and then makes it ask again
            pyfuse3.invalidate_entry_async(parent_inode_new, name_new, ignore_enoent=True)

    # --- files

    @_answered
    async def create(
        self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: RequestContext
    ) -> tuple[FileInfo, EntryAttributes]:
        opened, made = await self._fs.create(parent_inode, name, mode, flags, translation.caller(ctx))
        self._open[opened.handle] += 1
        return translation.opened_file(opened), translation.entry_attributes(made)

    @_answered
    async def open(self, inode: int, flags: int, ctx: RequestContext) -> FileInfo:
        opened = await self._fs.open(inode, flags, translation.caller(ctx))
        self._open[opened.handle] += 1
        if not opened.needs_flush:
            self.front.complete_next(without_flush)
        return translation.opened_file(opened)

    @_answered
    async def read(self, fh: int, off: int, size: int) -> bytes:
        return cast(bytes, await self._fs.read(fh, off, size))  # pyfuse3 takes any buffer

    @_answered
    async def write(self, fh: int, off: int, buf: bytes) -> int:
        return await self._fs.write(fh, off, buf)

    @_answered
    async def flush(self, fh: int) -> None:
        changed = await self._fs.flush(fh)
        if changed:
            pyfuse3.invalidate_inode(changed, attr_only=True)

    @_answered
    async def release(self, fh: int) -> None:
        self._open[fh] -= 1
        await self._fs.release(fh)

    async def release_unsent(self) -> None:
        """Releases what was closed but not released, because the kernel drops RELEASE when a mount ends.

        Only for a connection that the kernel ended: it does so when nobody has a file open any more.
        """
        for handle in list(self._open.elements()):
            with contextlib.suppress(pyfuse3.FUSEError):  # counted and logged, and nobody waits for it
                await self.release(handle)

    @_answered
    async def fsync(self, fh: int, datasync: bool) -> None:
        await self._fs.fsync(fh, datasync)

    # --- directories

    @_answered
    async def opendir(self, inode: int, ctx: RequestContext) -> int:
        return await self._fs.opendir(inode, translation.caller(ctx))

    @_answered
    async def readdir(self, fh: int, start_id: int, token: ReaddirToken) -> None:
        """``.`` and ``..`` first, which the file system does not know; then what it has, as much as fits.

        The kernel counts one lookup for every entry that it takes, but none for the first two.
        """
        cookie = start_id
        if cookie == 0:
            pyfuse3.readdir_reply(token, b".", translation.dot_attributes(), _AFTER_DOT)
            cookie = _AFTER_DOT
        if cookie == _AFTER_DOT:
            pyfuse3.readdir_reply(token, b"..", translation.dot_attributes(), _AFTER_DOT_DOT)
            cookie = _AFTER_DOT_DOT
        for entry in await self._fs.readdir(fh, 0 if cookie == _AFTER_DOT_DOT else cookie):
            attributes = translation.entry_attributes(entry.attributes)
            if not pyfuse3.readdir_reply(token, entry.name, attributes, entry.cookie):
                return
            self._fs.remember(entry.attributes.inode)

    @_answered
    async def releasedir(self, fh: int) -> None:
        await self._fs.releasedir(fh)

    @_answered
    async def fsyncdir(self, fh: int, datasync: bool) -> None:
        await self._fs.fsyncdir(fh, datasync)

    @_answered
    async def statfs(self, ctx: RequestContext) -> pyfuse3.StatvfsData:
        return translation.statvfs(await self._fs.statfs())

    # --- extended attributes

    @_answered
    async def getxattr(self, inode: int, name: bytes, ctx: RequestContext) -> bytes:
        return await self._fs.getxattr(inode, name, translation.caller(ctx))

    @_answered
    async def listxattr(self, inode: int, ctx: RequestContext) -> Sequence[bytes]:
        return await self._fs.listxattr(inode)

    @_answered
    async def setxattr(self, inode: int, name: bytes, value: bytes, ctx: RequestContext) -> None:
        await self._fs.setxattr(inode, name, value, translation.caller(ctx))

    @_answered
    async def removexattr(self, inode: int, name: bytes, ctx: RequestContext) -> None:
        await self._fs.removexattr(inode, name)
