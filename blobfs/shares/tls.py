"""TLS to a share: whom it trusts, what it shows, and why a handshake failed.

1. Trusted are the system's authorities (``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` are heeded), or those of the
   share's `ca_file` and no others. Host names are always checked; TLS 1.2 is the least.
2. The client certificate is for the share's own origin: where a redirect leads, nobody is shown it.
3. OpenSSL says that a certificate has expired, not when: `_ExplainingObject` adds what the certificate says.
"""

import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import httpx

from blobfs.config.secret_files import find_file
from blobfs.errors import ConfigRefused
from blobfs.shares.address import Origin, ShareOptions, origin
from blobfs.shares.certificates import Facts, refusal


class CertificateRefused(ssl.SSLCertVerificationError):
    """Its text is what the operator is told."""


@dataclass(frozen=True, slots=True)
class Trust:
    """What TLS connections are made with: those to the share itself, and those to where it redirects."""

    home: Origin
    own: ssl.SSLContext
    others: ssl.SSLContext

    def context(self, to: Origin) -> ssl.SSLContext:
        return self.own if to == self.home else self.others


def read_trust(options: ShareOptions) -> Trust:
    """Blocks: reading the certificates takes 20 ms and more. Raises `ConfigRefused`, with the file."""
    access = options.access
    own = others = _context(access.ca_file)
    if access.client_certificate is not None:
        others = _context(access.ca_file)
        _show(own, access.client_certificate, access.client_key)
    return Trust(origin(httpx.URL(options.url)), own, others)


def _context(ca_file: Path | None) -> ssl.SSLContext:
    if ca_file is None:
        context = _system_context()
    else:
        with _refusing(ca_file, "no certificate in PEM form is in it"):
            context = ssl.create_default_context(cafile=find_file(ca_file))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.sslobject_class = _ExplainingObject
    return context


def _system_context() -> ssl.SSLContext:
    paths = ssl.get_default_verify_paths()
    if paths.cafile or any(Path(paths.capath or "/nowhere").glob("*.0")):
        return ssl.create_default_context()
    return httpx.create_ssl_context(trust_env=False)  # a system without any: those that came with httpx


def _show(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    holder = certificate if key is None else key

    def refuse_to_ask() -> NoReturn:
        """Else OpenSSL asks on the terminal."""
        raise ConfigRefused(f"{holder}: the private key is encrypted, and nobody is here to say the password")

    for path in (certificate, holder):
        with _refusing(path, "cannot be read"), find_file(path).open("rb"):
            pass  # OpenSSL does not say which of the two it is that is not there
    with _refusing(certificate, f"no certificate is in it, or its private key is not in {holder}"):
        context.load_cert_chain(find_file(certificate), find_file(holder), password=refuse_to_ask)


@contextmanager
def _refusing(path: Path, unusable: str) -> Iterator[None]:
    try:
        yield
    except ssl.SSLError:  # which is an OSError
        raise ConfigRefused(f"{path}: {unusable}") from None
    except OSError as error:
        raise ConfigRefused(f"{path}: {error.strerror}") from None


class _ExplainingObject(ssl.SSLObject):
    """What `ssl` makes of a context's connections."""

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except ssl.SSLCertVerificationError as error:
            chain = self._sent_chain()
            words = refusal(
                error.verify_code, error.verify_message, self.server_hostname or "", chain, time.time()
            )
            raise CertificateRefused(1, words) from error

    def _sent_chain(self) -> Sequence[Facts]:
        """Public from Python 3.13 on, and there without the facts; without them the words say less."""
        chain = getattr(getattr(self, "_sslobj", None), "get_unverified_chain", None)
        try:
            return [certificate.get_info() for certificate in (chain() or ())] if chain is not None else []
        except (AttributeError, ValueError):
            return []
