"""``blobfs status --watch`` on a terminal, as somebody sees it."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.mount.conftest import StartNode
from tests.mount.node import BlobfsNode
from tests.mount.probes import MIB, put, until
from tests.mount.terminal import SECONDS, Terminal
from tests.servers.nginx import Nginx, free_port
from tests.structure import ROOT

COMMAND = (sys.executable, "-P", "-m", "blobfs", "status", "--watch")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BlobfsNode]:
    """A node that does nothing, for what only looks at it."""
    with BlobfsNode(tmp_path_factory.mktemp("idle")) as node:
        yield node


@contextmanager
def watching(node: BlobfsNode, *options: str, **terminal: object) -> Iterator[Terminal]:
    with Terminal(*COMMAND, *options, node.mountpoint, env=ENVIRONMENT, **terminal) as shown:  # type: ignore[arg-type]
        yield shown


def reading(path: Path) -> threading.Thread:
    """Somebody who reads it to its end, or to an error."""

    def read() -> None:
        subprocess.run(["cat", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return thread


def test_a_transfer_is_followed(start_node: StartNode) -> None:
    """A bar for it, its rate and where it comes from; each share with its health; what failed and why."""
    a = start_node("a", listen=True)
    put(a, "models/large", random.Random(1).randbytes(64 * MIB))  # a limited share brings it in half a minute
    dead = f"http://127.0.0.1:{free_port()}/"
    with Nginx(a.share, "limit_rate 500k;") as nginx:
        b = start_node("b", shares=[nginx.url, dead])
        b.expect_log("is down|can be reached", perhaps=True)
        with watching(b, size=(120, 30)) as shown:
            shown.until_text("nothing is being loaded")
            reading(b.path("models/large"))
            screen = shown.until(
                lambda screen: any(line.startswith("models/large") and "iB/s" in line for line in screen),
                "a bar",
            )
            (row,) = [line for line in screen if line.startswith("models/large")]
            assert "━" in row
            assert "of 64.0 MiB" in row
            shown.until(
                lambda screen: any(re.search(f"127.0.0.1:{nginx.port}  (up|slow)", line) for line in screen),
                "it is up",
            )
            shown.until_text("connection refused")
            shown.type("q")
            assert shown.ended() == 0
            assert shown.is_as_before()


@pytest.mark.parametrize(("typed", "number"), [("q", None), ("\x03", None), ("", signal.SIGTERM)])
def test_its_end(idle: BlobfsNode, typed: str, number: signal.Signals | None) -> None:
    """q, Ctrl-C and SIGTERM: the terminal is as it was."""
    with watching(idle) as shown:
        shown.until_text("SHARES")
        assert not shown.is_as_before()
        if number is not None:
            shown.program.send_signal(number)
        shown.type(typed)
        assert shown.ended() == 0
        assert shown.is_as_before()
        assert "Traceback" not in shown.output


def test_it_is_stopped_and_goes_on(idle: BlobfsNode) -> None:
    """Ctrl-Z gives the terminal back, fg draws anew."""
    with watching(idle) as shown:
        shown.until_text("SHARES")
        shown.program.send_signal(signal.SIGTSTP)
        until(lambda: state_of(shown.program.pid) == "T", "it is stopped")
        shown.until(lambda _: shown.is_as_before(), "the terminal as it was")
        shown.output = ""
        shown.program.send_signal(signal.SIGCONT)
        shown.until_text("SHARES")
        shown.type("q")
        assert shown.ended() == 0


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]


def test_a_new_size(idle: BlobfsNode) -> None:
    """It fits itself to it at once, and never shows more lines than there are."""
    with watching(idle, size=(100, 30)) as shown:
        assert len(shown.until_text("SHARES")) == 30
        shown.resize(40, 5)
        assert len(shown.until_text("TRANSFERS")) == 5
        shown.type("q")
        assert shown.ended() == 0


def test_without_a_keyboard(idle: BlobfsNode) -> None:
    """Where stdin is not the terminal there are no keys; it goes on, and signals end it."""
    with watching(idle, stdin=False) as shown:
        shown.until_text("SHARES")
        shown.program.send_signal(signal.SIGINT)
        assert shown.ended() == 0


def test_the_daemon_is_restarted(start_node: StartNode) -> None:
    """That it does not answer is shown with what it said last; when it is back it goes on."""
    node = start_node("a")
    with watching(node) as shown:
        shown.until_text("ready for")
        node.kill9()
        below = shown.until_text("no answer for")
        assert any("below is what it said last" in line for line in below)
        assert any("SHARES" in line for line in below)
        node.start()
        shown.until(lambda screen: screen and "no answer" not in "\n".join(screen), "that it is back")
        node.stop()
        shown.until_text("it is not mounted")
        node.start()
        shown.until(lambda screen: screen and "no answer" not in "\n".join(screen), "that it is back")
        shown.type("q")
        assert shown.ended() == 0


def test_the_daemon_hangs(start_node: StartNode) -> None:
    """Keys work while a node does not answer."""
    node = start_node("a")
    assert node.process is not None
    with watching(node) as shown:
        shown.until_text("ready for")
        os.kill(node.process.pid, signal.SIGSTOP)
        try:
            shown.until_text("no answer for")
            shown.type("q")
            assert shown.ended() == 0
        finally:
            os.kill(node.process.pid, signal.SIGCONT)


def test_one_of_several_hangs(start_node: StartNode, idle: BlobfsNode) -> None:
    """The others are shown without --watch, too; the one that hangs is a line on stderr, and exit code 1."""
    node = start_node("a")
    assert node.process is not None
    os.kill(node.process.pid, signal.SIGSTOP)
    try:
        command = [*COMMAND[:-1], "--json"]
        done = subprocess.run(
            command, env=ENVIRONMENT, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    finally:
        os.kill(node.process.pid, signal.SIGCONT)
    assert done.returncode == 1
    assert f"Error: the daemon of {node.store} " in done.stderr
    found = {each["mountpoint"]: each for each in json.loads(done.stdout)}
    assert found[str(idle.mountpoint)]["state"] == "ready"
    assert "does not answer" in found[str(node.mountpoint)]["error"]


def test_without_a_terminal(idle: BlobfsNode) -> None:
    """The same goes on below, or as a line of JSON each; whoever has read enough ends it."""
    for options, expected in (([], "SHARES"), (["--json"], '"mountpoint"')):
        command = [*COMMAND, *options, str(idle.mountpoint)]
        with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as program:
            assert program.stdout is not None
            shown = ""
            while shown.count(expected) < 2:
                shown += program.stdout.readline()
            program.stdout.close()
            assert program.wait(SECONDS) in (0, 1)
        assert "\x1b" not in shown
    assert [json.loads(line)["mountpoint"] for line in shown.splitlines()] == [str(idle.mountpoint)] * 2


def test_nothing_is_mounted_there(tmp_path: Path) -> None:
    """One line and exit code 1: a mistyped path is not waited for."""
    done = subprocess.run(
        [*COMMAND, str(tmp_path)],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, f"Error: no blobfs is mounted on {tmp_path}\n")
