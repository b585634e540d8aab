"""What a running node answers on its control socket: HTTP over a unix socket in the store.

The socket is the daemon's user's alone, and is never reached through the mount: it answers when the
mount is stuck. An answer is one JSON object; when it is not 200, ``error`` in it says why.

    GET /status         the node's state
    GET /why?name=NAME  what is known of a name, or of a blob as ``.blobfs/blobs/ID``; 400 for what is neither
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qs

from blobfs.model import Invalid

Status = Callable[[], Mapping[str, Any]]
Why = Callable[[str], Awaitable[Mapping[str, Any]]]
_Reply = tuple[int, Mapping[str, Any]]


class ControlApp:
    """The ASGI application. Has no state of its own."""

    def __init__(self, status: Status, why: Why) -> None:
        self._status = status
        self._why = why

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await _answer(send, *await self._reply(scope))

    async def _reply(self, scope: Any) -> _Reply:
        path, method = scope["path"], scope["method"]
        if path not in ("/status", "/why"):
            return 404, {"error": f"no {path} here"}
        if method not in ("GET", "HEAD"):
            return 405, {"error": f"{method} is not for {path}"}
        if path == "/status":
            return 200, self._status()
        return await self._explain(scope["query_string"])

    async def _explain(self, query: bytes) -> _Reply:
        fields = parse_qs(query.decode("ascii", "replace"), keep_blank_values=True, errors="surrogateescape")
        names = fields.get("name", [])
        if len(names) != 1:
            return 400, {"error": "one name, please: /why?name=NAME"}
        try:
            return 200, await self._why(names[0])
        except Invalid as wrong:
            return 400, {"error": str(wrong)}


async def _answer(send: Any, status: int, body: Mapping[str, Any]) -> None:
    content = json.dumps(body, default=str).encode() + b"\n"
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
