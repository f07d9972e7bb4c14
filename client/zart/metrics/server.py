"""The HTTP server of metrics: who sends half a request, or reads no answer, is in nobody's way.

A connection takes a thread and a descriptor of the process that it is about, which needs them for
its calls: so there are few at once, and none stays for long.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
from dataclasses import dataclass
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import WSGIApplication

AT_ONCE = 32  # connections
PATIENCE = 10.0  # seconds that the head of a request may take
_LONGER = 3  # than that may making and reading an answer take: it reads the database, too
_A_MOMENT = 1.0  # seconds until a connection that was cut has given its place back


@dataclass
class _Open:
    """A connection: until when it may go on (by the monotonic clock), and how far it has come."""

    until: float
    has_head: bool = False
    is_cut: bool = False


class _Handler(WSGIRequestHandler):
    """One request, which is all that a connection is for."""

    server: MetricsServer

    def parse_request(self) -> bool:
        """Read the head. False: it was wrong, which is answered by then, or its time is over."""
        return super().parse_request() and self.server.begin_answer(self.connection)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401 - as it is there
        """Say nothing of a scrape: there is one each few seconds."""


class MetricsServer(ThreadingMixIn, WSGIServer):
    """Serves an application on a host and port, each connection in a thread, 32 of them at most.

    One more takes the place of the one that has waited longest for the head of its request, which
    may take ``patience`` seconds; three times that its answer may take.
    """

    daemon_threads = True
    request_queue_size = 128  # who comes at one moment waits here, and takes nothing of the process

    def __init__(self, host: str, port: int, app: WSGIApplication, patience: float) -> None:
        """Listen. Raises OSError, and UnicodeError for what is no name of a host."""
        self._patience = patience
        self._places = threading.Semaphore(AT_ONCE)
        self._lock = threading.Lock()
        self._open: dict[socket.socket, _Open] = {}  # the one that came first, first
        self.address_family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        super().__init__((host, port), _Handler)
        self.set_app(app)

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ANN401, ARG002 - socketserver's
        """Return whether there is a place for a connection, or one can be had."""
        if not self._places.acquire(blocking=False):
            self._cut_one_without_a_head()
            if not self._places.acquire(timeout=_A_MOMENT):
                return False
        with self._lock:
            self._open[request] = _Open(time.monotonic() + self._patience)
        return True

    def begin_answer(self, connection: socket.socket) -> bool:
        """Note that a request has its head. False: its time is over, and nobody hears an answer."""
        with self._lock:
            found = self._open[connection]
            found.has_head = True
            found.until = time.monotonic() + _LONGER * self._patience
            return not found.is_cut

    def service_actions(self) -> None:
        """Cut what has taken too long; called twice a second, and after each connection."""
        now = time.monotonic()
        with self._lock:
            for connection, found in self._open.items():
                if found.until < now and not found.is_cut:
                    _cut(connection, found)

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401 - socketserver's
        """Close a connection, and give its place back."""
        with self._lock:  # until it is closed nobody else's has its descriptor
            had_place = self._open.pop(request, None) is not None
        super().shutdown_request(request)
        if had_place:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - socketserver's
        """Say nothing of a connection that ended midway; of a defect what is said by default."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def _cut_one_without_a_head(self) -> None:
        with self._lock:
            for connection, found in self._open.items():
                if not found.has_head:
                    _cut(connection, found)
                    return


def _cut(connection: socket.socket, found: _Open) -> None:
    """Have the thread of a connection end, which closes it; to be called with the lock."""
    found.is_cut = True
    with contextlib.suppress(OSError):  # its caller has gone
        connection.shutdown(socket.SHUT_RDWR)
