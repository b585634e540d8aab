"""What a daemon without privileges is given by root, who starts it: little, for a daemon may be taken over.

1. Of the environment what it needs. Root's may hold what opens other doors.
2. No terminal. Who holds one that was opened for reading and writing, as every login's is, can read what is
   typed there, the next password say, and write what the terminal obeys.
"""

import os
import pwd
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import click

from blobfs.cli.words import printable

_PASSED = (
    *("PATH", "PYTHONPATH", "LANG", "LANGUAGE", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("CREDENTIALS_DIRECTORY", "JOURNAL_STREAM", "INVOCATION_ID"),
)


def environment_for(account: pwd.struct_passwd, own: Mapping[str, str]) -> dict[str, str]:
    """The daemon's: of `own` where its programs are, its language, proxies, and what systemd tells it."""
    passed = {name: value for name, value in own.items() if _is_passed(name)}
    return {**passed, "HOME": account.pw_dir, "USER": account.pw_name, "LOGNAME": account.pw_name}


def _is_passed(name: str) -> bool:
    return name in _PASSED or name.startswith("LC_") or name.lower().endswith("_proxy")


@contextmanager
def no_terminal() -> Iterator[None]:
    """Around what starts the daemon, in its parent: what it says on stderr until it is ready is shown in the
    end, as text, if stderr is a terminal; else it goes there at once."""
    if not os.isatty(2):
        yield
        return
    with tempfile.TemporaryFile() as said:
        terminal = os.dup(2)
        os.dup2(said.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
            said.seek(0)
            text = said.read()
            said.truncate(0)  # a child that did not become the daemon comes by here, too
            for line in text.decode("utf-8", "replace").splitlines():
                click.echo(printable(line), err=True)
