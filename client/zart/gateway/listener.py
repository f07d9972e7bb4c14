"""The socket that a gateway listens on."""

from __future__ import annotations

import socket

from zart.gateway.settings import GatewayError, host_and_port
from zart.listening import why_not


def open_listener(listen: str) -> socket.socket:
    """Listen on HOST:PORT. Raises GatewayError, which says what may be in the way."""
    host, port = host_and_port(listen)
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except (OSError, UnicodeError):  # the latter: no name of a host
        raise GatewayError(
            f"cannot listen on {listen} for HTTP/JSON: {why_not(listen)}"
            " Set ZART_GATEWAY_LISTEN to another address"
        ) from None
