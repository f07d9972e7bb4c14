"""Looks at what a port speaks: shakes hands by TLS, and sends nothing."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator

_PLAIN = "WRONG_VERSION_NUMBER"  # how OpenSSL tells of bytes that are no TLS


def one_place_of(address: str) -> tuple[str, int] | None:
    """Return host and port of a gRPC address that names just these; None: it names others."""
    found = re.fullmatch(r"(?:dns:(?:///)?)?\[?([^\[\],/]+?)\]?:(\d+)", address)
    return None if found is None else (found[1], int(found[2]))


def speaks_tls(host: str, port: int, patience: float) -> bool | None:
    """Return whether TLS is answered there, whoever it is and whatever it wants of callers.

    None: it cannot be known, as where nobody answers. ``patience`` in seconds is to connect, and
    again to shake hands.
    """
    context = unverified("h2", "http/1.1")  # nothing is sent: only what answers is looked at
    try:
        with (
            socket.create_connection((host, port), patience) as plain,
            ended_at(time.monotonic() + patience, plain),
        ):
            context.wrap_socket(plain, server_hostname=host).close()
    except ssl.SSLError as error:
        if error.reason == _PLAIN:
            return False
        return None if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError) else True
    except (OSError, OverflowError, UnicodeError):
        return None
    return True


def unverified(*protocols: str) -> ssl.SSLContext:
    """Return how hands are shaken with whoever is there: for what anybody may know, both ways."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(protocols)
    return context


@contextlib.contextmanager
def ended_at(deadline: float, connection: socket.socket) -> Iterator[None]:
    """End a connection at a time, whatever is being done with it: a byte a second is no answer."""
    with connection.dup() as same:  # TLS takes the first one over

        def end() -> None:
            with contextlib.suppress(OSError):  # the other side has ended it
                same.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(deadline - time.monotonic(), end)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()
