"""Runs a gateway: binds, serves, and ends its watches before it stops."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator, Iterator

import uvicorn

from zart.channel import address_of, aio_channel
from zart.gateway.app import application
from zart.gateway.calls import Calls
from zart.gateway.listener import open_listener
from zart.gateway.settings import Settings

_log = logging.getLogger("zart.gateway")
_HEADER_BYTES = 16 * 1024  # as much as the server takes in metadata
_GRACE = 1  # seconds that calls under way have at the end


@contextlib.asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[str]:
    """Run a gateway until the context is left; gives its address. Raises GatewayError."""
    listener = open_listener(settings.listen)
    host = settings.listen.rpartition(":")[0]
    async with aio_channel(settings.address) as channel:
        calls = Calls(channel, settings.timeout)
        server = _Server(
            uvicorn.Config(
                application(channel, calls, settings.max_calls),
                lifespan="off",
                ws="none",
                http="h11",
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                # Beyond max_calls we answer ourselves; this is for connections that say nothing.
                limit_concurrency=2 * settings.max_calls,
                timeout_graceful_shutdown=_GRACE,
                h11_max_incomplete_event_size=_HEADER_BYTES,
                ssl_certfile=settings.tls_cert,
                ssl_keyfile=settings.tls_key,
            )
        )
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield f"{host}:{listener.getsockname()[1]}"
        finally:
            calls.drain()
            server.should_exit = True
            await serving


class _Server(uvicorn.Server):
    """Leaves signals to whoever runs it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(settings: Settings) -> None:
    """Run a gateway until SIGTERM or SIGINT. Raises GatewayError."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with running(settings) as address:
        scheme = "https" if settings.tls_cert else "http"
        _log.info("%s://%s passes on to %s", scheme, address, address_of(settings.address))
        await stop.wait()
