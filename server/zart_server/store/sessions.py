"""What every session is set to: the protocol and the plans rest on it, so it is read back.

A database or a role may have other defaults (``ALTER DATABASE … SET``), and a pooler may drop what
a session was set to: it is set after connecting, whatever came with it, and a session in which it
does not hold is not used. Whether sessions may write is left to whoever runs the database.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import asyncpg
import asyncpg.types

from zart_server.domain.fingerprint import NEWEST
from zart_server.store.patience import USUAL

_log = logging.getLogger(__name__)
DriverConnection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

# Meaning: what a statement says, and which rows it sees.
_MEANING = {
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    # Nothing of ours is named without its schema; nobody else's function is taken for a built-in.
    "search_path": "pg_catalog",
    "client_encoding": "UTF8",
    "standard_conforming_strings": "on",
    "backslash_quote": "safe_encoding",
    "array_nulls": "on",
    "transform_null_equals": "off",
    "bytea_output": "hex",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "extra_float_digits": "1",
    "xmloption": "content",
    "row_security": "on",
    "restrict_nonsystem_relation_kind": "",  # since 15.8, 16.4 and 17: ours has views
    "exit_on_error": "off",
    "gin_fuzzy_search_limit": "0",
    "debug_parallel_query": "off",  # since 16; before:
    "force_parallel_mode": "off",
}
# Plans are made once, perhaps while a table is nearly empty, and are kept while it grows: whatever
# reads a whole table because that looks cheap would read the whole backlog for every batch later.
# Batches are small: look up each row by an index, and in its order: a bitmap is of all entries
# there are, of one index to combine with another or of a lane to take the first hundred of.
_PLANS = {
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}
_OLDEST = 15  # of PostgreSQL
# Of the database, as it was made: what callers send may have any character.
_ENCODING = "UTF8"
# A server that hangs, or its network, holds no locks for longer than this.
IDLE_IN_TRANSACTION = 2.0  # seconds
# Help on TCP; over a Unix socket they read 0 whatever they are set to, so nobody asks.
_NETWORK = {
    "tcp_user_timeout": "3000",
    "tcp_keepalives_idle": "2",
    "tcp_keepalives_interval": "1",
    "tcp_keepalives_count": "3",
}

# What PostgreSQL knows of these settings; unknown ones are of other versions. Of those for the
# planner all others have the values that PostgreSQL comes with: what was tested is what runs.
# Each is told as PostgreSQL shows it, units and all.
_LEARN = """
    SELECT name, CASE WHEN setting = value THEN pg_catalog.current_setting(name)
        ELSE pg_catalog.set_config(name, value, true) END AS value
    FROM (
        SELECT s.name, s.setting,
            COALESCE(jsonb '{wanted}' OPERATOR(pg_catalog.->>) s.name, s.boot_val) AS value
        FROM pg_catalog.pg_settings s
        WHERE jsonb '{wanted}' OPERATOR(pg_catalog.?) s.name
            OR (s.context = 'user' AND s.category LIKE 'Query Tuning%')) s
"""
_OTHERS = """
    SELECT name, value FROM pg_catalog.json_each_text('{learnt}') s(name, value)
    WHERE pg_catalog.current_setting(name, true) <> ALL (CASE name
        WHEN 'synchronous_commit' THEN ARRAY[value, 'remote_apply'] ELSE ARRAY[value] END)
"""
_SET = f"""
    SET statement_timeout = 0;
    SELECT pg_catalog.set_config(name, value, false) FROM ({_OTHERS}) s;
    SELECT pg_catalog.set_config(name, value, false)
    FROM pg_catalog.json_each_text('{{helps}}') h(name, value)
"""
_READ_BACK = f"""
    SELECT pg_catalog.pg_backend_pid() AS pid,
        pg_catalog.current_setting('session_replication_role') AS role,
        pg_catalog.pg_is_in_recovery() AS is_standby,
        pg_catalog.current_setting('default_transaction_read_only') = 'on' AS is_frozen,
        pg_catalog.current_setting('server_encoding') AS encoding,
        pg_catalog.to_regclass('zart.alembic_version') IS NOT NULL AS has_schema,
        (SELECT name FROM ({_OTHERS}) s ORDER BY name LIMIT 1) AS other
