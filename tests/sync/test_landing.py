"""What becomes of chunks that have come: kept, passed on, or told to be neither."""

import pytest

from blobfs import errors
from blobfs.config.settings import SpaceSettings
from blobfs.model import CHUNK_SIZE
from blobfs.store.opening import Store
from blobfs.store.partial import open_partial
from blobfs.sync.loading.landers import Landers, Place
from blobfs.sync.loading.landing import Landed, Landing
from blobfs.sync.loading.passing import Passing
from blobfs.sync.space import Space
from tests.sync.running import ScriptedDisk

SIZE = 4 * CHUNK_SIZE


class Trusting:
    """A source of bytes that are always right."""

    size = SIZE

    def __init__(self, store: Store) -> None:
        self.partial = open_partial(store, "ab" * 32, SIZE)

    def is_right(self, first: int, content: object) -> bool:
        return True

    def place(self, first: int) -> Place | None:
        return None

    def keep(self, first: int, content: bytes) -> bool:
        self.partial.write_chunks(first, content)
        return True


async def test_one_refusal_is_told_though_more_was_kept_after_it(store: Store) -> None:
    """Whoever wants all of it kept would wait for ever for a chunk that is here for its readers only."""
    disk, source, passing = ScriptedDisk(), Trusting(store), Passing()
    space = Space(store, SpaceSettings())
    landing = Landing(source.partial, source, disk, space, passing, Landers(0))  # type: ignore[arg-type]
    landing.begin_keeping()
    disk.failing["_keep"] = errors.StoreFull("No space left on device")
    assert await landing.land(0, bytes(CHUNK_SIZE)) is Landed.PASSED
    disk.failing.clear()
    assert await landing.land(1, bytes(CHUNK_SIZE)) is Landed.KEPT
    assert landing.has_all(0, 2)
    with pytest.raises(errors.StoreFull):
        landing.has_kept(0, 2)
    landing.begin_keeping()
    assert not landing.has(0)
    assert not landing.has_kept(0, 2)
    assert await landing.land(0, bytes(CHUNK_SIZE)) is Landed.KEPT
    assert landing.has_kept(0, 2)
    assert passing.bytes == 0
    source.partial.close()


def test_what_passes_is_bounded() -> None:
    """The longest unused goes first; what is forgotten leaves nothing behind."""
    passing = Passing(3 * CHUNK_SIZE)
    for chunk in range(3):
        passing.put("one", chunk, bytes([chunk]) * CHUNK_SIZE)
    assert passing.get("one", 0) == bytes(CHUNK_SIZE)
    passing.put("other", 7, b"x" * CHUNK_SIZE)
    assert [passing.has("one", chunk) for chunk in range(3)] == [True, False, True]
    assert passing.bytes == 3 * CHUNK_SIZE
    passing.forget("one")
    assert (passing.holds("one"), passing.holds("other"), passing.bytes) == (False, True, CHUNK_SIZE)
    passing.forget("other")
    assert passing.bytes == 0
