"""Directories in memory: bounded by their names, right whatever changes while they are read."""

import logging

import pytest

from blobfs.model import ROOT, Name
from blobfs.record import GoneRecord, SymlinkRecord
from blobfs.store import names
from blobfs.store.logs import read_log
from blobfs.store.names import LocalName
from blobfs.store.opening import Store
from blobfs.sync.disk import DiskThreads
from blobfs.sync.naming.local_directories import LOG_BYTES_A_VISIT, LocalDirectories
from blobfs.sync.naming.namespace import Namespace

ENTRY = LocalName(GoneRecord(1), loaded=False)
OTHER = LocalName(GoneRecord(2), loaded=False)


def of_size(names: int) -> dict[str, LocalName]:
    return {str(number): ENTRY for number in range(names)}


def test_what_was_used_last_stays() -> None:
    """The number of all names is bounded, however many directories they are in."""
    kept = LocalDirectories(max_names=40)
    for number in range(4):
        kept.keep(Name(f"d{number}"), of_size(10))
    assert kept.get(Name("d0")) is not None
    kept.keep(Name("new"), of_size(1))
    assert [kept.get(Name(f"d{number}")) is None for number in range(4)] == [False, True, False, False]
    assert kept.statistics() == {"directories": 4, "names": 31}


def test_three_directories_may_be_of_any_size() -> None:
    """Beside small ones: what moves files from one to another does not read them again and again."""
    kept = LocalDirectories(max_names=40)
    for directory in ("gone", "one", "two", "three"):
        kept.keep(Name(directory), of_size(100))
    kept.keep(Name("small"), of_size(10))
    assert kept.get(Name("gone")) is None
    assert kept.statistics() == {"directories": 4, "names": 310}
    for number in range(100, 200):
        kept.remember(Name("one"), str(number), ENTRY)
    kept.forget(Name("one"))
    kept.keep(Name("another"), of_size(10))
    assert kept.statistics() == {"directories": 4, "names": 220}


def test_names_are_counted_once() -> None:
    """A name that changes is not one more; what is forgotten does not count."""
    kept = LocalDirectories()
    kept.keep(Name("d"), of_size(2))
    for component in ("0", "new", "new"):
        kept.remember(Name("d"), component, OTHER)
    assert kept.statistics() == {"directories": 1, "names": 3}
    kept.forget(Name("d"))
    kept.forget(Name("d"))
    assert kept.statistics() == {"directories": 0, "names": 0}


def test_a_change_while_a_directory_is_read_is_not_lost() -> None:
    """The thread may have read the disk before the change."""
    kept = LocalDirectories()
    with kept.reading(Name("d")) as reading:
        kept.remember(Name("d"), "0", OTHER)
        assert kept.keep(Name("d"), of_size(2), reading) == {"0": OTHER, "1": ENTRY}
    assert kept.get(Name("d")) == {"0": OTHER, "1": ENTRY}


def test_a_directory_that_goes_while_it_is_read_is_not_kept() -> None:
    """Whoever reads it sees what was there; the next one asks the disk."""
    kept = LocalDirectories()
    with kept.reading(Name("d")) as reading:
        kept.forget(Name("d"))
        assert kept.keep(Name("d"), of_size(1), reading) == of_size(1)
    assert kept.get(Name("d")) is None


def test_the_first_copy_counts() -> None:
    """Two that read at once share what the first one brought, changes and all."""
    kept = LocalDirectories()
    with kept.reading(Name("d")) as first, kept.reading(Name("d")) as second:
        one = kept.keep(Name("d"), of_size(1), first)
        kept.remember(Name("d"), "0", OTHER)
        assert kept.keep(Name("d"), of_size(1), second) is one
    assert one == {"0": OTHER}


def test_the_more_it_is_asked_the_longer_a_log_is_worth_reading() -> None:
    """And once it was read the counting starts anew."""
    kept = LocalDirectories()
    assert [kept.visit(Name("d")) for _ in range(3)] == [n * LOG_BYTES_A_VISIT for n in (1, 2, 3)]
    kept.keep(Name("d"), {})
    assert kept.visit(Name("d")) == LOG_BYTES_A_VISIT


# What the namespace makes of it


def link(number: int) -> SymlinkRecord:
    return SymlinkRecord(f"target{number}" * 20, 1, number + 1)


@pytest.fixture
def long_log(store: Store) -> int:
    """Fifty names in the root; how many visits its log is worth."""
    for number in range(50):
        names.put_symlink(store, Name(f"name{number}"), link(number))
    return -(-store.layout.log(ROOT).stat().st_size // LOG_BYTES_A_VISIT)


async def test_a_few_lookups_read_records_and_many_the_log(store: Store, long_log: int) -> None:
    """So one name costs the same however many there are beside it."""
    disk = DiskThreads()
    namespace = Namespace(store, disk)
    for visit in range(long_log - 1):
        assert await namespace.entry(Name("name7")) == LocalName(link(7), loaded=False), visit
        assert await namespace.entry(Name("d/x")) is None
    assert namespace.statistics() == {"directories": 0, "names": 0}
    assert await namespace.entry(Name("none")) is None
    assert namespace.statistics() == {"directories": 1, "names": 50}
    hops = disk.hops
    assert await namespace.entry(Name("name7")) == LocalName(link(7), loaded=False)
    assert disk.hops == hops


async def test_a_directory_is_an_entry_of_the_one_above(store: Store, long_log: int) -> None:
    """Also when only its own record is read; the root is in none."""
    namespace = Namespace(store, DiskThreads())
    async with namespace.lock:
        record = await namespace.make_directory(Name("d"), "d")
    after = Namespace(store, DiskThreads())
    assert await after.entry(Name("d")) == LocalName(record, loaded=False)
    assert await after.entry(ROOT) is None
    assert await after.has_directory(Name("d"))
    assert not await after.has_directory(Name("name1"))


async def test_what_the_log_says_counts_where_the_record_is_broken(
    store: Store, long_log: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Until the record is mended, as if the whole directory had been read."""
    store.layout.record(Name("name7")).chmod(0o600)
    store.layout.record(Name("name7")).write_bytes(b"{")
    namespace = Namespace(store, DiskThreads())
    with caplog.at_level(logging.CRITICAL):
        assert await namespace.entry(Name("name7")) == LocalName(link(7), loaded=False)


async def test_a_new_name_does_not_bring_its_directory_into_memory(store: Store, long_log: int) -> None:
    """A directory may be large; what is added to it costs one line."""
    namespace = Namespace(store, DiskThreads())
    async with namespace.lock:
        await namespace.put(Name("new"), link(100))
    assert namespace.statistics() == {"directories": 0, "names": 0}
    entries = read_log(store.layout, ROOT)
    assert entries is not None
    assert entries["new"].record == link(100)
