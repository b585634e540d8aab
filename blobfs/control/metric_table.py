"""Every metric of a node: its name, what it is, its labels. docs/monitoring/metrics.md shows this table.

Names follow Prometheus' rules: units are seconds and bytes, what only grows ends in ``_total``. Labels have
few values by design: shares are bounded by the configuration, all others by this program; never a name or a
blob id.
"""

from dataclasses import dataclass
from enum import StrEnum

from blobfs.sync.durations import DurationStatistics

PREFIX = "blobfs_"

Sample = tuple[str, tuple[str, ...], float | DurationStatistics]
"""A metric's name, its labels' values, the value."""


class MetricKind(StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One row. `name` is without `PREFIX`; as Prometheus shows it, it is `shown`."""

    name: str
    kind: MetricKind
    help: str
    labels: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        return PREFIX + self.name


def _counter(name: str, text: str, *labels: str) -> Metric:
    return Metric(f"{name}_total", MetricKind.COUNTER, text, labels)


def _gauge(name: str, text: str, *labels: str) -> Metric:
    return Metric(name, MetricKind.GAUGE, text, labels)


def _histogram(name: str, text: str, *labels: str) -> Metric:
    return Metric(name, MetricKind.HISTOGRAM, text, labels)


_NODE = (
    _gauge("build_info", "Always 1; the version is the label.", "version"),
    _gauge("mount_info", "Always 1; what is mounted, and how.", "mountpoint", "read_only"),
    _gauge("tasks", "Tasks of the event loop."),
    _gauge("threads", "Threads of the daemon."),
    _counter("thread_hops", "Calls that went to a worker thread because they wait for the disk."),
)

_MOUNT = (
    _counter("fuse_operations", "Round trips: requests of the kernel that were taken up.", "operation"),
    _histogram(
        "fuse_operation_duration_seconds",
        "From when a request was taken up to its answer, waiting for shares included.",
        "operation",
    ),
    _counter("fuse_errors", "Answers that were an error.", "operation", "errno"),
    _counter("unexpected_errors", "Defects: answered with EIO, with a traceback in the log."),
    _gauge("fuse_kernel_waiting", "Requests the kernel has for this mount: not taken up, or not answered."),
    _gauge("fuse_kernel_background_limit", "Read-aheads and the like that the kernel sends at once."),
    _gauge("fuse_kernel_congestion_threshold", "From so many of them on the kernel sends fewer."),
    _counter("fuse_forgotten_inodes", "Inodes the kernel has let go of."),
    _counter("fuse_pruned_inodes", "Inodes the kernel was told to ask for again."),
    _gauge("inodes", "Inodes that the kernel knows."),
    _gauge("open_files", "Open files and directories."),
    _gauge("waiting_callers", "Callers that wait for a share or a seal, and can be interrupted."),
    _counter("interrupted_callers", "Waits that a signal has ended."),
)

_READS = (
    _counter(
        "reads",
        "Reads of sealed blobs that reached the daemon, by where the bytes were: here, or waited for "
        "(loaded while the reader waited). What the kernel has cached it does not ask for.",
        "source",
    ),
    _counter("passed_bytes", "Bytes that readers got and that were not kept, for want of room."),
)

_CHANNEL = (
    _gauge(
        "channel_waiting",
        "What waits for its turn: requests for bytes for a share with room (bytes), closed files and loaded "
        "blobs for their seal (seals).",
        "channel",
    ),
    _gauge("channel_running", "What is being worked on.", "channel"),
    _histogram("channel_wait_seconds", "How long it waited for its turn.", "channel"),
    _histogram("channel_work_seconds", "How long the work then took.", "channel"),
)

_LOADING = (
    _gauge("loads", "Blobs that are being loaded, or are open while not whole."),
    _gauge("partial_blobs", "Blobs that are here in part, with those nobody works on."),
    _gauge("load_requests", "Runs of chunks that are on their way or wait for a share (spans)."),
    _gauge("load_chunks_in_flight", "Chunks of 128 KiB that have been asked for."),
    _counter("loads_completed", "Blobs that became whole, or could not be kept when they were."),
    _counter("load_kept_bytes", "Bytes that came in for loads and were of use."),
    _counter("load_wasted_bytes", "Bytes that came in for loads and were thrown away."),
    _counter("load_retries", "Requests for what an earlier request had failed to bring."),
    _counter("load_hedges", "Requests that were sent elsewhere as well, because a share was silent."),
    _counter("load_hedges_refused", "Those that were not, because too much is loaded twice already."),
    _counter("load_moves", "Requests that were taken from a share that was too slow."),
    _counter("bundle_requests", "Requests for small blobs of a package in one go."),
    _counter("bundle_bytes", "Bytes that came in for them."),
    _counter("bundle_blobs", "Blobs that came so, and were right."),
    _counter("bundle_fallbacks", "Blobs that no bundle brought: they are loaded on their own."),
    _gauge("bundle_waiting_bytes", "Bytes of bundles that are on their way to the disk."),
)

_SHARES = (
    _gauge("share_up", "Whether its last answer came after its last failure, or it has not failed.", "share"),
    _gauge("share_circuit", "1 for the state that its circuit breaker is in.", "share", "state"),
    _gauge("share_struck", "Whether it has sent wrong bytes, and is asked last since then.", "share"),
    _gauge("share_latency_seconds", "How soon it sends the first byte, smoothed.", "share"),
    _gauge("share_rate_bytes_per_second", "How fast one of its bodies comes in, smoothed.", "share"),
    _counter("share_requests", "HTTP requests sent, by what for.", "share", "phase"),
    _counter("share_failures", "Requests that failed, by how; absent is a failure too.", "share", "kind"),
    _counter("share_received_bytes", "Bytes of bodies that came in: blobs, trees, names.", "share"),
    _counter("share_kept_bytes", "Bytes of blobs that it sent and that were of use.", "share"),
    _counter("share_wasted_bytes", "Bytes of blobs that it sent in vain: wrong, late or twice.", "share"),
    _counter("share_verification_failures", "Answers that were not what their blob id says.", "share"),
    _counter("share_hedges", "Requests sent to another share as well: this one was silent.", "share"),
    _counter("share_moves", "Requests taken away: this one was slow.", "share"),
    _gauge("share_requests_in_flight", "Requests under way.", "share"),
    _gauge("share_idle_connections", "Connections that are open and unused.", "share"),
    _counter("share_connections", "Connections made.", "share"),
)

_STORE = (
    _gauge("store_used_bytes", "What blobs, trees and partial blobs take; only where there is a quota."),
    _gauge("store_quota_bytes", "The most that they may take, if there is a limit."),
    _gauge("store_partition_bytes", "Size of the partition that the store is on."),
    _gauge("store_free_bytes", "What of it is free."),
    _gauge("store_reserve_bytes", "What of it loads leave free."),
    _gauge("store_room_bytes", "What may still be kept of loads; less than 0 if it is too much already."),
    _gauge("store_blobs", "Whole blobs, when the store was last measured; only where there is a quota."),
    _counter("store_flushes", "Flushes of the disk: of one file, or of all there is.", "of"),
    _counter("eviction_rounds", "How often the store was looked through for what may go."),
    _counter("evictions", "Blobs and packages that went because room was needed."),
    _counter("evicted_bytes", "Bytes that this has freed."),
    _counter("wrong_blobs", "Stored blobs that were found wrong, and left the share."),
    _counter("rebuilt_trees", "Hash trees that were missing or wrong, of blobs that were right."),
    _gauge("blobs_to_restore", "Blobs that were found wrong, and are not whole again."),
    _gauge("scrub_limit_bytes_per_second", "How fast what is held is verified; 0 is not at all."),
    _counter("scrub_rounds", "Times that all of it has been verified."),
    _counter("scrub_blobs", "Blobs verified so."),
    _counter("scrub_bytes", "Bytes verified so."),
    _counter("scrub_wrong_blobs", "Blobs that were found wrong so."),
    _counter("scrub_mended_blobs", "Those of them that have been mended."),
)

_SHARING = (
    _counter("seals", "Closed files that were sealed and shared."),
    _counter("seal_groups", "Groups of files and loaded blobs that were made durable together."),
    _gauge("seals_unconfirmed", "Sealed files whose redo marks wait for the next flush."),
    _gauge("seals_failed", "Closed files that could not be sealed, and are tried again."),
    _gauge("transactions_open", "Open transactions on packages."),
    _counter("transactions", "Transactions that have ended, by how.", "outcome"),
    _gauge("package_trees", "Packages whose manifests are in memory."),
    _counter("manifests_loaded", "Manifests that came from shares."),
)

METRICS: dict[str, tuple[Metric, ...]] = {
    "The node": _NODE,
    "The mount": _MOUNT,
    "Reads": _READS,
    "The channel": _CHANNEL,
    "Loading": _LOADING,
    "Shares": _SHARES,
    "The store": _STORE,
    "Sharing and packages": _SHARING,
}
"""By the sections of the reference."""

BY_NAME = {metric.name: metric for section in METRICS.values() for metric in section}
