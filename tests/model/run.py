"""One example: operations done on the mounts and in the world, one after the other, and compared.

An operation that makes no sense at its place, or whose outcome nobody promises (`Unclear`), is left out; so
hypothesis may drop whatever it likes from a sequence that fails.
"""

import errno
from collections.abc import Sequence

from tests.model.blobs import Blobs
from tests.model.descriptors import UNREACHABLE, OneOf, Perhaps
from tests.model.meeting import meet
from tests.model.nodes import Nodes
from tests.model.rules import Rules
from tests.model.script import Operation, Raw, script
from tests.model.world import Directory, File, Link, Node, Refused, Unclear
from tests.mount.probes import blob_id

PATHS_OF = {
    "rename": 2,
    "rename_noreplace": 2,
    "link": 2,
}
"""How many leading arguments are paths; `SLOT_FIRST` have none but the one of open, others one."""
SLOT_FIRST = frozenset(
    ("close", "close_copy", "pwrite", "append", "pread", "ftruncate", "fsync", "map_write", "map_read")
)
WHOLE = frozenset(("look", "forget", "restart", "kill9", "down", "up", "evict"))
"""Verbs that are about a whole node, and have methods here."""
LOOKING = frozenset(("cat", "cat_range", "stat", "readlink", "getxattr", "pread"))
"""Verbs that change nothing: while the other node is down, these are tried on its names too."""


class Differs(AssertionError):
    """The mount did something else than the world."""


