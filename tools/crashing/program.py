"""One program among several that use the mount at once: writes, renames, removes, links, loads, syncs.

Each has names of its own, in its own directory and in one that all share, so it always knows what is
there. It calls the kernel and nothing else, and enters in the book what it was told.
"""

import os
import random
import threading
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from tools.crashing.book import ABSENT, Book, Safe
from tools.crashing.contents import Contents, word_of

SHARED = "all"
"""The directory in which every program has names."""
FAR = "far"
"""The names of the other node."""
DIRECTORY = "directory"
NAMES = 6
"""Of a program in a directory: few, so that they are made again and again."""
SUBDIRECTORIES = 3
STEP = 64 << 10


class Unexpected(Exception):
    """The mount has said what it must not say while it is up."""


def failed_at(error: OSError) -> str:
    """The call of ours that failed: errors of a read or a write name no file."""
    ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "crashing" in frame.filename]
    return ", ".join(f"{frame.name}: {frame.line}" for frame in ours[-2:])


class Program:
    """Works until it is stopped or the mount dies. `is_dying` tells an error that the kill explains from
    one that nothing does."""

    def __init__(
        self,
        number: int,
        mountpoint: Path,
        book: Book,
        contents: Contents,
        far: Mapping[str, str],
        chance: random.Random,
        on_operation: Callable[[], None],
    ) -> None:
        """`far` are the other node's names with the words for their contents."""
        self.number = number
        self._mount = mountpoint
        self._book = book
        self._contents = contents
        self._far = far
        self._chance = chance
        self._on_operation = on_operation
        self._mine = f"w{number}"
        self._serial = 0
        self.loads = 0
        self._operations: dict[Callable[[], None], int] = {
            self._write: 34,
            self._rename: 16,
            self._unlink: 14,
            self._symlink: 5,
            self._link: 4,
            self._make_directory: 5,
            self._remove_directory: 4,
            self._rename_directory: 3,
            self._sync_directory: 10,
            self._load: 5 if far else 0,
        }

    def prepare(self) -> None:
        """Its directories, durable."""
        for key in (SHARED, self._mine):
            if self._book.value(key) == ABSENT:
                at = self._book.begin({key: DIRECTORY})
                (self._mount / key).mkdir()
                self._book.acknowledge(at, Safe.KILL)
        self._sync("")

    def run(self, stop: threading.Event, is_dying: threading.Event) -> None:
        """Raises `Unexpected`."""
        try:
            while not stop.is_set():
                (operation,) = self._chance.choices(
                    list(self._operations), weights=list(self._operations.values())
                )
                operation()
        except OSError as error:
            self._note(f"ends: {error}")
            if not is_dying.is_set():
                raise Unexpected(f"program {self.number}: {error} at {failed_at(error)}") from error

    # What it does

    def _write(self) -> None:
        key = self._free_name()
        if key is None:
            return
        content = self._contents.next(self._chance)
        kind = self._chance.choice(("fsync", "fsync", "close", "seal"))
        self._note(f"write {key} {word_of(content)} {kind}")
        with open(self._mount / key, "xb", buffering=0) as file:
            for start in range(0, len(content), STEP):
                file.write(content[start : start + STEP])
            if kind == "fsync":
                os.fsync(file.fileno())
            at = self._book.begin({key: word_of(content)})  # from here on, and no earlier, it may be found
            self._tell()
        if kind == "seal":
            os.getxattr(self._mount / key, "user.blobfs.id")
        safe = {"fsync": Safe.POWER, "close": Safe.NOT_YET, "seal": Safe.KILL}[kind]
        self._done(f"wrote {key}", at, safe)

    def _rename(self) -> None:
        source, target = self._name_that_is_there(), self._any_name()
        if source is None or target is None or self._book.value(source) == self._book.value(target):
            return
        changes = {source: ABSENT, target: self._book.value(source)}
        self._change(
            f"rename {source} {target}",
            lambda: os.rename(self._mount / source, self._mount / target),
            changes,
            (source, target),
        )

    def _unlink(self) -> None:
        if (key := self._name_that_is_there()) is not None:
            self._change(f"unlink {key}", (self._mount / key).unlink, {key: ABSENT})

    def _symlink(self) -> None:
        if (key := self._free_name()) is not None:
            target = f"t{self._chance.randrange(1 << 30)}"
            link = self._mount / key
            self._change(f"symlink {key}", lambda: link.symlink_to(target), {key: f"-> {target}"})

    def _link(self) -> None:
        source, target = self._name_that_is_there(), self._free_name()
        if source is None or target is None or self._book.value(source).startswith("->"):
            return
        path = self._mount / source
        os.getxattr(path, "user.blobfs.id")  # waits for its seal: what is being written has one name
        value = self._book.value(source)
        at = self._book.begin({source: value})
        self._book.acknowledge(at, Safe.KILL)
        self._change(f"link {source} {target}", lambda: os.link(path, self._mount / target), {target: value})

    def _make_directory(self) -> None:
        free = [key for key in self._subdirectories() if self._book.value(key) == ABSENT]
        if free:
            key = self._chance.choice(free)
            self._change(f"mkdir {key}", (self._mount / key).mkdir, {key: DIRECTORY})

    def _remove_directory(self) -> None:
        """Empties one, and removes it."""
        if (key := self._some_subdirectory()) is None:
            return
        for inner in self._book.keys(f"{key}/"):
            self._change(f"unlink {inner}", (self._mount / inner).unlink, {inner: ABSENT})
        self._change(f"rmdir {key}", (self._mount / key).rmdir, {key: ABSENT})

    def _rename_directory(self) -> None:
        source = self._some_subdirectory()
        target = self._chance.choice(self._subdirectories())
        if source is None or self._book.value(target) != ABSENT:
            return
        inner = {key: key.replace(source, target, 1) for key in self._book.keys(f"{source}/")}
        changes = {source: ABSENT, target: DIRECTORY}
        for old, new in inner.items():
            changes |= {old: ABSENT, new: self._book.value(old)}
        self._change(
            f"rename {source} {target} with {len(inner)} names",
            lambda: os.rename(self._mount / source, self._mount / target),
            changes,
            *inner.items(),
        )

    def _sync_directory(self) -> None:
        self._sync(self._chance.choice(("", SHARED, self._mine, self._mine)))

    def _sync(self, directory: str) -> None:
        at = self._book.acknowledged_below(directory)
        self._note(f"fsync of the directory {directory or 'of all'}")
        descriptor = os.open(self._mount / directory, os.O_RDONLY)
        try:
            self._tell()
            os.fsync(descriptor)
        finally:
            with suppress(OSError):  # what the fsync said counts
                os.close(descriptor)
        self._done(f"synced {directory or 'all'}", at, Safe.POWER)

    def _load(self) -> None:
        name = self._chance.choice(list(self._far))
        self._note(f"load {name}")
        self._tell()
        found = word_of((self._mount / name).read_bytes())
        if found != self._far[name]:
            raise Unexpected(f"{name} was read as {found}, and is {self._far[name]}")
        self.loads += 1

    # How it does it

    def _change(
        self, text: str, call: Callable[[], object], changes: Mapping[str, str], *moves: tuple[str, str]
    ) -> None:
        self._note(text)
        at = self._book.begin(changes, *moves)
        self._tell()
        call()
        self._done(text, at, Safe.KILL)

    def _tell(self) -> None:
        self._on_operation()

    def _done(self, text: str, at: Mapping[str, int], safe: Safe) -> None:
        self._book.acknowledge(at, safe)
        self._note(f"{text}: done")

    def _note(self, text: str) -> None:
        self._book.note(f"{self._mine}: {text}")

    # Its names

    def _subdirectories(self) -> list[str]:
        return [f"{self._mine}/d{number}" for number in range(SUBDIRECTORIES)]

    def _some_subdirectory(self) -> str | None:
        there = [key for key in self._subdirectories() if self._book.value(key) == DIRECTORY]
        return self._chance.choice(there) if there else None

    def _any_name(self) -> str | None:
        return self._chance.choice(self._names())

    def _free_name(self) -> str | None:
        free = [key for key in self._names() if self._book.value(key) == ABSENT]
        return self._chance.choice(free) if free else None

    def _name_that_is_there(self) -> str | None:
        there = [key for key in self._names() if self._book.value(key) != ABSENT]
        return self._chance.choice(there) if there else None

    def _names(self) -> list[str]:
        """All that it may make now."""
        made = [key for key in self._subdirectories() if self._book.value(key) == DIRECTORY]
        return [
            *(f"{SHARED}/{self.number}-{number}" for number in range(NAMES)),
            *(f"{directory}/{number}" for directory in (self._mine, *made) for number in range(NAMES)),
        ]
