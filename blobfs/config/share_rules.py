"""What does not go together in what is set for a share, and among shares."""

from collections.abc import Iterator, Sequence
from itertools import chain
from urllib.parse import SplitResult, urlsplit

from blobfs.config.addresses import same_share, url_problem
from blobfs.config.catalogue import SHARE_CATALOGUE
from blobfs.config.files import file_problem, holds_key
from blobfs.config.kinds import FilePath
from blobfs.config.layers import GivenShare, Mistake

_FOR_TLS = ("ca_file", "client_certificate", "client_key")


def share_mistakes(shares: Sequence[GivenShare]) -> Iterator[Mistake]:
    """In the order of the shares."""
    seen: dict[str, GivenShare] = {}
    for share in shares:
        url = share.get("url")
        if url is None:
            continue
        problem = url_problem(url)
        if problem is not None:
            yield Mistake(share.origin_of("url"), problem)
            continue
        first = seen.setdefault(same_share(url), share)
        if first is not share:
            yield Mistake(share.origin_of("url"), f"the same share as at {first.origin_of('url').spot}")
        yield from chain(
            _wrong_credentials(share, urlsplit(url)), _wrong_tls(share, urlsplit(url)), _wrong_files(share)
        )


def _wrong_credentials(share: GivenShare, url: SplitResult) -> Iterator[Mistake]:
    user, password, token = (share.get(name) for name in ("user", "password_file", "token_file"))
    if user and not share.is_set("password_file"):
        yield Mistake(share.origin_of("user"), "a user without a password_file")
    if password and not share.is_set("user"):
        yield Mistake(share.origin_of("password_file"), "a password_file without a user")
    if user and ":" in user:
        yield Mistake(share.origin_of("user"), "a user of basic authentication has no colon in the name")
    if token and (user or password):
        yield Mistake(share.origin_of("token_file"), "a share takes a token or a user, not both")
    if "@" in url.netloc and (token or user):
        yield Mistake(share.origin_of("url"), "the URL has credentials, and others are set beside it")


def _wrong_tls(share: GivenShare, url: SplitResult) -> Iterator[Mistake]:
    certificate, key = share.get("client_certificate"), share.get("client_key")
    if key and not share.is_set("client_certificate"):
        yield Mistake(share.origin_of("client_key"), "a client_key without a client_certificate")
    if certificate and not share.is_set("client_key") and not holds_key(certificate):
        text = f"no private key is in {certificate}, and no client_key is set"
        yield Mistake(share.origin_of("client_certificate"), text)
    if url.scheme != "https":
        for name in _FOR_TLS:
            if share.get(name):
                yield Mistake(
                    share.origin_of(name), "is for TLS, and the share's URL does not begin with https://"
                )


def _wrong_files(share: GivenShare) -> Iterator[Mistake]:
    for name, given in share.values.items():
        kind = SHARE_CATALOGUE[name].kind
        if isinstance(kind, FilePath) and kind.role is not None:
            problem = file_problem(given.value, kind.role)
            if problem is not None:
                yield Mistake(given.origin, problem)
