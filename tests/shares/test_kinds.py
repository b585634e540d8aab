"""Kinds of failure, each produced by a real server; and what none of them may leave behind."""

import gc
import json
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pytest
import trio
import trio.testing

from blobfs.model import Kind, Name
from blobfs.shares.retry_rules import RULES
from tests.servers.nginx import Nginx, free_port
from tests.servers.scripted import ScriptedServer, gated, ok, ranged
from tests.shares.misbehaving import LENGTH, MISBEHAVIOURS, OFFSET, PART, SIZE, Misbehaviour
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

BY_NAME = {each.name: each for each in MISBEHAVIOURS}
CANCEL_STEPS = range(0, 45, 3)
"""Checkpoints after which a request is cancelled: before connecting, connecting, sending, in the body."""


def sockets() -> int:
    """Open ones of this process, both ends of each connection among them."""
    gc.collect()
    links = []
    for number in os.listdir("/proc/self/fd"):
        path = Path("/proc/self/fd", number)
        if path.is_symlink():  # the one of the listing itself is gone
            links.append(os.readlink(path))
    return sum(link.startswith("socket:") for link in links)


async def settled() -> None:
    """Until the server has seen what the client closed."""
    await trio.testing.wait_all_tasks_blocked(0.01)


@pytest.mark.parametrize("name", BY_NAME)
async def test_each_kind_is_told_and_leaves_nothing(scripted: ScriptedServer, name: str) -> None:
    """Kind, outcome and what came before; no request and no socket stays, and the next one is answered."""
    case: Misbehaviour = BY_NAME[name]
    scripted.route(BLOB_PATH, case.behave)
    before = sockets()
    async with opened(scripted.url) as share:
        got = bytearray()
        attempt = await attempt_of(read(share.blob(BLOB, SIZE, OFFSET, LENGTH), got))
        assert (attempt.kind, attempt.outcome) == (case.kind, RULES[case.kind].outcome)
        assert PART.startswith(bytes(got))
        assert case.received is None or len(got) == case.received
        assert attempt.received >= len(got)
        statistics = share.statistics()
        assert statistics.failures == {case.kind: 1}
        assert statistics.in_flight == 0
        await settled()
        assert scripted.open == statistics.idle_connections <= 1
        assert sockets() == before + 2 * statistics.idle_connections
        scripted.route(BLOB_PATH, ranged(BODY))
        assert await read(share.blob(BLOB, SIZE, OFFSET, LENGTH)) == PART
    await settled()
    assert (scripted.open, sockets()) == (0, before)


@pytest.mark.parametrize("name", BY_NAME)
async def test_a_cancel_leaves_nothing(scripted: ScriptedServer, name: str) -> None:
    """Wherever the request is when it is cancelled, whatever the share is doing."""
    scripted.route(BLOB_PATH, BY_NAME[name].behave)
    before = sockets()
    async with opened(scripted.url, first_byte_timeout=30.0, idle_timeout=30.0) as share:
        for steps in CANCEL_STEPS:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask_in_vain, share)
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
            statistics = share.statistics()
            assert statistics.in_flight == 0
            await settled()
            assert scripted.open == statistics.idle_connections <= 1
        assert sockets() == before + 2 * share.statistics().idle_connections
        scripted.route(BLOB_PATH, ranged(BODY))
        assert await read(share.blob(BLOB, SIZE, OFFSET, LENGTH)) == PART


async def ask_in_vain(share) -> None:
    await attempt_of(read(share.blob(BLOB, SIZE, OFFSET, LENGTH)))


def test_every_kind_is_produced() -> None:
    """What a share can do wrong is in the table or has a test below; the rest is made by who asks it."""
    without_answer = {
        Kind.DNS,
        Kind.CONNECT_REFUSED,
        Kind.CONNECT_TIMEOUT,
        Kind.NO_ROUTE,
        Kind.TLS,
        Kind.PROXY,
        Kind.LOCAL,
    }
    of_content = {Kind.WRONG_BYTES, Kind.CHANGED}
    of_the_asker = {Kind.TOO_LATE, Kind.NOT_ASKED}
    produced = {each.kind for each in MISBEHAVIOURS}
    assert produced | without_answer | of_content | of_the_asker == set(Kind)


async def test_busy_says_how_long(scripted: ScriptedServer) -> None:
    """Retry-After travels with the failure of a blob too."""
    for name, seconds in (("too_many", 7.0), ("slow_request", None)):
        scripted.route(BLOB_PATH, BY_NAME[name].behave)
        async with opened(scripted.url) as share:
            with pytest.raises(Exception, match="HTTP 4") as failure:
                await read(share.blob(BLOB, SIZE, OFFSET, LENGTH))
        assert getattr(failure.value, "retry_after", "none") == seconds


# No answer at all


async def kind_of_record(url: str, **limits: float) -> Kind:
    """What comes of asking for a record; nothing may be left."""
    before = sockets()
    async with opened(url, **limits) as share:
        attempt = await attempt_of(share.record(NAME))
        statistics = share.statistics()
        assert (statistics.in_flight, statistics.idle_connections) == (0, 0)
        assert statistics.failures == {attempt.kind: 1}
    assert sockets() == before
    assert attempt.outcome is RULES[attempt.kind].outcome
    return attempt.kind


