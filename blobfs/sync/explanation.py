"""What is known of one name or one blob, as values: what ``blobfs why`` shows, as JSON or as text.

All times are seconds: ago, or from now on. None is not known, or does not apply.
"""

from dataclasses import dataclass
from typing import Any

from blobfs.model import Attempt
from blobfs.record import LogRecord
from blobfs.shares.plain import PlainFile
from blobfs.sync.peer import Peer


@dataclass(frozen=True, slots=True)
class BeingWritten:
    """A file from its creation to its seal."""

    writers: int
    """Open for writing; 0 is waiting for the seal."""
    failure: str | None
    """Why it could not be sealed so far."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the mount has taken a name or a blob for; at most one of the first three is set."""

    record: LogRecord | None = None
    plain: PlainFile | None = None
    writing: BeingWritten | None = None
    size: int = 0
    """Of what is being written."""
    peer: Peer | None = None
    """The share that named it."""
    is_own: bool = False


@dataclass(frozen=True, slots=True)
class Told:
    """How something failed last."""

    errno: str
    conclusion: str
    """One line, with the errno."""
    seconds_ago: float
    attempts: tuple[Attempt, ...]


@dataclass(frozen=True, slots=True)
class ShareWord:
    """One share: what it said, and what may be expected of it."""

    url: str
    plain: bool
    group: int
    record: dict[str, Any] | None
    """What it has under the name, as it said last."""
    log_read_ago: float | None
    """Its log of the directory."""
    log_failure: Attempt | None
    """Why that could not be read since."""
    circuit: str
    next_try_in: float | None
    last_failure: Attempt | None
    failed_ago: float | None
    answered_ago: float | None
    struck_for: str | None
    verdict: Attempt | None
    """What the load under way will not ask it again for."""


@dataclass(frozen=True, slots=True)
class RequestUnderWay:
    """Bytes on their way; without a share they wait for one that has room, or for the next round."""

    offset: int
    length: int
    urgency: str
    share: str | None = None
    asked_ago: float | None = None
    silent_for: float | None = None
    received: int = 0
    kept: int = 0


@dataclass(frozen=True, slots=True)
class LoadUnderWay:
    readers: int
    requests: tuple[RequestUnderWay, ...]
    attempts: tuple[Attempt, ...]
    """Those that have failed so far, of the requests under way."""
    names: tuple[str, ...]
    """Under which it will be shared in turn."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything; `is_known` is false when there is nothing but the shares."""

    name: str | None
    blob: str | None
    is_known: bool
    kind: str | None
    """file, plain file, symlink, directory, removed, blob."""
    origin: str | None
    """own, loaded, shares."""
    state: str | None
    """writing, sealed, missing, partial, whole."""
    size: int | None
    present: int | None
    """Bytes of it that are here."""
    record: dict[str, Any] | None
    writing: BeingWritten | None
    load: LoadUnderWay | None
    last_error: Told | None
    """Of loading it."""
    lookup: Told | None
    """Of asking the shares what it is."""
    lookup_of: str | None
    """What was asked for: the name, or a directory above it."""
    absent_ago: float | None
    """When every share said that it has no such name."""
    absent_of: str | None
    """Likewise."""
    shares: tuple[ShareWord, ...]
