"""The border of the disk: every OSError that leaves the store is one of `errors.StoreError`.

But for one, which is the caller's mistake: a file larger than the disk's file system can hold.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from blobfs import errors

_BY_ERRNO: dict[int, type[errors.BlobfsError]] = {
    errno.EFBIG: errors.ContentTooLong,
    errno.ENOSPC: errors.StoreFull,
    errno.EDQUOT: errors.QuotaExceeded,
    errno.EROFS: errors.StoreReadOnly,
}


def describe(failure: OSError) -> str:
    """``No space left on device: /store/incoming/5f…``, with the path if the call had one."""
    text = failure.strerror or str(failure)
    if failure.filename is None or isinstance(failure.filename, int):
        return text
    return f"{text}: {os.fsdecode(failure.filename)}"


@contextmanager
def store_errors() -> Iterator[None]:
    """Maps what the disk says. Also stands as a decorator; nested uses leave a mapped error alone."""
    try:
        yield
    except OSError as failure:
        kind = _BY_ERRNO.get(failure.errno or 0, errors.StoreBroken)
        raise kind(describe(failure)) from failure
