"""Translates what the driver raises into what the domain says; nothing else looks at SQLSTATEs."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable, Iterator

import asyncpg
import sqlalchemy.exc

from zart_server.domain.errors import OperationTimeout, StoreConflict, StoreUnavailable, ZartError
from zart_server.store.schema import SchemaOutdated
from zart_server.store.sessions import SessionRefused

# Serialization failure, deadlock, lock timeout. And ended, before its commit, since nothing came
# from us for too long, or it took too long as a whole: what left nothing is tried again.
_CONFLICT = {"40001", "40P01", "55P03", "25P03", "25P04"}
# What somebody else may have inserted meanwhile, that is found when this is tried again.
_INSERTED_ONCE = {"requests_pkey"}
_TIMEOUT = {"57014"}  # statement_timeout, or the server side was told to cancel
_UNAVAILABLE = {
    "25006",  # read-only: the primary has moved on
    "28000", "28P01",  # the role, or its password, is being changed: new connections are refused
    "53100", "53200", "53300", "53400",  # out of disk, memory, connections, configured limits
    "55000",  # not in the right state, e.g. a standby that is not ready
    "57P01", "57P02", "57P03", "57P05",  # shut down, crashed, starting up, idle timeout
    "3D000",  # the database is gone or not there yet
}  # fmt: skip


# What is told to who operates a server; never the driver's text, which may hold anything.
_CAUSES = {
    "25006": "is read-only: it is a standby, or default_transaction_read_only is on",
    "28000": "refuses this user",
    "28P01": "refuses this password",
    "3D000": "is not there",
    "3F000": "has no schema public, where the views are made",
    "42501": "lets this role not do what it must: it needs to own the database, or CREATE on it and"
    " on schema public, and to own schema zart and what is in it",
    "53300": "has no connection left: max_connections",
    "53100": "has no disk space left",
    "53200": "has no memory left",
    "53400": "is beyond a limit that it was configured with",
    "57P01": "has ended the connection",
    "57P03": "is starting up, or shutting down",
    "55000": "is not in the state that a statement needs, as where a publication has a table"
    " without a replica identity; PostgreSQL's log names it",
}


class PoolExhausted(TimeoutError):
    """For as long as anybody waits all connections of the pool were in use."""

    def __init__(self) -> None:
        super().__init__(
            "all connections of this server's pool are in use, by slow statements or ones that"
            " wait for locks: see ZART_POOL_SIZE"
        )


def cause_of(error: BaseException) -> str:
    """Say in words what is wrong with the database, for who operates a server."""
    if isinstance(error, sqlalchemy.exc.DBAPIError) and error.orig is not None:
        return cause_of(error.orig.__cause__ or error.orig)
    if isinstance(error, (SessionRefused, SchemaOutdated, PoolExhausted)):
        return str(error)
    if isinstance(error, asyncpg.PostgresError) and error.sqlstate in _CAUSES:
        return f"the database {_CAUSES[error.sqlstate]}"
    if isinstance(error, asyncpg.InterfaceError) and "authentication" in str(error).lower():
        return "the database agrees on no authentication with this server: see pg_hba.conf"
    said = (
        (asyncpg.TargetServerAttributeNotMatched, "has no host that target_session_attrs asks for"),
        (TimeoutError, "does not answer"),
        (ssl.SSLError, "is not reached over TLS as its URL asks: see sslmode, sslrootcert"),
        (OSError, "cannot be reached"),
        (asyncpg.PostgresConnectionError, "has ended the connection"),
        (asyncpg.InternalClientError, "has ended the connection"),
        (ValueError, f"cannot be used ({type(error).__name__})"),  # an argument of ours, or its URL
        (asyncpg.InterfaceError, "has ended the connection"),
        (BaseException, f"cannot be used ({type(error).__name__})"),
    )
    return "the database " + next(text for kind, text in said if isinstance(error, kind))


class DataError(Exception):
    """PostgreSQL refused a value: some item of the statement cannot be stored."""


def is_refused(error: BaseException) -> bool:
    """Return whether PostgreSQL refused a statement without a transaction: it left nothing."""
    return isinstance(error, (StoreConflict, DataError, asyncpg.PostgresError))


def translate(error: BaseException) -> Exception | None:
    """Return the domain error for a driver error, None where the error is not the driver's."""
    if isinstance(error, sqlalchemy.exc.TimeoutError):  # the pool is exhausted
        return StoreUnavailable()
    if isinstance(error, sqlalchemy.exc.DBAPIError):
        return translate(error.orig.__cause__ or error.orig) if error.orig else StoreUnavailable()
    if isinstance(error, asyncpg.PostgresError):
        return _from_postgres(error, str(error.sqlstate or ""))
    if isinstance(error, (asyncpg.InterfaceError, asyncpg.InternalClientError)):
        # asyncpg says DataError for an argument it cannot encode, and otherwise that the
        # connection is closed or was lost.
        return DataError() if isinstance(error, ValueError) else StoreUnavailable()
    if isinstance(error, (OSError, TimeoutError, SessionRefused, SchemaOutdated)):
        return StoreUnavailable()
    return None


def _from_postgres(error: asyncpg.PostgresError, sqlstate: str) -> Exception | None:
    if isinstance(error, asyncpg.InvalidCachedStatementError):  # a migration came in between
        return StoreConflict()
    is_repeat = sqlstate == "23505" and error.constraint_name in _INSERTED_ONCE
    if is_repeat or sqlstate in _CONFLICT:
        return StoreConflict()
    if sqlstate in _TIMEOUT:
        return OperationTimeout()
    if sqlstate in _UNAVAILABLE or sqlstate.startswith("08"):
        return StoreUnavailable()
    if sqlstate.startswith("22") or sqlstate == "54000":  # bad data; a value over a hard limit
        return DataError()
    return None


@contextlib.contextmanager
def translated(tell: Callable[[str], None]) -> Iterator[None]:
    """Raise domain errors instead of the driver's; others pass as they are.

    ``tell`` is told why the database cannot serve: whoever called is not.
    """
    try:
        yield
    except ZartError:
        raise
    except Exception as error:
        known = translate(error)
        if known is None:
            raise
        if isinstance(known, StoreUnavailable):
            tell(cause_of(error))
        raise known from error
