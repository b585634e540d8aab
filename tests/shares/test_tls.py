"""Shares over TLS: whom we trust, whom they trust, and what is said when one does not."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from blobfs.errors import ConfigRefused
from blobfs.model import Attempt, Kind, Outcome
from blobfs.shares.address import Access, ShareOptions
from blobfs.shares.tls import read_trust
from tests.servers.authority import Authority, Identity
from tests.servers.scripted import ok, ranged, redirect, scripted_server, status
from tests.servers.secured import SecuredServer, secured_server, server_context
from tests.shares.shared_names import (
    BLOB,
    BLOB_PATH,
    BODY,
    NAME,
    RECORD,
    RECORD_PATH,
    RECORD_TEXT,
    attempt_of,
    opened,
    read,
)

PAST = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@asynccontextmanager
async def serving(identity: Identity, clients: Authority | None = None) -> AsyncIterator[SecuredServer]:
    """A share with this certificate; `clients` have to show one of theirs."""
    context = server_context(identity)
    if clients is not None:
        context.load_verify_locations(clients.file)
        context.verify_mode = ssl.CERT_REQUIRED
    async with secured_server(context) as server:
        server.route(RECORD_PATH, ok(RECORD_TEXT))
        server.route(BLOB_PATH, ranged(BODY))
        yield server


async def refused(url: str, access: Access) -> Attempt:
    """The attempt of a question that finds no trust."""
    async with opened(url, access=access) as share:
        attempt = await attempt_of(share.record(NAME))
        assert share.statistics().connections_opened == 1
        assert (share.statistics().idle_connections, share.statistics().in_flight) == (0, 0)
    assert (attempt.kind, attempt.outcome) == (Kind.TLS, Outcome.UNREACHABLE)
    return attempt


async def test_an_authority_of_its_own(authority: Authority) -> None:
    """The share's `ca_file` is trusted for it; one connection serves many requests, with as many requests as
    in the clear."""
    async with (
        serving(authority.certify()) as server,
        opened(server.url, access=Access(ca_file=authority.file)) as share,
    ):
        for _ in range(3):
            assert await share.record(NAME) == RECORD
            assert await read(share.blob(BLOB, len(BODY), 7, 100_000)) == BODY[7:100_007]
        assert share.statistics().connections_opened == 1
        assert (server.connections, len(server.requests)) == (1, 6)


async def test_an_authority_of_its_own_is_the_only_one(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whom the system trusts is not asked any more."""
    other = Authority(tmp_path, "other")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    async with serving(authority.certify()) as server:
        async with opened(server.url) as share:
            assert await share.record(NAME) == RECORD
        attempt = await refused(server.url, Access(ca_file=other.file))
    assert attempt.detail.startswith("TLS: certificate is issued by ")
    assert attempt.detail.endswith(", which is not trusted")


