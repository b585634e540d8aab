"""What one node hears of another: soon the newest, until then something that was, never anything else."""

import time
from errno import EHOSTUNREACH, ENODATA, ENOENT, ENOTDIR, ESTALE, ETIMEDOUT

from tests.model.nodes import Nodes
from tests.model.world import Directory, File, Link, Node, World
from tests.mount.probes import blob_id

SECONDS = 15.0
"""Within which a node has to show what another one has published. It takes less than one, as a rule."""
PAUSE = 0.01
NOT_NOW = (ENOENT, ENODATA, ESTALE, EHOSTUNREACH, ETIMEDOUT)
"""It changed between two calls, or cannot be asked for just now."""


class NotHeard(AssertionError):
    """A node went on showing what is no longer so, or showed what never was."""


def shown(node: Node | None) -> tuple[object, ...] | None:
    """As `calls.glimpse`, without what nobody has set."""
    match node:
        case Directory():
            return ("dir",)
        case Link(target=target):
            return ("link", target)
        case File(content=content, mode=mode, mtime_ns=mtime_ns, is_linked=is_linked):
            if mode is None or is_linked:
                return ("file", blob_id(content), None, None)
            return ("file", blob_id(content), 0o555 if mode & 0o111 else 0o444, mtime_ns)
    return None


def matches(seen: tuple[object, ...] | None, expected: tuple[object, ...] | None) -> bool:
    if seen is None or expected is None or len(seen) != len(expected):
        return seen is expected
    return all(wanted in (None, found) for found, wanted in zip(seen, expected, strict=True))


def meet(nodes: Nodes, world: World, who: str) -> None:
    """Waits until a node shows each name as it is."""
    end = time.monotonic() + SECONDS
    for path in sorted(world.news[who]):
        if path not in world.private[who]:
            _meet_name(nodes, world, who, path, end)
            _meet_listing(nodes, world, who, path, end)
    world.news[who].clear()


def _meet_name(nodes: Nodes, world: World, who: str, path: str, end: float) -> None:
    expected = shown(world.names.get(path))
    once = [shown(node) for node in world.history.get(path, [None])]
    while not matches(seen := _glimpse(nodes, who, path), expected):
        if seen is not None and seen[0] == "file" and not any(seen[:2] == (each or ())[:2] for each in once):
            raise NotHeard(f"{who} shows {path} as {seen}, which it never was; it is {expected}")
        if time.monotonic() > end:
            raise NotHeard(f"{who} shows {path} as {seen} for {SECONDS:g} s; it is {expected}")
        time.sleep(PAUSE)
    node = world.names.get(path)
    if isinstance(node, File):
        node.is_settled = True  # it is shared, or it could not be seen


def _meet_listing(nodes: Nodes, world: World, who: str, path: str, end: float) -> None:
    """Listings come from logs, names from their records: one may be known before the other."""
    directory, _, component = path.rpartition("/")
    is_there = path in world.names
    while is_there != (component in _listed(nodes, who, directory)):
        if time.monotonic() > end:
            does = "does not list" if is_there else "lists"
            raise NotHeard(f"{who} {does} {path} for {SECONDS:g} s")
        time.sleep(PAUSE)


def _listed(nodes: Nodes, who: str, directory: str) -> list[str]:
    try:
        listed = nodes.call(who, "listdir", directory)
    except OSError as error:
        if error.errno in NOT_NOW or error.errno == ENOTDIR:
            return []
        raise
    assert isinstance(listed, list)
    return listed


def _glimpse(nodes: Nodes, who: str, path: str) -> tuple[object, ...] | None:
    try:
        seen = nodes.call(who, "glimpse", path)
    except OSError as error:
        if error.errno in NOT_NOW:
            return None
        raise
    assert seen is None or isinstance(seen, tuple)
    return seen
