"""Which operations are drawn, and how often. Small choices, listed with the plainest first, shrink well."""

import os

from hypothesis import strategies as st

from tests.model.blobs import WAYS
from tests.model.script import Operation, Raw

PATHS = ["x", "y", "d", "d/x", "d/y", "d/e", "d/e/x", "b", "b/x"]
DIRECTORIES = ["", "d", "b", "d/e"]
SIZES = [0, 1, 100, 8192, 20_000, 140_000]
TARGETS = ["x", "d", "../x", "../d", "d/x", "../../x", "../../../x"]
WRITE, BOTH = os.O_WRONLY, os.O_RDWR
FLAGS = [
    os.O_RDONLY,
    WRITE | os.O_CREAT | os.O_EXCL,
    BOTH | os.O_CREAT,
    BOTH,
    WRITE | os.O_CREAT | os.O_TRUNC,
    WRITE | os.O_TRUNC,
    WRITE | os.O_APPEND | os.O_CREAT,
]

BURST = 6
"""Operations that come one after the other, on the average, before something happens to a node."""
EVENTS = [*[""] * 12, *["look"] * 4, *["forget"] * 4, "restart", "kill9"]

START = [
    ("mkdir", "d"),
    ("mkdir", "d/e"),
    ("mkdir", "b"),
    ("put", "x", Raw(20_000, 9), 0o644),
]
"""Without it most operations would find nothing."""

path = st.sampled_from(PATHS)
directory = st.sampled_from(DIRECTORIES)
slot = st.integers(0, 2)
size = st.sampled_from(SIZES)
mode = st.sampled_from([0o644, 0o755, 0o600, 0o444])
raw = st.builds(Raw, size, st.integers(0, 5))
some = st.builds(Raw, st.sampled_from(SIZES[1:]), st.integers(0, 5))
name = st.sampled_from(["id", "state"])
two = st.integers(0, 1)
way = st.sampled_from(WAYS)
mtime = st.integers(0, 2**60)

_ARGUMENTS: dict[str, tuple[int, tuple[st.SearchStrategy, ...]]] = {
    # verb: how often it is drawn, and what with
    "put": (3, (path, raw, mode)),
    "open": (4, (slot, path, st.sampled_from(FLAGS), mode)),
    "pwrite": (3, (slot, size, some)),
    "append": (1, (slot, some)),
    "pread": (2, (slot, size, size)),
    "ftruncate": (1, (slot, size)),
    "map_write": (1, (slot, size, some)),
    "map_read": (1, (slot,)),
    "fsync": (2, (slot,)),
    "close_copy": (1, (slot,)),
    "close": (4, (slot,)),
    "cat": (2, (path,)),
    "cat_range": (1, (path, size, size)),
    "stat": (1, (path,)),
    "listdir": (1, (directory,)),
    "readlink": (1, (path,)),
    "truncate": (1, (path, size)),
    "mkdir": (1, (path,)),
    "rmdir": (2, (path,)),
    "unlink": (2, (path,)),
    "rename": (5, (path, path)),
    "rename_noreplace": (1, (path, path)),
    "link": (2, (path, path)),
    "symlink": (2, (path, st.sampled_from(TARGETS))),
    "chmod": (1, (path, mode)),
    "utimens": (1, (path, mtime)),
    "getxattr": (1, (path, name)),
    "sync_directory": (1, (directory,)),
    "incoming": (1, (two, way)),
    "blob_cat": (1, (two,)),
    "needed_open": (2, (two,)),
    "needed_meta": (2, (two, way)),
    "needed_blob": (3, (two, two, way)),
    "needed_list": (1, (two,)),
    "needed_state": (1, (two,)),
    "needed_abort": (1, (two,)),
    "package_cat": (2, (two, two)),
}


def operation(who: st.SearchStrategy[str]) -> st.SearchStrategy[Operation]:
    drawn = [
        st.tuples(who, st.just(verb), *arguments)
        for verb, (often, arguments) in _ARGUMENTS.items()
        for _ in range(often)
    ]
    return st.one_of(drawn)


def sequences(nodes: str, steps: int) -> st.SearchStrategy[list[Operation]]:
    """Some bursts of operations, and after each of them, perhaps, what happens to a whole node."""
    who = st.sampled_from(list(nodes))
    bursts = st.lists(operation(who), min_size=1, max_size=2 * BURST)
    among = EVENTS if len(nodes) == 1 else [*EVENTS, "down", "up", "up", "evict"]
    events = st.tuples(who, st.sampled_from(among)).map(lambda event: [event] if event[1] else [])
    parts = st.lists(st.tuples(bursts, events), min_size=1, max_size=max(steps // BURST, 1))
    return parts.map(lambda drawn: [each for burst, event in drawn for each in burst + event])


def start(nodes: str) -> list[Operation]:
    return [(nodes[0], *step) for step in START]
