"""What a program was promised, and so what each name may mean after whatever happened.

Before a call the name may come to mean what the call is to make of it; when the call has succeeded it must.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from blobfs.model import BlobId


@dataclass(frozen=True)
class _Anything:
    """The torso of a file that could not be written to its end, and was closed."""


@dataclass(frozen=True)
class Link:
    """A symlink."""

    target: str


@dataclass(frozen=True)
class Folder:
    """A directory."""


TORSO: Final = _Anything()

Meaning = bytes | Link | Folder | _Anything | None
"""None is nothing."""


@dataclass
class Ledger:
    """Mutable: `names`, what each name may mean; `packages`, those that must be complete."""

    names: dict[str, set[Meaning]] = field(default_factory=dict)
    packages: set[BlobId] = field(default_factory=set)

    @contextmanager
    def change(self, **to: Meaning) -> Iterator[None]:
        """Around a call: these names (with "/" as "__") mean something else when it has succeeded."""
        wanted = {name.replace("__", "/"): meaning for name, meaning in to.items()}
        for name, meaning in wanted.items():
            self.names.setdefault(name, {None}).add(meaning)
        yield
        for name, meaning in wanted.items():
            self.names[name] = {meaning}

    def may_be(self, name: str, *meanings: Meaning) -> None:
        """Nothing is promised: these, too."""
        self.names.setdefault(name, {None}).update(meanings)

    def wrong(self, found: dict[str, Meaning]) -> list[str]:
        """What is not as promised, in words."""
        broken = [name for name, allowed in self.names.items() if not _is_allowed(found.get(name), allowed)]
        strange = [name for name in found if name not in self.names]
        return [
            f"{name} is {_shown(found.get(name))}, promised was {' or '.join(map(_shown, self.names[name]))}"
            for name in broken
        ] + [f"{name} is {_shown(found[name])}, and nobody made it" for name in strange]


def _is_allowed(found: Meaning, allowed: set[Meaning]) -> bool:
    return found in allowed or (TORSO in allowed and isinstance(found, bytes))


def _shown(meaning: Meaning) -> str:
    if isinstance(meaning, bytes):
        return f"{len(meaning)} bytes"
    return "nothing" if meaning is None else repr(meaning)
