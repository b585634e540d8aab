"""Shares by way of a proxy, as the environment names it."""

import base64
import socket
from pathlib import Path

import pytest
import trio
import trio.testing

from blobfs.errors import ConfigRefused
from blobfs.model import Invalid, Kind, Outcome
from blobfs.shares.address import Access
from blobfs.shares.proxies import Proxies, Proxy
from tests.servers.authority import Authority
from tests.servers.forward_proxy import forward_proxy
from tests.servers.nginx import free_port
from tests.servers.scripted import ScriptedServer, ok, ranged, redirect, scripted_server, status
from tests.servers.secured import secured_server, server_context
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

P = "http://p:3128"
SECRET = "hush-hush"
WITH_SECRET = f"http://me:{SECRET}@"
AUTHORIZATION = "Basic " + base64.b64encode(f"me:{SECRET}".encode()).decode()


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the machine that the tests run on."""
    for name in ("http", "https", "all", "no"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name.upper()}_PROXY", raising=False)


# What the environment says


@pytest.mark.parametrize(
    ("environment", "origin", "is_used"),
    [
        ({}, ("http", "a", 80), False),
        ({"http": P}, ("http", "a", 80), True),
        ({"http": P}, ("https", "a", 443), False),
        ({"https": P}, ("https", "a", 443), True),
        ({"all": P}, ("https", "a", 443), True),
        ({"http": P, "no": "*"}, ("http", "a", 80), False),
        ({"http": P, "no": "a"}, ("http", "a", 80), False),
        ({"http": P, "no": "b, .example"}, ("http", "a.example", 80), False),
        ({"http": P, "no": "example"}, ("http", "an-example", 80), True),
        ({"http": P, "no": "a:81"}, ("http", "a", 80), True),
        ({"http": P, "no": "a:80"}, ("http", "a", 80), False),
        ({"http": P, "no": "::1"}, ("http", "::1", 80), False),
        ({"http": P, "no": "[::1]:80"}, ("http", "::1", 80), False),
        ({"http": P, "no": "::2"}, ("http", "::1", 80), True),
    ],
)
def test_who_is_asked_by_a_proxy(environment: dict, origin: tuple, is_used: bool) -> None:
    """By scheme; `no_proxy` holds hosts, their ends, and ``host:port``."""
    assert Proxies(environment).of(origin) == (Proxy("p", 3128) if is_used else None)


@pytest.mark.parametrize(
    ("text", "proxy"),
    [
        ("p:3128", Proxy("p", 3128)),
        ("http://p", Proxy("p", 80)),
        ("http://[::1]:8080/", Proxy("::1", 8080)),
        (f"{WITH_SECRET}p:1", Proxy("p", 1, AUTHORIZATION)),
    ],
)
def test_how_a_proxy_is_written(text: str, proxy: Proxy) -> None:
    """With or without a scheme; nothing shows its password."""
    found = Proxies({"all": text}).of(("http", "a", 80))
    assert found == proxy
    assert SECRET not in repr(found) + str(found)


@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "socks4", "https", "ftp"])
async def test_other_proxies_are_refused(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the start, in one line, if the share would be asked by it."""
    monkeypatch.setenv("ALL_PROXY", f"{scheme}://me:{SECRET}@p:1080")
    with pytest.raises(ConfigRefused) as refused:
        async with opened("http://share.invalid/"):
            raise AssertionError("it is open")
    line = f"all_proxy: a proxy is asked over http://, {scheme}:// is not supported"
    assert str(refused.value) == f"http://share.invalid/: {line}"
    monkeypatch.setenv("no_proxy", "share.invalid")
    async with opened("http://share.invalid/"):
        pass
    async with opened("http://other.invalid/", access=Access(proxy=False)):
        pass


@pytest.mark.parametrize("text", ["http://", "http://p:0", "http://p:70000", "http://[::zz]:1", ":3128"])
def test_what_is_no_proxy(text: str) -> None:
    """One line, which names the variable."""
    with pytest.raises(Invalid, match="http_proxy: not the URL of a proxy"):
        Proxies({"http": text}).of(("http", "a", 80))


