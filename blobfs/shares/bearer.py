"""An ASGI application behind a bearer token (RFC 6750): who does not bring it learns nothing, not even what
exists. There is no exception for a health check: being told 401 shows that the server lives.
"""

import hmac
import logging
from collections.abc import Callable
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from blobfs.shares.refusals import Refusals

_log = logging.getLogger(__name__)

_SCHEME = b"bearer "
_CHALLENGE = 'Bearer realm="blobfs"'


def demand_token(app: ASGIApp, token: Callable[[], bytes | None]) -> ASGIApp:
    """`app` for those who bring the token; `token` is asked at each request, and None is for everybody."""
    refusals = Refusals(_log)

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        wanted = token()
        if scope["type"] != "http" or wanted is None:
            await app(scope, receive, send)
            return
        brought = Headers(scope=scope).get("authorization")
        if brought is not None and is_bearer(brought.encode("latin-1"), wanted):
            await app(scope, receive, send)
            return
        refusals.note(logging.WARNING, "no token" if brought is None else "a wrong token", scope["client"])
        await _refusal(brought is not None)(scope, receive, send)

    return guarded


def is_bearer(authorization: bytes, token: bytes) -> bool:
    """Whether a header's value carries `token`; takes as long for every wrong one of its length."""
    scheme, brought = authorization[: len(_SCHEME)], authorization[len(_SCHEME) :]
    return scheme.lower() == _SCHEME and hmac.compare_digest(brought.strip(b" "), token)


def _refusal(brought_one: bool) -> ASGIApp:
    challenge = f'{_CHALLENGE}, error="invalid_token"' if brought_one else _CHALLENGE
    status = HTTPStatus.UNAUTHORIZED
    headers = {"www-authenticate": challenge, "cache-control": "no-store"}
    return PlainTextResponse(f"{status} {status.phrase}\n", status, headers)
