"""A line to a server that passes so many bytes a second on each connection, evenly: for pictures.

A server's own limit comes in bursts with silence between them: to a reader, a share that stalls.
"""

import contextlib
import socket
import threading
import time
from types import TracebackType
from typing import Self

PIECE = 8192
"""Bytes at a time."""


class SlowLine:
    """Accepts on `port`. `stop` and `start` again keep it: an outage. Mutable: its connections."""

    def __init__(self, target: int, rate: int) -> None:
        self._target = target
        self._rate = rate
        self._listener: socket.socket | None = None
        self._open: set[socket.socket] = set()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=[self._listener], daemon=True).start()

    def stop(self) -> None:
        """Whoever is connected is cut off."""
        assert self._listener is not None
        for end in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # it is closed at the end
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                self._open |= {client, server}
                threading.Thread(target=self._pass_on, args=[client, server, 0.0], daemon=True).start()
                pause = PIECE / self._rate
                threading.Thread(target=self._pass_on, args=[server, client, pause], daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, pause: float) -> None:
        due = time.monotonic()
        with contextlib.suppress(OSError), source:
            while piece := source.recv(PIECE):
                sink.sendall(piece)
                due = max(due + pause * len(piece) / PIECE, time.monotonic() - 0.1)
                time.sleep(max(due - time.monotonic(), 0))
            sink.shutdown(socket.SHUT_WR)
        self._open.discard(source)
