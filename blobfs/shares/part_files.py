"""What a live node serves beyond its share: of a blob that it is loading, the bytes that are verified, and
the map of them. Only ranges of what is here: nobody takes a part for the whole.
"""

import os
from http import HTTPStatus
from pathlib import Path

import trio
from starlette.datastructures import Headers

from blobfs.chunks import full_bits, pack_map
from blobfs.model import RESERVED_PREFIX
from blobfs.shares.parts import Found, PartsOfDaemon
from blobfs.shares.share_files import open_file
from blobfs.shares.share_paths import Kind, Refused, SharePath
from blobfs.shares.static_http import Version, choose_answer, parse_range

_ANY_SIZE = 10**18
"""Bytes; more than a blob has. Where a range ends that ends with the blob is for the daemon to say."""


async def open_part(
    parts: PartsOfDaemon, share: Path, path: SharePath, method: str, headers: Headers
) -> tuple[int, Version] | None:
    """A descriptor and what it is a version of; None: there is nothing here to answer with."""
    if path.kind is Kind.PARTS:
        found = await parts.map(path.last) or await trio.to_thread.run_sync(_whole_map, share, path.last)
        return None if found is None else _map_version(found)
    wanted = headers.getlist("range")
    if path.kind is not Kind.BLOB or method != "GET" or len(wanted) != 1:
        return None
    stretch = parse_range(wanted[0], _ANY_SIZE)
    if stretch.status is not HTTPStatus.PARTIAL_CONTENT:
        return None
    found = await parts.content(path.last, stretch.start, stretch.stop)
    if found is None:
        return None
    version = Version(f'"{path.last}"', None, found.size, immutable=True)
    if choose_answer(method, headers, version).status is HTTPStatus.OK:  # If-Range means another one
        os.close(found.descriptor)
        return None
    return found.descriptor, version


def _map_version(found: Found) -> tuple[int, Version]:
    return found.descriptor, Version(None, None, os.fstat(found.descriptor).st_size, immutable=False)


def _whole_map(share: Path, blob: str) -> Found | None:
    """Of a blob that is in the share: every chunk."""
    try:
        whole = SharePath((RESERVED_PREFIX.encode(), b"blobs", blob.encode()), Kind.BLOB)
        content, version = open_file(share, whole)
    except Refused as refused:
        if refused.status is HTTPStatus.NOT_FOUND:
            return None
        raise
    os.close(content)
    descriptor = os.memfd_create("map", os.MFD_CLOEXEC)
    os.pwrite(descriptor, pack_map(version.size, full_bits(version.size)), 0)
    return Found(version.size, descriptor)
