"""The same with a real mount: a daemon whose disk fails at some points while programs use it.

A program at each point writes, seals, renames, removes, and reads what another node has. What it is told must
be the disk's errno or success; the node's status answers all the while; when the disk works again the next
program succeeds, in the same daemon, and in the end the store is in order and what was promised is there.
"""

import os
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from errno import errorcode
from pathlib import Path
from typing import IO

from blobfs.store.opening import open_store
from tests.disk_faults.campaign import Report, Row
from tests.disk_faults.daemon import show_plan
from tests.disk_faults.ledger import TORSO, Folder, Ledger
from tests.disk_faults.plan import Fault, Plan
from tests.disk_faults.run import Outcome
from tests.disk_faults.walker import meanings, wrong_at_rest
from tests.mount.node import BlobfsNode
from tests.mount.probes import until
from tests.structure import ROOT

OPERATIONS = {Fault.EIO: 150, Fault.SHORT: 8}
CHANGES = 60
"""About so many operations a failure of a kind, or any other kind, can hit while one program runs."""
LIFETIME = 900.0
SIZE = 200 * 1024


class FaultyNode(BlobfsNode):
    """A node whose disk does what `set_plan` says."""

    lifetime = LIFETIME

    def __init__(self, directory: Path, shares: Sequence[str]) -> None:
        super().__init__(directory, "faulty", shares=shares)
        self.control = directory / "control"
        self.set_plan(None)
        self.expect_log("", perhaps=True)  # what a failing disk has it say is looked at below

    def set_plan(self, plan: Plan | None) -> None:
        """From now on."""
        new = self.control.with_suffix(".new")
        new.write_text(show_plan(plan))
        new.rename(self.control)

    def hits(self) -> int:
        """Operations that were refused so far."""
        path = self.control.with_name(f"{self.control.name}.hits")
        return len(path.read_text().splitlines()) if path.exists() else 0

    def _launch(self, ready_fd: int, stderr: IO[bytes]) -> subprocess.Popen[bytes]:
        options = [f"-o{','.join(self.options)}"] if self.options else []
        return subprocess.Popen(
            [
                *(sys.executable, "-P", "-m", "tests.disk_faults.daemon", self.control, self.store),
                *("mount", f"--store={self.store}", *options, *self.arguments),
                *(f"--ready-fd={ready_fd}", self.mountpoint),
            ],
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default"},
            stdin=subprocess.DEVNULL,
            stdout=stderr,
            stderr=stderr,
            pass_fds=(ready_fd,),
        )

    def unexpected(self) -> list[str]:
        """Errors and tracebacks in its log."""
        lines = self.log().splitlines()
        return [line for line in lines if " ERROR " in line or line.startswith("Traceback")]


class Programs:
    """What programs do in the mount, each in a directory of its own. Mutable: what they were promised."""

    def __init__(self, node: FaultyNode, other: BlobfsNode) -> None:
        self._node = node
        self._other = other
        self._random = random.Random(1)
        self.ledger = Ledger()
        self.loaded: dict[str, bytes] = {}

    def offer(self, number: int) -> None:
        """The other node has something more to load."""
        content = self._random.randbytes(SIZE)
        self._other.path(f"there-{number}").write_bytes(content)
        os.getxattr(self._other.path(f"there-{number}"), "user.blobfs.id")
        self.loaded[f"there-{number}"] = content

    def run(self, number: int, name: str) -> None:
        """Raises what the mount says."""
        names, content = self.ledger.names, self._random.randbytes(SIZE)
        names[name] = {None, Folder()}
        self._node.path(name).mkdir()
        names[name] = {Folder()}
        names[f"{name}/first"] = {None, content, TORSO}
        fd = os.open(self._node.path(f"{name}/first"), os.O_RDWR | os.O_CREAT)
        try:
            os.write(fd, content)
            os.fsync(fd)
        finally:
            os.close(fd)
        names[f"{name}/first"] = {content}
        os.getxattr(self._node.path(f"{name}/first"), "user.blobfs.id")
        names[f"{name}/second"] = {None, content}
        names[f"{name}/first"] = {None, content}
        os.rename(self._node.path(f"{name}/first"), self._node.path(f"{name}/second"))
        names[f"{name}/first"], names[f"{name}/second"] = {None}, {content}
        assert self._node.path(f"{name}/second").read_bytes() == content
        there = f"there-{number}"
        assert self._node.path(there).read_bytes() == self.loaded[there]
        names[f"{name}/second"] = {None, content}
        os.unlink(self._node.path(f"{name}/second"))
        names[f"{name}/second"] = {None}


def run_mounted(
    directory: Path, faults: Sequence[Fault], points: int, report: Report, told: Callable[[object], None]
) -> None:
    """So many points in all, spread over the kinds of failure and over the operations of a program."""
    rows = {(fault, lasting): Row("mounted", fault, lasting) for fault in faults for lasting in (False, True)}
    with BlobfsNode(directory, "other", listen=True) as other:
        other.prolong()
        with FaultyNode(directory, [other.url]) as node:
            programs = Programs(node, other)
            for number in range(points):
                fault, lasting = list(rows)[number % len(rows)]
                plan = Plan(fault, 1 + number * 37 % OPERATIONS.get(fault, CHANGES), lasting)
                outcome = _run_point(node, programs, number, plan)
                rows[fault, lasting].note(outcome)
                report.wrong += [f"mounted, {plan}: {wrong}" for wrong in outcome.wrong]
            report.wrong += _settle(node, programs)
        report.wrong += [f"mounted, in the log: {line}" for line in node.unexpected()]
        report.wrong += _look_at_store(node, programs)
    for row in rows.values():
        report.rows.append(row)
        told(row)


def _run_point(node: FaultyNode, programs: Programs, number: int, plan: Plan) -> Outcome:
    outcome = Outcome(plan)
    programs.offer(number)
    node.prolong()
    before = node.hits()
    node.set_plan(plan)
    try:
        programs.run(number, f"p{number}")
    except OSError as failure:
        outcome.ended = errorcode.get(failure.errno or 0, "?")
        if failure.errno != plan.fault.errno:
            outcome.wrong.append(f"a program got {failure}")
    if node.status()["store"]["path"] != str(node.store):
        outcome.wrong.append("its status is not its status")
    node.set_plan(None)
    outcome.hits = node.hits() - before

    def again() -> bool:
        outcome.tries += 1
        try:
            programs.run(number, f"q{number}-{outcome.tries}")
        except OSError:
            return False
        return True

    until(again, f"a program succeeds after {plan}")
    outcome.tries -= outcome.ended == "success"
    return outcome


def _settle(node: FaultyNode, programs: Programs) -> list[str]:
    """By itself, when the disk works."""
    until(
        lambda: not node.status()["sealing"]["pending"] + node.status()["sealing"]["failed"], "all is sealed"
    )
    wrong = []
    for name, content in programs.loaded.items():
        if node.path(name).read_bytes() != content:
            wrong.append(f"mounted, {name} is not what the other node has")
    return wrong


def _look_at_store(node: FaultyNode, programs: Programs) -> list[str]:
    """After the end, which was a clean one."""
    store = open_store(node.store)
    try:
        found = {name: meaning for name, meaning in meanings(store).items() if name not in programs.loaded}
        return [*wrong_at_rest(store, after_crash=False), *programs.ledger.wrong(found)]
    finally:
        store.close(clean=True)