class Run:
    """`done` counts the operations that were not left out."""

    def __init__(self, nodes: Nodes, salt: int) -> None:
        self.nodes = nodes
        self.salt = salt
        self.prefix = f"ex{salt}"
        self.rules = Rules(nodes.names, self.prefix)
        self.world = self.rules.world
        self.blobs = Blobs(nodes.names, salt)
        self.done = 0
        self.absent: set[str] = set()
        self._script: list[Operation] = []

    def play(self, operations: Sequence[Operation]) -> None:
        """All of them, and a last look from everywhere."""
        try:
            self.nodes.begin(self.prefix)
            ends = [(who, verb) for verb in ("up", "look") for who in self.nodes.names]
            for operation in [*operations, *ends]:
                self.apply(operation)
            self.nodes.end()
        except AssertionError as error:
            error.add_note(f"in {self.prefix}:\n{script(self._script)}   # <-- here")
            raise

    def apply(self, operation: Operation) -> None:
        who, verb, *drawn = operation
        if (who in self.absent) != (verb == "up"):
            return
        if verb in WHOLE:
            self._note(operation)
            getattr(self, verb)(who)
            return
        if hasattr(self.blobs, verb):
            self._apply_blob(operation)
            return
        if not self.absent:
            meet(self.nodes, self.world, who)
        arguments = self._real(verb, drawn)
        is_certain = not self.absent or self._is_own(who, verb, arguments)
        if not is_certain and verb not in LOOKING:
            return
        self._settle_first(who, verb, arguments)
        try:
            expected = getattr(self.rules, verb)(who, *arguments)
        except Unclear:
            return
        except Refused as refused:
            expected = refused
        self._note(operation)
        value, number = self._outcome(who, verb, arguments)
        if is_certain or not (number in UNREACHABLE or self.world.news[who]):
            self._compare(expected, value, number)

    def _apply_blob(self, operation: Operation) -> None:
        who, verb, *drawn = operation
        try:
            step = getattr(self.blobs, verb)(who, *drawn)
        except Unclear:
            return
        self._note(operation)
        call, *arguments = step.call
        self._compare(step.expected, *self._outcome(who, str(call), arguments))

    def _is_own(self, who: str, verb: str, arguments: Sequence[object]) -> bool:
        """Whether only names that `who` published take part, and none of which there is news."""
        if verb in SLOT_FIRST:
            handle = self.rules.handles[who].get(arguments[0])  # type: ignore[call-overload]
            return handle is None or handle.file.owner == who
        places: set[str] = set()
        for text in (each for each in arguments if isinstance(each, str) and each.startswith(self.prefix)):
            try:
                place = self.world.walk(who, text, follow=True)
            except Refused:
                return False
            places |= {text, place, *self.world.below(who, place)}
        above = {place[:end] for place in places for end in range(len(place)) if place[end] == "/"}
        return all(self._is_known(who, place) for place in places | above)

    def _is_known(self, who: str, place: str) -> bool:
        match self.world.get(who, place):
            case File(owner=owner) | Link(owner=owner):
                is_own = owner == who
            case Directory(owners=owners):
                is_own = who in owners
            case None:
                is_own = True
        return is_own and place not in self.world.news[who]

    def _note(self, operation: Operation) -> None:
        self.done += 1
        self._script.append(operation)

    def _real(self, verb: str, drawn: Sequence[object]) -> list[object]:
        """With the prefix in front of the paths, and bytes for what only stands for them."""
        arguments = [each.of(self.salt) if isinstance(each, Raw) else each for each in drawn]
        first = verb == "open"
        paths = range(first, first + PATHS_OF.get(verb, 1)) if verb not in SLOT_FIRST else ()
        for index in paths:
            arguments[index] = f"{self.prefix}/{arguments[index]}".rstrip("/")
        return arguments

    def _settle_first(self, who: str, verb: str, arguments: Sequence[object]) -> None:
        """RELEASE comes after close has returned: until then a file may be opened for writing again."""
        if verb not in ("open", "truncate"):
            return
        path = str(arguments[verb == "open"])
        try:
            node = self.world.find(who, path, follow=True)
        except Refused:
            return
        if isinstance(node, File) and node.is_sealed and node.owner == who:
            self.nodes.call(who, "getxattr", path, "id")

    def _outcome(self, who: str, verb: str, arguments: Sequence[object]) -> tuple[object, int]:
        try:
            return self.nodes.call(who, verb, *arguments), 0
        except OSError as error:
            return None, error.errno or -1

    @staticmethod
    def _compare(expected: object, value: object, number: int) -> None:
        if isinstance(expected, Perhaps) and number in expected.errnos:
            return
        if isinstance(expected, Refused):
            if number != expected.number:
                raise Differs(f"{expected} expected, not {errno.errorcode.get(number, value)}")
        elif number:
            raise Differs(f"{errno.errorcode.get(number, number)}, but {_short(expected)} expected")
        elif isinstance(expected, Perhaps):
            Run._compare(expected.value, value, number)
        elif value != expected and not (isinstance(expected, OneOf) and value in expected.values):
            raise Differs(f"{_short(value)}, but {_short(expected)} expected")

    # What is about a whole node

    def look(self, who: str) -> None:
        """Everything below the prefix is what it should be, to the last attribute."""
        if self.absent:
            return
        meet(self.nodes, self.world, who)
        seen = self.nodes.call(who, "settled_tree", self.prefix)
        assert isinstance(seen, dict)
        names = {
            path: node for path, node in self.world.visible(who).items() if path.startswith(f"{self.prefix}/")
        }
        if set(seen) != set(names):
            raise Differs(
                f"there is {sorted(set(seen) - set(names))}, and there is no {sorted(set(names) - set(seen))}"
            )
        for path, node in names.items():
            if wrong := self._difference(node, seen[path]):
                raise Differs(f"{path}: {wrong}")
            if isinstance(node, File) and node.owner == who and node.is_sealed:
                node.is_settled = True

    @staticmethod
    def _difference(node: Node, seen: tuple) -> str | None:
        match node, seen:
            case (Directory(mtime_ns=mtime_ns), ("dir", shown)) if mtime_ns in (None, shown):
                return None
            case (Link(target=target, mtime_ns=mtime_ns), ("link", shown_target, shown)) if (
                target == shown_target and mtime_ns in (None, shown)
            ):
                return None
            case (File(), ("file", content, mode, mtime_ns, size, blob)):
                return _file_difference(node, content, mode, mtime_ns, size, blob)
        return f"{_short(seen)}, but {_short(node)} expected"

    def forget(self, who: str) -> None:
        self.nodes.call(who, "forget")

    def evict(self, who: str) -> None:
        """What was loaded is dropped; all names mean what they meant, and are loaded again."""
        self.nodes.evict(who, self.prefix)

    def restart(self, who: str) -> None:
        """What was being written is gone, what was closed is there."""
        self._drop_open(who)
        self.nodes.restart(who)
        self._hear_again(who)

    def kill9(self, who: str) -> None:
        """The same, but for what was closed and not fsynced: that is there, or not, but never in part."""
        unsure = {
            path: node
            for path, node in self.world.names.items()
            if isinstance(node, File) and node.owner == who and not node.is_settled
        }
        self._drop_open(who)
        self.nodes.kill9(who)
        for path, node in unsure.items():
            node.mode = node.mtime_ns = None  # a change of these may not have come to the disk
            if not node.is_safe and self._outcome(who, "stat", [path])[1] == errno.ENOENT:
                del self.world.names[path]
        self._hear_again(who)

    def down(self, who: str) -> None:
        """The node ends; the other one goes on without it."""
        if len(self.nodes.names) - len(self.absent) < 2:
            return
        self._drop_open(who)
        self.nodes.stop(who)
        self.absent.add(who)

    def up(self, who: str) -> None:
        self.nodes.start(who)
        self.absent.discard(who)
        self._hear_again(who)

    def _hear_again(self, who: str) -> None:
        """A node that was away hears of everything anew, and the others have to find it again."""
        for path, node in self.world.names.items():
            owners = node.owners if isinstance(node, Directory) else {node.owner}
            for each in self.world.news:
                if path and each not in owners and (each == who or who in owners):
                    self.world.news[each].add(path)

    def _drop_open(self, who: str) -> None:
        for handle in self.rules.handles[who].values():
            handle.file.writers -= handle.may_write
        self.rules.handles[who].clear()
        self.world.private[who].clear()


def _file_difference(
    node: File, content: bytes, mode: int, mtime_ns: int, size: int, blob: str
) -> str | None:
    expected_blob = blob_id(node.content) if node.is_sealed else ""
    if content != node.content:
        return f"content {_short(content)}, but {_short(node.content)} expected"
    if (size, blob) != (len(content), expected_blob):
        return f"size and id {size, blob}, but {len(content), expected_blob} expected"
    if node.is_linked:
        return None
    if node.mode is not None:
        expected = node.mode if not node.is_sealed else 0o555 if node.mode & 0o111 else 0o444
        if mode != expected:
            return f"mode {mode:o}, but {expected:o} expected"
    if node.mtime_ns not in (None, mtime_ns):
        return f"mtime {mtime_ns}, but {node.mtime_ns} expected"
    return None


def _short(value: object) -> str:
    text = repr(value)
    if isinstance(value, bytes) and len(value) > 32:
        return f"{len(value)} bytes, of blob {blob_id(value)[:8]}, {value.count(0)} zeros"
    return text if len(text) < 300 else f"{text[:300]}..."
