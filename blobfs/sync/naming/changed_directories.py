"""Directories in which names of this node have changed, for who looks at them when they have come to rest."""

from collections.abc import Collection

import trio

from blobfs.model import Name


class ChangedDirectories:
    """Mutable: `changed_at`, when each of those changed last whose bundles were not looked at since."""

    def __init__(self) -> None:
        self.changed_at: dict[Name, float] = {}
        self.some = trio.Event()
        """Set when there are any; whoever waits for it puts a new one here."""

    def __repr__(self) -> str:
        return f"<ChangedDirectories {len(self.changed_at)}>"

    def note(self, directories: Collection[Name]) -> None:
        now = trio.current_time()
        self.changed_at.update(dict.fromkeys(directories, now))
        self.some.set()
