"""Everything that is measured of a node, as it is now: by the names of `blobfs.control.metric_table`.

It asks nobody, waits for nothing and touches neither the mount nor the store: it may be called every second.
"""

import functools
import os
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence

import trio

from blobfs.control.metric_table import Sample
from blobfs.daemon.node import Node
from blobfs.daemon.status import own_version
from blobfs.fuse.counts import UNEXPECTED
from blobfs.fuse.kernel_queue import KernelQueue, read_kernel_queue
from blobfs.fuse.mountinfo import find_mount_of
from blobfs.shares.health import Circuit
from blobfs.sync.peer import Peer

_OF_INODES = frozenset({"forget", "prune"})
"""What is counted beside the operations, but in inodes."""


def measure(node: Node) -> Iterator[Sample]:
    """All of it; what is not known is left out."""
    yield from _node(node)
    yield from _mount(node)
    yield from _channel(node)
    yield from _loading(node)
    yield from _shares(node.sync.peers)
    yield from _store(node)
    yield from _scrub(node)
    yield from _sharing(node)


def _node(node: Node) -> Iterator[Sample]:
    yield "build_info", (own_version(),), 1
    yield "mount_info", (node.mountpoint, str(node.settings.read_only).lower()), 1
    yield "tasks", (), trio.lowlevel.current_statistics().tasks_living
    yield "threads", (), threading.active_count()
    yield "thread_hops_total", (), node.sync.disk.hops


@functools.cache
def _connection(source: str) -> str:
    """The name of the kernel's connection. A mount has the same one to its end, wherever it is by then.

    Raises `LookupError`, which is not remembered: it is not mounted yet.
    """
    mount = find_mount_of(source, os.geteuid())
    if mount is None:
        raise LookupError(source)
    return mount.minor


def _kernel_queue(node: Node) -> KernelQueue | None:
    try:
        return read_kernel_queue(_connection(str(node.store.layout.root)))
    except LookupError:
        return None


def _mount(node: Node) -> Iterator[Sample]:
    counts = node.adapter.counts
    for operation, asked in counts.asked.items():
        if operation not in _OF_INODES:
            yield "fuse_operations_total", (operation,), asked
    for operation, took in counts.durations().items():
        yield "fuse_operation_duration_seconds", (operation,), took
    for labels, answers in counts.numbers().items():
        yield "fuse_errors_total", labels, answers
    yield "unexpected_errors_total", (), counts.errors[UNEXPECTED]
    yield "fuse_forgotten_inodes_total", (), counts.asked["forget"]
    yield "fuse_pruned_inodes_total", (), counts.asked["prune"]
    yield "inodes", (), node.fs.statistics()["inodes"]
    yield "open_files", (), node.fs.statistics()["handles"]
    yield "waiting_callers", (), node.fs.wait_statistics()["waiting"]
    yield "interrupted_callers_total", (), node.fs.wait_statistics()["interrupted"]
    queue = _kernel_queue(node)
    if queue is not None:
        yield "fuse_kernel_waiting", (), queue.waiting
        yield "fuse_kernel_background_limit", (), queue.background_limit
        yield "fuse_kernel_congestion_threshold", (), queue.congestion_threshold


def _channel(node: Node) -> Iterator[Sample]:
    """From a wish to the work on it: what the daemon has instead of `Commands`, which programs use."""
    dispatcher, sealer = node.sync.loads.dispatcher, node.sync.sealer
    requests, jobs = dispatcher.statistics(), sealer.statistics()
    yield "channel_waiting", ("bytes",), requests.waiting
    yield "channel_running", ("bytes",), requests.bodies
    yield "channel_wait_seconds", ("bytes",), dispatcher.waited.statistics()
    yield "channel_work_seconds", ("bytes",), dispatcher.worked.statistics()
    yield "channel_waiting", ("seals",), jobs["pending"]
    yield "channel_running", ("seals",), jobs["running"]
    yield "channel_wait_seconds", ("seals",), sealer.waited.statistics()
    yield "channel_work_seconds", ("seals",), sealer.worked.statistics()


def _loading(node: Node) -> Iterator[Sample]:
    loads, reads = node.sync.loads.statistics(), node.sync.loads.reads
    yield "reads_total", ("here",), reads.here
    yield "reads_total", ("waited",), reads.waited
    yield "loads", (), loads["loads"]
    yield "partial_blobs", (), loads["loads"] + loads["asleep"]
    yield "load_requests", (), loads["spans"]
    yield "load_chunks_in_flight", (), loads["in_flight"]
    yield "loads_completed_total", (), loads["completed"]
    yield "load_kept_bytes_total", (), loads["kept"]
    yield "load_wasted_bytes_total", (), loads["wasted"]
    yield "load_retries_total", (), loads["retried"]
    yield "load_hedges_total", (), loads["hedged"]
    yield "load_hedges_refused_total", (), loads["refused"]
    yield "load_moves_total", (), loads["moved"]
    bundles = node.sync.bundles.statistics()
    yield "bundle_requests_total", (), bundles.requests
    yield "bundle_bytes_total", (), bundles.bytes
    yield "bundle_blobs_total", (), bundles.members
    yield "bundle_fallbacks_total", (), bundles.fallbacks
    yield "bundle_waiting_bytes", (), bundles.waiting
    yield "wrong_blobs_total", (), loads["demoted"]
    yield "rebuilt_trees_total", (), loads["trees_rebuilt"]
    yield "blobs_to_restore", (), loads["to_restore"]


