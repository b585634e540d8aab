"""Small files that are being written, in memory: a file that is closed and sealed with many others needs
none of its own on the disk before.

Only what nobody was promised yet is held: an fsync makes a file of it (`to_disk`), and so does whatever does
not fit. Its bytes count against the quota from the write on, as those of a file do. Nothing is held unless
the disk has plenty of room for all of it: what cannot be kept is refused at the write, not at the seal.
"""

from collections.abc import Callable

from blobfs import errors
from blobfs.store.files import Buffer
from blobfs.store.incoming import Incoming
from blobfs.store.opening import Store

MAX_HELD = 64 << 10
"""Bytes of one file: writing more costs so much that a file of its own is little beside it."""
MAX_ALL_HELD = 16 << 20
"""Bytes of all of them: four thousand of 4 KiB."""


class HeldMemory:
    """How much all held files of a store take. Mutable: `used`, in bytes; by one thread."""

    def __init__(self, store: Store, has_plenty: Callable[[], bool]) -> None:
        """`has_plenty`: whether the disk has much more room than is ever held."""
        self._store = store
        self._has_plenty = has_plenty
        self.used = 0

    @property
    def is_half_full(self) -> bool:
        """Time to seal some of it."""
        return self.used >= MAX_ALL_HELD // 2

    def hold(self) -> "Held | None":
        """A new file. None: it needs one on the disk."""
        return Held(self._store, self) if self.used < MAX_ALL_HELD and self._has_plenty() else None

    def take(self, amount: int) -> bool:
        """Whether so many bytes more fit; then they are taken."""
        if self.used + amount > MAX_ALL_HELD or not self._has_plenty():
            return False
        self.used += amount
        return True


class Held:
    """The content of one file, for one thread; `to_disk` may run in another one while it is `frozen`.

    Mutable: the content; `_charged`, what it counts for in the quota; `_taken`, what it takes of the memory.
    """

    def __init__(self, store: Store, memory: HeldMemory) -> None:
        self._store = store
        self._memory = memory
        self._content: bytes | bytearray = b""
        self._charged = 0
        self._taken = 0
        self.frozen = False
        """It is on its way to the disk, or sealed: nothing is to change it."""

    def __repr__(self) -> str:
        return f"Held(size={self.size})"

    @property
    def size(self) -> int:
        return len(self._content)

    @property
    def content(self) -> bytes | bytearray:
        """All of it; not to be changed."""
        return self._content

    def read(self, offset: int, length: int) -> bytes:
        return bytes(self._content[offset : offset + length])

    def write(self, offset: int, content: Buffer) -> bool:
        """Whether it fitted; else nothing has changed. Of what is not `bytes` there is a copy."""
        end = offset + len(content)
        if not self._grow(end):
            return False
        try:
            self._store.usage.demand(len(content))
        except errors.QuotaExceeded:
            return False
        self._store.usage.add(len(content))
        self._charged += len(content)
        if offset == 0 and len(content) >= self.size:  # the usual write: all of it, kept as it came
            self._content = bytes(content)
        else:
            self._fill_up(offset)[offset:end] = content
        return True

    def truncate(self, size: int) -> bool:
        """Whether it fitted; what is added reads as zeros."""
        if not self._grow(size):
            return False
        del self._fill_up(size)[size:]
        return True

    def _grow(self, size: int) -> bool:
        if self.frozen or size > MAX_HELD:
            return False
        if size > self._taken:
            if not self._memory.take(size - self._taken):
                return False
            self._taken = size
        return True

    def _fill_up(self, size: int) -> bytearray:
        """What can be changed, of at least this size."""
        if not isinstance(self._content, bytearray):
            self._content = bytearray(self._content)
        self._content += bytes(max(size - self.size, 0))
        return self._content

    def to_disk(self) -> Incoming:
        """A file of its own in `incoming/` that holds the same; `let_go` then. Blocks."""
        incoming = Incoming.create(self._store)
        self._store.usage.add(-self._charged)  # the file counts instead
        try:
            if self.size:
                incoming.write(0, self._content)
        except BaseException:
            self._store.usage.add(self._charged)
            incoming.discard()
            raise
        return incoming

    def let_go(self) -> None:
        """Its bytes are on the disk, and count there; who still reads it may go on. Also twice."""
        self.frozen = True
        self._charged = 0
        self._memory.used -= self._taken
        self._taken = 0

    def discard(self) -> None:
        """The file is no more."""
        self._store.usage.add(-self._charged)
        self.let_go()