def test_a_system_without_authorities(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a small container is: those that came with httpx count."""
    none = ssl.get_default_verify_paths()._replace(cafile="", capath="")
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: none)
    trust = read_trust(ShareOptions("https://share.invalid/"))
    assert len(trust.own.get_ca_certs()) > 50
    assert trust.own.check_hostname
    assert trust.own.verify_mode is ssl.CERT_REQUIRED


async def test_a_certificate_that_has_expired(authority: Authority) -> None:
    """It is told since when, so that the operator need not look."""
    async with serving(authority.certify(not_after=PAST)) as server:
        attempt = await refused(server.url, Access(ca_file=authority.file))
    assert attempt.detail == "TLS: certificate expired on 2026-01-01"


async def test_a_certificate_that_is_not_valid_yet(authority: Authority) -> None:
    """As after the clock of a machine was lost."""
    tomorrow = datetime.now(UTC) + timedelta(days=2)
    identity = authority.certify(not_before=tomorrow, not_after=tomorrow + timedelta(days=1))
    async with serving(identity) as server:
        attempt = await refused(server.url, Access(ca_file=authority.file))
    assert attempt.detail == f"TLS: certificate is not valid before {tomorrow:%Y-%m-%d}"


async def test_a_certificate_for_another_host(authority: Authority) -> None:
    """Whose it is, and who was asked; a host's name and its address are two things."""
    async with serving(authority.certify("a.example")) as server:
        by_address = await refused(server.url, Access(ca_file=authority.file))
        by_name = await refused(server.url.replace("127.0.0.1", "localhost"), Access(ca_file=authority.file))
    assert by_address.detail == "TLS: certificate is for a.example, not 127.0.0.1"
    assert by_name.detail == "TLS: certificate is for a.example, not localhost"


async def test_a_certificate_that_vouches_for_itself(authority: Authority, tmp_path: Path) -> None:
    """As a server has it that was set up in a hurry."""
    own = trustme.CA()
    identity = Identity(tmp_path / "own.pem", tmp_path / "own.key")
    own.cert_pem.write_to_path(str(identity.certificate))
    own.private_key_pem.write_to_path(str(identity.key))
    async with serving(identity) as server:
        attempt = await refused(server.url, Access(ca_file=authority.file))
    assert attempt.detail == "TLS: certificate is self-signed, and not one that is trusted"


async def test_nothing_older_than_tls_1_2(authority: Authority) -> None:
    """Whatever the server would like."""
    context = server_context(authority.certify())
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with secured_server(context) as server:
        attempt = await refused(server.url, Access(ca_file=authority.file))
    assert attempt.detail == "TLS: the server takes none of the versions from 1.2 on"


# Who we are


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("in_one_file", [True, False])
async def test_a_client_certificate_is_shown(
    authority: Authority, tmp_path: Path, version: ssl.TLSVersion, in_one_file: bool
) -> None:
    """With its key beside it or in it."""
    mine = authority.certify("me.example")
    access = Access(ca_file=authority.file, client_certificate=mine.certificate, client_key=mine.key)
    if in_one_file:
        both = tmp_path / "both.pem"
        both.write_bytes(mine.key.read_bytes() + mine.certificate.read_bytes())
        access = Access(ca_file=authority.file, client_certificate=both)
    context = server_context(authority.certify())
    context.load_verify_locations(authority.file)
    context.verify_mode, context.maximum_version = ssl.CERT_REQUIRED, version
    async with secured_server(context) as server, opened(server.url, access=access) as share:
        server.route(RECORD_PATH, ok(RECORD_TEXT))
        assert await share.record(NAME) == RECORD
        assert server.handshakes == [(False, "me.example")]


async def test_a_client_certificate_is_demanded(authority: Authority, tmp_path: Path) -> None:
    """None, and one of somebody else's."""
    stranger = Authority(tmp_path, "stranger").certify("me.example")
    async with serving(authority.certify(), clients=authority) as server:
        none = await refused(server.url, Access(ca_file=authority.file))
        access = Access(
            ca_file=authority.file, client_certificate=stranger.certificate, client_key=stranger.key
        )
        wrong = await refused(server.url, access)
    assert none.detail == "TLS: it demands a client certificate"
    assert wrong.detail == "TLS: it does not trust the client certificate's authority"


@pytest.mark.parametrize(
    ("page", "words"),
    [
        (b"<center>No required SSL certificate was sent</center>", "TLS: it demands a client certificate"),
        (b"<center>The SSL certificate error</center>", "TLS: it does not accept the client certificate"),
    ],
)
async def test_a_client_certificate_is_demanded_by_nginx(
    authority: Authority, page: bytes, words: str
) -> None:
    """Which lets the handshake pass and answers every request with 400."""
    async with (
        serving(authority.certify()) as server,
        opened(server.url, access=Access(ca_file=authority.file)) as share,
    ):
        server.route(RECORD_PATH, status(400, page), status(400, b"<center>too odd</center>"))
        attempt = await attempt_of(share.record(NAME))
        other = await attempt_of(share.record(NAME))
        assert share.statistics().connections_opened == 1
    assert (attempt.kind, attempt.status, attempt.detail) == (Kind.TLS, 400, f"{words} (HTTP 400)")
    assert (other.kind, other.detail) == (Kind.BAD_STATUS, "HTTP 400")


async def test_a_client_certificate_is_for_its_share_alone(authority: Authority) -> None:
    """Where it redirects to, nobody is shown it; what trust there is holds there too."""
    mine = authority.certify("me.example")
    access = Access(ca_file=authority.file, client_certificate=mine.certificate, client_key=mine.key)
    context = server_context(authority.certify())
    context.load_verify_locations(authority.file)
    context.verify_mode = ssl.CERT_OPTIONAL
    async with secured_server(context) as home, secured_server(context) as elsewhere:
        home.route(RECORD_PATH, redirect(f"{elsewhere.url}there"))
        elsewhere.route("/there", ok(RECORD_TEXT))
        async with opened(home.url, access=access, redirects=True) as share:
            assert await share.record(NAME) == RECORD
        assert home.handshakes == [(False, "me.example")]
        assert elsewhere.handshakes == [(False, None)]


async def test_what_was_asked_in_secret_is_not_asked_in_the_clear(authority: Authority) -> None:
    """A redirect from https to http is not followed, wherever redirects are allowed to lead."""
    async with scripted_server() as clear, serving(authority.certify()) as server:
        clear.route("/there", ok(RECORD_TEXT))
        server.route(RECORD_PATH, redirect(f"{clear.url}there"))
        async with opened(server.url, access=Access(ca_file=authority.file), redirects=True) as share:
            attempt = await attempt_of(share.record(NAME))
        assert (attempt.kind, attempt.detail) == (Kind.REDIRECTED, f"redirects to {clear.url}there")
        assert clear.requests == []


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_the_next_handshake_is_a_short_one(authority: Authority, version: ssl.TLSVersion) -> None:
    """A connection that is made after another one takes its session up again."""
    context = server_context(authority.certify())
    context.maximum_version = version
    async with secured_server(context) as server:
        server.route(RECORD_PATH, ok(RECORD_TEXT, Connection="close"))
        async with opened(server.url, access=Access(ca_file=authority.file)) as share:
            for _ in range(3):
                assert await share.record(NAME) == RECORD
        assert [resumed for resumed, _ in server.handshakes] == [False, True, True]


# Files that cannot be what they are set for


async def line_of(access: Access) -> str:
    with pytest.raises(ConfigRefused) as failure:
        async with opened("https://me:secret@share.invalid/", access=access):
            raise AssertionError("it is open")
    line = str(failure.value)
    assert "\n" not in line
    assert "secret" not in line
    return line


async def test_files_that_are_none(authority: Authority, tmp_path: Path) -> None:
    """The share cannot be opened; one line names it, and the file."""
    absent, junk = tmp_path / "absent.pem", tmp_path / "junk.pem"
    junk.write_text("-----BEGIN NONSENSE-----\n")
    mine, other = authority.certify("a.example"), authority.certify("b.example")
    start = "https://share.invalid/: "
    assert await line_of(Access(ca_file=absent)) == f"{start}{absent}: No such file or directory"
    assert await line_of(Access(ca_file=junk)) == f"{start}{junk}: no certificate in PEM form is in it"
    assert await line_of(Access(client_certificate=absent)) == f"{start}{absent}: No such file or directory"
    for certificate, key in ((junk, mine.key), (mine.certificate, other.key), (mine.certificate, None)):
        line = await line_of(Access(client_certificate=certificate, client_key=key))
        what = f"no certificate is in it, or its private key is not in {key or certificate}"
        assert line == f"{start}{certificate}: {what}"
    line = await line_of(Access(client_certificate=mine.certificate, client_key=absent))
    assert line == f"{start}{absent}: No such file or directory"


async def test_an_encrypted_key_is_not_asked_for(authority: Authority, tmp_path: Path) -> None:
    """OpenSSL would ask on the terminal, and a daemon would hang."""
    mine = authority.certify("a.example")
    key = serialization.load_pem_private_key(mine.key.read_bytes(), None)
    encrypted = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"x"),
    )
    mine.key.write_bytes(encrypted)
    line = await line_of(Access(client_certificate=mine.certificate, client_key=mine.key))
    assert f": {mine.key}: the private key is encrypted" in line


async def test_credentials_of_systemd(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`credential:NAME` is a file that systemd has put there, for certificates too."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    mine = authority.certify("me.example", "mine")
    access = Access(
        ca_file=Path(f"credential:{authority.file.name}"),
        client_certificate=Path(f"credential:{mine.certificate.name}"),
        client_key=Path(f"credential:{mine.key.name}"),
    )
    async with (
        serving(authority.certify(), clients=authority) as server,
        opened(server.url, access=access) as share,
    ):
        assert await share.record(NAME) == RECORD
