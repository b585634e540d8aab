"""Entries of packages for hypothesis: any bytes as names, every parent there, one size for each blob."""

from hashlib import sha256

from hypothesis import strategies as st

from blobfs.manifest import FIRST_SECOND, LAST_SECOND, Directory, Entry, File, Link, Nested
from blobfs.model import EMPTY_BLOB, BlobId
from blobfs.record import MAX_BLOB_SIZE

SECOND = 1_000_000_000
FIRST, LAST = FIRST_SECOND * SECOND, (LAST_SECOND + 1) * SECOND - 1

SIZES = {BlobId(sha256(b"%d" % size).hexdigest()): size for size in (1, 8192, MAX_BLOB_SIZE)}
SIZES[EMPTY_BLOB] = 0
"""The blobs that files have."""

odd_text = st.text("ab-.0 \\#=*\n", min_size=1, max_size=4).map(str.encode)
some_bytes = st.binary(min_size=1, max_size=9) | odd_text
components = some_bytes.map(lambda raw: raw.replace(b"/", b"+").replace(b"\0", b"0")).filter(
    lambda raw: raw not in (b".", b"..")
)
targets = some_bytes.map(lambda raw: raw.replace(b"\0", b"/"))
modes = st.integers(0, 0o777)
times = st.integers(FIRST, LAST) | st.integers(-2 * SECOND, 2 * SECOND)
blobs = st.sampled_from([*SIZES])


def entries_at(path: bytes) -> st.SearchStrategy[Entry]:
    def file(mode: int, ns: int, blob: BlobId) -> File:
        return File(path, mode, SIZES[blob], ns, blob)

    return st.one_of(
        st.builds(Directory, st.just(path), modes),
        st.builds(file, modes, times, blobs),
        st.builds(Link, st.just(path), targets),
        st.builds(Nested, st.just(path), blobs),
    )


@st.composite
def trees(draw: st.DrawFn, max_size: int = 12) -> tuple[Entry, ...]:
    """The entries of a package, in byte order of their paths."""
    found: dict[bytes, Entry] = {}
    for parts in draw(st.lists(st.lists(components, min_size=1, max_size=4), max_size=max_size)):
        paths = [b"/".join(parts[:depth]) for depth in range(1, len(parts) + 1)]
        if all(isinstance(found.get(path, Directory(path, 0)), Directory) for path in paths[:-1]):
            for path in paths[:-1]:
                found.setdefault(path, Directory(path, draw(modes)))
            if paths[-1] not in found:
                found[paths[-1]] = draw(entries_at(paths[-1]))
    return tuple(found[path] for path in sorted(found))
