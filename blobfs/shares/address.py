"""What a share is told by: its base URL and its limits. Pure.

A base URL is normalised (lower-case scheme and host, no default port, a slash at the end), so two spellings
of one share compare equal. It may carry credentials; nothing that is shown or logged does.
"""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

from blobfs.model import Invalid

CONCURRENT = 8
"""Requests under way at once per share and kind: enough to hide a round trip, few for a small server."""

_CREDENTIALS = re.compile(r"//[^/]*@")
_UNPRINTABLE = re.compile(r"[\x00-\x20\x7f-\x9f\\]")


@dataclass(frozen=True, slots=True)
class ShareOptions:
    """One share as configured."""

    url: str
    """As `parse_share_url` returns it."""
    plain: bool = False
    """Just files, no ``.blobfs/``: nothing can be verified (docs/formats.md)."""
    redirects: bool = False
    """Follow redirects to other origins too."""
    connect_timeout: float = 2.0
    """Seconds for name lookup and TCP, and again for TLS."""
    first_byte_timeout: float = 10.0
    """Seconds from sending a request until the head of its answer is whole."""
    idle_timeout: float = 10.0
    """Seconds between two pieces of a body after which the share counts as stalled."""
    concurrent: int = CONCURRENT
    group: int = 1
    """Shares of a group are asked only when none of a lower one can help."""


def parse_share_url(text: str) -> str:
    """The normalised base URL. Raises `Invalid` with one line that never shows credentials."""
    shown = _CREDENTIALS.sub("//", text)[:200]
    if _UNPRINTABLE.search(text):
        raise Invalid(f"a share's URL holds a space, a backslash or a control character: {shown!r}")
    if not text.lower().startswith(("http:", "https:")):
        raise Invalid(f"a share's URL starts with http:// or https://, this does not: {shown!r}")
    if "?" in text or "#" in text:
        raise Invalid(f"a share's URL has no query and no fragment: {shown!r}")
    try:
        parts = urlsplit(text)
        port = parts.port
        url = httpx.URL(text)
    except (ValueError, httpx.InvalidURL) as error:
        raise Invalid(f"not a share's URL ({_CREDENTIALS.sub('//', str(error))}): {shown!r}") from None
    if not parts.hostname or not url.host:
        raise Invalid(f"a share's URL without a host: {shown!r}")
    if port == 0:
        raise Invalid(f"a share's URL with port 0: {shown!r}")
    path = url.raw_path if url.raw_path.endswith(b"/") else url.raw_path + b"/"
    return str(url.copy_with(raw_path=path))


def shown_url(url: str) -> str:
    """The URL without its credentials, for people and logs."""
    return str(httpx.URL(url).copy_with(userinfo=b""))


def origin(url: httpx.URL) -> tuple[str, str, int]:
    """Scheme, host and port: who is asked."""
    default = 443 if url.scheme == "https" else 80
    return url.scheme, url.host, url.port or default
