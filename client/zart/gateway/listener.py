"""The socket that a gateway listens on."""

from __future__ import annotations

import socket

from zart.gateway.settings import GatewayError, host_and_port
from zart.listening import why_not

# In seconds, and probes: who is gone without a word is noticed after a minute. A watch of what does
# not change sends nothing, and would keep its places for ever; one that has sent something asks
# nothing more until that is acknowledged, so that has a limit of its own, in milliseconds.
_PROBES = {
    "TCP_KEEPIDLE": 30,
    "TCP_KEEPINTVL": 10,
    "TCP_KEEPCNT": 3,
    "TCP_USER_TIMEOUT": 60_000,
}


def open_listener(listen: str) -> socket.socket:
    """Listen on HOST:PORT. Raises GatewayError, which says what may be in the way."""
    host, port = host_and_port(listen)
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family)
    except (OSError, UnicodeError):  # the latter: no name of a host
        raise GatewayError(
            f"cannot listen on {listen} for HTTP/JSON: {why_not(listen)}"
            " Set ZART_GATEWAY_LISTEN to another address"
        ) from None
    # The connections that are accepted have the same, on Linux at least.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _PROBES.items():
        if hasattr(socket, name):  # not everywhere
            listener.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return listener
