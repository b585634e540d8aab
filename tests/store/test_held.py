"""Small files in memory: they are what a file would be, count as one, and become one."""

import random
from pathlib import Path

import pytest

from blobfs import errors
from blobfs.store import held
from blobfs.store.held import MAX_HELD, Held, HeldMemory
from blobfs.store.incoming import Incoming
from blobfs.store.opening import Store


def new(store: Store) -> Held:
    found = HeldMemory(store, lambda: True).hold()
    assert found is not None
    return found


@pytest.mark.parametrize("seed", range(20))
def test_it_holds_what_a_file_would(store: Store, tmp_path: Path, seed: int) -> None:
    """Writes anywhere, gaps, cuts: what is read is what a file would hold."""
    small, path, choose = new(store), tmp_path / "model", random.Random(seed)
    with path.open("w+b", buffering=0) as model:
        for _ in range(20):
            where, content = choose.randrange(60), choose.randbytes(choose.randrange(1, 20))
            if choose.random() < 0.7:
                assert small.write(where, content)
                model.seek(where)
                model.write(content)
            else:
                assert small.truncate(where)
                model.truncate(where)
            assert small.read(0, 1000) == path.read_bytes()
            assert small.read(7, 5) == path.read_bytes()[7:12]
            assert small.size == path.stat().st_size


def test_it_becomes_a_file(store: Store) -> None:
    """With the same content, which counts once."""
    small = new(store)
    assert small.write(0, b"one")
    assert small.write(3, b"two")
    incoming = small.to_disk()
    small.let_go()
    assert incoming.read(0, 100) == b"onetwo"
    assert store.usage.used == 6
    incoming.discard()
    assert store.usage.used == 0


def test_what_could_not_become_a_file_is_still_held(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk: the writer is told, and what he wrote before is there."""

    def full(self: object, offset: int, content: bytes) -> None:
        raise errors.StoreFull("No space left on device")

    small = new(store)
    assert small.write(0, b"content")
    with monkeypatch.context() as patch:
        patch.setattr(Incoming, "write", full)
        with pytest.raises(errors.StoreFull):
            small.to_disk()
    assert small.read(0, 100) == b"content"
    assert store.usage.used == 7
    assert list(store.layout.incoming.iterdir()) == []


def test_what_does_not_fit_changes_nothing(store: Store) -> None:
    """One file has a limit, all of them have one, and the quota is another."""
    small = new(store)
    assert not small.write(MAX_HELD - 1, b"12")
    assert not small.truncate(MAX_HELD + 1)
    store.usage.quota = 10
    assert small.write(0, b"12345")
    assert not small.write(5, b"123456")
    assert (small.read(0, 100), store.usage.used) == (b"12345", 5)
    small.discard()
    assert store.usage.used == 0


def test_all_of_them_have_a_limit(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was let go of leaves room for others."""
    monkeypatch.setattr(held, "MAX_ALL_HELD", 10)
    memory = HeldMemory(store, lambda: True)
    one, two = memory.hold(), memory.hold()
    assert one is not None
    assert two is not None
    assert one.write(0, b"123456")
    assert memory.is_half_full
    assert not two.write(0, b"123456")
    one.discard()
    assert two.write(0, b"1234567890")
    assert memory.hold() is None
    two.let_go()
    assert memory.used == 0


def test_nothing_is_held_when_the_disk_is_nearly_full(store: Store) -> None:
    """Then a write is to say ENOSPC, and not the seal."""
    room = [True]
    memory = HeldMemory(store, lambda: room[0])
    small = memory.hold()
    assert small is not None
    room[0] = False
    assert memory.hold() is None
    assert not small.write(0, b"x")
