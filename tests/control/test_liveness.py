"""Why a daemon does not answer, as far as the kernel knows."""

import os
import signal
import socket
import subprocess
from pathlib import Path

from blobfs.control.liveness import is_alive, is_stopped, pid_behind, pid_of_store, reason_for_silence


def test_who_listens(tmp_path: Path) -> None:
    """The pid at the other end of a unix socket."""
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as connection:
        listener.bind(f"{tmp_path}/control")
        listener.listen()
        connection.connect(f"{tmp_path}/control")
        assert pid_behind(connection) == os.getpid()


def test_each_state_has_its_words() -> None:
    """One that runs, one that is stopped, one that has ended and is not waited for, one that is gone."""
    with subprocess.Popen(["sleep", "1000"]) as sleeping:
        assert reason_for_silence(sleeping.pid) is None
        assert is_alive(sleeping.pid)
        sleeping.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, sleeping.pid, os.WSTOPPED)
        assert is_stopped(sleeping.pid)
        expected = f"it is stopped (SIGSTOP); kill -CONT {sleeping.pid} lets it go on"
        assert reason_for_silence(sleeping.pid) == expected
        sleeping.kill()
        os.waitid(os.P_PID, sleeping.pid, os.WEXITED | os.WNOWAIT)
        assert reason_for_silence(sleeping.pid) == "it has ended"
        assert not is_alive(sleeping.pid)
        sleeping.wait()
        assert reason_for_silence(sleeping.pid) == "it has ended"


def test_a_name_with_anything_in_it(tmp_path: Path) -> None:
    """A program may be called ``) T``: that is no state."""
    program = tmp_path / "x) T ("
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([program, "1000"]) as sleeping:
        assert not is_stopped(sleeping.pid)
        sleeping.kill()


def test_the_pid_in_a_lock(tmp_path: Path) -> None:
    """That of the last daemon; none where there is no store."""
    assert pid_of_store(tmp_path) is None
    (tmp_path / "lock").write_text("4711                \n")
    assert pid_of_store(tmp_path) == 4711


def test_a_lock_that_is_none(tmp_path: Path) -> None:
    """Whoever owns a store can put anything there; nobody who asks for the pid waits, or follows a link."""
    lock = tmp_path / "lock"
    os.mkfifo(lock)
    assert pid_of_store(tmp_path) is None
    lock.unlink()
    (tmp_path / "other").write_text("1\n")
    lock.symlink_to("other")
    assert pid_of_store(tmp_path) is None


def test_a_lock_that_lies(tmp_path: Path) -> None:
    """A pid in it is believed of a process of the lock's owner, and of one that is gone; not of init."""
    lock = tmp_path / "lock"
    lock.write_text("1\n")
    assert pid_of_store(tmp_path) == 1
    os.chown(lock, 65534, 65534)
    assert pid_of_store(tmp_path) is None
    lock.write_text(f"{1 << 30}\n")
    assert pid_of_store(tmp_path) == 1 << 30
