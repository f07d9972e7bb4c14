"""What is wrong with the address at which metrics are to be served."""

from __future__ import annotations

from zart.listening import host_and_port


class MetricsError(Exception):
    """Metrics cannot be served; the message says why and what to do."""


def host_and_port_of_metrics(listen: str) -> tuple[str, int]:
    """Split HOST:PORT. Raises MetricsError."""
    try:
        return host_and_port(listen)
    except ValueError:
        raise MetricsError(
            f"metrics are served on HOST:PORT, such as 127.0.0.1:9464, not on {listen!r}"
        ) from None
