"""Serves metrics over HTTP, in threads of its own: a blocked event loop still answers a scrape."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from typing import Any

from prometheus_client import CollectorRegistry, start_http_server

from zart.gateway.settings import host_of
from zart.listening import why_not
from zart.loopback import is_loopback
from zart.metrics.failures import MetricsError, host_and_port_of_metrics


@contextlib.asynccontextmanager
async def serving_metrics(
    listen: str | None, registry: CollectorRegistry
) -> AsyncIterator[str | None]:
    """Serve ``/metrics`` on HOST:PORT until the context is left; gives the address.

    None: nothing is served. On loopback it is served by the names of loopback only: a page of
    another site can have its own name point there (DNS rebinding), and read them.
    Raises MetricsError.
    """
    if listen is None:
        yield None
        return
    host, port = host_and_port_of_metrics(listen)
    try:
        server, thread = start_http_server(port, addr=host, registry=registry)
    except (OSError, UnicodeError):  # the latter: no name of a host
        raise MetricsError(
            f"cannot listen on {listen} for metrics: {why_not(listen)} Set ZART_METRICS_LISTEN to"
            " another address"
        ) from None
    if is_loopback(host):
        server.set_app(_of_loopback_only(server.get_app()))
    try:
        yield f"{listen.rpartition(':')[0]}:{server.server_port}"
    finally:
        await asyncio.to_thread(_stop, server, thread)


def _of_loopback_only(metrics: Any) -> Any:  # noqa: ANN401 - as WSGI has it
    def app(environ: dict[str, Any], start_response: Any) -> Any:  # noqa: ANN401 - likewise
        if is_loopback(host_of(environ.get("HTTP_HOST", "localhost"))):
            return metrics(environ, start_response)
        start_response("403 Forbidden", [("Content-Type", "text/plain")])
        return [b"call it by localhost\n"]

    return app


def _stop(server: Any, thread: threading.Thread) -> None:  # noqa: ANN401 - WSGI's
    server.shutdown()
    server.server_close()
    thread.join()
