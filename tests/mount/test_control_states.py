"""Every control command answers in every state of a node, with the exit code that scripts go by."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mount.conftest import StartNode
from tests.mount.control_states import STATES, State, origin, rows_of
from tests.mount.node import BlobfsNode
from tests.mount.probes import blobfs

ALL = {
    "status": 0, "status --json": 0, "why for-why": 0, "load for-load": 0, "pin for-pin": 0,
    "unpin for-unpin": 0, "evict for-evict": 0, "reload": 0, "unmount": 0, "abort": 0,
}  # fmt: skip
CODES = {
    "healthy": ALL,
    # Who waits presses Ctrl-C; a mount that is in use is not taken away.
    "readers": ALL | {"load for-load": 130, "unmount": 1, "unmount --lazy": 0},
    # Only the kernel can be asked for anything.
    "stopped": dict.fromkeys(ALL, 1) | {"unmount": 0, "abort": 0},
    # What needs room is refused.
    "full": ALL | {"load for-load": 1},
}


@pytest.fixture(scope="module")
def a(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BlobfsNode]:
    with origin(tmp_path_factory.mktemp("origin")) as node:
        yield node


@pytest.mark.parametrize("state", STATES, ids=[state.name for state in STATES])
def test_every_command_in_every_state(state: State, a: BlobfsNode, tmp_path: Path) -> None:
    """[S124] Each ends, with its exit code; an error is one line that says what is wrong."""
    rows = {row.command: row for row in rows_of(state, a, tmp_path / "b")}
    assert {command: row.code for command, row in rows.items()} == CODES[state.name], rows
    if state.name == "stopped":
        refused = [row.line for row in rows.values() if row.code]
        assert refused == [
            "Error: the daemon of /store (pid PID) does not answer: it is stopped (SIGSTOP); "
            "kill -CONT PID lets it go on"
        ] * len(refused)  # fmt: skip
        assert rows["abort"].line.startswith("its daemon (pid PID) still runs: it is stopped (SIGSTOP)")
    elif state.name == "full":
        assert "to stay free" in rows["load for-load"].line


def test_a_stopped_daemon_hides_no_other(start_node: StartNode) -> None:
    """[S124] The status of all mounts shows those that answer, and an error for each of the others."""
    well, still = start_node("well"), start_node("still")
    assert still.process is not None
    still.process.send_signal(signal.SIGSTOP)
    try:
        done = blobfs("status")
        named = blobfs("status", "--json", still.mountpoint)
    finally:
        still.process.send_signal(signal.SIGCONT)
    assert done.returncode == 1
    assert f"\n{well.mountpoint}  ready" in f"\n{done.stdout}"
    assert str(still.mountpoint) not in done.stdout
    assert f"Error: the daemon of {still.store} (pid {still.process.pid}) does not answer" in done.stderr
    assert (named.returncode, named.stdout) == (1, "")
