"""By which proxy a share is asked: what the environment says. Pure.

``http_proxy``, ``https_proxy``, ``all_proxy`` and ``no_proxy`` mean what they mean to Python's `urllib`: the
last holds host names, their ends and ``host:port``, separated by commas, or ``*``. A proxy is asked over
HTTP, for http in absolute form, for https by CONNECT. Its credentials are those of its URL, and go to no one
else.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.request import proxy_bypass

import httpx

from blobfs.model import Invalid
from blobfs.shares.address import Origin, origin
from blobfs.shares.credentials import basic


@dataclass(frozen=True, slots=True)
class Proxy:
    """One that is asked over HTTP."""

    host: str
    port: int
    authorization: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"proxy {f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def rejected(self, status: int) -> str:
        """What an answer of its own means that is no success."""
        if status == 407:
            given = "does not accept" if self.authorization else "demands"
            return f"{self}: HTTP 407: it {given} credentials"
        return f"{self}: HTTP {status}"


class Proxies:
    """What the environment says, as `urllib.request.getproxies` gives it."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)

    def of(self, to: Origin) -> Proxy | None:
        """The one by which this origin is asked. Raises `Invalid` for one that we cannot ask."""
        scheme, host, port = to
        name = scheme if scheme in self._environment else "all"
        address = self._environment.get(name)
        if address is None or self._is_spared(host, port):
            return None
        return _parse(f"{name}_proxy", address)

    def _is_spared(self, host: str, port: int) -> bool:
        bracketed = f"[{host}]" if ":" in host else host
        forms = (host, f"{bracketed}:{port}")
        return any(proxy_bypass(form, self._environment) for form in forms)


def _parse(name: str, text: str) -> Proxy:
    try:
        url = httpx.URL(text if "://" in text else f"http://{text}")
    except (ValueError, httpx.InvalidURL):
        raise Invalid(f"{name}: not the URL of a proxy") from None
    _, host, port = origin(url)
    if url.scheme != "http":
        raise Invalid(f"{name}: a proxy is asked over http://, {url.scheme}:// is not supported")
    if not host or url.port == 0 or port > 65535:
        raise Invalid(f"{name}: not the URL of a proxy")
    header = basic(url.username, url.password).header if url.userinfo else None
    return Proxy(host, port, header)
