"""Programs that wait for a share that says nothing, and have handlers for what they are sent."""

from collections.abc import Iterator
from signal import SIGALRM, SIGCHLD, SIGCONT, SIGINT, SIGTERM, SIGTSTP, SIGUSR1, SIGWINCH

import pytest

from tests.mount.conftest import StartNode
from tests.mount.silence import SECONDS, SIZE, Silence, content_of, silent_share


@pytest.fixture
def silence(start_node: StartNode) -> Iterator[Silence]:
    with silent_share(start_node) as silence:
        yield silence


@pytest.mark.parametrize("call", ["os.stat(path)", "open(path).read()", "os.listdir(os.path.dirname(path))"])
def test_a_handler_that_raises(silence: Silence, call: str):
    """[S73] Ctrl-C in the middle of a call of a Python program is its KeyboardInterrupt."""
    code = f"""
path = sys.argv[1]
try:
    {call}
except KeyboardInterrupt:
    say("interrupted")
"""
    with silence.start_python(code, silence.path("missing")) as program:
        silence.wait_for_waits()
        program.send_signal(SIGINT)
        assert program.communicate(timeout=SECONDS) == ("interrupted\n", "")


def test_a_handler_that_raises_in_a_read(silence: Silence):
    """[S73] The same in a read, which the kernel repeats once for each page."""
    code = """
file = open(sys.argv[1], "rb")
try:
    file.read()
except KeyboardInterrupt:
    say("interrupted")
"""
    with silence.start_python(code, silence.path("f0")) as program:
        silence.wait_for_waits()
        program.send_signal(SIGINT)
        assert program.communicate(timeout=SECONDS) == ("interrupted\n", "")


def test_a_handler_that_returns(silence: Silence):
    """[S73] After its handler a Python program asks again, waits on, and gets its bytes; each signal is one
    interruption of what it reads, and nothing is interrupted after it."""
    code = """
signal.signal(signal.SIGINT, lambda *_: say("handled"))
say(len(open(sys.argv[1], "rb").read()))
"""
    with silence.start_python(code, silence.path("f0")) as program:
        assert program.stdout is not None
        for _ in range(2):
            silence.wait_for_waits()
            program.send_signal(SIGINT)
            assert program.stdout.readline() == "handled\n"
        silence.wait_for_waits()
        before = silence.interruptions()
        silence.wait_on()
        assert silence.interruptions() == before
        silence.alive.set()
        assert program.communicate(timeout=SECONDS) == (f"{SIZE}\n", "")


@pytest.mark.parametrize("number", [SIGALRM, SIGCHLD, SIGUSR1, SIGWINCH])
def test_signals_that_only_tell(silence: Silence, number: int):
    """[S73] Those that ask nobody to end are handled when the call is over: no EINTR from a file."""
    code = """
signal.signal(int(sys.argv[2]), lambda *_: say("handled"))
say(read(sys.argv[1]))
"""
    with silence.start_python(code, silence.path("f0"), str(int(number))) as program:
        silence.wait_for_waits()
        program.send_signal(number)
        silence.wait_on()
        silence.alive.set()
        assert sorted(program.communicate(timeout=SECONDS)[0].split()) == [SIZE, "handled"]
    assert silence.interruptions() == 0


def test_a_blocked_or_ignored_signal(silence: Silence):
    """[S73] is none: the read goes on."""
    code = """
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
signal.signal(signal.SIGTERM, signal.SIG_IGN)
say(read(sys.argv[1]))
"""
    with silence.start_python(code, silence.path("f0")) as program:
        silence.wait_for_waits()
        program.send_signal(SIGINT)
        program.send_signal(SIGTERM)
        silence.wait_on()
        silence.alive.set()
        assert program.communicate(timeout=SECONDS)[0].split() == [SIZE]
    assert silence.interruptions() == 0


def test_a_program_that_is_stopped(silence: Silence):
    """[S73] Ctrl-Z takes effect when the call is over; `fg` finds nothing wrong."""
    with silence.start("cat", silence.path("f0")) as cat:
        silence.wait_for_waits()
        cat.send_signal(SIGTSTP)
        silence.wait_on()
        cat.send_signal(SIGCONT)
        silence.alive.set()
        assert cat.communicate(timeout=SECONDS)[1] == ""
        assert cat.returncode == 0


def test_one_thread_of_many(silence: Silence):
    """[S74] The main thread's read is interrupted by Ctrl-C; that of another thread, which has no signal to
    see to, is not."""
    code = """
def work():
    say("other", read(sys.argv[2]))

threading.Thread(target=work).start()
try:
    open(sys.argv[1], "rb").read()
except KeyboardInterrupt:
    say("interrupted")
"""
    with silence.start_python(code, silence.path("f0"), silence.path("f1")) as program:
        silence.wait_for_waits(2)
        program.send_signal(SIGINT)
        assert program.stdout is not None
        assert program.stdout.readline() == "interrupted\n"
        silence.wait_on()
        silence.alive.set()
        assert program.communicate(timeout=SECONDS) == (f"other {SIZE}\n", "")


def test_a_thread_reads_what_the_main_thread_opened(silence: Silence):
    """[S74] A signal to one thread ends the read of that thread, whoever of its process opened the file."""
    code = """
def work():
    global error
    count = libc.read(fd, buffer, 1 << 20)
    error = ctypes.get_errno()

signal.signal(signal.SIGINT, lambda *_: say("handled"))
buffer = ctypes.create_string_buffer(1 << 20)
fd = os.open(sys.argv[1], os.O_RDONLY)
thread = threading.Thread(target=work)
thread.start()
sys.stdin.readline()
signal.pthread_kill(thread.ident, signal.SIGINT)
thread.join()
say(os.strerror(error))
"""
    with silence.start_python(code, silence.path("f0")) as program:
        silence.wait_for_waits()
        output, _ = program.communicate("go\n", timeout=SECONDS)
    assert "Interrupted system call" in output


def test_a_page_fault_is_not_interrupted(silence: Silence):
    """[S73] A program with a handler that waits for a mapped page gets the page, not a SIGBUS."""
    code = """
import mmap
signal.signal(signal.SIGINT, lambda *_: say("handled"))
with open(sys.argv[1], "rb") as file:
    mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
say(mapped[5000])
"""
    with silence.start_python(code, silence.path("f0")) as program:
        silence.wait_for_waits()
        program.send_signal(SIGINT)
        silence.wait_on()
        silence.alive.set()
        assert sorted(program.communicate(timeout=SECONDS)[0].split()) == [
            str(content_of(0)[5000]),
            "handled",
        ]
        assert program.returncode == 0
    assert silence.interruptions() == 0
