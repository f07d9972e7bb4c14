"""The composition root: puts one server together, runs it, takes it down without losing calls."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import sys
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass

import grpc
from grpc_health.v1 import health_pb2

from zart import systemd
from zart.hangups import heed_hangups
from zart.listening import why_not
from zart.metrics.failures import MetricsError
from zart.open_files import allow_many_files
from zart.tracing import flushed, trace_as_the_environment_says, tracer
from zart.version import installed_version
from zart_server.api.access import AccessControl
from zart_server.api.attempted import refusal_of
from zart_server.api.audit_trail import AuditTrail
from zart_server.api.batch_spans import spans_of_items
from zart_server.api.dispatch import DispatchServicer
from zart_server.api.health import Health
from zart_server.api.interceptor import CallInterceptor
from zart_server.api.limits import Limits
from zart_server.api.mutations.mutations import Mutations
from zart_server.api.reading import Reading
from zart_server.api.served_call import Door
from zart_server.api.services import SERVICES, add_services
from zart_server.domain.errors import StoreUnavailable
from zart_server.engine.background.runtime import Runtime
from zart_server.engine.dispatch.tally import Tally
from zart_server.engine.dispatch.waiting_room import WaitingRoom, places_of
from zart_server.grpc_options import options_of
from zart_server.identity.authenticator import Authenticator
from zart_server.metrics.serving import serving_metrics_of
from zart_server.observability import configure_logging
from zart_server.security import SecurityError, authenticator_of, certificate_of
from zart_server.settings import Settings, SettingsError
from zart_server.store.db import Database
from zart_server.store.driver_errors import cause_of, translate
from zart_server.store.followed_url import FollowedUrl
from zart_server.store.preparing import prepare
from zart_server.store.schema import SchemaOutdated
from zart_server.store.sessions import SessionRefused
from zart_server.supervised import Supervised
from zart_server.tls import Certificate

_log = logging.getLogger(__name__)
_DATABASE_WAIT = 10.0  # seconds
_GIVING_UP = 3.0  # seconds that a migration has to be rolled back, before it is told once more


class StartError(Exception):
    """The server cannot start; the message says why and what to do."""


class Stopped(Exception):
    """The server was told to stop before it took calls."""


@dataclass(frozen=True, slots=True)
class Running:
    """A server that takes calls."""

    address: str
    runtime: Runtime
    health: Health
    certificate: Certificate | None
    authenticator: Authenticator | None
    metrics: str | None  # the address where they are served

    def reread(self) -> None:
        """Read certificate, tokens and keys anew, as SIGHUP asks; where there are none, nothing."""
        _log.info("certificate, tokens and keys are read anew")
        for part in (self.certificate, self.authenticator):
            if part is not None:
                part.reread()


@contextlib.asynccontextmanager
async def running(
    settings: Settings, *, shares_port: bool = False, stop: asyncio.Event | None = None
) -> AsyncIterator[Running]:
    """Run a server until the context is left, then drain it. Raises StartError.

    ``shares_port``: with other processes that do, too; the system deals out connections.
    Once ``stop`` is set the database is prepared no further; raises Stopped then.
    """
    try:
        certificate = certificate_of(settings)
        authenticator = authenticator_of(settings)
    except SecurityError as error:
        raise StartError(str(error)) from None
    url = settings.followed_url()
    if not await _unless(stop, _prepare_database(url, migrates=settings.migrate)):
        raise Stopped
    db = await Database.open(
        url,
        pool_size=settings.pool_size,
        statement_timeout=settings.statement_timeout,
    )
    for_mutations, for_reports, for_reads = places_of(settings.pool_size)
    reading, tally = Reading(db, for_reads), Tally(settings.metrics_tasks)
    runtime = Runtime(db, reading, WaitingRoom(for_reports), refusal_of, tally, settings.kept)
    runtime.batches.on_done = spans_of_items(db, tracer())
    mutations = Mutations(db, settings.operation_timeout, WaitingRoom(for_mutations))
    limits = Limits(settings.max_calls, settings.max_waiting_calls)
    access = AccessControl(authenticator) if authenticator is not None else None
    door = Door(limits, AuditTrail(db), access, tracer())
    server = grpc.aio.server(
        interceptors=[CallInterceptor(door)],
        options=options_of(settings, shares_port=shares_port),
    )
    dispatch = DispatchServicer(runtime.dispatch, mutations, door, settings.stream_age)
    health = add_services(server, runtime, mutations, reading, dispatch, access)
    try:
        port = (
            server.add_insecure_port(settings.listen)
            if certificate is None
            else server.add_secure_port(settings.listen, certificate.credentials())
        )
    except RuntimeError:
        await db.close()
        raise StartError(
            f"cannot listen on {settings.listen}: {why_not(settings.listen, 'server')}"
            " Choose another address with --listen"
        ) from None
    _begin_health(health, authenticator)
    runtime.start()
    await server.start()
    background = [asyncio.create_task(_follow(db, authenticator, health), name="health")]
    if authenticator is not None:
        background.append(asyncio.create_task(authenticator.keep_fresh(), name="identities"))
    address, metrics = f"{settings.listen.rpartition(':')[0]}:{port}", contextlib.AsyncExitStack()
    try:
        serving = serving_metrics_of(settings, runtime, limits, certificate, authenticator)
        told = await metrics.enter_async_context(serving)
        yield Running(address, runtime, health, certificate, authenticator, told)
    except MetricsError as error:
        raise StartError(str(error)) from None
    finally:
        await _drain(runtime, health, limits, settings.drain_notice)
        await server.stop(settings.drain_grace)
        await metrics.aclose()  # until now: a long drain is no failure, and what ends in it counts
        for task in background:  # until now: calls came in, and a token may have been withdrawn
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        await mutations.drain()
        await asyncio.gather(door.trail.drain(), runtime.stop())
        await db.close()


async def _drain(runtime: Runtime, health: Health, limits: Limits, notice: float) -> None:
    """End what waits by design, once whoever asks for health sends its calls elsewhere."""
    health.leave()
    await limits.until_quiet(notice)  # until they have asked, this server serves as ever
    runtime.drain()
    health.drain()


def _begin_health(health: Health, authenticator: Authenticator | None) -> None:
    """Set the health of the process (""), which is up, and of the services.

    They do not serve before callers can be judged: as new servers that refuse everybody take the
    place of old ones, these are to stay.
    """
    kinds = health_pb2.HealthCheckResponse
    can_serve = authenticator is None or authenticator.can_judge
    health.set("", kinds.SERVING)
    for service in SERVICES:
        health.set(service, kinds.SERVING if can_serve else kinds.NOT_SERVING)


async def _follow(db: Database, authenticator: Authenticator | None, health: Health) -> None:
    """Set the health of each service by the database, once callers can be judged."""
    if authenticator is not None:
        await authenticator.until_able()
    kinds = health_pb2.HealthCheckResponse
    async for is_up in db.liveness.follow():
        for service in SERVICES:
            health.set(service, kinds.SERVING if is_up else kinds.NOT_SERVING)


async def _prepare_database(url: FollowedUrl, *, migrates: bool) -> None:
    """Bring the schema up to date, or check it; waits a little for a database that starts."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _DATABASE_WAIT
    while True:
        try:
            await prepare(url, migrates=migrates)
        except (SchemaOutdated, SessionRefused) as error:
            raise StartError(str(error)) from None
        except Exception as error:
            if not isinstance(translate(error), StoreUnavailable) or loop.time() > deadline:
                raise StartError(
                    f"{cause_of(error)}; check --database-url or ZART_DATABASE_URL, and that it is"
                    " up"
                ) from error
            await asyncio.sleep(0.2)
        else:
            return


