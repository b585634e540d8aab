"""What can be set for one node. Values only: where they come from is for the modules beside this one to say.

Times are seconds, sizes are bytes. A secret is never a value here: its file is. Where a file is told,
``credential:NAME`` is the systemd credential of that name (`secret_files`).
"""

from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from blobfs.config.quantities import (
    Count,
    Part,
    Patience,
    Quantity,
    Seconds,
    Size,
    demand_quantities,
)
from blobfs.model import CHUNK_SIZE

MIB = 1 << 20


class Fill(StrEnum):
    """When the rest of a partly read blob is loaded."""

    IDLE = "idle"
    NEVER = "never"


class FileRole(StrEnum):
    """What a file that is set holds."""

    SECRET = "secret"
    """One line that nobody else may read."""
    KEY = "key"
    CERTIFICATE = "certificate"


SecretFile = Annotated[Path, FileRole.SECRET]
KeyFile = Annotated[Path, FileRole.KEY]
CertificateFile = Annotated[Path, FileRole.CERTIFICATE]


@dataclass(frozen=True, slots=True)
class ShareSetting:
    """One share this node may load from."""

    url: str
    """Where it is: ``http://HOST:PORT/PATH/`` or ``https://...``"""
    plain: bool = False
    """A directory of plain files: nothing can verify them."""
    group: Annotated[int, Quantity("a whole number", least=1, most=9999)] = 1
    """Shares of a group are asked only when none of a lower one can help."""
    token_file: SecretFile | None = None
    """Holds the bearer token that every request carries (RFC 6750)."""
    user: str | None = None
    """For basic authentication (RFC 7617), with `password_file`."""
    password_file: SecretFile | None = None
    """Holds the password of `user`."""
    ca_file: CertificateFile | None = None
    """PEM: whom to trust instead of the system's authorities."""
    client_certificate: CertificateFile | None = None
    """PEM, with its chain; with `client_key` unless that is in it."""
    client_key: KeyFile | None = None
    """PEM: the private key of `client_certificate`."""
    proxy: bool = True
    """Whether the environment's ``http_proxy``, ``https_proxy`` and ``no_proxy`` hold for it."""


@dataclass(slots=True)
class LoadSettings:
    """How loading behaves; every wait of a reader is bounded by one of these.

    A node that runs has one of its own, which all that it consists of look at, and which changes when its
    settings are read again (`become`). Any other never changes.
    """

    lookup_timeout: Patience = 5.0
    """All of one lookup or listing over the shares."""
    read_timeout: Patience = 30.0
    """All of one read."""
    connect_timeout: Patience = 3.0
    """Name lookup and TCP, and again TLS."""
    first_byte_timeout: Patience = 10.0
    """From the request to the first byte of its answer."""
    idle_timeout: Patience = 10.0
    """A body that brings no byte for so long has stalled."""
    max_tries: Count = 3
    """Rounds over all shares, at least 1."""
    retry_timeout: Seconds = 0.3
    """The most that the pause between the first two rounds takes, doubled with each round (backoff with full
    jitter); never after the last."""
    failure_memory: Seconds = 1.0
    """For how long a failed chunk fails at once: the kernel asks again for a READ that failed."""
    negative_ttl: Seconds = 1.0
    """For how long "no share has this name" is believed."""
    listing_ttl: Seconds = 1.0
    """For how long a share's directory log counts as fresh."""
    directory_ttl: Seconds = 10.0
    """For how long a directory is believed to be one, and there, before its name is looked up again. What it
    contains is asked for as ever, so a removed one is empty until then."""
    read_ahead: Size = 32 * MIB
    """The window of a sequential reader grows up to this."""
    span_size: Annotated[int, Quantity("bytes", least=CHUNK_SIZE)] = 8 * MIB
    """The most that is asked for in one request."""
    spans_per_share: Count = 2
    """Requests of one load that run ahead of its readers at a time, per share: while one body ends the next
    one has begun."""
    bodies: Count = 64
    """Bodies that come in at a time, all loads together: each takes up to 1 MiB of memory."""
    extra_traffic: Part = 0.05
    """How much may be loaded twice, as a part of what is loaded, to get around shares that stall."""
    fill: Fill = Fill.IDLE
    """When the rest of a partly read blob is loaded."""
    fill_after: Seconds = 5.0
    """The mount is idle when no reader waited for a share for so long."""
    nonblock_wait: Seconds = 2.0
    """For how long a reader that opened with O_NONBLOCK waits for what is not here before it gets EAGAIN. Not
    0 by itself: tar, grep -r, gzip and file open every file so, and take EAGAIN for a broken one."""
    allow_redirects: bool = False
    """Whether a share may redirect to another origin."""

    scrub_rate: Annotated[int, Quantity("bytes a second")] = 0
    """Bytes a second at which the daemon verifies what it holds, in rounds; 0 is not at all."""
    abandoned_after: Patience = 86400.0
    """After so long without progress an open transaction on a package is aborted."""

    def __post_init__(self) -> None:
        demand_quantities(self)

    def become(self, other: "LoadSettings") -> None:
        for each in fields(self):
            setattr(self, each.name, getattr(other, each.name))


