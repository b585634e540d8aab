"""``blobfs abort``: a mount that is stuck is freed, by nobody but the kernel."""

import os
import pty
import signal
import subprocess
import sys
from errno import ECONNABORTED, ENOTCONN
from pathlib import Path

import pytest

from tests.mount.conftest import StartNode
from tests.mount.node import BlobfsNode
from tests.mount.probes import blobfs, until
from tests.structure import ROOT

NOBODY = 65534
LOOK = "import os, sys\ntry: os.stat(sys.argv[1])\nexcept OSError as error: print(error.errno)"


@pytest.fixture
def stuck(start_node: StartNode) -> BlobfsNode:
    """A node whose daemon is stopped."""
    node = start_node()
    node.path("f").write_text("kept")
    node.wait_until_sealed()
    assert node.process is not None
    node.process.send_signal(signal.SIGSTOP)
    return node


def test_who_waits_is_freed_and_the_mount_is_gone(stuck: BlobfsNode) -> None:
    """[S125] Whoever waits gets an error. The daemon is named, and how to end it; what it had is kept."""
    look = [sys.executable, "-c", LOOK, str(stuck.path("x"))]
    waiting = subprocess.Popen(look, stdout=subprocess.PIPE, text=True)
    wchan = Path(f"/proc/{waiting.pid}/wchan")
    until(lambda: wchan.read_text() == "request_wait_answer", "it waits for the mount")
    done = blobfs("abort", stuck.mountpoint)
    assert done.returncode == 0
    assert done.stdout == (
        f"cut {stuck.mountpoint} off from its daemon: what waited for it has failed\n"
        f"unmounted {stuck.mountpoint}\n"
    )
    assert stuck.process is not None
    pid = stuck.process.pid
    assert done.stderr.startswith(f"its daemon (pid {pid}) still runs: it is stopped (SIGSTOP); ")
    assert f"kill -9 {pid} ends it" in done.stderr
    said, _ = waiting.communicate(timeout=20)
    assert int(said) in (ECONNABORTED, ENOTCONN)
    assert not stuck.is_mounted()
    stuck.kill9()
    stuck.start()
    assert stuck.path("f").read_text() == "kept"


def test_a_daemon_that_is_well_ends(start_node: StartNode) -> None:
    """It notices and ends; what it had sealed is kept. Of a close that is cut off the kernel tells nobody."""
    node = start_node()
    node.path("f").write_text("kept")
    node.wait_until_sealed()
    assert node.process is not None
    done = blobfs("abort", "--yes", node.mountpoint)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(f"its daemon (pid {node.process.pid}) has ended\n")
    assert node.wait_ended() == 0
    node.start()
    assert node.path("f").read_text() == "kept"


def test_a_terminal_is_asked(stuck: BlobfsNode) -> None:
    """No is no: nothing happens, exit code 1."""
    mine, theirs = pty.openpty()
    try:
        os.write(mine, b"n\n")
        done = subprocess.run(
            [sys.executable, "-P", "-m", "blobfs", "abort", stuck.mountpoint],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=theirs, capture_output=True, text=True, timeout=20, check=False,
        )  # fmt: skip
    finally:
        os.close(mine)
        os.close(theirs)
    assert done.returncode == 1
    assert f"Every file that is open in {stuck.mountpoint} is cut off. Abort? [y/N]" in done.stderr
    assert stuck.is_mounted()
    assert stuck.process is not None
    stuck.process.send_signal(signal.SIGCONT)


def test_somebody_else_may_not(stuck: BlobfsNode) -> None:
    """One line says who may; the mount stays."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "blobfs", "abort", stuck.mountpoint],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        user=NOBODY, group=NOBODY, extra_groups=[], stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("cannot be cut off: only root, and who mounted it, may do that\n")
    assert stuck.is_mounted()
    assert stuck.process is not None
    stuck.process.send_signal(signal.SIGCONT)


def test_what_is_not_mounted(tmp_path: Path) -> None:
    """One line, exit code 1."""
    done = blobfs("abort", tmp_path)
    assert (done.returncode, done.stderr) == (1, f"Error: no blobfs is mounted on {tmp_path}\n")


def test_a_mount_that_was_cut_off_before(stuck: BlobfsNode) -> None:
    """The rest is done all the same."""
    until(lambda: stuck.is_mounted(), "it is there")
    stuck.kill9()
    done = blobfs("abort", stuck.mountpoint)
    assert done.returncode == 0, done.stderr
    assert f"unmounted {stuck.mountpoint}\n" in done.stdout
    assert not stuck.is_mounted()
