"""Who this node is at a share: the ``Authorization`` header of every request to the share's own origin.

1. A token (RFC 6750) or a user and a password (RFC 7617), which stand in files of their own, or in the
   share's URL. They are read when the share is opened, not when it is asked.
2. Nothing shows them: not an error, not a `repr`.
"""

import base64
import re
from dataclasses import dataclass, field

import httpx

from blobfs.config.secret_files import read_secret
from blobfs.errors import ConfigRefused
from blobfs.shares.address import ShareOptions

_TOKEN = re.compile(r"[\x21-\x7e]+\Z")
"""RFC 6750 allows less; what some servers give out is still safe in a header."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What is sent, and what a person calls it."""

    header: str = field(repr=False)
    called: str
    """``token`` or ``password``."""


def read_credentials(options: ShareOptions) -> Credentials | None:
    """Blocks. Raises `ConfigRefused`, with the file."""
    access, url = options.access, httpx.URL(options.url)
    if access.token_file is not None:
        token = read_secret(access.token_file)
        if not _TOKEN.match(token):
            raise ConfigRefused(f"{access.token_file}: a token has no spaces and is plain ASCII, this is not")
        return Credentials(f"Bearer {token}", "token")
    if access.user is not None and access.password_file is not None:
        return basic(access.user, read_secret(access.password_file))
    return basic(url.username, url.password) if url.userinfo else None


def basic(user: str, password: str) -> Credentials:
    return Credentials("Basic " + base64.b64encode(f"{user}:{password}".encode()).decode(), "password")
