"""From what is set for a share to one that can be asked; and the shares that a call names.

Of these, the ones that this node has are used as they are, others are opened. Calls that run at a time and
name the same share use it together: its limits, and what is learned about it, hold for all of them. A URL
alone means the share there that this node has, with all that is set for it; with other credentials, or other
trust, it is another share. It is closed when the last call is done; where one left a load behind that still
asks it, when that has ended.
"""

import logging
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import trio

from blobfs import errors
from blobfs.config.settings import LoadSettings, ShareSetting
from blobfs.model import Invalid
from blobfs.shares.address import Access, ShareOptions, parse_share_url
from blobfs.shares.client import Share
from blobfs.sync.naming.catalogue import Catalogue
from blobfs.sync.peer import Peer, ShareLike

CLOSE_WITHIN = 2.0
"""Seconds for saying goodbye to a share."""
LOOK_AGAIN = 1.0
"""Seconds between two looks at whether a load still asks a share that its call has left."""

_log = logging.getLogger(__name__)

Key = tuple[str, bool, Access]


def share_options(share: ShareSetting, settings: LoadSettings) -> ShareOptions:
    """A share as it is set, with this node's limits. Raises `Invalid`."""
    return ShareOptions(
        parse_share_url(share.url),
        plain=share.plain,
        redirects=settings.allow_redirects,
        connect_timeout=settings.connect_timeout,
        first_byte_timeout=settings.first_byte_timeout,
        idle_timeout=settings.idle_timeout,
        group=share.group,
        access=Access(
            share.token_file,
            share.user,
            share.password_file,
            share.ca_file,
            share.client_certificate,
            share.client_key,
            share.proxy,
        ),
    )


def make_peers(shares: Iterable[ShareSetting], settings: LoadSettings) -> list[Peer]:
    """A node's own shares, in order, not yet open. Raises `StartRefused`."""
    try:
        return [Peer(Share(share_options(share, settings))) for share in shares]
    except Invalid as wrong:
        raise errors.StartRefused(str(wrong)) from None


def _key(options: ShareOptions) -> Key:
    """What makes two shares the same one: also who asks there, and by which way."""
    return options.url, options.plain, options.access


@dataclass(frozen=True, slots=True)
class Circle:
    """Whom one call asks."""

    peers: Sequence[Peer]
    catalogue: Catalogue


@dataclass(eq=False)
class _Guest:
    """A share that is not this node's own."""

    peer: Peer
    calls: int = 0

    async def close(self) -> None:
        with trio.move_on_after(CLOSE_WITHIN, shield=True):
            try:
                await self.peer.share.__aexit__(None, None, None)
            except Exception:
                _log.exception("unexpected, in closing %s", self.peer.shown)


class KnownShares:
    """`_guests` are open, each as long as a call or a load uses it. Their limits are this node's settings.

    `is_asked` says whether a load may still ask a share.
    """

    def __init__(
        self,
        own: Circle,
        settings: LoadSettings,
        is_asked: Callable[[Peer], bool],
        make_share: Callable[[ShareOptions], ShareLike] = Share,
    ) -> None:
        self.own = own
        self._settings = settings
        self._is_asked = is_asked
        self._make_share = make_share
        self._guests: dict[Key, _Guest] = {}
        self._opening = trio.Lock()
        self._left = trio.Event()

    def __repr__(self) -> str:
        return f"<KnownShares {[guest.peer.shown for guest in self._guests.values()]}>"

    async def run(self) -> None:
        """Closes what calls have left to their loads, until it is cancelled; then everything."""
        try:
            while True:
                self._left = trio.Event()
                await self._left.wait()
                while any(not guest.calls for guest in self._guests.values()):
                    await trio.sleep(LOOK_AGAIN)
                    await self._close_unused()
        finally:
            for guest in self._guests.values():
                await guest.close()
            self._guests.clear()

    async def _close_unused(self) -> None:
        for key, guest in list(self._guests.items()):
            if not guest.calls and not self._is_asked(guest.peer) and self._guests.pop(key, None) is not None:
                await guest.close()

    @asynccontextmanager
    async def opened(self, shares: Sequence[ShareSetting]) -> AsyncIterator[Circle]:
        """In the order given, each once. Raises `InvalidArgument` for what cannot be a share."""
        try:
            wanted = [share_options(share, self._settings) for share in shares]
        except Invalid as wrong:
            raise errors.InvalidArgument(str(wrong)) from None
        peers: list[Peer] = []
        async with AsyncExitStack() as stack:
            for key, options in {_key(options): options for options in wanted}.items():
                peer = self._own_peer(key)
                peers.append(await stack.enter_async_context(self._visit(options)) if peer is None else peer)
            yield Circle(peers, Catalogue(peers, self._settings))

    def _own_peer(self, key: Key) -> Peer | None:
        url, plain, access = key
        for peer in self.own.peers:
            options = peer.share.options
            if (options.url, options.plain) == (url, plain) and access in (Access(), options.access):
                return peer
        return None

    @asynccontextmanager
    async def _visit(self, options: ShareOptions) -> AsyncIterator[Peer]:
        guest = await self._come(options)
        try:
            yield guest.peer
        finally:
            guest.calls -= 1
            self._left.set()
            await self._close_unused()

    async def _come(self, options: ShareOptions) -> _Guest:
        async with self._opening:
            guest = self._guests.get(_key(options))
            if guest is None:
                guest = _Guest(Peer(self._make_share(options)))
                try:
                    await guest.peer.share.__aenter__()
                except errors.ConfigRefused as wrong:
                    raise errors.InvalidArgument(str(wrong)) from None
                self._guests[_key(options)] = guest
            guest.calls += 1
            return guest
