"""Serves metrics over HTTP, in threads of its own: a blocked event loop still answers a scrape."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Iterable
from concurrent.futures import ThreadPoolExecutor
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client import CollectorRegistry, make_wsgi_app

from zart.gateway.settings import host_of
from zart.listening import why_not
from zart.loopback import is_loopback
from zart.metrics.failures import MetricsError, host_and_port_of_metrics
from zart.metrics.server import PATIENCE, MetricsServer


@contextlib.asynccontextmanager
async def serving_metrics(
    listen: str | None, registry: CollectorRegistry, *, patience: float = PATIENCE
) -> AsyncIterator[str | None]:
    """Serve ``/metrics`` on HOST:PORT until the context is left; gives the address.

    None: nothing is served. On loopback it is served by the names of loopback only: a page of
    another site can have its own name point there (DNS rebinding), and read them.
    ``patience``: how many seconds the head of a request may take.
    Raises MetricsError.
    """
    if listen is None:
        yield None
        return
    host, port = host_and_port_of_metrics(listen)
    metrics: WSGIApplication = make_wsgi_app(registry)
    app = _of_loopback_only(metrics) if is_loopback(host) else metrics
    try:
        server = MetricsServer(host, port, app, patience)
    except (OSError, UnicodeError):  # the latter: no name of a host
        raise MetricsError(
            f"cannot listen on {listen} for metrics: {why_not(listen)} Set ZART_METRICS_LISTEN to"
            " another address"
        ) from None
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"{listen.rpartition(':')[0]}:{server.server_port}"
    finally:
        # Not in a thread of the loop's: what a dispatcher's steps await may hold all of them.
        stopping = ThreadPoolExecutor(1, "zart-metrics-stop")
        try:
            await asyncio.get_running_loop().run_in_executor(stopping, _stop, server, thread)
        finally:
            stopping.shutdown(wait=False)


def _of_loopback_only(metrics: WSGIApplication) -> WSGIApplication:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if is_loopback(host_of(environ.get("HTTP_HOST", "localhost"))):
            return metrics(environ, start_response)
        start_response("403 Forbidden", [("Content-Type", "text/plain")])
        return [b"call it by localhost\n"]

    return app


def _stop(server: MetricsServer, thread: threading.Thread) -> None:
    server.shutdown()
    server.server_close()
    thread.join()
