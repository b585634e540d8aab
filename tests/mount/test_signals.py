"""Programs that wait for a share that says nothing, and are killed or told to end (P3)."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGKILL, SIGQUIT, SIGTERM

import pytest

from tests.mount.conftest import StartNode
from tests.mount.probes import put, until
from tests.mount.silence import SECONDS, SIZE, Silence, silent_share


@pytest.fixture
def silence(start_node: StartNode) -> Iterator[Silence]:
    with silent_share(start_node) as silence:
        yield silence


@pytest.mark.parametrize("number", [SIGINT, SIGTERM, SIGKILL])
@pytest.mark.parametrize("name", ["missing", "f0"])
def test_a_program_that_waits_can_be_ended(silence: Silence, name: str, number: int):
    """[S72] `cat` dies at once, of the signal, while its name is looked up and while its bytes are loaded."""
    with silence.start("cat", silence.path(name)) as cat:
        silence.wait_for_waits()
        cat.send_signal(number)
        assert cat.wait(SECONDS) == -number


@pytest.mark.parametrize("number", [SIGHUP, SIGQUIT])
def test_signals_that_the_kernel_leaves_to_us(silence: Silence, number: int):
    """[S72] SIGQUIT does not end a read by itself, because it dumps core; here it does."""
    with silence.start("prlimit", "--core=0", "cat", silence.path("f0")) as cat:
        silence.wait_for_waits()
        cat.send_signal(number)
        assert cat.wait(SECONDS) == -number


@pytest.mark.parametrize("number", [SIGINT, SIGKILL])
def test_a_listing_that_waits_can_be_ended(silence: Silence, number: int):
    """[S72] `ls` of a directory whose share is silent."""
    with silence.start("ls", silence.path("")) as ls:
        silence.wait_for_waits()
        ls.send_signal(number)
        assert ls.wait(SECONDS) == -number


@pytest.mark.parametrize("number", [SIGINT, SIGKILL])
@pytest.mark.parametrize("command", ["mv", "rmdir", "rm"])
def test_a_change_that_waits_can_be_ended(silence: Silence, command: str, number: int):
    """[S72] `mv`, `rm` and `rmdir` that wait for a name are ended, and have changed nothing."""
    put(silence.node, "mine", b"mine")
    names = [silence.path("mine")] if command == "mv" else []
    with silence.start(command, *names, silence.path("missing")) as program:
        silence.wait_for_waits()
        program.send_signal(number)
        assert program.wait(SECONDS) == -number
    assert silence.path("mine").read_bytes() == b"mine"


@pytest.mark.parametrize("number", [SIGINT, SIGKILL])
def test_a_process_of_many_threads_is_killed(silence: Silence, number: int):
    """[S72] All its threads end, whatever each of them waits for."""
    code = """
signal.signal(signal.SIGINT, signal.SIG_DFL)
files = [os.open(path, os.O_RDONLY) for path in (sys.argv[1], sys.argv[2], sys.argv[1])]
for fd in files:
    threading.Thread(target=os.read, args=(fd, 1 << 20)).start()
for _ in range(2):
    threading.Thread(target=os.stat, args=(sys.argv[3],)).start()
"""
    paths = [silence.path(name) for name in ("f0", "f1", "missing")]
    with silence.start_python(code, *paths) as program:
        silence.wait_for_waits(3)  # the kernel asks once for each page and each name
        program.send_signal(number)
        assert program.wait(SECONDS) == -number


def test_waiting_for_somebody_elses_name(silence: Silence):
    """[S72] The kernel asks for one name once; who is killed while somebody else's question is under way is
    gone when that is over."""
    with (
        silence.start("cat", silence.path("missing")) as head,
        silence.start("cat", silence.path("missing")) as queued,
    ):
        silence.wait_for_waits()
        until(lambda: "D" in (state_of(head), state_of(queued)), "one waits for the other")
        queued.send_signal(SIGKILL)
        head.send_signal(SIGKILL)
        assert head.wait(SECONDS) == queued.wait(SECONDS) == -SIGKILL


def test_a_name_that_waits_holds_up_no_other(silence: Silence):
    """[S72] Beside a lookup that hangs, names of the same directory are found and read."""
    put(silence.node, "mine", b"mine")
    with silence.start("cat", silence.path("missing")) as stuck:
        silence.wait_for_waits()
        for command, name in (("cat", "mine"), ("stat", "f1"), ("cat", "mine")):
            subprocess.run(
                [command, silence.path(name)], check=True, timeout=SECONDS, stdout=subprocess.DEVNULL
            )
        assert stuck.poll() is None


def state_of(program: subprocess.Popen[str]) -> str:
    """S for who waits for us, D for who waits for somebody else."""
    return Path(f"/proc/{program.pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_child_reads_what_its_parent_opened(silence: Silence):
    """[S74] It gets its bytes, whatever happens to the parent; a signal that ends it ends it."""
    code = """
fd = os.open(sys.argv[1], os.O_RDONLY)
child = os.fork()
if child:
    say(child)
    os._exit(0)
buffer = ctypes.create_string_buffer(1 << 20)
say(libc.read(fd, buffer, 1 << 20))
"""
    with (
        silence.start_python(code, silence.path("f0")) as heir,
        silence.start_python(code, silence.path("f1")) as killed,
    ):
        assert killed.stdout is not None
        child = int(killed.stdout.readline())
        silence.wait_for_waits(2)
        os.kill(child, SIGTERM)
        assert killed.communicate(timeout=SECONDS)[0] == ""  # its end of the pipe is closed
        silence.alive.set()
        assert heir.communicate(timeout=SECONDS)[0].split()[1] == SIZE


def test_nothing_is_looked_at_that_does_not_wait(silence: Silence):
    """What is here is read without a look at who reads it."""
    put(silence.node, "mine", b"mine" * 100_000)
    looks = silence.waits("looks")
    for _ in range(20):
        subprocess.run(["cat", silence.path("mine")], stdout=subprocess.DEVNULL, check=True, timeout=SECONDS)
    assert silence.waits("looks") == looks
