"""Runs a gateway: binds, serves, and ends its watches before it stops."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any, cast

import grpc.aio
import uvicorn
from starlette.types import ASGIApp

from zart import systemd
from zart.channel import address_of, aio_channel
from zart.gateway.app import application
from zart.gateway.calls import GRACE, Calls
from zart.gateway.certificate import Certificate
from zart.gateway.connection import Connection
from zart.gateway.guard import check_guarded
from zart.gateway.heads import HEAD_BYTES
from zart.gateway.listener import open_listener
from zart.gateway.settings import GatewayError, Settings
from zart.gateway.waiting import KEPT_FOR, Waiting
from zart.hangups import heed_hangups
from zart.open_files import allow_many_files
from zart.tracing import tracer
from zart.version import installed_version

if TYPE_CHECKING:
    from zart.gateway.metrics import OfTheGateway

_log = logging.getLogger("zart.gateway")
_GRACE = GRACE + 1  # seconds that requests have at the end: those without an answer tell so before
_WAITING = 1024  # connections without a whole request


@contextlib.asynccontextmanager
async def running(settings: Settings, certificate: Certificate | None = None) -> AsyncIterator[str]:
    """Run a gateway until the context is left; gives its address. Raises GatewayError.

    ``certificate`` is that of the settings, for who wants to have it read anew.
    """
    certificate = certificate or Certificate.of(settings)
    host = settings.listen.rpartition(":")[0]
    async with _channel(settings) as channel, contextlib.AsyncExitStack() as stack:
        if settings.must_be_guarded:
            await check_guarded(channel)
        listener = stack.enter_context(open_listener(settings.listen))
        calls = Calls(channel, settings.timeout)
        metrics = _serving_metrics(settings.metrics_listen, certificate)
        requests = await stack.enter_async_context(metrics)
        config = _config(settings, application(channel, calls, settings, requests, tracer()))
        config.load()
        if certificate is not None:
            config.ssl = certificate.context
        server = _Server(config, settings.patience)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        following = asyncio.create_task(certificate.follow()) if certificate is not None else None
        try:
            yield f"{host}:{listener.getsockname()[1]}"
        finally:
            if following is not None:
                following.cancel()
            calls.drain()
            server.should_exit = True
            await serving


@contextlib.asynccontextmanager
async def _serving_metrics(
    listen: str | None, certificate: Certificate | None
) -> AsyncIterator[OfTheGateway | None]:
    """Serve what is counted of requests, and what is known of the certificate.

    Gives None where nobody asks for it. Raises GatewayError.
    """
    if not listen:
        yield None
        return
    from zart.gateway.metrics import OfTheGateway  # noqa: PLC0415 - only where it is wanted
    from zart.metrics.credentials import OfTheCredentials  # noqa: PLC0415 - likewise
    from zart.metrics.failures import MetricsError  # noqa: PLC0415 - likewise
    from zart.metrics.listener import serving_metrics  # noqa: PLC0415 - likewise
    from zart.metrics.registry import registry_of  # noqa: PLC0415 - likewise

    requests = OfTheGateway()
    registry = registry_of("gateway", [requests, OfTheCredentials(certificate, {})])
    try:
        async with serving_metrics(listen, registry) as address:
            _log.info("metrics are served on http://%s/metrics", address)
            yield requests
    except MetricsError as error:
        raise GatewayError(str(error)) from None


def _channel(settings: Settings) -> grpc.aio.Channel:
    try:
        return aio_channel(settings.address, settings.credentials)
    except ValueError as error:
        raise GatewayError(str(error)) from None


def _config(settings: Settings, app: ASGIApp) -> uvicorn.Config:
    waiting = Waiting(settings.patience, _WAITING, _WAITING // 4, KEPT_FOR)
    return uvicorn.Config(
        app,
        lifespan="off",
        ws="none",
        http=cast("type[asyncio.Protocol]", functools.partial(Connection, waiting)),
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEPT_FOR,
        timeout_graceful_shutdown=_GRACE,
        h11_max_incomplete_event_size=HEAD_BYTES,
    )


class _Server(uvicorn.Server):
    """Leaves signals to its caller, and waits for TLS no longer than for anything else."""

    def __init__(self, config: uvicorn.Config, patience: float) -> None:
        super().__init__(config)
        self._patience = patience

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen as uvicorn does, which would wait a minute for each handshake."""
        await super().startup(sockets=[])
        config, loop = self.config, asyncio.get_running_loop()
        given = {
            "config": config,
            "server_state": self.server_state,
            "app_state": self.lifespan.state,
        }
        make = functools.partial(cast("Any", config.http_protocol_class), **given)
        for listener in sockets or ():
            listening = await loop.create_server(
                make,
                sock=listener,
                ssl=config.ssl,
                backlog=config.backlog,
                ssl_handshake_timeout=self._patience if config.ssl is not None else None,
            )
            self.servers.append(listening)


async def serve(settings: Settings) -> None:
    """Run a gateway until SIGTERM or SIGINT; SIGHUP rereads certificates. Raises GatewayError.

    What it calls the server with is followed by the channel, whatever happens here.
    """
    allow_many_files()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    certificate = Certificate.of(settings)
    heed_hangups(stop.set, (lambda: None) if certificate is None else certificate.reread)
    async with systemd.watched(), running(settings, certificate) as address:
        scheme = "https" if settings.tls_cert else "http"
        server = address_of(settings.address)
        told = {"version": installed_version()}
        _log.info("%s://%s passes on to %s", scheme, address, server, extra=told)
        systemd.ready()
        await stop.wait()
        systemd.stopping()
