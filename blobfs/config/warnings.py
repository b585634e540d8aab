"""What can be as it is set, and should not: secrets that others can read, doors that are open."""

from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from urllib.parse import urlsplit

from blobfs.config.addresses import is_local, is_secure
from blobfs.config.files import is_open_to_all
from blobfs.config.layers import Given, GivenShare, Merged, Mistake

_TYPED = "-"
"""What the places of flags and mount options begin with."""


def find_warnings(merged: Merged, file: Path | None) -> Iterator[Mistake]:
    """Of settings in which there are no mistakes."""
    for share in merged.shares:
        yield from chain(
            _credentials_in_url(share, file), _credentials_on_the_way(share), _open_keys(share.values)
        )
    yield from chain(_open_keys(merged.values), _open_serving(merged), _open_control(merged))


def _credentials_in_url(share: GivenShare, file: Path | None) -> Iterator[Mistake]:
    if "@" not in urlsplit(share.get("url")).netloc:
        return
    origin = share.origin_of("url")
    if origin.place.startswith(_TYPED):
        yield Mistake(
            origin, "every user of this machine can see a password on the command line: use password_file"
        )
    elif file is not None and is_open_to_all(file):
        yield Mistake(origin, f"every user of this machine can read the password: chmod o= {file}")


def _credentials_on_the_way(share: GivenShare) -> Iterator[Mistake]:
    url = urlsplit(share.get("url"))
    has_any = "@" in url.netloc or any(share.get(name) for name in ("token_file", "password_file"))
    if has_any and not is_secure(url):
        yield Mistake(
            share.origin_of("url"), "credentials go there that everybody on the way can read: use https"
        )


def _open_keys(values: Mapping[str, Given]) -> Iterator[Mistake]:
    for name, given in values.items():
        if name in ("client_key", "serve.key") and is_open_to_all(given.value):
            text = f"every user of this machine can read this private key: chmod o= {given.value}"
            yield Mistake(given.origin, text)


def _open_serving(merged: Merged) -> Iterator[Mistake]:
    listen = merged.get("serve.listen")
    has_token = merged.get("serve.token_file") and not merged.get("serve.certificate")
    if has_token and not is_local(listen):
        text = "the token comes in unencrypted: serve over TLS, or behind a server on this machine that does"
        yield Mistake(merged.origin("serve.token_file"), text)


def _open_control(merged: Merged) -> Iterator[Mistake]:
    listen = merged.get("control.listen")
    if listen is not None and not is_local(listen):
        text = f"who can reach {listen} sees the names that are loaded, and from where"
        yield Mistake(merged.origin("control.listen"), text)
