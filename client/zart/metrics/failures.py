"""What is wrong with the address at which metrics are to be served."""

from __future__ import annotations

_LAST_PORT = 65535


class MetricsError(Exception):
    """Metrics cannot be served; the message says why and what to do."""


def host_and_port_of_metrics(listen: str) -> tuple[str, int]:
    """Split HOST:PORT. Raises MetricsError."""
    host, _, port = listen.rpartition(":")
    if not host or not (port.isascii() and port.isdigit()) or int(port) > _LAST_PORT:
        raise MetricsError(
            f"metrics are served on HOST:PORT, such as 127.0.0.1:9464, not on {listen!r}"
        )
    return host.strip("[]"), int(port)
