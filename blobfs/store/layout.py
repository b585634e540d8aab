"""Where everything stands on this node's disk: the store's format, version 1.

::

    <store>/format                       "blobfs store 1\\n". The first file of a store.
                                         Missing and other files here: not a store, refused.
                                         Another number: refused; another text: refused.
    <store>/lock                         flock(2)ed by the one daemon that uses the store; its pid in decimal,
                                         padded with spaces to 20 bytes, and LF. The text is for people.
    <store>/clean                        empty. Present only between a clean end and the next start.
    <store>/share/                       what this node serves; everything in it is whole, verified, read-only
        <name>                           hard link to .blobfs/blobs/<id>; mode 0444
        <dir>/                           mode 0755
        .blobfs/blobs/<id>               a blob
        .blobfs/trees/<id>               its tree file; a blob of one leaf has none
        .blobfs/bundles/<package-id>     the small blobs of a package, one after the other (`blobfs.bundle`)
        .blobfs/bundles/<bundle-id>      small blobs of a directory (`blobfs.directory_bundles`)
        .blobfs/names/<name>             its name record (`blobfs.record`). Empty or not a record: moved
                                         to quarantine/ by repair, until then the name is as if absent.
        .blobfs/names/<dir>/.blobfs-log  the directory's log (`blobfs.record`). Missing, or a bad first
                                         line: rebuilt from the records. A bad line: skipped.
        .blobfs/names/<dir>/.blobfs-bundles
                                         the directory's bundles (`blobfs.directory_bundles`). Missing, bad,
                                         of what is not here: made anew when the directory changes.
    <store>/incoming/<32 hex digits>     a file being written; or sealed, but not yet known to be durable
    <store>/incoming/redo-<32 hex>       the redo marks of many small files (`blobfs.store.redo_lists`)
    <store>/incoming/temp-<32 hex>       on its way to its place by rename(2); removed at start
    <store>/incoming/temp-aborted-<32 hex>/
                                         a transaction that was aborted. At start its blobs are dropped as
                                         the abort would have done it, then it is removed.
    <store>/partial/<key>                a blob being loaded: sparse, of its final length. <key> is its id, or
                                         "plain-" and 64 hex digits where the id is not known.
    <store>/partial/<key>.map            which chunks were verified:
                                           offset  0, 11 bytes: "blobfsmap1\\n"
                                           offset 11,  8 bytes: the blob's size, little-endian
                                           offset 19, ceil(chunks / 8) bytes: chunk c is bit c % 8 of byte
                                             c // 8, least significant first; those after the last are 0.
                                         Any other magic, length or size: the load starts anew. Each chunk
                                         that a map speaks of is verified again before anyone reads it.
                                         No map: the partial file is removed at start.
    <store>/partial/<key>.tree           the blob's tree file as far as it came, sparse. Verified when read.
                                         Of a plain file, which has no id yet, the digests of its leaves.
    <store>/partial/<key>.names          names to publish when the blob is whole, one JSON object a line:
                                         {"name":<whole name>,"record":<name record>,"share":<URL>}.
                                         A line that does not parse: skipped. It outlives the partial file
                                         until the names are published.
    <store>/needed/<package-id>/         an open transaction. Its modification time is its last progress.
        <id>                             hard link to a blob of the package that was here, or was loaded
        <id>.written                     hard link to one that was written through this transaction: dropped
                                         with it when it is aborted, if nothing else holds the blob
    <store>/packages/<package-id>/       a complete package: what was in needed/<package-id>/, all of it and
                                         durable. As long as it is here none of its blobs is dropped.
                                         Other names in needed/ and packages/: ignored.
    <store>/changing/<32 hex>            symbolic link to "/" and the name of a directory of names: it may be
                                         half changed (`blobfs.store.changes`). After a clean end it means
                                         nothing. The 32 digits are the first of the name's SHA-256.
    <store>/changing/everything          empty: every directory may be. Any other name, or no changing/ at all
                                         after an unclean end: the same.
    <store>/quarantine/                  what was found broken and is kept for the operator

The access time of blobs/<id> is its last use, the modification time that of its content; of partial/<key> the
modification time is when something of it was loaded last.

Extended attributes (all ``user.blobfs.…``):

=========  ==========================  ==================================================================
attribute  on                          value
=========  ==========================  ==================================================================
record     incoming/<hex>              the redo mark: the name record of this content. Present: at the next
                                       start it is put in place if the bytes still match, whatever happened.
                                       ``published`` at the epoch: not published yet, the redo chooses it.
name       incoming/<hex>              beside a redo mark: the whole name, UTF-8. Absent: keep by id only,
                                       if there is no ``package`` either.
package    incoming/<hex>              beside a redo mark: the package whose transaction this was written
                                       for; if it is open still, it holds the blob again.
record     names/<dir>/                the directory's log line. Absent: the times of the directory count.
record     names/<name>                a copy of the file's bytes. Where they are not what ``check`` says, and
                                       the copy is, it counts, and repair writes the file again.
check      names/<name>, names/<dir>/, what it was when it was written: see `blobfs.store.checks`. Absent:
           .blobfs-log, <key>.names    it is taken as it is. Wrong: the file counts as broken.
directory  bundles/<bundle-id>         the name of the directory it is of. Absent: it is a package's.
loaded     names/<name>, names/<dir>/  "1": this node is not the publisher
loaded     blobs/<id>, partial/<key>,  "1": it came from a share. What has no such mark is never evicted.
           packages/<id>/
names      blobs/<id>                  beside ``loaded``: the names under which it is shared in turn, NUL
                                       between them. Other links than these hold the blob.
since      names/<dir>/                when an earlier directory of this name was removed, as ``published`` in
                                       decimal nanoseconds: what was sealed before is not redone in this one.
keep       blobs/<id>                  "1": stays although no name means it
pinned     blobs/<id>, partial/<key>   "1": exempt from eviction
demoted    partial/<key>               "1": it was in the share and was found wrong (`blobfs.store.demotion`).
=========  ==========================  ==================================================================

``share/`` and everything below is world-readable, the rest is the daemon's alone (0700). All of it is
one file system, with hard links and user extended attributes.
"""