def _shares(peers: Sequence[Peer]) -> Iterator[Sample]:
    """Of shares whose URLs are shown alike: the state of the first one, and the sums."""
    groups: defaultdict[str, list[Peer]] = defaultdict(list)
    for peer in peers:
        groups[peer.shown].append(peer)
    for shown, group in groups.items():
        yield from _share_state(shown, group[0])
        yield from _share_counts(shown, group)


def _share_state(shown: str, peer: Peer) -> Iterator[Sample]:
    circuit, estimates = peer.health.circuit(trio.current_time()), peer.estimates.statistics()
    yield "share_up", (shown,), int(peer.is_up())
    yield "share_struck", (shown,), int(peer.is_struck)
    for state in Circuit:
        yield "share_circuit", (shown, state.value), int(state is circuit)
    if estimates.latency_ms is not None:
        yield "share_latency_seconds", (shown,), estimates.latency_ms / 1000
    if estimates.bytes_per_second is not None:
        yield "share_rate_bytes_per_second", (shown,), estimates.bytes_per_second


def _share_counts(shown: str, group: Sequence[Peer]) -> Iterator[Sample]:
    sums: defaultdict[tuple[str, tuple[str, ...]], int] = defaultdict(int)
    for peer in group:
        found, counts = peer.share.statistics(), peer.counts
        for phase, requests in found.requests.items():
            sums["share_requests_total", (shown, phase)] += requests
        for kind, failures in counts.failures.items():
            sums["share_failures_total", (shown, kind.value)] += failures
        for name, number in (
            ("share_received_bytes_total", found.received),
            ("share_kept_bytes_total", counts.kept),
            ("share_wasted_bytes_total", counts.wasted),
            ("share_verification_failures_total", counts.wrong),
            ("share_hedges_total", counts.hedged),
            ("share_moves_total", counts.moved),
            ("share_requests_in_flight", found.in_flight),
            ("share_idle_connections", found.idle_connections),
            ("share_connections_total", found.connections_opened),
        ):
            sums[name, (shown,)] += number
    for (name, labels), number in sums.items():
        yield name, labels, number


def _store(node: Node) -> Iterator[Sample]:
    space = node.sync.space.statistics()
    for name in ("used", "quota", "partition", "free", "reserve", "room"):
        amount = space[name]
        if amount is not None:
            yield f"store_{name}_bytes", (), amount
    if node.store.usage.blobs is not None:
        yield "store_blobs", (), node.store.usage.blobs
    yield "store_flushes_total", ("file",), node.store.flushes.file_flushes
    yield "store_flushes_total", ("all",), node.store.flushes.group_flushes
    yield "passed_bytes_total", (), node.sync.space.passed_bytes
    yield "eviction_rounds_total", (), node.sync.space.rounds
    yield "evictions_total", (), node.sync.evicting.evicted
    yield "evicted_bytes_total", (), node.sync.evicting.evicted_bytes


def _scrub(node: Node) -> Iterator[Sample]:
    scrub = node.scrubber.statistics()
    yield "scrub_limit_bytes_per_second", (), scrub["rate"]
    yield "scrub_rounds_total", (), scrub["rounds"]
    yield "scrub_blobs_total", (), scrub["blobs"]
    yield "scrub_bytes_total", (), scrub["bytes"]
    yield "scrub_wrong_blobs_total", (), scrub["wrong"]
    yield "scrub_mended_blobs_total", (), scrub["mended"]


def _sharing(node: Node) -> Iterator[Sample]:
    jobs, transactions = node.sync.sealer.statistics(), node.sync.transactions.statistics()
    yield "seals_total", (), jobs["sealed"]
    yield "seal_groups_total", (), jobs["groups"]
    yield "seals_unconfirmed", (), jobs["unconfirmed"]
    yield "seals_failed", (), jobs["failed"]
    yield "transactions_open", (), transactions["open"]
    for outcome in ("completed", "aborted", "expired"):
        yield "transactions_total", (outcome,), transactions[outcome]
    trees = node.sync.trees.statistics()
    yield "package_trees", (), trees["trees"]
    yield "manifests_loaded_total", (), trees["loaded"]
