"""``blobfs status --watch``: what the nodes are doing, second by second, until q or Ctrl-C.

On a terminal it is drawn over all of it. Elsewhere the same goes on below, once a second, and with ``--json``
it is one line each, for programs.
"""

import json
import os
import signal
import sys
import time

from rich.console import Console
from rich.live import Live

from blobfs.cli.watch_keys import Event, Keys
from blobfs.cli.watch_poll import PAUSE, Poll, Seen
from blobfs.cli.watch_view import view

PLAIN_WIDTH = 120
"""Columns where there is no terminal that has some."""


def watch(mountpoint: str | None, as_json: bool) -> None:
    """Returns when somebody has seen enough. Raises `StartRefused` if nothing is mounted on `mountpoint`."""
    keys = Keys()
    poll = Poll(mountpoint, keys.tell_news)
    poll.start()
    if not as_json and _is_terminal():
        _draw(keys, poll, Console())
        return
    console = Console(file=sys.stdout, width=int(os.environ.get("COLUMNS", PLAIN_WIDTH)), no_color=True)
    with keys.listening():
        while True:
            _tell(list(poll.latest.values()), mountpoint, as_json, console)
            while (event := keys.wait(10 * PAUSE)) is Event.STOP:
                _stop()
            if event is Event.QUIT:
                return


def _is_terminal() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


def _tell(seen: list[Seen], mountpoint: str | None, as_json: bool, console: Console) -> None:
    if not as_json:
        console.print(view(seen, time.monotonic(), console.width, None), crop=False)
        console.print()
    elif mountpoint is None:
        sys.stdout.write(json.dumps([each.fields() for each in seen]) + "\n")
    else:
        sys.stdout.write(json.dumps(seen[0].fields()) + "\n")
    sys.stdout.flush()


def _draw(keys: Keys, poll: Poll, console: Console) -> None:
    while _draw_until(keys, poll, console) is Event.STOP:
        _stop()


def _draw_until(keys: Keys, poll: Poll, console: Console) -> Event:
    """What ended it. The terminal is as it was before."""
    with keys.listening(), Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            shown = view(list(poll.latest.values()), time.monotonic(), console.width, console.height)
            live.update(shown, refresh=True)
            if (event := keys.wait(PAUSE)) is not Event.NEWS:
                return event


def _stop() -> None:
    """As Ctrl-Z does; returns when the shell has us go on."""
    os.kill(os.getpid(), signal.SIGSTOP)
