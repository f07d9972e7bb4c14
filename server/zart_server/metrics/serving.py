"""Puts together what a server tells Prometheus, and serves it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from zart.metrics.credentials import OfTheCredentials
from zart.metrics.listener import serving_metrics
from zart.metrics.registry import registry_of
from zart_server.api.audit_trail import UNRECORDED
from zart_server.api.call_metrics import CALLS, OPERATIONS, SECONDS
from zart_server.api.limits import Limits
from zart_server.engine.background.runtime import Runtime
from zart_server.identity.authenticator import Authenticator
from zart_server.metrics.database import OfTheDatabase
from zart_server.metrics.process import OfTheProcess
from zart_server.metrics.reading import DatabaseReader
from zart_server.settings import Settings
from zart_server.tls import Certificate


@contextlib.asynccontextmanager
async def serving_metrics_of(
    settings: Settings,
    runtime: Runtime,
    limits: Limits,
    certificate: Certificate | None,
    authenticator: Authenticator | None,
) -> AsyncIterator[str | None]:
    """Serve the metrics of a server until the context is left; gives the address.

    None: they are not to be served. To be called in the loop of the server, which goes on until the
    context is left. Raises MetricsError.
    """
    reader = DatabaseReader(runtime.db, asyncio.get_running_loop())
    collectors = (
        CALLS,
        SECONDS,
        OPERATIONS,
        UNRECORDED,
        OfTheProcess(runtime, limits),
        _of_the_credentials(certificate, authenticator),
        OfTheDatabase(reader, runtime.dispatch.tally, settings.metrics_tasks),
    )
    async with serving_metrics(
        settings.metrics_listen, registry_of("server", collectors)
    ) as address:
        yield address


def _of_the_credentials(
    certificate: Certificate | None, authenticator: Authenticator | None
) -> OfTheCredentials:
    if authenticator is None:
        return OfTheCredentials(certificate, {})
    return OfTheCredentials(certificate, authenticator.followed, authenticator.missing)
