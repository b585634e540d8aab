"""URLs of shares and addresses to listen on: what their text says is wrong. Pure; nothing is looked up."""

import re
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from blobfs.config.settings import PASSED_SOCKET
from blobfs.model import Invalid

_CREDENTIALS = re.compile(r"//[^/]*@")
_BEFORE_CREDENTIALS = re.compile(r"(?:[\w.-]+=)?(?:[A-Za-z][\w+.-]*:[/\\]+)?")
_UNPRINTABLE = re.compile(r"[\x00-\x20\x7f-\x9f\\]")


def without_credentials(url: str) -> str:
    """What may be shown of a share's URL."""
    return _CREDENTIALS.sub("//", url)


def shown_of_refused(text: str) -> str:
    """What may be shown of a text that was to be a URL and is none. Where its credentials end cannot be told:
    a password may hold a slash, the scheme may be missing. So all is hidden up to the last ``@``.
    """
    head = _BEFORE_CREDENTIALS.match(text)
    start = head.end() if head else 0
    return text[:start] + text[start:].rpartition("@")[2]


def url_problem(text: str) -> str | None:
    """What keeps it from being a share's URL; never shows credentials."""
    shown = shown_of_refused(text)[:200]
    if _UNPRINTABLE.search(text):
        return f"a share's URL holds a space, a backslash or a control character: {shown!r}"
    if not text.lower().startswith(("http:", "https:")):
        return f"a share's URL starts with http:// or https://, this does not: {shown!r}"
    if "?" in text or "#" in text:
        return f"a share's URL has no query and no fragment: {shown!r}"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        # The error quotes what it takes for the port, which may be the password.
        reason = "its credentials are to be percent-encoded" if "@" in text else error
        return f"not a share's URL ({reason}): {shown!r}"
    if not parts.hostname:
        return f"a share's URL without a host: {shown!r}"
    return f"a share's URL with port 0: {shown!r}" if port == 0 else None


def same_share(text: str) -> str:
    """Equal for two URLs of one share."""
    parts = urlsplit(text)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return f"{parts.scheme}://{parts.hostname}:{port}{parts.path.rstrip('/')}/"


def is_secure(parts: SplitResult) -> bool:
    """Whether what is sent there can be read by nobody on the way."""
    return parts.scheme == "https" or is_loopback(parts.hostname or "")


def is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def is_local(listen: str) -> bool:
    """Whether only this machine gets there, as far as the text says."""
    return listen == PASSED_SOCKET or listen.startswith("unix:") or is_loopback(parse_address(listen)[0])


def parse_address(text: str) -> tuple[str, int]:
    """Host and port of ``HOST:PORT`` or ``[ADDRESS]:PORT``. Raises `Invalid`."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise Invalid(f"an IPv6 address stands in brackets, as in [::1]:8970: {text!r}")
    if not colon or not host or not host.isprintable() or any(c in host for c in "[]/@ "):
        raise Invalid(f"not HOST:PORT: {text!r} (0.0.0.0:8970 is every interface)")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
        raise Invalid(f"not a port, 0 to 65535: {port!r} in {text!r}")
    return host, int(port)