"""
_POOLER = (
    "connect to PostgreSQL directly, or through a pooler that leaves each connection its session"
    " (PgBouncer: pool_mode=session); see docs/operating.md"
)


# What was learnt of settings, as they are shown, by the version of PostgreSQL.
_LEARNT: dict[tuple[Session, asyncpg.types.ServerVersion], Mapping[str, str]] = {}


class SessionRefused(Exception):
    """A connection cannot be used; the message is one sentence that says why and what to do."""


def pooled() -> SessionRefused:
    """Return the refusal of a pooler that gives each transaction another session."""
    return SessionRefused(
        "the database is reached through a pooler that gives each transaction another session,"
        f" where settings, prepared statements and LISTEN are lost: {_POOLER}"
    )


def frozen() -> asyncpg.ReadOnlySQLTransactionError:
    """Return what is raised where whoever runs the database has said that nobody writes."""
    return asyncpg.ReadOnlySQLTransactionError("default_transaction_read_only is on")


@dataclass(frozen=True, slots=True)
class Session:
    """What the sessions of one purpose are set to, beyond what goes for all. Times in seconds."""

    purpose: str
    has_plans: bool = True  # of the hot statements
    statement_timeout: float = 30.0
    lock_timeout: float = 10.0
    idle_in_transaction: float = IDLE_IN_TRANSACTION

    def _settings(self) -> Iterator[tuple[str, str]]:
        yield from _MEANING.items()
        if self.has_plans:
            yield from _PLANS.items()
        yield "synchronous_commit", "on"
        yield "statement_timeout", _milliseconds(self.statement_timeout)
        yield "lock_timeout", _milliseconds(self.lock_timeout)
        yield "idle_in_transaction_session_timeout", _milliseconds(self.idle_in_transaction)
        yield "idle_session_timeout", "0"
        # Since 17. A statement that began last of all has its time.
        whole = self.statement_timeout and 2 * self.statement_timeout
        yield "transaction_timeout", _milliseconds(whole)

    async def prepare(self, connection: DriverConnection) -> int:
        """Set up a session, read its settings back, and return its process id.

        Its name says of which process it is, and up to which version that knows the fingerprint of
        errors (``store.grouping_version``).

        Raises SessionRefused if a setting is not as it was set, or PostgreSQL is too old, or the
        database in another encoding; that is only told in the log where it has a schema of ours.
        At a standby, which reads as if all were well, the driver's error for a read-only
        transaction, so that no connection outlives its promotion; likewise where
        default_transaction_read_only is on: somebody has frozen the database, to move it perhaps,
        and what is written after that is lost.
        """
        if (major := connection.get_server_version().major) < _OLDEST:
            raise SessionRefused(f"PostgreSQL {major} is too old: {_OLDEST} or later is needed")
        name = f"zart-{self.purpose} {socket.gethostname()[:30]}/{os.getpid()} fp{NEWEST}"
        usual = {USUAL: _milliseconds(self.lock_timeout)}
        helps = _quoted({"application_name": name, **_NETWORK, **usual})
        try:
            learnt = _quoted(await self._learnt(connection))
            # Without arguments: one message, whatever stands in between.
            await connection.execute(_SET.format(learnt=learnt, helps=helps))
            found = await connection.fetchrow(_READ_BACK.format(learnt=learnt))
        except asyncpg.InsufficientPrivilegeError as error:
            raise SessionRefused(
                f"the database's role may not set what it must: {error}"
            ) from error
        except asyncpg.InvalidSQLStatementNameError:
            raise pooled() from None
        if found is not None and found["is_standby"]:
            raise asyncpg.ReadOnlySQLTransactionError("this PostgreSQL is a standby")
        if found is not None and found["is_frozen"]:
            raise frozen()
        if found is None or found["other"] is not None:
            name = "unknown" if found is None else found["other"]
            raise SessionRefused(
                f"the database, or a pooler before it, does not keep the setting {name}: {_POOLER}"
            )
        if found["encoding"] != _ENCODING:
            if not found["has_schema"]:
                raise _of_another_encoding(found["encoding"])
            _warn_of_encoding(found["encoding"])
        if found["role"] != "origin":
            raise SessionRefused(
                "session_replication_role must be origin, or what guards history does not hold:"
                " ALTER ROLE or ALTER DATABASE … RESET session_replication_role"
            )
        pid: int = found["pid"]
        return pid

    async def _learnt(self, connection: DriverConnection) -> Mapping[str, str]:
        """Return what is to be set, of what this version of PostgreSQL knows: asked once a process.

        All its settings are hundreds, and looking through them takes longer than all else here.
        """
        of = self, connection.get_server_version()
        if of not in _LEARNT:
            wanted = _quoted(dict(self._settings()))
            await connection.execute("SET statement_timeout = 0")
            rows = await connection.fetch(_LEARN.format(wanted=wanted))
            _LEARNT[of] = {row["name"]: row["value"] for row in rows}
        return _LEARNT[of]


def is_direct(connection: DriverConnection, pid: int) -> bool:
    """Return whether nothing stands between but a network: who answers is who greeted."""
    return connection.get_server_pid() == pid


def _of_another_encoding(encoding: str) -> SessionRefused:
    return SessionRefused(
        f"the database's encoding is {encoding}, it must be {_ENCODING}:"
        f" CREATE DATABASE … ENCODING '{_ENCODING}' TEMPLATE template0"
    )


@functools.cache
def _warn_of_encoding(encoding: str) -> None:
    """Say once what comes of it: a system that runs is not stopped by an upgrade."""
    _log.warning(
        "the database's encoding is %s, it should be %s: what has a character that it cannot hold"
        " is INTERNAL, and is lost; see docs/troubleshooting.md",
        encoding,
        _ENCODING,
    )


def _milliseconds(seconds: float) -> str:
    return str(int(seconds * 1000))


def _quoted(settings: Mapping[str, str]) -> str:
    """Write settings as JSON within a literal."""
    return json.dumps(settings).replace("'", "''")
