"""Connects to the database: one host after the other, over sockets that notice a lost network."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any, Protocol

import asyncpg

from zart_server.store.followed_url import FollowedUrl, Url
from zart_server.store.known_types import KnowingConnection
from zart_server.store.sessions import DriverConnection, Session, is_direct, pooled

_TIMEOUT = 5.0  # seconds, for all hosts together
_LEAST = 1.0  # for one of them
_TRIES = 20  # of a pooler, which may give the same session again by chance
# Who does not acknowledge for 3 s is gone; a silent connection is asked after 2 s.
_SOCKET = (
    (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
    (socket.IPPROTO_TCP, "TCP_KEEPIDLE", 2),
    (socket.IPPROTO_TCP, "TCP_KEEPINTVL", 1),
    (socket.IPPROTO_TCP, "TCP_KEEPCNT", 3),
    (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", 3000),
)


class Greeted(Protocol):
    """A connection, or what stands for one."""

    def get_server_pid(self) -> int:
        """Return the process that the server named when it greeted."""


class Connector:
    """Makes connections to one database whose sessions are set as they must be."""

    def __init__(self, url: Url, session: Session, **arguments: Any) -> None:  # noqa: ANN401 - the driver's
        self._url = url if isinstance(url, FollowedUrl) else FollowedUrl(url)
        self._arguments = arguments
        self._session = session
        self._behind_pooler: dict[int, int] = {}  # processes, by those that a pooler makes up
        self._last: dict[str, Any] = {}  # the host that answered last

    async def connect(self, timeout: float = _TIMEOUT, **arguments: Any) -> DriverConnection:  # noqa: ANN401 - the driver's
        """Connect to the first host that will do; the one that did last time is tried first.

        Each has its share of the time: one that is gone without a word keeps nobody from the next,
        nor does a standby. Raises what the driver raises of the last one, or SessionRefused.
        """
        _overlook_given_up(asyncio.get_running_loop())
        arguments = {**self._url.arguments(), **self._arguments, **arguments}
        hosts = list(_hosts(arguments))
        if self._last in hosts:
            hosts.remove(self._last)
            hosts.insert(0, self._last)
        share = max(timeout / len(hosts), _LEAST)
        for index, host in enumerate(hosts, 1):
            try:
                connection = await self._connect_to(host, share, arguments)
            except (OSError, TimeoutError, asyncpg.PostgresConnectionError,
                    asyncpg.CannotConnectNowError, asyncpg.InterfaceError,
                    asyncpg.InternalClientError, asyncpg.ReadOnlySQLTransactionError):  # fmt: skip
                if index == len(hosts):
                    raise
                continue
            self._last = host
            return connection
        raise OSError("no host is given")

    async def _connect_to(
        self, host: dict[str, Any], timeout: float, arguments: dict[str, Any]
    ) -> DriverConnection:
        """Connect to one host, and set the session up."""
        connection: DriverConnection = await asyncpg.connect(
            **{**arguments, **host, "connection_class": KnowingConnection},
            timeout=timeout,
        )
        try:
            async with asyncio.timeout(timeout):
                _notice_loss(connection)
                pid = await self._session.prepare(connection)
        except BaseException:
            connection.terminate()
            raise
        if not is_direct(connection, pid):
            self._behind_pooler[connection.get_server_pid()] = pid
        return connection

    def pid_of(self, connection: Greeted) -> int:
        """Return the process that has a connection's session."""
        greeted: int = connection.get_server_pid()
        return self._behind_pooler.get(greeted, greeted)


@contextlib.asynccontextmanager
async def checked_session(url: Url) -> AsyncIterator[DriverConnection]:
    """Give a session for a look or two.

    Raises SessionRefused where sessions are not set as they must be, or are not our own.
    """
    connector = Connector(url, Session("start"))
    one = await connector.connect()
    try:
        if not is_direct(one, await one.fetchval("SELECT pg_backend_pid()")):
            other = await connector.connect()
            try:
                await _check_pooler(one, other)
            finally:
                other.terminate()
        yield one
    finally:
        one.terminate()


async def _check_pooler(one: DriverConnection, other: DriverConnection) -> None:
    """Mark one session and look whether the other connection gets it, or this one another."""
    mark, read = uuid.uuid4().hex, "SELECT current_setting('zart.session', true)"
    try:
        await one.execute(f"SELECT set_config('zart.session', '{mark}', false)")
        for _ in range(_TRIES):
            async with other.transaction():
                if await other.fetchval(read) == mark or await one.fetchval(read) != mark:
                    raise pooled()
    except (asyncpg.InvalidSQLStatementNameError, asyncpg.InvalidTransactionStateError,
            asyncpg.PostgresConnectionError):  # fmt: skip
        raise pooled() from None


def _hosts(arguments: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Return the arguments that tell the hosts apart."""
    hosts, ports = arguments.get("host"), arguments.get("port")
    if not isinstance(hosts, (list, tuple)):
        yield {}
        return
    each = ports if isinstance(ports, (list, tuple)) else [ports] * len(hosts)
    for host, port in zip(hosts, each, strict=True):
        yield {"host": host, "port": port}


def _overlook_given_up(loop: asyncio.AbstractEventLoop) -> None:
    """Have a loop say nothing of connections that are given up in the moment they are made.

    Cancelled between the connection and its first byte, the driver leaves a future that nobody
    reads, and the loop would tell of it as of a defect: at a stop, say, or when time is over.
    """
    if loop.get_exception_handler() is None:
        loop.set_exception_handler(_tell_unless_given_up)


def _tell_unless_given_up(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    if not isinstance(error, ConnectionError) or "connection_lost()" not in str(error):
        loop.default_exception_handler(context)


def _notice_loss(connection: DriverConnection) -> None:
    """Have the kernel tell when the other end no longer acknowledges anything."""
    inside: Any = connection
    found = inside._transport.get_extra_info("socket")  # noqa: SLF001 - asyncpg gives no other way
    if found is None or found.family not in (socket.AF_INET, socket.AF_INET6):
        return
    for level, name, value in _SOCKET:
        if hasattr(socket, name):  # of Linux
            found.setsockopt(level, getattr(socket, name), value)
