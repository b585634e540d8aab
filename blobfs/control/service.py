"""What a running node answers on its control socket: HTTP over a unix socket in the store.

It is never reached through the mount: it answers when the mount is stuck. An answer is one JSON object, but
for the page and the metrics; when it is not 200, ``error`` in it says why.

    GET /status         the node's state
    GET /why?name=NAME  what is known of a name, or of a blob as ``.blobfs/blobs/ID``; 400 for what is neither
    GET /metrics        for Prometheus
    GET /               a page for people
    POST /load          brings names here; the answer is a stream of objects (`load_stream.py`)
    POST /pin /unpin /evict   what stays and what goes (`keeping.py`)
    POST /reload        takes changed settings over; 400 where they are refused, and the old ones stay

Who may connect is for the socket's mode to say (`access.py`). Whoever changes something is logged.
"""

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qs

from blobfs import errors
from blobfs.control.keeping import Touch, touch_all
from blobfs.control.load_stream import Load, LoadStream, Malformed, read_names
from blobfs.model import Invalid

_log = logging.getLogger(__name__)

Status = Callable[[], Mapping[str, Any]]
Why = Callable[[str], Awaitable[Mapping[str, Any]]]
Metrics = Callable[[str], Awaitable[tuple[str, bytes]]]
"""Content type and body, for an ``Accept`` header."""
Page = Callable[[], bytes]
"""HTML."""
Reload = Callable[[], Awaitable[Mapping[str, Any]]]
"""Raises `StartRefused` for settings that are refused."""

READING = ("GET", "HEAD")
_CHANGING = ("POST",)

_PAGE_RULES = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The page is one file and asks nobody but this node (Content-Security-Policy)."""
_HEADERS = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", _PAGE_RULES.encode()),
)


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes
    content_type: str = "application/json"


_Asked = Callable[[Any, Any, Any], Awaitable[_Answer | None]]
"""From scope, receive and send; None: it has been answered."""


class ControlApp:
    """The ASGI application. Has no state of its own."""

    def __init__(
        self,
        status: Status,
        why: Why,
        load: Load,
        touching: Mapping[str, Touch] = MappingProxyType({}),
        *,
        metrics: Metrics | None = None,
        page: Page | None = None,
        reload: Reload | None = None,
    ) -> None:
        """`touching`: what is done with names, by the word for it (``pin``)."""
        self._routes: dict[str, tuple[tuple[str, ...], _Asked]] = {
            "/status": (READING, _shown(lambda: _json(200, status()))),
            "/why": (READING, _explained(why)),
            "/load": (_CHANGING, _streamed(load)),
        }
        for word, touch in touching.items():
            self._routes[f"/{word}"] = _CHANGING, _touched(touch)
        if metrics is not None:
            self._routes["/metrics"] = READING, _measured(metrics)
        if page is not None:
            self._routes["/"] = READING, _shown(lambda: _Answer(200, page(), "text/html; charset=utf-8"))
        if reload is not None:
            self._routes["/reload"] = _CHANGING, _reloaded(reload)

    def changes(self, path: str) -> bool:
        """Whether something else than reading can be done there."""
        return self._routes.get(path, (READING, None))[0] is not READING

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        answer = await self._answer(scope, receive, send)
        if answer is not None:
            await _send(send, answer)

    async def _answer(self, scope: Any, receive: Any, send: Any) -> _Answer | None:
        path, method = scope["path"], scope["method"]
        if path not in self._routes:
            return _refusal(404, f"no {path} here")
        methods, asked = self._routes[path]
        if method not in methods:
            return _refusal(405, f"{method} is not for {path}")
        if methods is _CHANGING and scope.get("client") is not None:
            _log.info("%s asked for by %s (pid %s)", path, *scope["client"])
        return await asked(scope, receive, send)


class ReadingApp:
    """What of it is shown where everybody may connect: what only reads. Anything else is forbidden.

    `hosts` are the names it goes by, if they are known: a web page from elsewhere whose name suddenly means
    this machine (DNS rebinding) may not read what it shows.
    """

    def __init__(self, app: ControlApp, hosts: frozenset[str] | None = None) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        if scope["method"] not in READING or self._app.changes(scope["path"]):
            await _send(send, _refusal(403, "here one can only read; the control socket does the rest"))
        elif self._hosts is not None and _host(scope["headers"]) not in self._hosts:
            await _send(send, _refusal(403, "nobody is called so here"))
        else:
            await self._app(scope, receive, send)


def _host(headers: Any) -> str:
    """Without its port."""
    name = _header(headers, b"host")
    head, colon, port = name.rpartition(":")
    return (head if colon and port.isdigit() else name).strip("[]").lower()


def _header(headers: Any, wanted: bytes) -> str:
    """Nothing, if it was not sent."""
    return next((value for key, value in headers if key == wanted), b"").decode("latin-1")


def _shown(show: Callable[[], _Answer]) -> _Asked:
    async def answer(scope: Any, receive: Any, send: Any) -> _Answer:
        return show()

    return answer


def _explained(why: Why) -> _Asked:
    async def answer(scope: Any, receive: Any, send: Any) -> _Answer:
        query = scope["query_string"].decode("ascii", "replace")
        names = parse_qs(query, keep_blank_values=True, errors="surrogateescape").get("name", [])
        if len(names) != 1:
            return _refusal(400, "one name, please: /why?name=NAME")
        try:
            return _json(200, await why(names[0]))
        except Invalid as wrong:
            return _refusal(400, str(wrong))

    return answer


def _touched(touch: Touch) -> _Asked:
    async def answer(scope: Any, receive: Any, send: Any) -> _Answer:
        try:
            return _json(200, await touch_all(touch, await read_names(receive)))
        except Malformed as wrong:
            return _refusal(400, str(wrong))

    return answer


def _reloaded(reload: Reload) -> _Asked:
    async def answer(scope: Any, receive: Any, send: Any) -> _Answer:
        try:
            return _json(200, await reload())
        except errors.StartRefused as refused:
            return _refusal(400, str(refused))

    return answer


def _streamed(load: Load) -> _Asked:
    async def answer(scope: Any, receive: Any, send: Any) -> _Answer | None:
        try:
            names = await read_names(receive)
        except Malformed as wrong:
            return _refusal(400, str(wrong))
        headers = [(b"content-type", b"application/x-ndjson")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})

        async def send_line(line: Mapping[str, Any]) -> None:
            body = json.dumps(line, default=str).encode() + b"\n"
            await send({"type": "http.response.body", "body": body, "more_body": True})

        await LoadStream(load, names).run(receive, send_line)
        await send({"type": "http.response.body", "body": b""})
        return None

    return answer


def _measured(metrics: Metrics) -> _Asked:
    async def answer(scope: Any, receive: Any, send: Any) -> _Answer:
        content_type, body = await metrics(_header(scope["headers"], b"accept"))
        return _Answer(200, body, content_type)

    return answer


def _refusal(status: int, error: str) -> _Answer:
    return _json(status, {"error": error})


def _json(status: int, body: Mapping[str, Any]) -> _Answer:
    return _Answer(status, json.dumps(body, default=str).encode() + b"\n")


async def _send(send: Any, answer: _Answer) -> None:
    headers = [
        (b"content-type", answer.content_type.encode()),
        (b"content-length", str(len(answer.body)).encode()),
        *_HEADERS,
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