# Asking


async def test_http_is_asked_in_absolute_form(
    scripted: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy is told who we are, the share is not told who we are at the proxy; one connection for all."""
    scripted.route(RECORD_PATH, ok(RECORD_TEXT))
    scripted.route(BLOB_PATH, ranged(BODY))
    async with forward_proxy(demands=AUTHORIZATION) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.replace("http://", WITH_SECRET))
        async with opened(scripted.url) as share:
            for _ in range(2):
                assert await share.record(NAME) == RECORD
                assert await read(share.blob(BLOB, len(BODY), 7, 1000)) == BODY[7:1007]
            assert share.statistics().connections_opened == 1
        paths = (RECORD_PATH[1:], BLOB_PATH[1:]) * 2
        assert proxy.targets == [f"GET {scripted.url}{path}" for path in paths]
        assert all(f"Host: 127.0.0.1:{scripted.port}\r\n".encode() in head for head in proxy.heads)


async def test_https_is_asked_through_a_tunnel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy sees where it leads and nothing else; it is made once for each connection."""
    authority = Authority(tmp_path)
    token = tmp_path / "token"
    token.touch(0o600)
    token.write_text(SECRET)
    async with (
        secured_server(server_context(authority.certify())) as server,
        forward_proxy(demands=AUTHORIZATION) as proxy,
    ):
        server.route(RECORD_PATH, ok(RECORD_TEXT))
        monkeypatch.setenv("https_proxy", proxy.url.replace("http://", WITH_SECRET))
        async with opened(server.url, access=Access(token, ca_file=authority.file)) as share:
            for _ in range(3):
                assert await share.record(NAME) == RECORD
            assert share.statistics().connections_opened == 1
        assert proxy.targets == [f"CONNECT 127.0.0.1:{server.port}"]
        assert all(SECRET.encode() not in head for head in proxy.heads)
        assert server.requests[0].headers["authorization"] == f"Bearer {SECRET}"
        assert "proxy-authorization" not in server.requests[0].headers


async def test_tls_costs_its_handshake_and_nothing_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One round trip for the first request, none for those that follow."""
    authority = Authority(tmp_path)
    context = server_context(authority.certify())
    context.num_tickets = 0  # they are sent when they like
    async with secured_server(context) as server, forward_proxy() as proxy:
        server.route(RECORD_PATH, ok(RECORD_TEXT))
        monkeypatch.setenv("https_proxy", proxy.url)
        async with opened(server.url, access=Access(ca_file=authority.file)) as share:
            for number in range(1, 5):
                assert await share.record(NAME) == RECORD
                assert proxy.flights == number + 1
            assert server.connections == 1


async def test_a_share_may_do_without(scripted: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its own setting, or by `no_proxy`."""
    scripted.route(RECORD_PATH, ok(RECORD_TEXT))
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    async with opened(scripted.url, access=Access(proxy=False)) as share:
        assert await share.record(NAME) == RECORD
    monkeypatch.setenv("no_proxy", "localhost,127.0.0.1")
    async with opened(scripted.url) as share:
        assert await share.record(NAME) == RECORD


async def test_connections_are_told_apart_by_where_they_lead(
    scripted: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A redirect to an origin that is asked directly does not take the connection to the proxy, nor the other
    way round."""
    async with forward_proxy() as proxy, scripted_server() as other:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", f"127.0.0.1:{other.port}")
        scripted.route(RECORD_PATH, redirect(f"{other.url}there"))
        other.route("/there", ok(RECORD_TEXT))
        async with opened(scripted.url, redirects=True) as share:
            for _ in range(2):
                assert await share.record(NAME) == RECORD
            assert share.statistics().connections_opened == 2
        assert (proxy.connections, other.connections) == (1, 1)
        assert len(proxy.targets) == 2


# A proxy in the way


async def words_of(url: str, **options: float) -> str:
    """The detail of a failure that is the proxy's."""
    async with opened(url, **options) as share:
        attempt = await attempt_of(share.record(NAME))
        statistics = share.statistics()
    assert (attempt.kind, attempt.outcome) == (Kind.PROXY, Outcome.UNREACHABLE)
    assert statistics.failures == {Kind.PROXY: 1}
    assert (statistics.in_flight, SECRET in attempt.detail) == (0, False)
    return attempt.detail


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_its_credentials(
    scripted: ScriptedServer, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    """407, because there are none, or because they are wrong."""
    url = scripted.url.replace("http", scheme)
    async with forward_proxy(demands=AUTHORIZATION) as proxy:
        monkeypatch.setenv(f"{scheme}_proxy", proxy.url)
        start = f"proxy 127.0.0.1:{proxy.port}: HTTP 407: it"
        assert await words_of(url) == f"{start} demands credentials"
        monkeypatch.setenv(f"{scheme}_proxy", proxy.url.replace("//", f"//you:{SECRET}@"))
        assert await words_of(url) == f"{start} does not accept credentials"
    assert scripted.requests == []


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_that_is_not_there(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    """It is the proxy that refused the connection, nobody has asked the share."""
    port = free_port()
    monkeypatch.setenv(f"{scheme}_proxy", f"http://127.0.0.1:{port}")
    expected = f"proxy 127.0.0.1:{port}: connection refused"
    assert await words_of(f"{scheme}://share.invalid/") == expected


async def test_whose_name_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The share's own name is for the proxy to look up."""
    asked = []

    def unknown(host: bytes, *arguments: object, **options: object) -> None:
        asked.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setenv("http_proxy", "http://proxy.invalid:3128")
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    expected = "proxy proxy.invalid:3128: DNS: Name or service not known"
    assert await words_of("http://share.invalid/") == expected
    assert {bytes(host) if isinstance(host, bytes) else host.encode() for host in asked} == {b"proxy.invalid"}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", "HTTP 403"),
        (b"HTTP/1.1 502 Bad\r\n\r\n", "HTTP 502"),
        (b"HTTP/1.1 503 Busy\r\n\r\n", "HTTP 503"),
        (b"HTTP/1.1 200 OK\r\n\r\nwelcome", "it speaks before the share was asked"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "not HTTP: illegal status line"),
        (b"", "closed before it answered"),
    ],
)
async def test_that_makes_no_tunnel(monkeypatch: pytest.MonkeyPatch, answer: bytes, words: str) -> None:
    """Whatever it says instead; nothing of it is taken for the share's word."""
    async with forward_proxy(answer=answer) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        detail = await words_of("https://share.invalid/")
        assert detail.startswith(f"proxy 127.0.0.1:{proxy.port}: {words}")
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert proxy.open == 0


async def test_a_name_with_umlauts_is_asked_for_as_dns_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """In its ASCII form (RFC 5890): of a tunnel the proxy, without one the resolver."""
    async with forward_proxy(answer=b"HTTP/1.1 502 Bad\r\n\r\n") as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        assert (await words_of("https://b\u00fccher.invalid/")).endswith(": HTTP 502")
        assert proxy.heads[0].startswith(b"CONNECT xn--bcher-kva.invalid:443 HTTP/1.1\r\n")


async def test_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tunnel has the connect timeout to itself."""
    async with forward_proxy(answer=None) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        detail = await words_of("https://share.invalid/", connect_timeout=0.1)
    assert detail == f"proxy 127.0.0.1:{proxy.port}: connect timeout"


async def test_a_cancel_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle of making a tunnel."""
    async with forward_proxy(answer=None) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        async with opened("https://share.invalid/", connect_timeout=30.0) as share:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(share.record, NAME)
                await trio.testing.wait_all_tasks_blocked(0.01)
                assert proxy.open == 1
                nursery.cancel_scope.cancel()
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert (proxy.open, share.statistics().in_flight) == (0, 0)


async def test_what_a_share_says_is_the_shares(
    scripted: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A 407 of the share itself, asked directly, is an odd answer and no proxy's."""
    scripted.route(RECORD_PATH, status(407))
    async with opened(scripted.url) as share:
        assert (await attempt_of(share.record(NAME))).kind is Kind.BAD_STATUS
