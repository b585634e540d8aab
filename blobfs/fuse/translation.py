"""The file system's values as pyfuse3's, and back. Pure."""

import pyfuse3

from blobfs.vfs.attributes import Attributes, Caller, Change, Opened, Statvfs

_DOT_INODE = 0xFFFFFFFF
"""The inode that ``.`` and ``..`` are listed with: libfuse's FUSE_UNKNOWN_INO."""


def entry_attributes(attributes: Attributes) -> pyfuse3.EntryAttributes:
    entry = pyfuse3.EntryAttributes()
    entry.st_ino = attributes.inode
    entry.st_mode = attributes.mode
    entry.st_size = attributes.size
    entry.st_blocks = attributes.blocks
    entry.st_blksize = attributes.piece
    entry.st_mtime_ns = attributes.mtime_ns
    entry.st_atime_ns = attributes.mtime_ns  # the time of access is not kept
    entry.st_ctime_ns = attributes.ctime_ns
    entry.st_nlink = attributes.nlink
    entry.st_uid = attributes.uid
    entry.st_gid = attributes.gid
    entry.entry_timeout = attributes.entry_timeout
    entry.attr_timeout = attributes.attr_timeout
    return entry


def dot_attributes() -> pyfuse3.EntryAttributes:
    """For ``.`` and ``..``, of which the kernel uses only the type."""
    entry = pyfuse3.EntryAttributes()
    entry.st_ino = _DOT_INODE
    entry.st_mode = 0o040755
    entry.entry_timeout = entry.attr_timeout = 0
    return entry


def change(attr: pyfuse3.EntryAttributes, fields: pyfuse3.SetattrFields) -> Change:
    return Change(
        mode=attr.st_mode if fields.update_mode else None,
        uid=attr.st_uid if fields.update_uid else None,
        gid=attr.st_gid if fields.update_gid else None,
        size=attr.st_size if fields.update_size else None,
        mtime_ns=attr.st_mtime_ns if fields.update_mtime else None,
        atime_ns=attr.st_atime_ns if fields.update_atime else None,
    )


def caller(ctx: pyfuse3.RequestContext) -> Caller:
    return Caller(pid=ctx.pid, uid=ctx.uid, gid=ctx.gid, umask=ctx.umask)


def opened_file(opened: Opened) -> pyfuse3.FileInfo:
    return pyfuse3.FileInfo(fh=opened.handle, keep_cache=opened.keep_cache, direct_io=opened.direct_io)


def statvfs(room: Statvfs) -> pyfuse3.StatvfsData:
    stats = pyfuse3.StatvfsData()
    stats.f_bsize = stats.f_frsize = room.block_size
    stats.f_blocks = room.blocks
    stats.f_bfree = room.free
    stats.f_bavail = room.available
    stats.f_files = room.files
    stats.f_ffree = stats.f_favail = room.files_free
    stats.f_namemax = room.name_max
    return stats