async def _unless(stop: asyncio.Event | None, work: Coroutine[object, object, None]) -> bool:
    """Do work, or give it up once ``stop`` is set; returns whether it was done."""
    doing = asyncio.create_task(work)
    stopping = asyncio.create_task((stop or asyncio.Event()).wait())
    try:
        await asyncio.wait({doing, stopping}, return_when=asyncio.FIRST_COMPLETED)
        is_done = doing.done()
    finally:
        stopping.cancel()
        while not doing.done():
            doing.cancel()
            await asyncio.wait({doing}, timeout=_GIVING_UP)
    await asyncio.gather(doing, stopping, return_exceptions=True)
    if is_done:
        doing.result()
    return is_done


async def serve(settings: Settings, part: Supervised | None = None) -> None:
    """Run a server until SIGTERM or SIGINT; SIGHUP rereads who may come. Raises StartError.

    ``part``: it is one of several processes that are one server.
    """
    configure_logging(settings.log_level, settings.log_format)
    allow_many_files()
    try:
        trace_as_the_environment_says("zart-server")
    except ValueError as error:
        raise StartError(str(error)) from None
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    heed_hangups(stop.set, lambda: None)  # all is about to be read
    if part is not None:
        part.on_leave(loop, stop.set)
    try:
        async with (
            systemd.watched(),
            running(settings, shares_port=part is not None, stop=stop) as server,
        ):
            await _serve(server, stop, part)
    except Stopped:
        _log.info("zart stops: it had not begun to serve")


async def _serve(server: Running, stop: asyncio.Event, part: Supervised | None) -> None:
    heed_hangups(stop.set, server.reread)
    _log.info("zart serves on %s", server.address, extra={"version": installed_version()})
    if server.metrics is not None:
        _log.info("metrics are served on http://%s/metrics", server.metrics)
    _collect_garbage_seldom()
    if part is None:
        systemd.ready()
    else:
        part.ready(server.metrics)
    await stop.wait()
    if part is None:
        systemd.stopping()
    _log.info("zart stops: no new work, finishing what has begun")


def _collect_garbage_seldom() -> None:
    """Let a batch come and go as a whole.

    A batch makes thousands of objects that live as long as it does; looked at every 700 of them,
    as is the default, they cost a sixth of the server's time and none is garbage.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def main(settings: Settings, part: Supervised | None = None, *, is_process: bool = True) -> int:
    """Run a server and return the exit code. ``is_process``: it is all that its process does."""
    import uvloop  # noqa: PLC0415 - loaded by servers, not by tests

    try:
        with flushed(is_process=is_process):
            uvloop.run(serve(settings, part))
    except (StartError, SettingsError) as error:
        print(f"zart: {error}", file=sys.stderr)  # noqa: T201 - the program's last words
        return 1
    return 0
