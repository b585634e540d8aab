"""What a running node answers on its control socket: HTTP over a unix socket in the store.

The socket is the daemon's user's alone, and is never reached through the mount: it answers when the
mount is stuck. An answer is one JSON object; when it is not 200, ``error`` in it says why.

    GET /status         the node's state
    GET /why?name=NAME  what is known of a name, or of a blob as ``.blobfs/blobs/ID``; 400 for what is neither
    POST /load          brings names here; the answer is a stream of objects (`load_stream.py`)
    POST /pin /unpin /evict   what stays and what goes (`keeping.py`)
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qs

from blobfs.control.keeping import Touch, touch_all
from blobfs.control.load_stream import Load, LoadStream, Malformed, read_names
from blobfs.model import Invalid

Status = Callable[[], Mapping[str, Any]]
Why = Callable[[str], Awaitable[Mapping[str, Any]]]
_Reply = tuple[int, Mapping[str, Any]]
_METHODS = {"/status": ("GET", "HEAD"), "/why": ("GET", "HEAD"), "/load": ("POST",)}


class ControlApp:
    """The ASGI application. Has no state of its own."""

    def __init__(
        self, status: Status, why: Why, load: Load, touching: Mapping[str, Touch] = MappingProxyType({})
    ) -> None:
        """`touching`: what is done with names, by the word for it (``pin``)."""
        self._status = status
        self._why = why
        self._load = load
        self._touching = {f"/{word}": touch for word, touch in touching.items()}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        reply = await self._reply(scope, receive, send)
        if reply is not None:
            await _answer(send, *reply)

    async def _reply(self, scope: Any, receive: Any, send: Any) -> _Reply | None:
        """None: it has been answered."""
        path, method = scope["path"], scope["method"]
        if path not in _METHODS and path not in self._touching:
            return 404, {"error": f"no {path} here"}
        if method not in _METHODS.get(path, ("POST",)):
            return 405, {"error": f"{method} is not for {path}"}
        if path == "/status":
            return 200, self._status()
        if path == "/why":
            return await self._explain(scope["query_string"])
        if path in self._touching:
            return await _touch(self._touching[path], receive)
        return await self._stream_load(receive, send)

    async def _stream_load(self, receive: Any, send: Any) -> _Reply | None:
        try:
            names = await read_names(receive)
        except Malformed as wrong:
            return 400, {"error": str(wrong)}
        headers = [(b"content-type", b"application/x-ndjson")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})

        async def send_line(line: Mapping[str, Any]) -> None:
            body = json.dumps(line, default=str).encode() + b"\n"
            await send({"type": "http.response.body", "body": body, "more_body": True})

        await LoadStream(self._load, names).run(receive, send_line)
        await send({"type": "http.response.body", "body": b""})
        return None

    async def _explain(self, query: bytes) -> _Reply:
        fields = parse_qs(query.decode("ascii", "replace"), keep_blank_values=True, errors="surrogateescape")
        names = fields.get("name", [])
        if len(names) != 1:
            return 400, {"error": "one name, please: /why?name=NAME"}
        try:
            return 200, await self._why(names[0])
        except Invalid as wrong:
            return 400, {"error": str(wrong)}


async def _touch(touch: Touch, receive: Any) -> _Reply:
    try:
        return 200, await touch_all(touch, await read_names(receive))
    except Malformed as wrong:
        return 400, {"error": str(wrong)}


async def _answer(send: Any, status: int, body: Mapping[str, Any]) -> None:
    content = json.dumps(body, default=str).encode() + b"\n"
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
