"""``POST /load``: names are loaded, and whoever asked is told how far that is, line by line.

The body is ``{"names": [PATH, ...]}``, paths in the mount (`blobfs.sync.packages.targets`). The answer is a
stream of JSON objects, one a line, each with its ``name``:

    {"state":"loading", "blobs":, "bytes":, "total_blobs":, "total_bytes":, "loaded_bytes":, ...}
                         of each name that is being loaded, a few times a second
    {"state":"done", "kind":, "blob":, "files":, "blobs":, "bytes":, "loaded_blobs":, "loaded_bytes":}
    {"state":"failed", "error":, "errno":, "attempts":}
                         once for each name, at its end

Whoever ends the connection cancels what is being loaded. What has arrived stays.
"""

import errno
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import Any

import trio

from blobfs import errors
from blobfs.sync.packages.path_loading import LoadedPath
from blobfs.sync.packages.progress import Progress

_log = logging.getLogger(__name__)

MAX_BODY = 16 << 20
"""Bytes of names: a command line holds 2 MiB."""
NAMES_AT_A_TIME = 8
"""Each of them is many requests by itself; together they hide that one of them waits."""
TICK = 0.25
"""Seconds between two lines about what is being loaded; something always comes in this time."""

Load = Callable[[str, Progress], Awaitable[LoadedPath]]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
SendLine = Callable[[Mapping[str, Any]], Awaitable[None]]


class Malformed(Exception):
    """What was sent is no list of names; says why."""


async def read_names(receive: Receive) -> list[str]:
    """Raises `Malformed`."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise Malformed("it broke off")
        body += message.get("body", b"")
        if len(body) > MAX_BODY:
            raise Malformed(f"more than {MAX_BODY} bytes of names")
        if not message.get("more_body"):
            break
    try:
        wanted = json.loads(bytes(body))
    except (ValueError, RecursionError):
        raise Malformed("not JSON") from None
    names = wanted.get("names") if isinstance(wanted, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Malformed('not {"names": [NAME, ...]}')
    return list(dict.fromkeys(names))


class LoadStream:
    """One answer. `_active` are the names that are being loaded, changed by their tasks."""

    def __init__(self, load: Load, names: list[str]) -> None:
        self._load = load
        self._names = names
        self._active: dict[str, Progress] = {}

    async def run(self, receive: Receive, send_line: SendLine) -> None:
        """Until every name has ended, or whoever asked is gone."""
        ended, endings = trio.open_memory_channel[dict[str, Any]](len(self._names))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_when_gone, receive, nursery.cancel_scope)
            nursery.start_soon(self._load_all, ended)
            for _ in self._names:
                await send_line(await self._next_ending(endings, send_line))
            nursery.cancel_scope.cancel()

    async def _next_ending(
        self, endings: trio.MemoryReceiveChannel[dict[str, Any]], send_line: SendLine
    ) -> dict[str, Any]:
        while True:
            with trio.move_on_after(TICK):
                return await endings.receive()
            for name, progress in list(self._active.items()):
                await send_line({"name": name, "state": "loading", **asdict(progress.figures())})

    async def _load_all(self, ended: trio.MemorySendChannel[dict[str, Any]]) -> None:
        turns = trio.Semaphore(NAMES_AT_A_TIME)
        async with trio.open_nursery() as nursery:
            for name in self._names:
                await turns.acquire()
                nursery.start_soon(self._load_one, name, turns, ended)

    async def _load_one(
        self, name: str, turns: trio.Semaphore, ended: trio.MemorySendChannel[dict[str, Any]]
    ) -> None:
        self._active[name] = progress = Progress()
        try:
            loaded = await self._load(name, progress)
            ended.send_nowait({"name": name, "state": "done", **asdict(loaded)})
        except errors.BlobfsError as failure:
            ended.send_nowait({"name": name, "state": "failed", **_described(failure)})
        except Exception:
            _log.exception("unexpected, in loading %r", name)
            defect = errors.LoadFailed("unexpected; see the log of the node")
            ended.send_nowait({"name": name, "state": "failed", **_described(defect)})
        finally:
            del self._active[name]
            turns.release()


def _described(failure: errors.BlobfsError) -> dict[str, Any]:
    attempts = failure.attempts if isinstance(failure, errors.LoadFailed) else ()
    return {
        "error": str(failure),
        "errno": errno.errorcode[failure.errno],
        "attempts": [asdict(attempt) for attempt in attempts],
    }


async def _cancel_when_gone(receive: Receive, scope: trio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
