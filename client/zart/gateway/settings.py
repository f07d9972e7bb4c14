"""What can be set of a gateway, checked before it starts."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

DEFAULT_LISTEN = "127.0.0.1:8080"
_LAST_PORT = 65535


class GatewayError(Exception):
    """The gateway cannot start; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one gateway. Raises GatewayError where they cannot be right.

    ``listen`` is HOST:PORT, port 0 takes a free one; ``address`` is the server's (None: that of
    the environment). ``timeout`` is how many seconds a call may take, watches excepted;
    ``max_calls`` how many may be under way at once. ``tls_cert`` and ``tls_key`` are files.
    """

    listen: str = DEFAULT_LISTEN
    address: str | None = None
    timeout: float = 30.0
    max_calls: int = 512
    tls_cert: str | None = None
    tls_key: str | None = None
    insecure: bool = False

    def __post_init__(self) -> None:
        host, _ = host_and_port(self.listen)
        if not self.insecure and self.tls_cert is None and not _is_loopback(host):
            raise GatewayError(
                f"refusing to listen on {host} without TLS:"
                " set ZART_INSECURE=1 to do so all the same"
            )


def host_and_port(listen: str) -> tuple[str, int]:
    """Split HOST:PORT. Raises GatewayError."""
    host, _, port = listen.rpartition(":")
    if not host or not (port.isascii() and port.isdigit()) or int(port) > _LAST_PORT:
        raise GatewayError(
            f"the gateway's address must be HOST:PORT, such as {DEFAULT_LISTEN}, not {listen!r}"
        )
    return host.strip("[]"), int(port)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
