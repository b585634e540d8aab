"""What each operation does to the world, or the errno it fails with: docs/semantics.md, once more in Python.

A method for each verb; the first argument is the node on which it is done, the others are those of
`tests.model.calls`. It returns what the call returns, or `OneOf` several that are all right. The checks stand
in the order in which the kernel, and then the node, makes them.
"""

import errno
import stat

from tests.model.descriptors import Descriptors, OneOf
from tests.model.world import Directory, File, Link, Node, Refused, Unclear, leaves
from tests.mount.probes import blob_id


class Rules(Descriptors):
    """The names below `prefix`."""

    def __init__(self, nodes: str, prefix: str) -> None:
        super().__init__(nodes)
        self.world.names[prefix] = Directory({nodes[0]})
        self.world.tell(nodes[0], prefix)

    # Files as a whole

    def put(self, who: str, path: str, raw: bytes, mode: int) -> None:
        place = self.world.free(who, path)
        file = self.world.private[who][place] = File(who, raw, mode)
        self.last_close(file)

    def _file(self, who: str, path: str) -> File:
        node = self.world.find(who, path, follow=True)
        if not isinstance(node, File):
            raise Refused(errno.EISDIR)
        return node

    def cat(self, who: str, path: str) -> bytes:
        return self._file(who, path).content

    def cat_range(self, who: str, path: str, offset: int, length: int) -> bytes:
        return self._file(who, path).content[offset : offset + length]

    def truncate(self, who: str, path: str, size: int) -> None:
        file = self._file(who, path)
        if file.is_sealed:
            raise Refused(errno.EPERM)
        file.change(file.content[:size].ljust(size, b"\0"))

    # Names

    def mkdir(self, who: str, path: str) -> None:
        place = self.world.free(who, path)
        if self._is_written_elsewhere(who, place):
            raise Unclear  # a directory for the one, a file for the other: the later one wins
        self.world.make_directory(who, place)

    def _is_written_elsewhere(self, who: str, place: str) -> bool:
        return any(place in names for other, names in self.world.private.items() if other != who)

    def rmdir(self, who: str, path: str) -> None:
        place = self.world.walk(who, path)
        node = self.world.find(who, place)
        if not isinstance(node, Directory):
            raise Refused(errno.ENOTDIR)
        self._remove_directory(who, place, node)

    def _remove_directory(self, who: str, place: str, node: Directory) -> None:
        if self.world.below(who, place):
            raise Refused(errno.ENOTEMPTY)
        if who not in node.owners:
            raise Refused(errno.EPERM)
        if len(node.owners) > 1 or self._is_written_below(place):
            raise Unclear  # is it still there, being the other node's as well?
        self.world.remove(who, place)

    def _is_written_below(self, place: str) -> bool:
        return any(path.startswith(f"{place}/") for names in self.world.private.values() for path in names)

    def unlink(self, who: str, path: str) -> None:
        place = self.world.walk(who, path)
        if isinstance(self.world.find(who, place), Directory):
            raise Refused(errno.EISDIR)
        self.world.demand_own(who, place)
        self.world.remove(who, place)

    def symlink(self, who: str, path: str, target: str) -> None:
        place = self.world.free(who, path)
        if leaves(target, place):
            raise Refused(errno.EINVAL)
        self.world.publish(place, Link(who, target))

    def readlink(self, who: str, path: str) -> str:
        node = self.world.find(who, path)
        if not isinstance(node, Link):
            raise Refused(errno.EINVAL)
        return node.target

    def link(self, who: str, path: str, new_path: str) -> None:
        node = self.world.find(who, path)
        place = self.world.free(who, new_path)
        if not isinstance(node, File) or not node.is_sealed:
            raise Refused(errno.EPERM)
        if node.owner != who:
            raise Unclear  # EXDEV, unless it was loaded: `adopt`
        node.is_linked = True
        self.world.publish(place, node)

    def rename(self, who: str, path: str, new_path: str, noreplace: bool = False) -> None:
        world = self.world
        place, new_place = world.walk(who, path), world.walk(who, new_path)
        node, target = world.find(who, place), world.get(who, new_place)
        if target is not None and noreplace:
            raise Refused(errno.EEXIST)
        if isinstance(node, Directory) and new_place.startswith(f"{place}/"):
            raise Refused(errno.EINVAL)
        if place.startswith(f"{new_place}/"):
            raise Refused(errno.ENOTEMPTY)
        if target is node:
            if place != new_place:
                raise Unclear  # two names of one inode, or of two: POSIX does nothing then, or something
            return
        if isinstance(node, Directory):
            self._rename_directory(who, place, new_place, node, target)
            return
        if isinstance(target, Directory):
            raise Refused(errno.EISDIR)
        world.demand_own(who, place)
        if isinstance(node, Link) and leaves(node.target, new_place):
            raise Refused(errno.EINVAL)
        world.move(who, place, new_place)

    def rename_noreplace(self, who: str, path: str, new_path: str) -> None:
        self.rename(who, path, new_path, noreplace=True)

    def _rename_directory(
        self, who: str, place: str, new_place: str, node: Directory, target: Node | None
    ) -> None:
        world = self.world
        if target is not None and not isinstance(target, Directory):
            raise Refused(errno.ENOTDIR)
        if self._is_written_elsewhere(who, new_place):
            raise Unclear
        below = [(path, world.get(who, path)) for path in world.below(who, place)]
        if any(isinstance(each, File | Link) and each.owner != who for _, each in below):
            raise Refused(errno.EXDEV)
        if any(isinstance(each, Directory) and each.owners != {who} for _, each in [("", node), *below]):
            raise Unclear
        if self._is_written_below(place) and any(
            world.private[other] for other in world.private.keys() - {who}
        ):
            raise Unclear
        outside = any(
            isinstance(each, Link) and leaves(each.target, new_place + path[len(place) :])
            for path, each in below
        )
        if isinstance(target, Directory):
            if outside and target.owners != {who}:
                raise Unclear
            if not outside:
                self._remove_directory(who, new_place, target)
            elif world.below(who, new_place):
                raise Refused(errno.ENOTEMPTY)
        if outside:
            raise Refused(errno.EINVAL)
        world.move_directory(who, place, new_place)

    def listdir(self, who: str, path: str) -> list[str]:
        place = self.world.walk(who, path, follow=True)
        if not isinstance(self.world.find(who, place), Directory):
            raise Refused(errno.ENOTDIR)
        return self.world.listdir(who, place)

    # Attributes

    def stat(self, who: str, path: str) -> tuple[int, int]:
        match self.world.find(who, path):
            case Directory():
                return stat.S_IFDIR, 0
            case Link():
                return stat.S_IFLNK, 0
            case File(content=content):
                return stat.S_IFREG, len(content)

    def chmod(self, who: str, path: str, mode: int) -> None:
        node = self.world.find(who, path, follow=True)
        if isinstance(node, File):
            if node.owner != who:
                raise (
                    Unclear
                    if node.mode is None or bool(node.mode & 0o111) == bool(mode & 0o111)
                    else (Refused(errno.EPERM))
                )
            node.mode = mode
            self.world.tell_of(who, node)

    def utimens(self, who: str, path: str, mtime_ns: int) -> None:
        node = self.world.find(who, path)
        if isinstance(node, Directory):
            if node.owners != {who}:
                raise Unclear
        elif node.owner != who:
            raise Unclear if node.mtime_ns == mtime_ns else Refused(errno.EPERM)
        node.mtime_ns = mtime_ns
        self.world.tell_of(who, node)

    def getxattr(self, who: str, path: str, name: str) -> object:
        node = self.world.find(who, path, follow=True)
        if not isinstance(node, File):
            raise Refused(errno.ENODATA)
        if name == "id":
            if not node.is_sealed:
                raise Refused(errno.ENODATA)
            return blob_id(node.content)
        if name != "state":
            raise Unclear
        if node.owner != who:
            return OneOf(("missing", "partial", "whole"))
        return OneOf(("sealed", "writing") if node.is_sealed else ("writing",))

    def sync_directory(self, who: str, path: str) -> None:
        """All that was closed in it is sealed, shared and safe [S9]."""
        place = self.world.walk(who, path, follow=True)
        if not isinstance(self.world.find(who, place), Directory):
            raise Unclear
        for name in self.world.below(who, place):
            node = self.world.names.get(name)
            if isinstance(node, File) and node.owner == who:
                node.is_safe = node.is_settled = True
