"""Logs, one structured line per call, and metrics."""

from __future__ import annotations

import logging
from typing import Any

import structlog
from prometheus_client import Counter, Histogram, start_http_server

from zart import logs
from zart.gateway.settings import host_of
from zart.loopback import is_loopback

CALLS = Counter("zart_calls_total", "Calls by method and outcome", ["method", "code", "reason"])
SECONDS = Histogram(
    "zart_call_seconds",
    "Duration of calls",
    ["method"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60),
)


def log_through_logging() -> None:
    """Hand what is logged to the standard library, whose levels and handlers decide."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *logs.PROCESSORS,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def configure_logging(level: str, style: str) -> None:
    """Log to stderr, as every process of zart does."""
    logs.configure_logging(level, style)
    # Alembic tells how it finds its plugins, at every start.
    logging.getLogger("alembic").setLevel(logging.WARNING)


def serve_metrics(port: int) -> int:
    """Serve Prometheus metrics on loopback, by its names only; return the port.

    A page of another site can have its own name point here (DNS rebinding), and read them.
    """
    server, _ = start_http_server(port, addr="127.0.0.1")
    metrics: Any = server.get_app()

    def app(environ: dict[str, Any], start_response: Any) -> Any:  # noqa: ANN401 - as WSGI has it
        if is_loopback(host_of(environ.get("HTTP_HOST", "localhost"))):
            return metrics(environ, start_response)
        start_response("403 Forbidden", [("Content-Type", "text/plain")])
        return [b"call it by localhost\n"]

    server.set_app(app)
    return server.server_port
