"""What changes while a node runs: its shares and its limits. Who has nothing to do with it notices nothing.

1. Whatever can be refused is refused by `prepare_shares`, before anything has changed. `take_over` is
   synchronous and cannot fail: nobody ever sees one half of it.
2. A share is the same one as long as its URL is, whatever credentials are in it: what was learned of it
   stays. One whose settings have changed, or whose files may hold something new, is made anew, and how it did
   is not held against it; one with new limits is made anew, too.
3. Loads that are under way go on with the new shares. What a share is bringing that is gone, it may bring.
4. A share that once sent wrong bytes, or refused something, is asked again.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

from blobfs import errors
from blobfs.config.settings import LoadSettings, ShareSetting, SpaceSettings
from blobfs.model import Invalid
from blobfs.shares.address import Access, ShareOptions, shown_url
from blobfs.shares.client import Share
from blobfs.sync.known_shares import share_options
from blobfs.sync.loading.load import Load
from blobfs.sync.loading.source import PlainSource
from blobfs.sync.peer import Peer, ShareLike
from blobfs.sync.service import SyncService

_log = logging.getLogger(__name__)

MakeShare = Callable[[ShareOptions, ShareLike | None], ShareLike]
"""From options, and what it takes the place of."""


@dataclass(frozen=True)
class NewShares:
    """The node's shares as they will be. What is new is open, and nobody asks it yet."""

    peers: Sequence[Peer]
    """In order."""
    anew: dict[Peer, ShareLike]
    """Of those that are there already, the ones that are made anew."""
    gone: Sequence[Peer]
    opened: Sequence[ShareLike]

    def changes(self, before: Sequence[Peer]) -> list[str]:
        """One line for each share with another meaning than before."""
        added = [f"share {peer.shown}: added" for peer in self.peers if peer not in before]
        changed = [
            f"share {peer.shown}: {words}"
            for peer, share in self.anew.items()
            if (words := _change(peer.share, share))
        ]
        removed = [f"share {peer.shown}: removed" for peer in self.gone]
        kept = [peer for peer in before if peer not in self.gone]
        moved = ["share: order"] if kept != [peer for peer in self.peers if peer in before] else []
        return [*added, *changed, *removed, *moved]

    async def aclose(self) -> None:
        """They are not wanted after all."""
        await close_shares(self.opened)


def _change(before: ShareLike, now: ShareLike) -> str:
    """Empty for new limits, which are told by themselves."""
    if _differ(before.options, now.options):
        return "changed"
    return "its files were read again" if _has_files(now.options.access) else ""


def make_share(options: ShareOptions, before: ShareLike | None) -> ShareLike:
    return Share(options, before if isinstance(before, Share) else None)


async def prepare_shares(
    before: Sequence[Peer],
    shares: Sequence[ShareSetting],
    settings: LoadSettings,
    make: MakeShare = make_share,
) -> NewShares:
    """Opens what is new of `shares`. Raises `StartRefused`; then nothing is open."""
    known = {_key(peer.share.options): peer for peer in before}
    peers: list[Peer] = []
    anew: dict[Peer, ShareLike] = {}
    opened: list[ShareLike] = []
    async with AsyncExitStack() as undo:
        for setting in shares:
            options = _options(setting, settings)
            peer = known.pop(_key(options), None)
            if peer is None:
                peer = Peer(share := make(options, None))
            elif options != peer.share.options or _has_files(options.access):
                anew[peer] = share = make(options, peer.share)
            else:
                peers.append(peer)
                continue
            await share.__aenter__()
            undo.push_async_exit(share)
            opened.append(share)
            peers.append(peer)
        undo.pop_all()
    return NewShares(peers, anew, [peer for peer in before if peer not in peers], opened)


def _options(setting: ShareSetting, settings: LoadSettings) -> ShareOptions:
    try:
        return share_options(setting, settings)
    except Invalid as wrong:
        raise errors.StartRefused(str(wrong)) from None


def _differ(before: ShareOptions, now: ShareOptions) -> bool:
    """In more than the node's own limits."""
    return before != replace(
        now,
        redirects=before.redirects,
        connect_timeout=before.connect_timeout,
        first_byte_timeout=before.first_byte_timeout,
        idle_timeout=before.idle_timeout,
    )


def _key(options: ShareOptions) -> tuple[str, bool]:
    return shown_url(options.url), options.plain


def _has_files(access: Access) -> bool:
    files = access.token_file, access.password_file, access.ca_file
    return any((*files, access.client_certificate, access.client_key))


def take_over(
    sync: SyncService, new: NewShares, settings: LoadSettings, space: SpaceSettings
) -> list[ShareLike]:
    """From now on these hold. What is to be closed now (`close_shares`)."""
    before, usual = list(sync.peers), replace(sync.settings)
    closing = [peer.share for peer in (*new.anew, *new.gone)]
    for peer, share in new.anew.items():
        if _differ(peer.share.options, share.options) or _has_files(share.options.access):
            peer.start_over()
        peer.share = share
    for peer in new.peers:
        peer.struck_for = None
    sync.peers[:] = new.peers
    if not before and new.peers:
        sync.names.doubt_all()
    sync.settings.become(settings)
    sync.space.limit(space)
    sync.transactions.abandon_after(settings.abandoned_after)
    sync.loads.extra.fraction = settings.extra_traffic
    for load in sync.loads.unfinished():
        _take_over_load(load, before, new, usual)
    sync.bundles.forget_verdicts()
    sync.named_files.directories.forget_verdicts()
    sync.catalogue.forget(new.gone)
    sync.loads.dispatcher.allow(settings.bodies)
    for load in sync.loads.unfinished():
        load.pump()
        for span in load.spans:
            span.look_again()
    sync.loads.stirred.set()
    return closing


def _take_over_load(load: Load, before: Sequence[Peer], new: NewShares, usual: LoadSettings) -> None:
    if isinstance(load.source, PlainSource):
        load.peers[:] = [peer for peer in load.peers if peer not in new.gone]
    else:
        load.peers[:] = [*new.peers, *(peer for peer in load.peers if peer not in before)]
    load.forget_verdicts()
    load.failures.believe(load.settings.failure_memory)
    if (load.max_tries, load.retry_timeout) == (usual.max_tries, usual.retry_timeout):
        load.max_tries, load.retry_timeout = load.settings.max_tries, load.settings.retry_timeout


async def close_shares(shares: Iterable[ShareLike]) -> None:
    """Their requests under way go on to their ends."""
    for share in shares:
        try:
            await share.__aexit__(None, None, None)
        except Exception:
            _log.exception("unexpected, in closing %s", share.shown)
