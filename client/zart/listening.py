"""What HOST:PORT is that a process is to listen on, and why nothing can listen there."""

from __future__ import annotations

import errno
import socket

_LAST_PORT = 65535


def host_and_port(listen: str) -> tuple[str, int]:
    """Split HOST:PORT; an address of IPv6 stands in brackets there, not in what is returned.

    Raises ValueError, which says what was given.
    """
    host, _, port = listen.rpartition(":")
    if not host or not (port.isascii() and port.isdigit()) or int(port) > _LAST_PORT:
        raise ValueError(f"{listen!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


def why_not(listen: str, program: str = "program") -> str:
    """Return a sentence on why nothing could listen on HOST:PORT, for who has just failed to.

    It is found out by trying: not every library says what the system said. ``program``: of which
    kind it is that has the port most likely.
    """
    host, port = host_and_port(listen)
    taken = f"is another {program} running there?"
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError):
        return f"no address of {host!r} is known."
    try:
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        said = {
            errno.EADDRINUSE: taken,
            errno.EADDRNOTAVAIL: f"{address[0]} is no address of this machine.",
            errno.EACCES: "this user may not listen on that port.",
        }
        return said.get(error.errno or 0, f"{error.strerror}.")
    return taken  # by somebody who has gone meanwhile
