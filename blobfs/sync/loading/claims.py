"""Chunks that a map on the disk claims are verified again, when they are first needed."""

import logging
from collections.abc import Callable, Sequence

from blobfs import errors
from blobfs.model import CHUNK_SIZE, Attempt
from blobfs.shares.choice import rank
from blobfs.shares.failure import ShareFailure
from blobfs.store.partial import Partial
from blobfs.sync.disk import DiskThreads
from blobfs.sync.loading.source import Source
from blobfs.sync.peer import Peer

_log = logging.getLogger(__name__)


Note = Callable[[Peer, Attempt], None]
"""Called with each share that was asked for what was needed to tell, and failed."""


async def confirm_claimed(
    partial: Partial,
    source: Source,
    disk: DiskThreads,
    peers: Sequence[Peer],
    first: int,
    stop: int,
    note: Note,
) -> list[int]:
    """Marks the claimed chunks of a range as present, which are returned, or as missing if they are wrong.

    A chunk of which that cannot be told now stays claimed: it is loaded like a missing one.
    """
    confirmed: list[int] = []
    for start, count in partial.claimed(first, stop - first):
        if not await can_verify(source, peers, start, start + count, note):
            continue
        right = await disk.run(_are_right, partial, source, start, start + count)
        for chunk, is_right in enumerate(right, start):
            if is_right:
                partial.confirm(chunk, 1)
                confirmed.append(chunk)
            else:
                partial.unclaim(chunk, 1)
    return confirmed


async def can_verify(
    source: Source,
    peers: Sequence[Peer],
    first: int,
    stop: int,
    note: Note,
) -> bool:
    """Sees to it that a range can be verified. False if it cannot: the tree on the disk is gone too, and no
    share has it now."""
    if await source.resume(first, stop):
        return True
    for peer in sorted(peers, key=lambda peer: rank(peer.view(1))):
        try:
            with peer.asking():
                await source.prepare(peer, first, stop, ahead=True)
            return True
        except ShareFailure as failure:
            note(peer, failure.attempt)
    return False


def _are_right(partial: Partial, source: Source, first: int, stop: int) -> list[bool]:
    """Blocks."""
    return [_is_right(partial, source, chunk) for chunk in range(first, stop)]


def _is_right(partial: Partial, source: Source, chunk: int) -> bool:
    offset = chunk * CHUNK_SIZE
    try:
        content = partial.read(offset, min(CHUNK_SIZE, partial.size - offset))
    except errors.StoreBroken as failure:
        _log.warning("%s: what is stored at %d cannot be read: %s", partial.key, offset, failure)
        return False
    return source.is_as_kept(chunk, content)
