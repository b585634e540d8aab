"""Whether a bundle holds what it should: each blob in it is verified by its id."""

import os
from collections.abc import Sequence
from pathlib import Path

from blobfs.bundle import Member
from blobfs.merkle import build_tree, hash_leaves
from blobfs.store.verify.content import open_untouched


def what_is_wrong(path: Path, members: Sequence[Member]) -> str:
    """In words; empty where all is right. There is one member at least."""
    fd = open_untouched(path)
    try:
        if os.fstat(fd).st_size != members[-1].offset + members[-1].size:
            return "it is not as long as its blobs together"
        wrong = sum(not _is_right(member, os.pread(fd, member.size, member.offset)) for member in members)
    finally:
        os.close(fd)
    return f"{wrong} of its {len(members)} blobs are wrong" if wrong else ""


def _is_right(member: Member, content: bytes) -> bool:
    return build_tree(hash_leaves(content, 0), len(content))[0] == member.blob
