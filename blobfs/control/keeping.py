"""``POST /evict``, ``/pin`` and ``/unpin``: what came of each name.

The body is ``{"names": [PATH, ...]}`` as for ``/load``. The answer is ``{"results": [...]}``, in its order:

    {"name":, "state":"done", "kind":, "blobs":, "bytes":, "kept": {REASON: NUMBER}}
    {"name":, "state":"failed", "error":, "errno":}
"""

import errno
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import Any

from blobfs import errors
from blobfs.sync.packages.path_keeping import Touched

_log = logging.getLogger(__name__)

Touch = Callable[[str], Awaitable[Touched]]


async def touch_all(touch: Touch, names: list[str]) -> Mapping[str, Any]:
    """One after the other: they change the same store."""
    return {"results": [await _touch(touch, name) for name in names]}


async def _touch(touch: Touch, name: str) -> Mapping[str, Any]:
    try:
        return {"name": name, "state": "done", **asdict(await touch(name))}
    except errors.BlobfsError as failure:
        return _failed(name, str(failure), failure.errno)
    except Exception:
        _log.exception("%r: unexpected", name)
        return _failed(name, "unexpected; see the log", errno.EIO)


def _failed(name: str, error: str, number: int) -> Mapping[str, Any]:
    return {"name": name, "state": "failed", "error": error, "errno": errno.errorcode[number]}
