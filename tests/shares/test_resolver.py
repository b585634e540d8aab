"""Name lookups that hang."""

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import trio
import trio.testing

from blobfs.model import Kind
from blobfs.shares.resolver import LOOKUPS_PER_HOST, install_resolver
from tests.servers.scripted import ScriptedServer, ok
from tests.shares.shared_names import NAME, RECORD, RECORD_PATH, RECORD_TEXT, attempt_of, opened

DEAD = "dead.invalid"


@pytest.fixture
def stuck_lookups(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Looking up `DEAD` hangs until the test is over; who is stuck in it is listed."""
    over, stuck, lookup = threading.Event(), list[str](), socket.getaddrinfo

    def hanging(host: Any, *arguments: Any, **options: Any) -> Any:
        # trio first asks in its own thread whether the host is a number, which takes no time.
        if host in (DEAD, DEAD.encode()) and threading.current_thread() is not threading.main_thread():
            stuck.append(DEAD)
            over.wait(10)
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return lookup(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", hanging)
    yield stuck
    over.set()


async def test_a_dead_dns_server_takes_no_thread_from_others(
    scripted: ScriptedServer, stuck_lookups: list[str]
) -> None:
    """However many requests hang in a lookup, the shared threads are free and other hosts are looked up."""
    install_resolver()
    scripted.route(RECORD_PATH, ok(RECORD_TEXT))
    async with opened(f"http://{DEAD}/", connect_timeout=0.1) as dead:
        async with trio.open_nursery() as nursery:
            for _ in range(12):
                nursery.start_soon(attempt_of, dead.record(NAME))
        assert dead.statistics().failures == {Kind.CONNECT_TIMEOUT: 12}
    assert len(stuck_lookups) == LOOKUPS_PER_HOST
    assert trio.to_thread.current_default_thread_limiter().borrowed_tokens == 0
    async with opened(scripted.url.replace("127.0.0.1", "localhost")) as share:
        assert await share.record(NAME) == RECORD
