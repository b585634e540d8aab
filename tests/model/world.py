"""What the mounts should show: a dictionary of names, and the rules of docs/semantics.md in a few lines.

A `World` has two dictionaries. `names` is what was published, as every node shows it once it has heard of it:
the newest publication of each name. `private` is what each node has of its own besides: the files that are
being written there, over what the same names mean to the others.

Paths are from the mount's root, without a slash in front.
"""

import errno
from dataclasses import dataclass, field

MAX_LINKS = 40
"""Symlinks that the kernel follows in one path before it says ELOOP."""


class Refused(Exception):
    """The operation fails, with this errno."""

    def __init__(self, number: int) -> None:
        super().__init__(errno.errorcode[number])
        self.number = number


class Unclear(Exception):
    """What comes out depends on what nobody promises, or is covered elsewhere: the operation is left out."""


@dataclass(eq=False)
class File:
    """One content with all its names and descriptors."""

    owner: str
    """The node that wrote it."""
    content: bytes = b""
    mode: int | None = 0o644
    mtime_ns: int | None = None
    """None: whatever the clock said."""
    writers: int = 1
    is_synced: bool = False
    """Fsynced since the last change: closed like that, it survives a crash."""
    is_safe: bool = False
    """A crash must not lose it."""
    is_settled: bool = False
    """Sealed for certain: from then on its mode and its time are on the disk as soon as they are set."""
    is_linked: bool = False
    """It has, or had, a second name: after a restart these are two inodes, and one again, and two."""

    @property
    def is_sealed(self) -> bool:
        return self.writers == 0

    def change(self, content: bytes) -> None:
        self.content, self.mtime_ns, self.is_synced = content, None, False


@dataclass(eq=False)
class Directory:
    owners: set[str]
    """The nodes that have made it, or something in it."""
    mtime_ns: int | None = None


@dataclass(eq=False)
class Link:
    owner: str
    target: str
    mtime_ns: int | None = None


Node = File | Directory | Link


def joined(directory: str, component: str) -> str:
    return f"{directory}/{component}" if directory else component


def parent_of(path: str) -> str:
    return path.rpartition("/")[0]


def leaves(target: str, path: str) -> bool:
    """Whether a symlink of this name would point out of the mount [S27]."""
    return target.split("/").count("..") > path.count("/")


@dataclass
class World:
    names: dict[str, Node] = field(default_factory=lambda: {"": Directory(set())})
    private: dict[str, dict[str, File]] = field(default_factory=dict)
    news: dict[str, set[str]] = field(default_factory=dict)
    """Names that others have changed, and that a node may still show as they were."""
    history: dict[str, list[Node | None]] = field(default_factory=dict)
    """All that each name has meant: what a node shows that has not heard the news is one of these."""

    # Looking, as the kernel does it

    def get(self, who: str, path: str) -> Node | None:
        return self.private[who].get(path) or self.names.get(path)

    def walk(self, who: str, path: str, follow: bool = False) -> str:
        """The path without symlinks in it; `follow`: neither at its end. What it leads to may be missing."""
        rest, done, links = path.split("/"), "", 0
        while rest:
            component = rest.pop(0)
            if component == "..":
                done = parent_of(done)
                continue
            here = joined(done, component)
            node = self.get(who, here)
            if isinstance(node, Link) and (rest or follow):
                links += 1
                if links > MAX_LINKS:
                    raise Refused(errno.ELOOP)
                rest = node.target.split("/") + rest
                continue
            if rest and not isinstance(node, Directory):
                raise Refused(errno.ENOENT if node is None else errno.ENOTDIR)
            done = here
        return done

    def find(self, who: str, path: str, follow: bool = False) -> Node:
        node = self.get(who, self.walk(who, path, follow))
        if node is None:
            raise Refused(errno.ENOENT)
        return node

    def free(self, who: str, path: str) -> str:
        """The walked path of a name that is to be made."""
        place = self.walk(who, path)
        if self.get(who, place) is not None:
            raise Refused(errno.EEXIST)
        return place

    def visible(self, who: str) -> dict[str, Node]:
        return self.names | self.private[who]

    def below(self, who: str, path: str) -> list[str]:
        return sorted(name for name in self.visible(who) if name.startswith(f"{path}/"))

    def listdir(self, who: str, path: str) -> list[str]:
        return [name.rpartition("/")[2] for name in self.below(who, path) if parent_of(name) == path]

    # Changing

    def tell(self, who: str, path: str) -> None:
        """Of what `who` did to a name; nobody else knows yet."""
        self.history.setdefault(path, [None]).append(self.names.get(path))
        for other in self.news.keys() - {who}:
            self.news[other].add(path)

    def tell_of(self, who: str, node: Node) -> None:
        """Of new attributes."""
        for path, each in self.names.items():
            if each is node:
                self.tell(who, path)

    def publish(self, path: str, node: File | Link) -> None:
        """The newest publication of a name; its directories are the publisher's too from then on."""
        self.names[path] = node
        self.tell(node.owner, path)
        self.own_above(path, node.owner)

    def own_above(self, path: str, owner: str) -> None:
        while path := parent_of(path):
            directory = self.names[path]
            assert isinstance(directory, Directory)
            directory.owners.add(owner)

    def make_directory(self, who: str, path: str) -> None:
        self.names[path] = Directory({who})
        self.tell(who, path)
        self.own_above(path, who)

    def demand_own(self, who: str, path: str) -> None:
        """A node changes only what it published itself [S48]."""
        node = self.get(who, path)
        if isinstance(node, File | Link) and node.owner != who:
            raise Refused(errno.EPERM)

    def private_path(self, file: File) -> str | None:
        """The name of a file that is being written; None once it was removed."""
        found = (path for path, each in self.private[file.owner].items() if each is file)
        return next(found, None)

    def seal(self, file: File) -> None:
        """After the last close."""
        path = self.private_path(file)
        if path is not None:
            del self.private[file.owner][path]
            self.publish(path, file)

    def remove(self, who: str, path: str) -> None:
        """What a file being written was about to replace goes with it: the name was its own already."""
        hidden = self.names.get(path)
        if path in self.private[who] and isinstance(hidden, File | Link) and hidden.owner != who:
            raise Unclear
        self.private[who].pop(path, None)
        if self.names.pop(path, None) is not None:
            self.tell(who, path)

    def move(self, who: str, path: str, new_path: str) -> None:
        """Of a file or a symlink, over whatever file or symlink there is."""
        private = self.private[who]
        if path in private:
            if path in self.names:
                raise Unclear  # what it was about to replace: does it come back?
            private[new_path] = private.pop(path)
            self.own_above(new_path, who)
            return
        private.pop(new_path, None)
        node = self.names.pop(path)
        assert isinstance(node, File | Link)
        self.tell(who, path)
        self.publish(new_path, node)

    def move_directory(self, who: str, path: str, new_path: str) -> None:
        private = self.private[who]
        for old in [path, *self.below(who, path)]:
            new = new_path + old[len(path) :]
            if old in private:
                private[new] = private.pop(old)
            if old in self.names:
                self.names[new] = self.names.pop(old)
                self.tell(who, old)
                self.tell(who, new)
        self.own_above(new_path, who)
