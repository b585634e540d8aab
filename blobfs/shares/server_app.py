"""The ASGI application that exports a share directory: static files, GET and HEAD (docs/formats.md).

Rules. A file is opened once; what the open descriptor says is what is answered, and its bytes are
served to the end, whatever happens to its name meanwhile. The disk is touched in threads only, and
a small file takes one hop in all. A client that leaves ends its answer, quietly. With a daemon to ask, what
is not whole here is served as far as it goes (`part_files`), and every answer says so.
"""

import logging
import mimetypes
import os
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import trio
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from blobfs.shares.part_files import open_part
from blobfs.shares.parts import PARTS_HEADER, PartsOfDaemon
from blobfs.shares.served_counts import ServedCounts
from blobfs.shares.share_files import IsDirectory, open_file, read_piece
from blobfs.shares.share_paths import Kind, Refused, SharePath, parse_path, strip_origin
from blobfs.shares.static_http import Answer, Version, choose_answer

_log = logging.getLogger(__name__)

_FOR_EVER = 31_536_000
"""Seconds, a year, which HTTP takes for it."""

_PARTS_HEADER = (PARTS_HEADER.encode(), b"1")
_NO_SNIFFING = {"x-content-type-options": "nosniff"}


@dataclass(slots=True)
class _Opened:
    """A file about to be served. `descriptor` is None once its bytes are not needed any more."""

    path: SharePath
    descriptor: int | None
    version: Version
    answer: Answer
    first: bytes = b""

    def close(self) -> None:
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None


def share_app(share: Path, *, for_all: bool = True, parts: PartsOfDaemon | None = None) -> ASGIApp:
    """An ASGI application for the directory `share`; it keeps no state between requests.

    What is not `for_all` is kept by no cache that may hand it to somebody else. `parts` is the daemon that
    loads blobs into the store.
    """
    immutable = f"{'public' if for_all else 'private'}, max-age={_FOR_EVER}, immutable"

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if parts is not None:
            send = _telling(send)
        if scope["type"] != "http":
            await WebSocketClose()(scope, receive, send)
        elif scope["method"] not in ("GET", "HEAD"):
            await _refusal(HTTPStatus.METHOD_NOT_ALLOWED, allow="GET, HEAD")(scope, receive, send)
        else:
            await _answer(share, parts, immutable, scope, receive, send)

    return app


def count_served(app: ASGIApp, counts: ServedCounts) -> ASGIApp:
    """`app`, each answer and each piece of it counted when it was sent."""

    async def counting(scope: Scope, receive: Receive, send: Send) -> None:
        async def counted(message: Message) -> None:
            await send(message)
            if message["type"] == "http.response.start":
                counts.note(1, 0)
            elif message["type"] == "http.response.body" and message.get("body"):
                counts.note(0, len(message["body"]))

        await app(scope, receive, counted)

    return counting


def _telling(send: Send) -> Send:
    """Says that parts of blobs can be asked for."""

    async def told(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], _PARTS_HEADER]}
        await send(message)

    return told


async def _answer(
    share: Path, parts: PartsOfDaemon | None, immutable: str, scope: Scope, receive: Receive, send: Send
) -> None:
    raw_path = strip_origin(scope["raw_path"])
    try:
        path = parse_path(raw_path)
        opened = await _find(share, parts, path, scope["method"], Headers(scope=scope))
    except Refused as refused:
        await _refusal(refused.status)(scope, receive, send)
    except IsDirectory:
        # parse_path lets no "//" through, so this cannot lead to another host.
        location = raw_path.decode("ascii") + "/"
        await _refusal(HTTPStatus.MOVED_PERMANENTLY, location=location)(scope, receive, send)
    else:
        try:
            await _send_file(opened, _headers(opened, immutable), receive, send)
        finally:
            opened.close()


async def _find(
    share: Path, parts: PartsOfDaemon | None, path: SharePath, method: str, headers: Headers
) -> _Opened:
    """What is whole here, else what has come of it. Raises `Refused`, `IsDirectory`."""
    try:
        return await trio.to_thread.run_sync(_open, share, path, method, headers)
    except Refused as refused:
        if parts is None or path.kind not in (Kind.BLOB, Kind.PARTS) or refused.status != 404:
            raise
    part = await open_part(parts, share, path, method, headers)
    if part is not None:
        return await trio.to_thread.run_sync(_read_first, path, *part, method, headers)
    return await trio.to_thread.run_sync(_open, share, path, method, headers)  # it may have come just now