import itertools
import secrets
from collections.abc import Iterator
from pathlib import Path

from blobfs.directory_bundles import LIST_NAME
from blobfs.model import BlobId, Name
from blobfs.record import LOG_NAME

FORMAT_VERSION = 1
FORMAT_TEXT = "blobfs store {}\n"

TEMP_PREFIX = "temp-"
REDO_LIST_PREFIX = "redo-"
ABORTED_PREFIX = f"{TEMP_PREFIX}aborted-"
WRITTEN_SUFFIX = ".written"
PLAIN_PREFIX = "plain-"

PUBLIC_DIRECTORY_MODE = 0o755
PRIVATE_DIRECTORY_MODE = 0o700
SHARED_FILE_MODE = 0o444
LOG_MODE = 0o644
"""A log is appended to, and its writer may not be root."""
PRIVATE_FILE_MODE = 0o600


class Layout:
    """The paths of one store. Pure: touches no disk."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.format = root / "format"
        self.lock = root / "lock"
        self.clean = root / "clean"
        self.share = root / "share"
        self.reserved = self.share / ".blobfs"
        self.blobs = self.reserved / "blobs"
        self.trees = self.reserved / "trees"
        self.bundles = self.reserved / "bundles"
        self.names = self.reserved / "names"
        self.incoming = root / "incoming"
        self.partial = root / "partial"
        self.needed = root / "needed"
        self.packages = root / "packages"
        self.changing = root / "changing"
        self.quarantine = root / "quarantine"

    def __repr__(self) -> str:
        return f"Layout({str(self.root)!r})"

    @property
    def public_directories(self) -> tuple[Path, ...]:
        """Parents first."""
        return self.share, self.reserved, self.blobs, self.trees, self.bundles, self.names

    @property
    def private_directories(self) -> tuple[Path, ...]:
        return self.incoming, self.partial, self.needed, self.packages, self.changing, self.quarantine

    def blob(self, blob: BlobId) -> Path:
        return self.blobs / blob

    def tree(self, blob: BlobId) -> Path:
        return self.trees / blob

    def bundle(self, package: BlobId) -> Path:
        return self.bundles / package

    def transaction(self, package: BlobId) -> Path:
        """The directory of an open transaction."""
        return self.needed / package

    def package(self, package: BlobId) -> Path:
        """The directory of a complete package."""
        return self.packages / package

    def named(self, name: Name) -> Path:
        """The bytes of a named blob in the share, or a directory of them."""
        return self.share / name

    def record(self, name: Name) -> Path:
        """A name's record; the directory of records where `name` is one."""
        return self.names / name

    def log(self, directory: Name) -> Path:
        return self.names / directory / LOG_NAME

    def bundle_list(self, directory: Name) -> Path:
        """Which bundles a directory of names has."""
        return self.names / directory / LIST_NAME

    def partial_content(self, key: str) -> Path:
        return self.partial / key

    def partial_map(self, key: str) -> Path:
        return self.partial / f"{key}.map"

    def partial_tree(self, key: str) -> Path:
        return self.partial / f"{key}.tree"

    def partial_names(self, key: str) -> Path:
        return self.partial / f"{key}.names"

    def new_incoming(self) -> Path:
        return self.incoming / secrets.token_hex(16)

    def new_incomings(self) -> Iterator[str]:
        """Paths like `new_incoming`'s for one thread that makes many."""
        prefix = f"{self.incoming}/{secrets.token_hex(12)}"
        return (f"{prefix}{number:08x}" for number in itertools.count())

    def new_redo_list(self) -> Path:
        return self.incoming / f"{REDO_LIST_PREFIX}{secrets.token_hex(16)}"

    def new_temp(self) -> Path:
        """Where a file is made before rename(2) puts it in its place."""
        return self.incoming / f"{TEMP_PREFIX}{secrets.token_hex(16)}"

    def new_temps(self) -> Iterator[str]:
        """Paths like `new_temp`'s for one thread that makes many: they are cheap to name."""
        prefix = f"{self.incoming}/{TEMP_PREFIX}{secrets.token_hex(12)}"
        return (f"{prefix}{number:08x}" for number in itertools.count())

    def new_aborted(self) -> Path:
        """Where the directory of a transaction goes first when it is aborted."""
        return self.incoming / f"{ABORTED_PREFIX}{secrets.token_hex(16)}"

    def new_quarantined(self, name: str) -> Path:
        """Where something broken goes; `name` is only for the operator's eye."""
        readable = name.encode("ascii", "replace").decode().replace("/", "_")[:80]
        return self.quarantine / f"{secrets.token_hex(8)}-{readable}"
