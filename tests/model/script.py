"""A sequence of operations as one would type it, for whoever has to find out what went wrong.

The verbs are those of `tests.model.calls`; open descriptors are ``$3``, ``$4``, ... as in a shell.
"""

import os
import random
from collections.abc import Sequence
from dataclasses import dataclass

Operation = tuple
"""The node, the verb, its arguments."""


@dataclass(frozen=True)
class Raw:
    """Some bytes: the same for the same seed in one example, and never the same in two."""

    size: int
    seed: int

    def of(self, salt: int) -> bytes:
        return random.Random(salt << 8 | self.seed).randbytes(self.size)

    def __str__(self) -> str:
        return f"<(bytes {self.size} seed {self.seed})"


_FLAGS = {
    os.O_WRONLY: "write",
    os.O_RDWR: "read+write",
    os.O_CREAT: "create",
    os.O_EXCL: "exclusive",
    os.O_TRUNC: "truncate",
    os.O_APPEND: "append",
}
_SLOTTED = frozenset(
    ("close", "close_copy", "pwrite", "append", "pread", "ftruncate", "fsync", "map_write", "map_read")
)


def flags_shown(flags: int) -> str:
    return ",".join(name for flag, name in _FLAGS.items() if flags & flag) or "read"


def shown(operation: Operation) -> str:
    who, verb, *arguments = operation
    if verb == "open":
        slot, path, flags, mode = arguments
        return f"{who}$ exec {slot + 3}<>{path}  # {flags_shown(flags)} {mode:o}"
    words = [
        f"{each:o}" if verb in ("put", "chmod") and isinstance(each, int) else str(each) for each in arguments
    ]
    if verb in _SLOTTED:
        words[0] = f"${arguments[0] + 3}"
    return f"{who}$ {verb.replace('_', '-')} {' '.join(words)}".rstrip()


def script(operations: Sequence[Operation]) -> str:
    return "\n".join(map(shown, operations))
