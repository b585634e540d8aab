"""What root hands over to a daemon without privileges."""

import os
import pty
import pwd
import subprocess
import sys

from blobfs.cli.handing_over import environment_for
from tests.structure import ROOT

SECONDS = 20


def test_of_the_environment_what_a_daemon_needs() -> None:
    """Root's environment may hold what opens other doors, and root's home is not the daemon's."""
    account = pwd.getpwnam("nobody")
    passed = {"PATH": "/bin", "LC_ALL": "C", "https_proxy": "http://proxy/", "NO_PROXY": "*", "TZ": "UTC"}
    kept = {"AWS_SECRET_ACCESS_KEY": "s3cret", "SSH_AUTH_SOCK": "/a", "HOME": "/root", "LD_PRELOAD": "/a.so"}
    made = environment_for(account, passed | kept)
    assert made == passed | {"HOME": account.pw_dir, "USER": "nobody", "LOGNAME": "nobody"}


CHILD = """
import os
from blobfs.cli.handing_over import no_terminal
with no_terminal():
    child = os.fork()
    if child == 0:
        os.execvp("sh", ["sh", "-c", "test ! -t 2 && printf 'a \\\\033[31mword\\\\n' >&2"])
    os.waitpid(child, 0)
print("it is back" if os.isatty(2) else "it is gone", file=__import__("sys").stderr)
"""


def test_a_daemon_never_has_the_terminal() -> None:
    """Who has it can read the next password. What is said until the start has ended is shown, as text."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-P", "-c", CHILD]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(command, stderr=theirs, env=environment, timeout=SECONDS, check=True)
    os.close(theirs)
    said = os.read(ours, 1000)
    os.close(ours)
    assert said == b"a \\x1b[31mword\r\nit is back\r\n"