async def test_a_name_that_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's resolver says so."""

    def unknown(*arguments: object, **options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert await kind_of_record("http://share.invalid/") is Kind.DNS


async def test_nobody_listens() -> None:
    """The machine is there, the server is not."""
    assert await kind_of_record(f"http://127.0.0.1:{free_port()}/") is Kind.CONNECT_REFUSED


async def test_no_route() -> None:
    """TCP cannot reach the broadcast address: the kernel refuses at once, and sends nothing."""
    assert await kind_of_record("http://255.255.255.255/") is Kind.NO_ROUTE


async def test_a_host_that_swallows_packets() -> None:
    """With the backlog full, Linux drops further SYNs."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for filler in (first, second):
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        assert await kind_of_record(url, connect_timeout=0.1) is Kind.CONNECT_TIMEOUT


async def test_no_tls(tmp_path: Path) -> None:
    """A server that does not speak it; one nobody vouches for is in `test_connections`."""
    with Nginx(tmp_path) as nginx:
        assert await kind_of_record(nginx.url.replace("http:", "https:")) is Kind.TLS


async def test_tls_that_is_closed_in_its_handshake() -> None:
    """A server that is stopping is not one that cannot speak TLS: it is worth asking again."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:

        async def hang_up(stream: trio.SocketStream) -> None:
            await stream.receive_some()
            await stream.aclose()

        nursery.start_soon(trio.serve_listeners, hang_up, listeners)
        port = listeners[0].socket.getsockname()[1]
        assert await kind_of_record(f"https://127.0.0.1:{port}/") is Kind.CLOSED
        nursery.cancel_scope.cancel()


@contextmanager
def no_more_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(int(number) for number in os.listdir("/proc/self/fd"))
    spare = [os.dup(0) for _ in range(used)]  # the holes below the highest are filled
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(spare) + 1, hard))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for number in spare:
            os.close(number)


async def test_out_of_descriptors(scripted: ScriptedServer) -> None:
    """Trouble of our own is not the share's."""
    async with opened(scripted.url) as share:
        with no_more_descriptors():
            attempt = await attempt_of(share.record(NAME))
    assert (attempt.kind, attempt.detail) == (Kind.LOCAL, "Too many open files")
    assert not RULES[attempt.kind].counts_against_share


# Content


async def test_a_record_that_is_none(scripted: ScriptedServer) -> None:
    """Well-formed, and not what was asked for."""
    scripted.route(RECORD_PATH, ok(b'{"v":1,"kind":"blob"}'))
    assert await kind_of_answered_record(scripted) is Kind.WRONG_BYTES


async def test_a_record_that_is_too_large(scripted: ScriptedServer) -> None:
    """It is not read to its end."""
    scripted.route(RECORD_PATH, ok(b'{"v":1' + b" " * 1_000_000))
    assert await kind_of_answered_record(scripted) is Kind.LONG_BODY


async def kind_of_answered_record(scripted: ScriptedServer) -> Kind:
    async with opened(scripted.url) as share:
        attempt = await attempt_of(share.record(NAME))
        as_shown = json.loads(json.dumps(asdict(share.statistics())))
    assert as_shown["failures"] == {attempt.kind.value: 1}
    return attempt.kind


async def test_a_plain_file_that_changed(scripted: ScriptedServer) -> None:
    """Another version than the one that was pinned."""
    name = Name("file")
    scripted.route("/file", ok(BODY, ETag='"1"'), ranged(BODY, ETag='"2"'))
    async with opened(scripted.url, plain=True) as share:
        pinned = await share.plain_stat(name)
        attempt = await attempt_of(read(share.plain(name, pinned, OFFSET, LENGTH)))  # type: ignore[arg-type]
    assert (attempt.kind, attempt.outcome) == (Kind.CHANGED, RULES[Kind.CHANGED].outcome)


# Limits and figures


async def test_a_slow_head_has_its_own_limit(scripted: ScriptedServer) -> None:
    """The idle timeout is for bodies: a share may think for longer than it may pause."""
    gate = trio.Event()
    scripted.route(RECORD_PATH, gated(gate, ok(RECORD_TEXT)))
    async with opened(scripted.url, first_byte_timeout=30.0, idle_timeout=0.01) as share:
        found = []

        async def ask() -> None:
            found.append(await share.record(NAME))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked(0.1)  # ten idle timeouts
            gate.set()
        assert found == [RECORD]


async def test_idle_connections_are_bounded(scripted: ScriptedServer) -> None:
    """Bodies and short questions have slots of their own; together they keep no more than the one limit."""
    gate = trio.Event()
    scripted.route(BLOB_PATH, gated(gate, ranged(BODY)))
    scripted.route(RECORD_PATH, gated(gate, ok(RECORD_TEXT)))
    async with opened(scripted.url, concurrent=3, first_byte_timeout=30.0) as share:
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(read, share.blob(BLOB, SIZE, OFFSET, LENGTH))
                nursery.start_soon(share.record, NAME)
            await settled()
            assert scripted.open == 6
            gate.set()
        await settled()
        assert share.statistics().idle_connections == scripted.open == 3
        assert share.statistics().connections_opened == scripted.connections == 6
        assert await share.record(NAME) == RECORD
        assert share.statistics().connections_opened == 6
