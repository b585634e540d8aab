"""The answer to the kernel's INIT, completed."""

import struct

from blobfs.fuse.init_reply import FUSE_PARALLEL_DIROPS, completed
from blobfs.fuse.tuning import READ_AHEAD_KIB

HEADER = struct.Struct("=IiQ")


def test_a_flag_is_added_the_read_ahead_raised_and_nothing_else_changed() -> None:
    """fuse_init_out: major, minor, max_readahead, flags, and what follows."""
    body = struct.pack("=IIII", 7, 38, 131072, 0x4040B029) + bytes(range(48))
    reply = HEADER.pack(HEADER.size + len(body), 0, 1) + body
    found = completed(reply)
    assert len(found) == len(reply)
    assert struct.unpack_from("=IIII", found, HEADER.size) == (
        7,
        38,
        READ_AHEAD_KIB * 1024,
        0x4040B029 | FUSE_PARALLEL_DIROPS,
    )
    assert found[: HEADER.size + 8] == reply[: HEADER.size + 8]
    assert found[HEADER.size + 16 :] == reply[HEADER.size + 16 :]


def test_an_error_is_passed_on_as_it_is() -> None:
    """It has no body."""
    reply = HEADER.pack(HEADER.size, -71, 1)
    assert completed(reply) == reply
