"""Whom a server of a share answers: clients that trust its certificate, have one of the right authority, and
bring the token, each as far as it is set.

What its files hold is read when the server starts and again when it is told to, all of them or none: with
files that do not fit together the old terms stay in force. A connection keeps the terms it began with, but
each of its requests brings the token of the moment.
"""

import ssl
from dataclasses import dataclass
from pathlib import Path

from blobfs.config.secret_files import find_file, read_secret
from blobfs.config.settings import ServeSettings
from blobfs.errors import ConfigRefused

_KEY = b"PRIVATE KEY-----"
"""Begins and ends a key in a PEM file, of whatever kind."""


@dataclass(frozen=True, slots=True, repr=False)
class Terms:
    """What a server demands and shows at one time. There is no repr: it would show the token."""

    tls: ssl.SSLContext | None
    token: bytes | None


class Admission:
    """One server's. `terms` is replaced by `reload` alone."""

    def __init__(self, settings: ServeSettings) -> None:
        """Raises `ConfigRefused`, in one line."""
        self._settings = settings
        self.terms = read_terms(settings)

    @property
    def is_for_all(self) -> bool:
        """Whether everybody is answered who comes this way."""
        return self._settings.token_file is None and self._settings.client_ca is None

    def reload(self) -> None:
        """Reads the files again. Raises `ConfigRefused`, and then nothing has changed."""
        self.terms = read_terms(self._settings)

    def tls(self) -> ssl.SSLContext:
        """For a new connection, of a server that has a certificate."""
        assert self.terms.tls is not None
        return self.terms.tls


def read_terms(settings: ServeSettings) -> Terms:
    """Raises `ConfigRefused`, in one line."""
    token = None if settings.token_file is None else read_secret(settings.token_file).encode()
    return Terms(_make_context(settings), token)


def _make_context(settings: ServeSettings) -> ssl.SSLContext | None:
    if settings.certificate is None:
        for name, path in (("key", settings.key), ("client_ca", settings.client_ca)):
            if path is not None:
                raise ConfigRefused(f"serve.{name} is for TLS, which needs serve.certificate, too")
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # trio's streams do not know it
    context.set_alpn_protocols(["http/1.1"])
    _load_certificate(context, settings.certificate, settings.key)
    if settings.client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(find_file(settings.client_ca))
        except OSError as error:
            raise ConfigRefused(f"{settings.client_ca}: {_reason(error)}") from None
    return context


def _load_certificate(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    """OpenSSL does not say which of the two files is wrong, and little of what is wrong with it."""
    text = _read_pem(certificate)
    if key is None and _KEY not in text:
        raise ConfigRefused(f"{certificate}: there is no key in it, and no serve.key is set")
    if key is not None and _KEY not in _read_pem(key):
        raise ConfigRefused(f"{key}: there is no key in it")
    try:
        # Without a password OpenSSL would ask for one on the terminal, and wait.
        context.load_cert_chain(find_file(certificate), find_file(key) if key else None, password=lambda: "")
    except OSError as error:
        files = f"{certificate} and {key}" if key else str(certificate)
        raise ConfigRefused(f"{files}: {_reason(error)}") from None


def _read_pem(path: Path) -> bytes:
    try:
        text = find_file(path).read_bytes()
    except OSError as error:
        raise ConfigRefused(f"{path}: {error.strerror}") from None
    if b"-----BEGIN " not in text:
        raise ConfigRefused(f"{path}: not a PEM file")
    if b"ENCRYPTED" in text:
        raise ConfigRefused(f"{path}: the key has a password, and nobody is here to type it")
    return text


def _reason(error: OSError) -> str:
    if not isinstance(error, ssl.SSLError):
        return error.strerror or str(error)
    match error.reason:
        case "KEY_VALUES_MISMATCH":
            return "the key is not the certificate's"
        case "NO_CERTIFICATE_OR_CRL_FOUND" | "NO_START_LINE":
            return "there is no certificate in it"
        case reason:
            return (reason or "not to be read").lower().replace("_", " ")