def _refusal(status: HTTPStatus, **headers: str) -> ASGIApp:
    return PlainTextResponse(f"{status} {status.phrase}\n", status, {**_NO_SNIFFING, **headers})


def _open(share: Path, path: SharePath, method: str, headers: Headers) -> _Opened:
    """Opens, decides and reads the first piece in one hop. Raises `Refused`, `IsDirectory`."""
    return _read_first(path, *open_file(share, path), method, headers)


def _read_first(path: SharePath, descriptor: int, version: Version, method: str, headers: Headers) -> _Opened:
    """Consumes the descriptor. Raises `Refused`."""
    opened = _Opened(path, descriptor, version, choose_answer(method, headers, version))
    start, stop = opened.answer.start, opened.answer.stop
    try:
        if method == "GET":
            opened.first = read_piece(descriptor, start, stop)
    except OSError as error:
        opened.close()
        _log.warning("%s cannot be read: %s", path, error)
        raise Refused(HTTPStatus.INTERNAL_SERVER_ERROR) from error
    if method == "HEAD" or len(opened.first) == stop - start:
        opened.close()
    return opened


async def _send_file(opened: _Opened, named: dict[str, str], receive: Receive, send: Send) -> None:
    headers = [(name.encode("ascii"), value.encode("latin-1")) for name, value in named.items()]
    await send({"type": "http.response.start", "status": opened.answer.status, "headers": headers})
    if opened.descriptor is None:
        await send({"type": "http.response.body", "body": opened.first})
        return
    complete = False
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_cancel_when_gone, receive, nursery.cancel_scope)
        complete = await _send_pieces(opened, opened.descriptor, send)
        nursery.cancel_scope.cancel()
    # Out here, because the end of an answer is a disconnect too, and must not be cancelled half-way.
    # Without it the server cuts the connection, and the reader sees a short body.
    if complete:
        await send({"type": "http.response.body"})


async def _send_pieces(opened: _Opened, descriptor: int, send: Send) -> bool:
    """False if the file has fewer bytes than were promised."""
    piece, position, stop = opened.first, opened.answer.start, opened.answer.stop
    while piece:
        position += len(piece)
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        if position == stop:
            return True
        try:
            piece = await trio.to_thread.run_sync(read_piece, descriptor, position, stop)
        except OSError as error:
            _log.warning("%s cannot be read at %d: %s", opened.path, position, error)
            return False
    _log.warning("%s became shorter while it was served", opened.path)
    return False


async def _cancel_when_gone(receive: Receive, scope: trio.CancelScope) -> None:
    """Without it Hypercorn lets an application send a whole file to nobody."""
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


def _headers(opened: _Opened, immutable: str) -> dict[str, str]:
    answer, version, kind = opened.answer, opened.version, opened.path.kind
    headers = {
        **_NO_SNIFFING,
        "accept-ranges": "bytes",
        "cache-control": immutable if kind.immutable else "no-cache",
    }
    if version.etag is not None:
        headers["etag"] = version.etag
    if version.last_modified is not None:
        headers["last-modified"] = version.last_modified
    if answer.status == HTTPStatus.PARTIAL_CONTENT:
        headers["content-range"] = f"bytes {answer.start}-{answer.stop - 1}/{version.size}"
    if answer.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        headers["content-range"] = f"bytes */{version.size}"
    if answer.status != HTTPStatus.NOT_MODIFIED:
        headers["content-length"] = str(answer.stop - answer.start)
        headers["content-type"] = _content_type(opened.path)
    return headers


def _content_type(path: SharePath) -> str:
    match path.kind:
        case Kind.RECORD:
            return "application/json"
        case Kind.LOG | Kind.BUNDLES:
            return "application/x-ndjson"
        case Kind.NAMED:
            # The slash keeps a name like "data:x" from being read as a URL.
            kind, encoding = mimetypes.guess_type(f"/{path.last}")
            return kind if kind and not encoding else "application/octet-stream"
        case _:
            return "application/octet-stream"
