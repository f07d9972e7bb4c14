"""Ports of this machine, for servers that a test starts."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket

# Below what systems give to connections that name no port of their own (from 32768 on Linux, from
# 49152 elsewhere): there, a port that was free may be a connection's before the server listens.
_FIRST, _LAST = 10_000, 29_999
_next = itertools.count(os.getpid() * 97)

# Tests of other processes keep off a port whose datagrams somebody takes. Until the process ends.
_taken: list[socket.socket] = []


def free_port() -> int:
    """Return a port on which nothing listens, and which no other test is given."""
    for _ in range(_FIRST, _LAST + 1):
        port = _FIRST + next(_next) % (_LAST + 1 - _FIRST)
        mark = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with contextlib.suppress(OSError), socket.socket() as probe:
            mark.bind(("127.0.0.1", port))
            probe.bind(("127.0.0.1", port))
            _taken.append(mark)
            return port
        mark.close()
    raise OSError("no port is free")
