"""What a running node answers on its control socket: HTTP over a unix socket in the store.

The socket is the daemon's user's alone, and is never reached through the mount: it answers when the
mount is stuck.

    GET /status     the node's state, one JSON object
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

Status = Callable[[], Mapping[str, Any]]


class ControlApp:
    """The ASGI application. Has no state of its own."""

    def __init__(self, status: Status) -> None:
        self._status = status

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        if scope["path"] != "/status":
            await _answer(send, 404, {"error": f"no {scope['path']} here"})
        elif scope["method"] not in ("GET", "HEAD"):
            await _answer(send, 405, {"error": f"{scope['method']} is not for {scope['path']}"})
        else:
            await _answer(send, 200, self._status())


async def _answer(send: Any, status: int, body: Mapping[str, Any]) -> None:
    content = json.dumps(body, default=str).encode() + b"\n"
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
