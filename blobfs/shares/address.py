"""What a share is told by: its base URL and its limits. Pure.

A base URL is normalised (lower-case scheme and host, no default port, a slash at the end), so two spellings
of one share compare equal. It may carry credentials; nothing that is shown or logged does.
"""

from dataclasses import dataclass
from pathlib import Path

import httpx

from blobfs.config.addresses import shown_of_refused, url_problem
from blobfs.model import Invalid

CONCURRENT = 8
"""Requests under way at once per share and kind: enough to hide a round trip, few for a small server."""


Origin = tuple[str, str, int]
"""Scheme, host and port: who is asked."""


@dataclass(frozen=True, slots=True)
class Access:
    """Who this node is at a share, whom it trusts there, and the way to it. Files are read when the share is
    opened."""

    token_file: Path | None = None
    user: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    """Instead of the system's authorities."""
    client_certificate: Path | None = None
    client_key: Path | None = None
    """None: the key is in `client_certificate`."""
    proxy: bool = True
    """By way of the proxy that the environment names, if it names one."""

    def __post_init__(self) -> None:
        if (self.user is None) != (self.password_file is None):
            raise Invalid("user and password_file go together")
        if self.user is not None and (self.token_file is not None or ":" in self.user):
            raise Invalid("a user with a colon" if ":" in self.user else "a token or a user, not both")
        if self.client_key is not None and self.client_certificate is None:
            raise Invalid("client_key without client_certificate")


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
    """Seconds for name lookup and TCP, and again for a proxy's tunnel, and for TLS."""
    first_byte_timeout: float = 10.0
    """Seconds from sending a request until the head of its answer is whole."""
    idle_timeout: float = 10.0
    """Seconds between two pieces of a body after which the share counts as stalled."""
    concurrent: int = CONCURRENT
    group: int = 1
    """Shares of a group are asked only when none of a lower one can help."""
    access: Access = Access()


def parse_share_url(text: str) -> str:
    """The normalised base URL. Raises `Invalid` with one line that never shows credentials."""
    problem = url_problem(text)
    if problem is not None:
        raise Invalid(problem)
    shown = shown_of_refused(text)[:200]
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        reason = "its credentials are to be percent-encoded" if "@" in text else error
        raise Invalid(f"not a share's URL ({reason}): {shown!r}") from None
    if not url.host:
        raise Invalid(f"a share's URL without a host: {shown!r}")
    path = url.raw_path if url.raw_path.endswith(b"/") else url.raw_path + b"/"
    return str(url.copy_with(raw_path=path))


def shown_url(url: str) -> str:
    """The URL without its credentials, for people and logs."""
    return str(httpx.URL(url).copy_with(userinfo=b""))


def origin(url: httpx.URL) -> Origin:
    default = 443 if url.scheme == "https" else 80
    return url.scheme, url.raw_host.decode("ascii"), url.port or default
