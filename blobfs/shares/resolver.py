"""Looking up host names in threads of their own.

trio looks names up in the threads that all blocking calls share, 40 of them, and a lookup that nobody waits
for any more keeps its thread until the system's resolver gives up (10 s and more behind a dead DNS server). A
few unreachable shares would so take the threads that the disk is read with. Here each host has two threads
and no more.
"""

import socket
from typing import Any

import trio

LOOKUPS_PER_HOST = 2
"""One that is stuck, one to notice that the name can be looked up again."""


class Resolver(trio.abc.HostnameResolver):
    """The system's resolver. Mutable: one limiter for each host that is being looked up."""

    def __init__(self) -> None:
        self._limiters: dict[object, trio.CapacityLimiter] = {}

    async def getaddrinfo(
        self,
        host: bytes | None,
        port: bytes | str | int | None,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> Any:
        limiter = self._limiters.setdefault(host, trio.CapacityLimiter(LOOKUPS_PER_HOST))
        try:
            return await trio.to_thread.run_sync(
                socket.getaddrinfo,
                *(host, port, family, type, proto, flags),
                limiter=limiter,
                abandon_on_cancel=True,
            )
        finally:
            if limiter.borrowed_tokens == 0:
                self._limiters.pop(host, None)

    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        return await trio.to_thread.run_sync(socket.getnameinfo, sockaddr, flags, abandon_on_cancel=True)


def install_resolver() -> None:
    """For this trio run; the program calls it once, before anything is asked."""
    trio.socket.set_custom_hostname_resolver(Resolver())