@dataclass(frozen=True, slots=True)
class LoadTerms:
    """What one load asks for itself; None is what the node has set."""

    known_shares: tuple[ShareSetting, ...] | None = None
    """Instead of the node's own."""
    max_tries: Count | None = None
    retry_timeout: float | None = None
    deadline: float | None = None
    """trio's clock; the load has failed if it is not whole by then."""

    def __post_init__(self) -> None:
        demand_quantities(self)


@dataclass(frozen=True, slots=True)
class SpaceSettings:
    """How much of the disk the store may take. What does not fit is passed on to its reader and not kept."""

    quota: Size | None = None
    """The most that blobs, trees and partial blobs take together; without it there is no limit."""
    reserve: Size | None = None
    """What loads leave free of the partition; without it a twentieth of it, 256M at most."""

    def reserve_of(self, partition: int) -> int:
        """Bytes to leave free of a partition of so many bytes."""
        return min(partition // 20, USUAL_RESERVE) if self.reserve is None else self.reserve

    def problem_on(self, partition: int) -> str | None:
        """What is wrong with these settings on a partition of so many bytes."""
        if self.quota is not None and self.quota > partition:
            return f"the quota of {self.quota} bytes is more than the partition has: {partition}"
        if self.reserve is not None and self.reserve >= partition:
            return f"the reserve of {self.reserve} bytes is all of the partition: {partition}"
        return None


USUAL_RESERVE = 256 * MIB
"""What a full disk costs the other programs of a machine is worse than loading something again."""


PASSED_SOCKET = "systemd"
"""Instead of an address: the socket of a ``.socket`` unit."""


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """How this node's own share is served over HTTP."""

    listen: str | None = None
    """``HOST:PORT``, ``[ADDRESS]:PORT``, ``unix:PATH``, or ``systemd`` for the socket that it
    passes; without it it is not served."""
    certificate: CertificateFile | None = None
    """PEM, with its chain: it is served over TLS. With `key` unless that is in it."""
    key: KeyFile | None = None
    """PEM: the private key of `certificate`."""
    client_ca: CertificateFile | None = None
    """PEM: only clients with a certificate of these authorities are answered."""
    token_file: SecretFile | None = None
    """Only requests that carry this bearer token are answered."""


@dataclass(frozen=True, slots=True)
class ControlSettings:
    """Who may ask the running node, and where."""

    group: str | None = None
    """Members of this group of the system may use the control socket too."""
    listen: str | None = None
    """``HOST:PORT`` on which the page, the status and the metrics can be read, and nothing be changed."""


class LogLevel(StrEnum):
    """From how much on something is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """Everything one node needs to know: its store, its mount, its shares."""

    mountpoint: Path
    """The directory that is mounted on; it is there and empty."""
    store: Path
    """Where this node keeps everything; made if it is not there."""
    shares: tuple[ShareSetting, ...] = ()
    serve: ServeSettings = ServeSettings()
    control: ControlSettings = ControlSettings()
    log_level: LogLevel = LogLevel.INFO
    """What is less than this is not logged."""
    read_only: bool = False
    """Nothing can be written; what cannot be asked for is an error."""
    allow_other: bool = False
    """For all users of this machine."""
    nonempty: bool = False
    """The mountpoint may hold files; they are hidden meanwhile."""
    fuse_options: tuple[str, ...] = ()
    """Passed on to libfuse as they are; what ``-o`` says comes in addition."""
    load: LoadSettings = field(default_factory=LoadSettings)
    space: SpaceSettings = SpaceSettings()
    seal_delay: Seconds = 0.03
    """How long closed files gather before they are flushed and shared together."""
    finish_within: Seconds = 20.0
    """At the end: for sealing what was closed. What is not even hashed by then is lost, so a big file that
    was closed just now gets its time; with nothing to seal the end does not wait."""
